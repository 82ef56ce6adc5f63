"""State of destinations: circuit breakers, rate limits, mismatches."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from channels_setup.models import AlertRoute, ApiChannel, ChatChannel

from .conversations import Conversation
from .messages import Message


class CircuitBreaker(models.Model):
    """Circuit breaker of a destination; see ``circuit_breaker``. A destination that never failed has no row."""

    api_channel = models.OneToOneField(ApiChannel, null=True, on_delete=models.CASCADE, related_name="breaker")
    chat_channel = models.OneToOneField(ChatChannel, null=True, on_delete=models.CASCADE, related_name="breaker")
    alert_route = models.OneToOneField(AlertRoute, null=True, on_delete=models.CASCADE, related_name="breaker")
    is_open = models.BooleanField(_("open"), default=False)
    is_probing = models.BooleanField(default=False)
    backoff_seconds = models.IntegerField(_("seconds between probes"), default=0)
    probe_at = models.DateTimeField(_("next probe"), null=True)
    consecutive_failures = models.IntegerField(_("failures in a row"), default=0)
    failing_since = models.DateTimeField(_("failing since"), null=True)
    recent = models.JSONField(default=list)  # [[unix time, worked], ...] of the last minutes
    backoff_until = models.DateTimeField(_("waiting until"), null=True)  # requested by the destination for all messages

    class Meta:
        verbose_name = _("circuit breaker")
        verbose_name_plural = _("circuit breakers")
        constraints = [
            models.CheckConstraint(
                condition=Q(api_channel__isnull=False, chat_channel=None, alert_route=None)
                | Q(api_channel=None, chat_channel__isnull=False, alert_route=None)
                | Q(api_channel=None, chat_channel=None, alert_route__isnull=False),
                name="breaker_of_a_destination",
            )
        ]

    def __str__(self) -> str:
        destination = self.api_channel_id or self.chat_channel_id or self.alert_route_id
        return f"{destination}: {'open' if self.is_open else 'closed'}"

    @property
    def is_troubled(self) -> bool:
        return self.is_open or self.consecutive_failures > 0 or bool(self.recent)


class RateLimit(models.Model):
    """Usage of one rate limit of a channel; see ``rate_limits``. The limit is per account or per contact.

    Chat channels with the same helpdesk account share a limit. It has no channel; its key names the account.
    """

    api_channel = models.ForeignKey(
        ApiChannel,
        null=True,
        on_delete=models.CASCADE,
        related_name="rate_limits",
        db_index=False,  # one_bucket_per_key
    )
    key = models.CharField(max_length=200)
    every = models.FloatField()  # seconds between calls
    burst = models.IntegerField()
    whole_channel = models.BooleanField()
    met_at = models.DateTimeField()  # theoretical arrival time (GCRA)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["api_channel", "key"], nulls_distinct=False, name="one_bucket_per_key")
        ]
        indexes = [models.Index(fields=["met_at"], name="bucket_by_time")]

    def __str__(self) -> str:
        return f"{self.api_channel_id}/{self.key}"


class Mismatch(models.Model):
    """A message whose status differs between the portal and the provider; see ``reconciliation``."""

    class Kind(models.TextChoices):
        NOT_SENT = "not_sent", _("accepted, not sent")
        NO_DELIVERY = "no_delivery", _("accepted, no delivery created")
        MARKED_SENT = "marked_sent", _("marked as sent, but its delivery failed")
        UNCONFIRMED = "unconfirmed", _("sent, no status received")
        STRAY = "stray", _("status of an unknown message")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    api_channel = models.ForeignKey(
        ApiChannel, verbose_name=_("API channel"), on_delete=models.CASCADE, related_name="mismatches"
    )
    conversation = models.ForeignKey(Conversation, null=True, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, null=True, on_delete=models.CASCADE, related_name="+")
    stray = models.BigIntegerField(null=True)  # StrayStatus ID; that row may be deleted
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    since = models.DateTimeField(_("since"))
    found_at = models.DateTimeField(_("found"), auto_now_add=True)
    settled_at = models.DateTimeField(_("resolved"), null=True)

    class Meta:
        verbose_name = _("mismatch")
        verbose_name_plural = _("mismatches")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "message", "stray"],
                condition=Q(settled_at=None),
                nulls_distinct=False,
                name="one_open_mismatch",
            )
        ]
        indexes = [models.Index(fields=["api_channel", "kind"], condition=Q(settled_at=None), name="mismatches_open")]

    def __str__(self) -> str:
        return f"{self.kind} {self.message_id or self.external_id}"
