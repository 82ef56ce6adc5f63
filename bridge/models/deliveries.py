"""Deliveries, their attempts, dead letters, and users' decisions about them."""

from __future__ import annotations

import time
from secrets import token_hex
from typing import Any

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from channels_setup.models import AlertRoute, ApiChannel, ChatChannel
from channels_setup.models.redacted_fields import RedactedTextField

from .conversations import Conversation
from .messages import Message

# Only alert messages have neither a conversation nor an API channel; see ``delivery_has_destination``. Type checkers
# cannot see this option: code about messages and events may rely on both.
NULL_IN_ALERT_MESSAGES: Any = {"null": True}


def new_delivery_key() -> str:
    """Return a key that begins with the time, so that new keys are next to each other in their index.

    With random keys, each delivery would change another page of the index, which is written to the write-ahead log
    whole after each checkpoint.
    """
    return f"msg_{time.time_ns() // 1_000_000:012x}{token_hex(10)}"


class Delivery(models.Model):
    """One payload for one destination. All attempts use the same key and content.

    ``next_attempt_at``: due time; while sending, the end of the lease, so that a delivery whose worker died becomes due
    again. ``lease_token``: fencing token; a result is saved only under the current token.
    """

    class Kind(models.TextChoices):
        MESSAGE = "message", _("message to the contact")
        REACTION = "reaction", _("reaction to the contact's message")
        EVENT = "event", _("event for an API channel")
        HELPDESK = "helpdesk", _("message to the helpdesk")
        NOTE = "note", _("note to the helpdesk's operators")
        ALERT = "alert", _("alert message")
        ALERT_EMAIL = "alert_mail", _("alert email")

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        SENDING = "sending", _("being sent")
        DELIVERED = "delivered", _("accepted")
        UNKNOWN = "unknown", _("outcome unknown")
        CANCELLED = "cancelled", _("canceled")
        DEAD = "dead", _("given up")

    class Priority(models.IntegerChoices):
        """Order among the due deliveries of one destination."""

        ANSWER = 0
        BULK = 1  # queued by a bulk resend

    TO_CONTACT = (Kind.MESSAGE, Kind.REACTION)
    UNFINISHED = (State.PENDING, State.SENDING)
    FINISHED = (State.DELIVERED, State.UNKNOWN, State.CANCELLED, State.DEAD)

    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.PROTECT, related_name="deliveries", **NULL_IN_ALERT_MESSAGES
    )
    message = models.ForeignKey(Message, null=True, on_delete=models.PROTECT, related_name="deliveries")
    api_channel = models.ForeignKey(
        ApiChannel,
        verbose_name=_("destination"),
        on_delete=models.PROTECT,
        related_name="deliveries",
        **NULL_IN_ALERT_MESSAGES,
    )
    # Target helpdesk, if any; ``api_channel`` is then the conversation's.
    chat_channel = models.ForeignKey(
        ChatChannel,
        null=True,
        on_delete=models.PROTECT,
        related_name="deliveries",
        db_index=False,  # deliveries_of_helpdesk
    )
    alert_route = models.ForeignKey(
        AlertRoute,
        verbose_name=_("alert route"),
        null=True,
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_index=False,  # deliveries_of_alert_route
    )
    track = models.CharField(_("event"), max_length=60, blank=True)  # event type that the destination subscribes to
    key = models.CharField(_("key"), max_length=40, default=new_delivery_key, editable=False)
    payload = models.JSONField(_("content"))
    free_text = models.BooleanField(default=False)  # may be sent only while the window is open
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.PENDING)
    priority = models.SmallIntegerField(db_default=Priority.ANSWER.value)
    attempts = models.IntegerField(_("attempts"), default=0)
    attempts_before = models.IntegerField(default=0)  # before the last resend; the retry schedule starts again
    next_attempt_at = models.DateTimeField(_("next attempt"), db_default=Now())
    lease_token = models.UUIDField(null=True, editable=False)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        # A constraint and not ``unique=True``, for which Django creates a second index for LIKE.
        constraints = [
            models.UniqueConstraint(fields=["key"], name="bridge_delivery_key_key"),
            models.CheckConstraint(
                condition=Q(alert_route=None, conversation__isnull=False, api_channel__isnull=False)
                | Q(alert_route__isnull=False, conversation=None, api_channel=None, chat_channel=None, message=None),
                name="delivery_has_destination",
            ),
        ]
        # Statistics that know no queue, or not the destination, make the planner believe that each of these indexes
        # gives one row. So they are written in different words ("pending or sending", "not finished", "leased"; the
        # chat channel in COALESCE), and a statement of ``outbox.claims`` can use only the one whose words it repeats.
        indexes = [
            models.Index(
                fields=["chat_channel"], condition=Q(chat_channel__isnull=False), name="deliveries_of_helpdesk"
            ),
            BrinIndex(fields=["created_at"], name="deliveries_by_time", autosummarize=True),
            models.Index(
                fields=["api_channel", "kind", "priority", "next_attempt_at", "id"],
                condition=~Q(state__in=["delivered", "unknown", "cancelled", "dead"]) & Q(chat_channel__isnull=True),
                name="deliveries_next_api_channel",
            ),
            models.Index(
                fields=["api_channel", "conversation", "kind", "id"],
                condition=Q(state__in=["pending", "sending"]),
                name="deliveries_in_line",
            ),
            models.Index(fields=["api_channel"], condition=Q(lease_token__isnull=False), name="deliveries_leased"),
            models.Index(
                Coalesce("chat_channel", 0),
                condition=Q(lease_token__isnull=False, kind__in=["helpdesk", "note"]),
                name="deliveries_leased_helpdesk",
            ),
            models.Index(
                fields=["created_at", "id"], condition=Q(message=None) & ~Q(payload={}), name="deliveries_to_expire"
            ),
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=["dead", "unknown", "cancelled"]),
                name="deliveries_not_made",
            ),
            models.Index(
                Coalesce("chat_channel", 0),
                "kind",
                "priority",
                "next_attempt_at",
                "id",
                condition=~Q(state__in=["delivered", "unknown", "cancelled", "dead"])
                & Q(kind__in=["helpdesk", "note"]),
                name="deliveries_next_chat_channel",
            ),
            models.Index(
                fields=["alert_route", "kind", "priority", "next_attempt_at", "id"],
                condition=~Q(state__in=["delivered", "unknown", "cancelled", "dead"]) & Q(alert_route__isnull=False),
                name="deliveries_next_alert_route",
            ),
            models.Index(
                fields=["alert_route", "-id"],
                condition=Q(alert_route__isnull=False),
                name="deliveries_of_alert_route",
            ),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def attempts_since_resend(self) -> int:
        return self.attempts - self.attempts_before

    @property
    def template(self) -> dict[str, Any]:
        """Return the template of a message delivery, else an empty dict."""
        message = self.message if self.kind == self.Kind.MESSAGE else None
        return (message.template or {}) if message else {}


