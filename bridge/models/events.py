"""Webhook events, idempotency keys, heartbeats."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.models.redacted_fields import RedactedTextField


class WebhookEvent(models.Model):
    """A raw request as received, with secrets redacted (see ``raw_requests``).

    Also items of another event that were routed to this channel; ``routed_from`` is the ID of that event.
    """

    class State(models.TextChoices):
        NEW = "new", _("waiting")
        PROCESSED = "processed", _("processed")
        FAILED = "failed", _("failed")
        UNROUTED = "unrouted", _("not routed")

    class Note(models.TextChoices):
        """Filter value for admins among processed events."""

        NONE = "", ""
        GROUP = "group", _("WhatsApp group, not supported")
        ROUTED = "routed", _("routed to another channel")
        SAMPLE = "sample", _("test from the provider's page")

    api_channel = models.ForeignKey(
        ApiChannel,
        verbose_name=_("API channel"),
        null=True,
        on_delete=models.PROTECT,
        related_name="webhook_events",
        db_index=False,  # events_of_channel
    )
    chat_channel = models.ForeignKey(  # of an external helpdesk's event
        ChatChannel,
        verbose_name=_("chat channel"),
        null=True,
        on_delete=models.PROTECT,
        related_name="webhook_events",
        db_index=False,  # events_of_helpdesk
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
    proof = models.BinaryField(null=True)  # fingerprint of the credential that authenticated it, see ``routing``
    routed_at = models.DateTimeField(null=True)  # when its items for other channels were routed or set aside
    routed_from = models.BigIntegerField(null=True)  # ID of the event that contained the items
    # Contacts that the request names, for erasure and export. Null: not known (not processed, or failed). No index:
    # an erasure reads all events anyway, for those that are not linked.
    contact_ids = ArrayField(models.BigIntegerField(), null=True, editable=False)

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        indexes = [
            models.Index(fields=["api_channel", "id"], condition=Q(state="new"), name="events_waiting"),
            models.Index(fields=["chat_channel", "id"], condition=Q(state="new"), name="desk_events_waiting"),
            models.Index(fields=["-id"], condition=Q(state="failed"), name="events_failed"),
            BrinIndex(fields=["received_at"], name="events_by_time", autosummarize=True),
            models.Index(fields=["api_channel", "received_at"], name="events_of_channel"),
            models.Index(fields=["chat_channel"], condition=Q(chat_channel__isnull=False), name="events_of_helpdesk"),
            models.Index(fields=["-id"], condition=Q(state="unrouted"), name="events_unrouted"),
            models.Index(fields=["-id"], condition=Q(note="group"), name="events_of_groups"),
        ]

    STUCK = (State.FAILED, State.UNROUTED)  # until an admin reprocesses or dismisses them

    def __str__(self) -> str:
        return f"{self.pk}"


class IdempotencyKey(models.Model):
    """A caller's Idempotency-Key with the stored response for repeats."""

    owner = models.CharField(max_length=60)
    key = models.CharField(max_length=200)
    fingerprint = models.BinaryField()  # of the request; the same key with another request is an error
    status = models.IntegerField(null=True)
    answer = models.JSONField(null=True)
    contact_ids = ArrayField(models.BigIntegerField(), null=True, editable=False)  # contacts that the call was about
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("idempotency key")
        verbose_name_plural = _("idempotency keys")
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="one_answer_per_idempotency_key")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return f"{self.owner} {self.key}"


class Heartbeat(models.Model):
    """Last sign of activity of a component. Written by its work, not by the process itself."""

    name = models.CharField(max_length=40, primary_key=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")

    def __str__(self) -> str:
        return self.name


class WriteProbe(models.Model):
    """Row that /health/ready writes to test whether the database accepts writes (``write_probe``)."""

    at = models.DateTimeField(db_default=Now())
    filler = models.TextField()

    class Meta:
        verbose_name = _("write probe")
        verbose_name_plural = _("write probes")

    def __str__(self) -> str:
        return f"{self.pk}"
