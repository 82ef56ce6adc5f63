"""The 24 hours in which free text may go out, and the warnings before they end."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import ChatChannel

from .contacts import Contact
from .conversations import Conversation


class ServiceWindow(models.Model):
    """The time in which free text may go out. Each is a row, so that missed windows are a query."""

    class State(models.TextChoices):
        OPEN = "open", pgettext_lazy("window", "open")
        CLOSED = "closed", pgettext_lazy("window", "closed")

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="windows")
    # A window belongs to one number: that of a merged contact, or null for the conversation's own contact. Of several
    # the one that ends last is open, and answers go to its contact; the others are closed, whatever they still have.
    merged_contact = models.ForeignKey(
        Contact, null=True, on_delete=models.PROTECT, related_name="+", db_index=False, editable=False
    )
    opened_at = models.DateTimeField(pgettext_lazy("window", "opened"))
    expires_at = models.DateTimeField(_("expires"))
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.OPEN)
    opened_by = models.ForeignKey("Message", null=True, on_delete=models.SET_NULL, related_name="+")
    first_reply_at = models.DateTimeField(_("first reply"), null=True)
    warned_at = models.DateTimeField(_("warned"), null=True)
    warned_mark = models.IntegerField(null=True, editable=False)  # minutes; the nearest that was warned of
    # Written when it shuts, for the report: did the client's last words stay unanswered, and whose chat was it then?
    missed = models.BooleanField(_("missed"), null=True)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
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
        ]

    def __str__(self) -> str:
        return f"{self.opened_at:%Y-%m-%d %H:%M}–{self.expires_at:%Y-%m-%d %H:%M}"


class WindowWarning(models.Model):
    """Operators were told that a window closes soon. Once for a mark; a window that was prolonged begins anew."""

    window = models.ForeignKey(ServiceWindow, on_delete=models.CASCADE, related_name="warnings", db_index=False)
    expires_at = models.DateTimeField()  # as it stood: another time is another warning
    mark = models.IntegerField()  # minutes
    chat_channel = models.ForeignKey(ChatChannel, on_delete=models.CASCADE, related_name="+", db_index=False)
    # Whom it is for; nobody: for all who answer in the channel.
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("window warning")
        verbose_name_plural = _("window warnings")
        constraints = [
            models.UniqueConstraint(fields=["window", "expires_at", "mark"], name="one_warning_for_window_and_mark")
        ]
        indexes = [models.Index(fields=["created_at"], name="warnings_by_age")]

    def __str__(self) -> str:
        return f"{self.window_id} {self.mark}"