class DeadLetter(Delivery):
    """A delivery that failed: dead, unknown or canceled. Proxy model with its own admin page."""

    STATES = (Delivery.State.DEAD, Delivery.State.UNKNOWN, Delivery.State.CANCELLED)

    class Meta:
        proxy = True
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")


class BulkAction(models.Model):
    """Bulk resend or discard of dead letters, run in batches by a task; see ``bulk_resend``."""

    class Action(models.TextChoices):
        RESEND = "resend", _("resend")
        DISCARD = "discard", _("discard")

    action = models.CharField(_("action"), max_length=10, choices=Action.choices)
    selection = models.JSONField(_("selection"))  # the filter: ``bulk_resend.DeadLetterFilter``
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    total = models.IntegerField(_("of"))
    done = models.IntegerField(_("done"), default=0)
    skipped = models.JSONField(_("skipped"), default=dict)  # reason code -> count
    processed_up_to_id = models.BigIntegerField(default=0)  # highest delivery ID processed so far
    last_delivery_id = models.BigIntegerField()  # newest delivery ID at the start
    created_at = models.DateTimeField(_("started"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("bulk action")
        verbose_name_plural = _("bulk actions")
        indexes = [models.Index(fields=["id"], condition=Q(finished_at=None), name="unfinished_bulk_actions")]

    def __str__(self) -> str:
        return f"{self.pk}"


class DeliveryDecision(models.Model):
    """A user's decision about a failed delivery. ``attempts``: number of attempts before the decision."""

    class Action(models.TextChoices):
        RESEND = "resend", _("resent")
        DISCARD = "discard", _("discarded")
        LEAVE = "leave", _("left as it is")

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="decisions")
    action = models.CharField(_("action"), max_length=10, choices=Action.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(_("when"), auto_now_add=True)
    previous_state = models.CharField(_("previous state"), max_length=10, choices=Delivery.State.choices)
    previous_reason = models.CharField(_("reason"), max_length=40, blank=True)
    attempts = models.IntegerField(_("attempts before"))
    bulk_action = models.ForeignKey(BulkAction, null=True, on_delete=models.SET_NULL, related_name="decisions")

    class Meta:
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.action}"


class Attempt(models.Model):
    """One attempt of a delivery: time, duration, response excerpt (truncated and redacted)."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tries")
    number = models.IntegerField(_("number"))
    started_at = models.DateTimeField(_("started"))
    duration_ms = models.IntegerField(_("duration, ms"))
    http_status = models.IntegerField(_("HTTP status"), null=True)
    verdict = models.CharField(_("verdict"), max_length=10)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    answer = RedactedTextField(_("answer"), blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.number}"
