"""What came in, as it came, and signs of life."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.models.redacted_fields import RedactedTextField


class WebhookEvent(models.Model):
    """A raw request, as received, with secrets overwritten (see ``raw_requests``).

    Or the items of one that were for another channel than its address says: then ``routed_from`` has its number.
    """

    class State(models.TextChoices):
        NEW = "new", _("waiting")
        PROCESSED = "processed", _("processed")
        FAILED = "failed", _("failed")
        UNROUTED = "unrouted", _("not routed")

    class Note(models.TextChoices):
        """What an admin may look for among events that were processed."""

        NONE = "", ""
        GROUP = "group", _("WhatsApp group, not supported")
        ROUTED = "routed", _("handed over to another channel")
        SAMPLE = "sample", _("test from the provider's page")

    api_channel = models.ForeignKey(
        ApiChannel, verbose_name=_("API channel"), null=True, on_delete=models.PROTECT, related_name="webhook_events"
    )
    chat_channel = models.ForeignKey(  # where the helpdesk sent it
        ChatChannel, verbose_name=_("chat channel"), null=True, on_delete=models.PROTECT, related_name="webhook_events"
    )
    endpoint = models.CharField(_("endpoint"), max_length=60)
    method = models.CharField(max_length=10, default="POST")
    query_string = models.TextField(blank=True)
    content_type = models.CharField(_("content type"), max_length=200, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    received_at = models.DateTimeField(_("received"), default=timezone.now, editable=False)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.NEW)
    attempts = models.IntegerField(_("attempts"), default=0)
    error = RedactedTextField(_("error"), blank=True)
    traceback = RedactedTextField(blank=True)
    processed_at = models.DateTimeField(_("processed"), null=True)
    note = models.CharField(_("note"), max_length=10, choices=Note.choices, blank=True, default="", db_default="")
    proof = models.BinaryField(null=True)  # fingerprint of the credential that proved it: see ``routing``
    routed_at = models.DateTimeField(null=True)  # its items for other channels were handed over, or put aside
    routed_from = models.BigIntegerField(null=True)  # the event in which the items came

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        indexes = [
            models.Index(fields=["api_channel", "id"], condition=Q(state="new"), name="events_waiting"),
            models.Index(fields=["chat_channel", "id"], condition=Q(state="new"), name="desk_events_waiting"),
            models.Index(fields=["-id"], condition=Q(state="failed"), name="events_failed"),
            models.Index(fields=["received_at"], name="events_by_age"),
            models.Index(fields=["-id"], condition=Q(state="unrouted"), name="events_unrouted"),
            models.Index(fields=["-id"], condition=Q(note="group"), name="events_of_groups"),
        ]

    STUCK = (State.FAILED, State.UNROUTED)  # until somebody has them processed again, or marks them as dealt with

    def __str__(self) -> str:
        return f"{self.pk}"


class IdempotencyKey(models.Model):
    """A caller's Idempotency-Key with the answer it got, so that a repeat gets the same one."""

    owner = models.CharField(max_length=60)
    key = models.CharField(max_length=200)
    fingerprint = models.BinaryField()  # of the request: the same key with another request is an error
    status = models.IntegerField(null=True)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("idempotency key")
        verbose_name_plural = _("idempotency keys")
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="one_answer_per_idempotency_key")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return f"{self.owner} {self.key}"


class Heartbeat(models.Model):
    """When a part last showed that it works: written by the work itself, not by the process being there."""

    name = models.CharField(max_length=40, primary_key=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")

    def __str__(self) -> str:
        return self.name


class WriteProbe(models.Model):
    """Rows that /health/ready writes to see whether the database takes any (``write_probe``). Nobody reads them."""

    at = models.DateTimeField(db_default=Now())
    filler = models.TextField()

    class Meta:
        verbose_name = _("write probe")
        verbose_name_plural = _("write probes")

    def __str__(self) -> str:
        return f"{self.pk}"
