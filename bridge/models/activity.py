"""Lines in a thread that say what was done with the chat: assigned, closed, tagged and the like."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .conversations import Conversation, Ticket


class ConversationActivity(models.Model):
    """One change of a chat, written once and never changed. ``conversations.activity`` lists the kinds.

    ``details``: values of the kind's sentence. ``actor``: null if a program, the client or the portal did it.
    """

    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.PROTECT,
        related_name="activities",
        db_index=False,  # activities_of_conversation
    )
    kind = models.CharField(_("kind"), max_length=30)  # no choices: a new kind needs no migration
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    ticket = models.ForeignKey(Ticket, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    details = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        verbose_name = _("activity of a chat")
        verbose_name_plural = _("activities of chats")
        indexes = [models.Index(fields=["conversation", "created_at"], name="activities_of_conversation")]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.kind}"
