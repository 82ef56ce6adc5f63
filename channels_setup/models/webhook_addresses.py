"""Webhook addresses: the unguessable part of a channel's webhook URL, hashed and encrypted, with rotation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup import encryption

from .keys import EncryptedKey, UsageTracked

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

ADDRESS_OVERLAP = timedelta(days=7)  # a person has to enter the new address at the provider: allow a week


class WebhookAddressQuerySet(models.QuerySet["WebhookAddress"]):
    def valid(self, now: datetime) -> WebhookAddressQuerySet:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now))

    def by_token(self, kind: str, token: str) -> WebhookAddress | None:
        """Return the valid address of ``/webhooks/<kind>/<token>/``. Looks up a hash: timing reveals nothing."""
        owner = Q(api_channel__kind=kind) | Q(chat_channel__kind=kind)
        rows = self.valid(timezone.now()).select_related("api_channel", "chat_channel")
        return rows.filter(owner, digest=encryption.fingerprint(token)).first()


class WebhookAddress(EncryptedKey, UsageTracked):
    """Webhook address of a channel. During a rotation, a channel has a current and an old address."""

    api_channel = models.ForeignKey("ApiChannel", null=True, on_delete=models.CASCADE, related_name="addresses")
    chat_channel = models.ForeignKey("ChatChannel", null=True, on_delete=models.CASCADE, related_name="addresses")
    digest = models.BinaryField(unique=True, editable=False)
    tail = models.CharField(max_length=4, editable=False)  # shown, to tell addresses apart

    objects = WebhookAddressQuerySet.as_manager()

    class Meta:
        verbose_name = _("webhook address")
        verbose_name_plural = _("webhook addresses")
        constraints = [
            models.CheckConstraint(
                condition=Q(api_channel=None) ^ Q(chat_channel=None), name="webhook_address_has_one_channel"
            ),
            models.UniqueConstraint(
                fields=["api_channel"], condition=Q(expires_at=None), name="one_current_address_api_channel"
            ),
            models.UniqueConstraint(
                fields=["chat_channel"], condition=Q(expires_at=None), name="one_current_address_chat_channel"
            ),
        ]

    def __str__(self) -> str:
        return f"…{self.tail}"


class WebhookAddressed(models.Model):
    """Base of channels that providers call at ``/webhooks/<kind>/<token>/``."""

    kind: str
    addresses: RelatedManager[WebhookAddress]

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the channel and issue an address if it is new."""
        is_new = self._state.adding
        with transaction.atomic():
            super().save(*args, **kwargs)
            if is_new:
                self._add_address()

    def _add_address(self) -> WebhookAddress:
        token = encryption.new_webhook_token()
        return self.addresses.create(
            token=encryption.encrypt(token), digest=encryption.fingerprint(token), tail=encryption.visible_tail(token)
        )

    @transaction.atomic
    def issue_address(self, *, overlap: timedelta = ADDRESS_OVERLAP) -> WebhookAddress | None:
        """Issue a new address; the current one works for ``overlap`` longer. Returns None if an old one still works."""
        type(self)._default_manager.select_for_update(no_key=True).get(pk=self.pk)  # one rotation at a time
        now = timezone.now()
        if self.addresses.filter(expires_at__gt=now).exists():
            return None
        self.addresses.filter(expires_at=None).update(expires_at=now + overlap)
        return self._add_address()

    def end_old_address(self) -> bool:
        """Expire the old address now. Returns False if there is none."""
        now = timezone.now()
        return bool(self.addresses.filter(expires_at__gt=now).update(expires_at=now))

    def valid_addresses(self) -> list[WebhookAddress]:
        """Return the addresses that work, the current one first."""
        return list(self.addresses.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now())).order_by("-id"))

    @property
    def path_token(self) -> str:
        """Return the current token in clear. Only for audited pages and commands."""
        current = self.addresses.filter(expires_at=None).first()
        return current.reveal() if current else ""

    @property
    def webhook_path(self) -> str:
        return f"/webhooks/{self.kind}/{self.path_token}/"

    @property
    def webhook_url(self) -> str:
        """Return the address in clear. Only for audited pages and commands."""
        return settings.PUBLIC_URL.rstrip("/") + self.webhook_path
