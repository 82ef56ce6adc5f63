"""What is known of chats in an outside helpdesk."""

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
    """A conversation as an outside helpdesk knows it: its numbers there, learned from answers and events."""

    conversation = models.OneToOneField(
        Conversation, primary_key=True, on_delete=models.CASCADE, related_name="helpdesk_chat"
    )
    chat_channel = models.ForeignKey(ChatChannel, on_delete=models.PROTECT, related_name="+")
    chat_id = models.BigIntegerField(null=True)
    client_id = models.BigIntegerField(null=True)
    ticket_id = models.BigIntegerField(null=True)  # the newest one's
    assignee = models.CharField(_("assignee there"), max_length=40, blank=True)
    updated = models.CharField(max_length=40, blank=True)  # the helpdesk's stamp of what we last followed
    card = models.JSONField(default=dict)  # what it was last told of the client

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
    """An operator's reply as it came from an outside helpdesk, by its identity there: see ``helpdesk.identity``.

    The same reply may come as a chat event (``content``, ``ordinal``) and as a comment (``comment_id``).
    """

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    content = models.CharField(max_length=64, blank=True)  # a digest of all that its chat event says
    ordinal = models.IntegerField(default=0)  # the how-manieth equal event of its burst
    comment_id = models.CharField(max_length=60, blank=True)
    words = models.CharField(max_length=64)  # a digest of the text alone: what ties event and comment together
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    came_at = models.DateTimeField()

    class Meta:
        verbose_name = _("reply from the helpdesk")
        verbose_name_plural = _("replies from the helpdesk")
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "content", "ordinal"], condition=~Q(content=""), name="one_reply_per_event"
            ),
            models.UniqueConstraint(
                fields=["conversation", "comment_id"], condition=~Q(comment_id=""), name="one_reply_per_comment"
            ),
        ]
        indexes = [
            models.Index(fields=["conversation", "words", "came_at"], name="replies_by_words"),
            models.Index(fields=["came_at"], name="replies_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class HelpdeskBurst(models.Model):
    """Equal events that came close together: how many so far, to number them by."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    content = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    count = models.IntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["conversation", "content"], name="one_burst_at_a_time")]
        indexes = [models.Index(fields=["began_at"], name="bursts_by_age")]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.count}"


class HelpdeskConnection(models.Model):
    """How the line to an outside helpdesk stands: what was seen of it, and whether it rests after failures."""

    chat_channel = models.OneToOneField(
        ChatChannel, primary_key=True, on_delete=models.CASCADE, related_name="helpdesk_connection"
    )
    seen = models.JSONField(default=dict)  # kind of event -> when the first of it came
    check_state = models.JSONField(default=dict)  # the dry-run: its token, whether its event came back, its chat
    last_event_at = models.DateTimeField(_("last event"), null=True)
    last_accepted_at = models.DateTimeField(_("last accepted by the helpdesk"), null=True)
    paused_until = models.DateTimeField(_("paused until"), null=True)
    consecutive_failures = models.IntegerField(_("failures in a row"), default=0)
    last_error = models.CharField(_("last error"), max_length=40, blank=True)
    last_error_at = models.DateTimeField(_("last error at"), null=True)
    operators = RedactedJSONField(default=dict)  # an operator's number there -> the name
    operators_fetched_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("helpdesk connection")
        verbose_name_plural = _("helpdesk connections")

    def __str__(self) -> str:
        return f"{self.chat_channel_id}"


class TemplateLink(models.Model):
    """A link in a note to an outside helpdesk: choose one template, fill it in and send it in one chat, once.

    ``choices``: [{"template": id, "values": {key: value}}], what its note is about; empty: any template of the channel.
    """

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    note = models.ForeignKey(Delivery, null=True, on_delete=models.SET_NULL, related_name="+")
    choices = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True)
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    calls = models.IntegerField(default=0)  # since ``calls_since``, for the limit
    calls_since = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("link to send a template")
        verbose_name_plural = _("links to send a template")

    def __str__(self) -> str:
        return f"{self.pk}"
