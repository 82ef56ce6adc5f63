"""Conversations (chats) and their requests."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.codecs import chat_events
from channels_setup.models import ApiChannel, ChatChannel, Team

from .contacts import Contact

ENDED_STATUSES = [chat_events.CLOSED, chat_events.DELETED, chat_events.SPAM, chat_events.MERGED]  # ``Ticket.ENDED``
NO_TAGS = Value([], output_field=ArrayField(models.CharField(max_length=255)))
NO_FIELDS = Value({}, output_field=models.JSONField())
ACTIVE_STATUSES = (chat_events.OPEN, chat_events.NEW)  # statuses of requests that need an operator


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: Any) -> ConversationQuerySet:
        """Return conversations that the user may see: admins all, operators those of their chat channels."""
        return self.filter(chat_channel__in=ChatChannel.objects.all().visible_to(user))


class ChangeAfterAnswer(models.TextChoices):
    """What a client changed on an earlier message after our reply."""

    EDITED = "edited", _("Edited after your reply")
    DELETED = "deleted", _("Deleted after your reply")
    REACTED = "reacted", _("Reacted after your reply")


class Conversation(models.Model):
    """One contact on one API channel in one chat channel. It is permanent and contains requests."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.PROTECT, related_name="conversations")
    # No indexes of their own: conversations_newest and the unique constraint begin with these columns.
    chat_channel = models.ForeignKey(
        ChatChannel, on_delete=models.PROTECT, related_name="conversations", db_index=False
    )
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="conversations", db_index=False)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("assignee"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # conversations_of_assignee begins with it
    )
    team = models.ForeignKey(
        Team,
        verbose_name=_("team"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # conversations_of_team begins with it
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    # Copies of the last message and the request's status, so that chat lists need no join.
    # Status (``Ticket.Status``) of the open request, else of the one that ended last.
    request_status = models.SmallIntegerField(null=True, editable=False)
    last_message_at = models.DateTimeField(_("last message"), db_default=Now())
    last_text = models.CharField(max_length=200, blank=True)
    event_stamp = models.DateTimeField(null=True, editable=False)  # ``last_updated_at`` of the last event
    last_direction = models.CharField(max_length=10, blank=True)
    # Provider's time of the last message if it was received late, else null.
    last_written_at = models.DateTimeField(null=True, editable=False)
    # Since when the client has been waiting for a reply; meaningful while the last message is the client's. Null in
    # rows of the release before migration 0023: the last message counts.
    waiting_since = models.DateTimeField(null=True, editable=False)
    unread = models.IntegerField(_("unread"), default=0)
    # An operator marked the chat as unread: pages that show it do not mark it as seen until it is opened again.
    unread_marked_at = models.DateTimeField(null=True, editable=False)
    # Client's change to an earlier message after our reply; cleared when the chat is read.
    change_after_answer = models.CharField(
        max_length=10, choices=ChangeAfterAnswer.choices, blank=True, default="", db_default="", editable=False
    )

    # The chat is not listed as waiting until then. A client's message or the request's end clears it (``Snooze``).
    snoozed_until = models.DateTimeField(_("snoozed until"), null=True, editable=False)

    # The client was erased: triggers refuse new rows (migration 0007). Read under the chat's lock, unlike the contact.
    is_erased = models.BooleanField(default=False, db_default=False, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        permissions = [
            ("view_reports", _("Can see and download reports on all operators")),
            ("assign_any_chat", _("Can assign chats of other operators")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["contact", "chat_channel"], name="one_conversation_per_contact_and_channel"
            ),
            models.CheckConstraint(condition=Q(is_erased=False) | Q(last_text=""), name="erased_chat_has_no_text"),
        ]
        indexes = [
            models.Index(fields=["chat_channel", "-last_message_at", "-id"], name="conversations_newest"),
            models.Index(fields=["-last_message_at", "-id"], name="conversations_newest_of_all"),
            # One partial index for each list of the desk (see ``desk.chat_list``).
            models.Index(
                fields=["chat_channel", "-last_message_at", "-id"],
                condition=Q(last_direction="inbound", request_status__in=ACTIVE_STATUSES),
                name="conversations_waiting",
            ),
            models.Index(
                "chat_channel",
                Coalesce("waiting_since", "last_message_at"),
                "id",
                condition=Q(last_direction="inbound", request_status__in=ACTIVE_STATUSES),
                name="conversations_longest_waiting",
            ),
            models.Index(
                fields=["chat_channel", "-last_message_at", "-id"],
                condition=Q(assignee=None, request_status__in=ACTIVE_STATUSES),
                name="conversations_unassigned",
            ),
            models.Index(
                fields=["assignee", "-last_message_at", "-id"],
                condition=Q(assignee__isnull=False),
                include=["chat_channel", "request_status"],
                name="conversations_of_assignee",
            ),
            models.Index(
                fields=["chat_channel", "request_status", "-last_message_at", "-id"], name="conversations_by_status"
            ),
            models.Index(
                fields=["team", "chat_channel", "-last_message_at", "-id"],
                condition=Q(team__isnull=False),
                name="conversations_of_team",
            ),
            # Waiting chats per assignee, and unassigned ones per channel: for automatic assignment.
            models.Index(
                fields=["assignee", "chat_channel", "last_message_at"],
                condition=Q(last_direction="inbound", request_status__in=ACTIVE_STATUSES),
                name="conversations_waiting_of",
            ),
            models.Index(
                fields=["chat_channel", "-last_message_at", "-id"],
                include=["snoozed_until"],
                condition=Q(snoozed_until__isnull=False),
                name="conversations_snoozed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"

    @property
    def needs_reply(self) -> bool:
        """Whether the last message is the client's and its request is new or open."""
        return self.last_direction == "inbound" and self.request_status in ACTIVE_STATUSES


class Ticket(models.Model):
    """Request: one case inside a conversation. A message after closing opens a new request.

    Messages open one request per chat at a time. Programs may open more. The newest open request is current: messages
    go into it. The others stay in the list of requests until they become current or are closed.
    """

    class Status(models.IntegerChoices):
        OPEN = chat_events.OPEN, _("open")
        SOLVED = chat_events.SOLVED, _("solved")
        CLOSED = chat_events.CLOSED, _("closed")
        DELETED = chat_events.DELETED, _("deleted")
        ON_HOLD = chat_events.ON_HOLD, _("on hold")
        PENDING = chat_events.PENDING, _("pending")
        SPAM = chat_events.SPAM, _("spam")
        NEW = chat_events.NEW, _("new")
        MAILING = chat_events.MAILING, _("mailing")
        MERGED = chat_events.MERGED, _("merged")

    class Priority(models.TextChoices):
        LOW = "low", pgettext_lazy("priority", "low")
        MEDIUM = "medium", pgettext_lazy("priority", "medium")
        URGENT = "urgent", pgettext_lazy("priority", "urgent")
        EXTREME = "extreme", pgettext_lazy("priority", "extreme")

    class Type(models.TextChoices):
        QUESTION = "question", _("question")
        TASK = "task", pgettext_lazy("request", "task")
        PROBLEM = "problem", _("problem")
        INCIDENT = "incident", _("incident")

    # A message after one of these opens a new request; a message after SOLVED reopens the request.
    ENDED = (Status.CLOSED, Status.DELETED, Status.SPAM, Status.MERGED)

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="tickets")
    status = models.SmallIntegerField(_("status"), choices=Status.choices, default=Status.NEW)
    subject = models.CharField(_("subject"), max_length=255, blank=True)
    first_text = models.TextField(blank=True)  # text of the first message; ``ticket.message`` in events
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("assignee"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # tickets_of_assignee begins with it
    )
    team = models.ForeignKey(
        Team,
        verbose_name=_("team"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # tickets_of_team begins with it
    )
    external_id = models.BigIntegerField(_("number in the helpdesk"), null=True)  # external helpdesk
    # Properties that programs set through the API; see docs/decisions.md, 2026-11-28.
    additional_id = models.CharField(_("additional id"), max_length=255, blank=True, default="", db_default="")
    priority = models.CharField(
        _("priority"), max_length=10, choices=Priority.choices, default=Priority.MEDIUM, db_default=Priority.MEDIUM
    )
    type = models.CharField(
        _("type"), max_length=10, choices=Type.choices, default=Type.QUESTION, db_default=Type.QUESTION
    )
    tags = ArrayField(
        models.CharField(max_length=255), verbose_name=_("tags"), blank=True, default=list, db_default=NO_TAGS
    )
    custom_fields = models.JSONField(default=dict, blank=True, db_default=NO_FIELDS)  # {id of a TicketField: value}
    assigned_to_group = models.BooleanField(default=False, db_default=False)  # to all operators of the chat channel
    # Opened by a program while another request of the chat was open.
    parallel = models.BooleanField(default=False, db_default=False)
    opened_at = models.DateTimeField(_("opened"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    first_answer_at = models.DateTimeField(_("first answer"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=~Q(status__in=ENDED_STATUSES) & Q(parallel=False),
                name="one_live_ticket_of_messages_per_chat",
            )
        ]
        indexes = [
            models.Index(fields=["-opened_at", "-id"], name="tickets_newest"),
            models.Index(fields=["status", "-opened_at", "-id"], name="tickets_by_status"),
            models.Index(
                fields=["-opened_at", "-id"],
                condition=~Q(status__in=ENDED_STATUSES),
                name="tickets_live",
            ),
            models.Index(
                fields=["conversation", "-id"],
                condition=~Q(status__in=ENDED_STATUSES),
                name="tickets_live_of_conversation",
            ),
            GinIndex(fields=["tags"], condition=~Q(tags=[]), name="tickets_by_tag"),
            models.Index(
                fields=["assignee", "-opened_at", "-id"],
                condition=Q(assignee__isnull=False),
                name="tickets_of_assignee",
            ),
            models.Index(
                fields=["assignee"],
                condition=Q(assignee__isnull=False) & ~Q(status__in=ENDED_STATUSES),
                name="tickets_live_of_assignee",
            ),
            models.Index(
                fields=["team", "-opened_at", "-id"],
                condition=Q(team__isnull=False),
                name="tickets_of_team",
            ),
            models.Index(fields=["external_id"], condition=Q(external_id__isnull=False), name="tickets_by_external_id"),
            models.Index(fields=["additional_id"], condition=~Q(additional_id=""), name="tickets_by_additional_id"),
        ]

    def __str__(self) -> str:
        return f"№ {self.pk}"

    @property
    def labels(self) -> list[str]:
        """Return labels for operators: a non-default priority or type, and the tags."""
        labels = [] if self.priority == self.Priority.MEDIUM else [str(self.Priority(self.priority).label)]
        if self.type != self.Type.QUESTION:
            labels.append(str(self.Type(self.type).label))
        return [*labels, *self.tags]

    @property
    def status_label(self) -> str:
        """Return the status label. Faster than ``get_status_display``, which rebuilds all choices."""
        return str(self.Status(self.status).label)
