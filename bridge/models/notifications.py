"""Notifications of operators about what concerns them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .conversations import Conversation

MAX_TEXT = 200


class NotificationKind(models.TextChoices):
    """Why an operator is notified. Messages and closing windows have no rows: they follow from the chats."""

    MESSAGE = "message", pgettext_lazy("notification", "New messages")
    ASSIGNED = "assigned", pgettext_lazy("notification", "Chats assigned to me")
    MENTIONED = "mentioned", pgettext_lazy("notification", "Mentions in notes")
    CLOSING = "closing", pgettext_lazy("notification", "Closing windows")
    WOKEN = "woken", pgettext_lazy("notification", "Snoozed chats that are back")


class Notification(models.Model):
    """One notification for one user. Pages show it once, and it is not kept for long."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # notifications_of_user
    )
    kind = models.CharField(_("kind"), max_length=12, choices=NotificationKind.choices)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="notifications")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    text = models.CharField(_("text"), max_length=MAX_TEXT, blank=True, default="")
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        default_permissions = ()
        indexes = [
            models.Index(fields=["user", "-id"], name="notifications_of_user"),
            models.Index(fields=["created_at"], name="notifications_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.conversation_id}"
