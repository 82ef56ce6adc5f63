"""Hand-overs of an API channel to the provider's staff."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup import encryption

from .api_channels import ApiChannel, ChannelState

HANDOVER_TTL = timedelta(hours=24)


class Handover(models.Model):
    """One hand-over page for the provider's staff: prepared → opened → confirmed → first event seen."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="handovers")
    digest = models.BinaryField(unique=True, editable=False)  # of the token in the link
    language = models.CharField(max_length=10, default="ru")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(_("prepared"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))
    opened_at = models.DateTimeField(_("opened"), null=True)
    confirmed_at = models.DateTimeField(_("confirmed"), null=True)
    first_event_at = models.DateTimeField(_("first event seen"), null=True)

    class Meta:
        verbose_name = _("hand-over")
        verbose_name_plural = _("hand-overs")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.api_channel}: {self.stage}"

    @classmethod
    def prepare(cls, api_channel: ApiChannel, *, user: Any = None, language: str = "ru") -> tuple[Handover, str]:
        """Create a hand-over and return it with its link token, which is not stored. Expires earlier unopened links."""
        now = timezone.now()
        api_channel.handovers.filter(opened_at=None, expires_at__gt=now).update(expires_at=now)
        token = encryption.new_path_token()
        handover = cls.objects.create(
            api_channel=api_channel,
            digest=encryption.fingerprint(token),
            created_by=user,
            language=language,
            expires_at=now + HANDOVER_TTL,
        )
        ApiChannel.objects.filter(pk=api_channel.pk, state__in=[ChannelState.DRAFT, ChannelState.VERIFYING]).update(
            state=ChannelState.WAITING
        )
        return handover, token

    def open(self) -> bool:
        """Open the link once. Returns False if it was opened before or has expired; exactly one visitor succeeds."""
        now = timezone.now()
        return bool(Handover.objects.filter(pk=self.pk, opened_at=None, expires_at__gt=now).update(opened_at=now))

    def confirm(self) -> bool:
        """Record that the provider's set-up is complete. Returns False if confirmed before or never opened."""
        rows = Handover.objects.filter(pk=self.pk, confirmed_at=None, opened_at__isnull=False)
        return bool(rows.update(confirmed_at=timezone.now()))

    @classmethod
    def by_token(cls, token: str) -> Handover | None:
        """Return the hand-over of a link, or None. Looks up a hash, so timing reveals nothing."""
        return cls.objects.select_related("api_channel").filter(digest=encryption.fingerprint(token)).first()

    @property
    def stage(self) -> str:
        if self.first_event_at:
            return "first_event"
        if self.confirmed_at:
            return "confirmed"
        return "opened" if self.opened_at else "prepared"
