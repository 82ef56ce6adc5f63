"""Internal notes in a thread, and the people they mention."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation, Ticket
from .search import build_message_vector


class ConversationNote(models.Model):
    """An internal note in a thread. It is no message: nothing sends it to the client, a provider or a program.

    ``ContactNote`` is about the client and stays in the client pane; this one belongs to a moment of the conversation.
    """

    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.PROTECT,
        related_name="notes",
        db_index=False,  # notes_of_conversation
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("author"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    ticket = models.ForeignKey(Ticket, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    text = models.TextField(_("text"), blank=True)  # a mentioned user is written as "@[ID]"
    previous = models.JSONField(default=list, blank=True)  # earlier versions: [{"text", "at"}], oldest first
    created_at = models.DateTimeField(_("created"), db_default=Now())
    edited_at = models.DateTimeField(_("edited"), null=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True)  # by the author; the words are gone
    form_key = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        verbose_name = _("note in a chat")
        verbose_name_plural = _("notes in chats")
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "form_key"], condition=~Q(form_key=""), name="one_note_per_form_key"
            ),
            models.CheckConstraint(
                condition=Q(deleted_at=None) | Q(text="", previous=[]), name="deleted_note_has_no_text"
            ),
        ]
        indexes = [
            models.Index(fields=["conversation", "created_at"], name="notes_of_conversation"),
            GinIndex(build_message_vector(), name="notes_by_text"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class NoteMention(models.Model):
    """A user whom a note mentions. Unread until the user has seen the chat."""

    note = models.ForeignKey(ConversationNote, on_delete=models.CASCADE, related_name="mentions", db_index=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    created_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("mention")
        verbose_name_plural = _("mentions")
        constraints = [models.UniqueConstraint(fields=["note", "user"], name="one_mention_per_note_and_user")]
        indexes = [
            models.Index(fields=["user", "conversation"], name="mentions_of_user"),
            models.Index(fields=["user"], condition=Q(seen_at=None), name="mentions_unread"),
        ]

    def __str__(self) -> str:
        return f"{self.note_id} {self.user_id}"
