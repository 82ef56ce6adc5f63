"""Merges of contacts, with the data for their undo."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .contacts import Contact
from .conversations import Conversation


class ContactMerge(models.Model):
    """A merge of two contacts by a user. ``before``: data to restore both contacts."""

    source = models.ForeignKey(
        Contact, verbose_name=_("merged contact"), on_delete=models.PROTECT, related_name="merges_away"
    )
    target = models.ForeignKey(
        Contact, verbose_name=_("merged into"), on_delete=models.PROTECT, related_name="merges_in"
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(_("at"))
    counts = models.JSONField(_("moved data"), default=dict)
    before = models.JSONField(default=dict)
    undone_at = models.DateTimeField(_("undone at"), null=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("undone by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        verbose_name = _("merge of contacts")
        verbose_name_plural = _("merges of contacts")
        constraints = [
            models.UniqueConstraint(fields=["source"], condition=Q(undone_at=None), name="one_merge_per_contact"),
            models.CheckConstraint(condition=~Q(source=models.F("target")), name="merge_of_two_contacts"),
        ]

    def __str__(self) -> str:
        return f"{self.source_id} → {self.target_id}"


class MergedConversation(models.Model):
    """A deleted conversation whose rows moved to another one. Maps its ID to the remaining conversation.

    ``row``: the deleted row; ``rows``: IDs of the moved rows; ``before``: other data for the undo.
    """

    merge = models.ForeignKey(ContactMerge, on_delete=models.CASCADE, related_name="conversations")
    old_id = models.BigIntegerField(_("former number"), unique=True)
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="+")
    row = models.JSONField(default=dict)
    rows = models.JSONField(default=dict)
    before = models.JSONField(default=dict)
    # Chat ID in the external helpdesk, if both conversations had one: its events go to ``conversation``.
    helpdesk_chat_id = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("merged conversation")
        verbose_name_plural = _("merged conversations")
        indexes = [
            models.Index(
                fields=["helpdesk_chat_id"], condition=Q(helpdesk_chat_id__isnull=False), name="merged_helpdesk_chats"
            )
        ]

    def __str__(self) -> str:
        return f"{self.old_id} → {self.conversation_id}"
