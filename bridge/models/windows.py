"""Service windows and closing reminders."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import ChatChannel, Team

from .contacts import Contact
from .conversations import Conversation


class ServiceWindow(models.Model):
    """A period in which free text may be sent. One row per window, so that reports can query missed windows."""

    class State(models.TextChoices):
        OPEN = "open", pgettext_lazy("window", "open")
        CLOSED = "closed", pgettext_lazy("window", "closed")

    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.CASCADE,
        related_name="windows",
        db_index=False,  # windows_of_conversation
    )
    # A window belongs to one number: that of a merged contact, or null for the conversation's own contact. Only the
    # window that ends last is open; replies go to its contact.
    merged_contact = models.ForeignKey(
        Contact, null=True, on_delete=models.PROTECT, related_name="+", db_index=False, editable=False
    )
    opened_at = models.DateTimeField(pgettext_lazy("window", "opened"))
    expires_at = models.DateTimeField(_("expires"))
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.OPEN)
    opened_by = models.ForeignKey("Message", null=True, on_delete=models.SET_NULL, related_name="+")
    first_reply_at = models.DateTimeField(_("first reply"), null=True)
    reminded_at = models.DateTimeField(_("reminded"), null=True)
    reminded_lead_minutes = models.IntegerField(null=True, editable=False)  # shortest lead time of a reminder so far
    # Set on closing, for the report: was the client's last message unanswered, and who was the assignee and
    # the team?
    missed = models.BooleanField(_("missed"), null=True)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    team = models.ForeignKey(
        Team,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # windows_of_team has it
    )

    class Meta:
        verbose_name = _("service window")
        verbose_name_plural = _("service windows")
        constraints = [
            models.UniqueConstraint(fields=["conversation"], condition=Q(state="open"), name="one_open_window"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("opened_at")), name="window_expires_after_it_opens"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="open"), name="windows_due"),
            models.Index(fields=["conversation", "-expires_at"], name="windows_of_conversation"),
            models.Index(fields=["expires_at"], condition=Q(missed=True), name="windows_missed"),
            models.Index(
                fields=["expires_at"], condition=Q(state="closed"), include=["conversation"], name="windows_closed"
            ),
            models.Index(fields=["team"], condition=Q(team__isnull=False), name="windows_of_team"),
            # A deleted contact is looked for here.
            models.Index(
                fields=["merged_contact"], condition=Q(merged_contact__isnull=False), name="windows_of_merged"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.opened_at:%Y-%m-%d %H:%M}–{self.expires_at:%Y-%m-%d %H:%M}"


class ClosingReminder(models.Model):
    """A reminder that a window closes soon. One per lead time; an extended window gets new reminders."""

    window = models.ForeignKey(ServiceWindow, on_delete=models.CASCADE, related_name="reminders", db_index=False)
    expires_at = models.DateTimeField()  # the window's expiry when the reminder was created
    lead_minutes = models.IntegerField()
    chat_channel = models.ForeignKey(ChatChannel, on_delete=models.CASCADE, related_name="+", db_index=False)
    # Recipient: the assignee, or else the team, or else (both null) all operators of the chat channel.
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    team = models.ForeignKey(Team, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("closing reminder")
        verbose_name_plural = _("closing reminders")
        constraints = [
            models.UniqueConstraint(
                fields=["window", "expires_at", "lead_minutes"], name="one_reminder_per_window_and_lead_time"
            )
        ]
        indexes = [models.Index(fields=["created_at"], name="reminders_by_age")]

    def __str__(self) -> str:
        return f"{self.window_id} {self.lead_minutes}"
