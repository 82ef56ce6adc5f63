"""API tokens: credentials of programs that call ``/api/v1/`` as a user or as a service account."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.postgres.aggregates import ArrayAgg
from django.db import models, transaction
from django.db.models import Q, Value
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup import encryption
from channels_setup.models import ChatChannel
from channels_setup.models.keys import UsageTracked
from config.audit import record
from config.audit.models import Action

TOKEN_PREFIX = "okno_"  # lets secret scanners recognize a token that was committed by mistake
PREFIX_LENGTH = len(TOKEN_PREFIX) + 6
EXPIRING_SOON = timedelta(days=14)


class Scope(models.TextChoices):
    """What a program may do with a token, in addition to what its user may do."""

    READ = "read", _("read only")
    WRITE = "write", _("read and write")
    METRICS = "metrics", _("metrics only")


STATE_LABELS = {
    "active": _("active"),
    "expiring": _("expires soon"),
    "expired": _("expired"),
    "revoked": _("revoked"),
    "off": _("user deactivated"),
}


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def active(self, now: datetime) -> ApiTokenQuerySet:
        """Return tokens that are neither revoked nor expired. Does not check whether their users are active."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)

    def expiring_soon(self, now: datetime) -> ApiTokenQuerySet:
        """Return tokens that work now and expire within ``EXPIRING_SOON``."""
        return self.active(now).filter(expires_at__lte=now + EXPIRING_SOON, user__is_active=True)

    def by_token(self, token: str) -> ApiToken | None:
        """Return the row of a token, valid or not, or None. Looks up a hash, so timing reveals nothing."""
        chosen = ArrayAgg("chat_channels", filter=Q(chat_channels__isnull=False), default=Value([]))
        rows = self.filter(digest=encryption.fingerprint(token)).select_related("user")
        return rows.annotate(chat_channel_ids=chosen).first()

    def revoke(self) -> int:
        """Revoke these tokens permanently and return how many were not revoked before."""
        return self.filter(revoked_at=None).update(revoked_at=timezone.now())


class ApiToken(UsageTracked):
    """Credential of a program. Only its hash is stored, so that a stolen database dump grants no access."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(
        _("name"), max_length=100, help_text=_("The program that uses the token, for example “CRM” or “Prometheus”.")
    )
    scope = models.CharField(
        _("scope"),
        max_length=16,
        choices=Scope,
        default=Scope.WRITE,
        db_default=Scope.WRITE,
        help_text=_("“Metrics only” opens /metrics and nothing else."),
    )
    chat_channels = models.ManyToManyField(
        ChatChannel,
        verbose_name=_("chat channels"),
        blank=True,
        related_name="+",
        help_text=_("The program sees only the chats of these channels. Empty: it sees those that its user sees."),
    )
    # Not derived from ``chat_channels``: a token must open nothing after its last channel was deleted. A trigger sets
    # it for every row of ``chat_channels``.
    is_limited_to_channels = models.BooleanField(default=False, db_default=False, editable=False)
    prefix = models.CharField(_("begins with"), max_length=16, editable=False)
    digest = models.BinaryField(unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        _("valid until"), null=True, blank=True, help_text=_("Leave empty for a token that does not expire.")
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)
    last_used_address = models.GenericIPAddressField(_("last used from"), null=True, editable=False)

    chat_channel_ids: list[int]  # set by `by_token`

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="metrics_token_has_no_chat_channels",
                condition=~Q(scope=Scope.METRICS, is_limited_to_channels=True),
                violation_error_message=_("A token for metrics opens no chats, so choose no chat channels."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @classmethod
    @transaction.atomic
    def issue(
        cls,
        user: Any,
        *,
        name: str,
        expires_at: datetime | None = None,
        scope: Scope = Scope.WRITE,
        chat_channels: Iterable[ChatChannel] | None = None,
    ) -> tuple[ApiToken, str]:
        """Create a token and return it with its text, which is not stored.

        ``chat_channels``: None for all channels of the user. A token limited to an empty list opens nothing.
        """
        text = f"{TOKEN_PREFIX}{secrets.token_hex(24)}"
        row = cls.objects.create(
            user=user,
            name=name,
            prefix=visible_prefix(text),
            digest=encryption.fingerprint(text),
            expires_at=expires_at,
            scope=scope,
            is_limited_to_channels=chat_channels is not None,
        )
        if chat_channels is not None:
            row.chat_channels.set(chat_channels)
        record.record_action(Action.SECRET_SHOWN, "accounts.apitoken", row.pk, label=name)
        return row, text

    @property
    def state(self) -> str:
        """Return active, expiring, expired, revoked or off (the user is deactivated)."""
        now = timezone.now()
        if self.revoked_at is not None:
            return "revoked"
        if not self.user.is_active:
            return "off"
        if self.is_expired(now):
            return "expired"
        return "expiring" if self.expires_at is not None and self.expires_at <= now + EXPIRING_SOON else "active"

    @property
    def state_label(self) -> Any:
        return STATE_LABELS[self.state]

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def visible_prefix(token: str) -> str:
    """Return the first characters of a token, which lists show to identify it."""
    return token[:PREFIX_LENGTH]
