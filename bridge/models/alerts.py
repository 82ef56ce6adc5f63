"""Alerts, and which alert route was notified of which alert."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from channels_setup.models import AlertRoute, ApiChannel
from channels_setup.models.redacted_fields import RedactedJSONField

from .deliveries import Delivery


class Alert(models.Model):
    """A problem that an admin should know about. At most one open alert per kind, channel, delivery and subject.

    ``subject``: what it is about, if that is neither a channel nor a delivery: a component's name, a route's number.
    """

    class Kind(models.TextChoices):
        BREAKER = "breaker", _("destination down")
        STUCK = "stuck", _("message fails repeatedly")
        FAILING_LONG = "failing_long", _("destination down for days")
        SWITCHED_OFF = "switched_off", _("channel paused by the portal")
        UNCONFIRMED = "unconfirmed", _("messages without a status")
        MISMATCH = "mismatch", _("message status mismatches")
        WEBHOOK_INACTIVITY = "webhook_inactivity", _("no webhooks")
        UNROUTED = "unrouted", _("webhooks for an unknown number")
        GROUPS = "groups", _("messages from groups")
        TEMPLATE_SYNC = "template_sync", _("templates not synchronized")
        HELPDESK_DOWN = "helpdesk_down", _("helpdesk down")
        COMPONENT_STOPPED = "component_stopped", _("component stopped")
        DISK_LOW = "disk_low", _("disk almost full")
        DELIVERIES_LATE = "deliveries_late", _("deliveries late")
        INBOX_LATE = "inbox_late", _("webhooks processed late")
        EVENTS_FAILED = "events_failed", _("unreadable webhooks")
        DEAD_LETTERS = "dead_letters", _("dead letters")
        BACKUP_OLD = "backup_old", _("no recent backup")
        ROUTE_FAILING = "route_failing", _("alert route failing")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    api_channel = models.ForeignKey(ApiChannel, null=True, on_delete=models.CASCADE, related_name="alerts")
    delivery = models.ForeignKey(Delivery, null=True, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=60, blank=True, default="", db_default="")
    details = RedactedJSONField(default=dict)
    raised_at = models.DateTimeField(_("since"), auto_now_add=True)
    settled_at = models.DateTimeField(_("resolved"), null=True)
    # The first admin who looked at it; its escalation ends then.
    opened_at = models.DateTimeField(_("opened"), null=True)
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("opened by"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("acknowledged by"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "api_channel", "delivery", "subject"],
                condition=Q(settled_at=None),
                nulls_distinct=False,
                name="one_open_alert_per_subject",
            )
        ]
        indexes = [models.Index(fields=["-raised_at"], condition=Q(settled_at=None), name="alerts_open")]

    def __str__(self) -> str:
        return f"{self.kind} {self.api_channel_id or self.subject or ''}".strip()


class AlertNotice(models.Model):
    """A route that was notified of an event of an alert, and the delivery. Deleted if the delivery is given up."""

    class Event(models.TextChoices):
        RAISED = "raised", _("raised")
        RESOLVED = "resolved", _("resolved")

    # The migration creates their constraints: a notice is deleted with its alert, and outlives its delivery. Retention
    # deletes both by hand-written statements.
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="notices", db_constraint=False)
    route = models.ForeignKey(AlertRoute, on_delete=models.CASCADE, related_name="notices")
    event = models.CharField(max_length=10, choices=Event.choices)
    delivery = models.ForeignKey(
        Delivery, null=True, on_delete=models.SET_NULL, related_name="notices", db_constraint=False
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alert", "route", "event"], name="one_notice_per_event")]

    def __str__(self) -> str:
        return f"{self.alert_id} {self.event}"
