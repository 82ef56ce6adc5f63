"""External helpdesks: chats, replies, connections, template links."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ChatChannel
from channels_setup.models.redacted_fields import RedactedJSONField

from .conversations import Conversation
from .deliveries import Delivery
from .messages import Message


class HelpdeskChat(models.Model):
    """IDs of a conversation in an external helpdesk, from its responses and events."""

    conversation = models.OneToOneField(
        Conversation, primary_key=True, on_delete=models.CASCADE, related_name="helpdesk_chat"
    )
    chat_channel = models.ForeignKey(ChatChannel, on_delete=models.PROTECT, related_name="+")
    chat_id = models.BigIntegerField(null=True)
    client_id = models.BigIntegerField(null=True)
    ticket_id = models.BigIntegerField(null=True)  # of the newest request
    assignee = models.CharField(_("assignee in the helpdesk"), max_length=40, blank=True)
    updated = models.CharField(max_length=40, blank=True)  # the helpdesk's timestamp of the last state that was applied
    card = models.JSONField(default=dict)  # contact data last sent to the helpdesk

    class Meta:
        verbose_name = _("chat in the helpdesk")
        verbose_name_plural = _("chats in the helpdesk")
        constraints = [
            models.UniqueConstraint(
                fields=["chat_channel", "chat_id"],
                condition=Q(chat_id__isnull=False),
                name="one_conversation_per_chat_id",
            )
        ]
        indexes = [
            models.Index(fields=["chat_channel", "ticket_id"], name="helpdesk_by_ticket"),
            models.Index(fields=["chat_channel", "client_id"], name="helpdesk_by_client"),
        ]

    def __str__(self) -> str:
        return f"{self.chat_id}"


class HelpdeskReply(models.Model):
    """An operator's reply from an external helpdesk, with its identity there; see ``helpdesk.reply_identity``.

    The same reply may arrive as a chat event (``event_hash``, ``ordinal``) and as a comment (``comment_id``).
    """

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    event_hash = models.CharField(max_length=64, blank=True)  # hash of the chat event
    ordinal = models.IntegerField(default=0)  # 1-based position among identical events in one window
    comment_id = models.CharField(max_length=60, blank=True)
    text_hash = models.CharField(max_length=64)  # hash of the text, to match event and comment
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    received_at = models.DateTimeField()

    class Meta:
        verbose_name = _("reply from the helpdesk")
        verbose_name_plural = _("replies from the helpdesk")
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "event_hash", "ordinal"],
                condition=~Q(event_hash=""),
                name="one_reply_per_event",
            ),
            models.UniqueConstraint(
                fields=["conversation", "comment_id"], condition=~Q(comment_id=""), name="one_reply_per_comment"
            ),
        ]
        indexes = [
            models.Index(fields=["conversation", "text_hash", "received_at"], name="replies_by_text_hash"),
            models.Index(fields=["received_at"], name="replies_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class HelpdeskDuplicateWindow(models.Model):
    """Count of identical events within a short time, to number them."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    event_hash = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    count = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "event_hash"], name="one_duplicate_window_per_event")
        ]
        indexes = [models.Index(fields=["began_at"], name="duplicate_windows_by_age")]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.count}"


class HelpdeskConnection(models.Model):
    """State of the connection to an external helpdesk: events seen, last error."""

    chat_channel = models.OneToOneField(
        ChatChannel, primary_key=True, on_delete=models.CASCADE, related_name="helpdesk_connection"
    )
    first_events = models.JSONField(default=dict)  # event type -> time of the first event
    check_state = models.JSONField(default=dict)  # last connection check: its token and its test chat
    last_event_at = models.DateTimeField(_("last event"), null=True)
    last_accepted_at = models.DateTimeField(_("last accepted by the helpdesk"), null=True)
    # Unused since ``CircuitBreaker`` has helpdesks; dropped in the release after next.
    backoff_until = models.DateTimeField(_("waiting until"), null=True)
    consecutive_failures = models.IntegerField(_("failures in a row"), default=0)
    last_error = models.CharField(_("last error"), max_length=40, blank=True)
    last_error_at = models.DateTimeField(_("last error at"), null=True)
    operators = RedactedJSONField(default=dict)  # operator's ID in the helpdesk -> name
    operators_fetched_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("helpdesk connection")
        verbose_name_plural = _("helpdesk connections")

    def __str__(self) -> str:
        return f"{self.chat_channel_id}"


class TemplateLink(models.Model):
    """A one-time link in a helpdesk note: choose a template, fill it in and send it in one chat.

    ``choices``: [{"template": id, "values": {key: value}}], the templates of the note; empty: any template.
    """

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    note = models.ForeignKey(Delivery, null=True, on_delete=models.SET_NULL, related_name="+")
    choices = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True)
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    calls = models.IntegerField(default=0)  # page views since ``calls_since``, for the limit
    calls_since = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("link to send a template")
        verbose_name_plural = _("links to send a template")

    def __str__(self) -> str:
        return f"{self.pk}"
