"""A contact's chat in one chat channel, and the requests in it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.codecs import chat_events
from channels_setup.models import ApiChannel, ChatChannel

from .contacts import Contact

OVER = [chat_events.CLOSED, chat_events.DELETED, chat_events.SPAM, chat_events.MERGED]  # ``Ticket.ENDED``
NO_TAGS = Value([], output_field=ArrayField(models.CharField(max_length=255)))
NO_FIELDS = Value({}, output_field=models.JSONField())
AT_WORK = (chat_events.OPEN, chat_events.NEW)  # statuses of a request that somebody must do something about


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: Any) -> ConversationQuerySet:
        """Those this user may see: admins all, operators the ones in their chat channels."""
        return self.filter(chat_channel__in=ChatChannel.objects.all().visible_to(user))


class ChangeAfterAnswer(models.TextChoices):
    """What a client did to an earlier message after our answer."""

    EDITED = "edited", _("Edited after your answer")
    DELETED = "deleted", _("Deleted after your answer")
    REACTED = "reacted", _("Reacted after your answer")


class Conversation(models.Model):
    """One contact on one API channel in one chat channel. It lives for ever; requests come and go inside it."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.PROTECT, related_name="conversations")
    # Neither needs an index of its own: conversations_newest and the uniqueness below begin with them.
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
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    # The last words and where the request stands, kept here so that a list of a million chats needs no join:
    # the live request's status (``Ticket.Status``), else that of the one that ended last.
    request_status = models.SmallIntegerField(null=True, editable=False)
    last_message_at = models.DateTimeField(_("last message"), db_default=Now())
    last_text = models.CharField(max_length=200, blank=True)
    event_stamp = models.DateTimeField(null=True, editable=False)  # ``last_updated_at`` of the last event
    last_direction = models.CharField(max_length=10, blank=True)
    # When the last message was written, where it was received late; null otherwise.
    last_written_at = models.DateTimeField(null=True, editable=False)
    unread = models.IntegerField(_("unread"), default=0)
    # What the client did to an earlier message after we had answered; empty once the chat has been read.
    change_after_answer = models.CharField(
        max_length=10, choices=ChangeAfterAnswer.choices, blank=True, default="", db_default="", editable=False
    )

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        constraints = [
            models.UniqueConstraint(fields=["contact", "chat_channel"], name="one_conversation_per_contact_and_channel")
        ]
        indexes = [
            models.Index(fields=["chat_channel", "-last_message_at", "-id"], name="conversations_newest"),
            models.Index(fields=["-last_message_at", "-id"], name="conversations_newest_of_all"),
            # The lists of the desk, each a short index of its own (see ``desk.listing``).
            models.Index(
                fields=["chat_channel", "-last_message_at", "-id"],
                condition=Q(last_direction="inbound", request_status__in=AT_WORK),
                name="conversations_waiting",
            ),
            models.Index(
                fields=["chat_channel", "-last_message_at", "-id"],
                condition=Q(assignee=None, request_status__in=AT_WORK),
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
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class Ticket(models.Model):
    """One case inside a conversation (запрос). A closed one and a new message make the next.

    Messages make one live request a chat. Programs may ask for more: then the newest live one is the current one,
    into which messages go, and the others wait in the list of requests until they are current or closed.
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

    # A message after one of these makes a new ticket; a solved one is opened again.
    ENDED = (Status.CLOSED, Status.DELETED, Status.SPAM, Status.MERGED)

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="tickets")
    status = models.SmallIntegerField(_("status"), choices=Status.choices, default=Status.NEW)
    subject = models.CharField(_("subject"), max_length=255, blank=True)
    first_text = models.TextField(blank=True)  # the first message: what ``ticket.message`` carries in events
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("assignee"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # tickets_of_assignee begins with it
    )
    external_id = models.BigIntegerField(_("number in the helpdesk"), null=True)  # of an outside one
    # What programs set through the public API; see docs/decisions.md, 2026-11-28.
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
    parallel = models.BooleanField(
        default=False, db_default=False
    )  # made on request while another one of the chat was live
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
                condition=~Q(status__in=OVER) & Q(parallel=False),
                name="one_live_ticket_of_messages_per_chat",
            )
        ]
        indexes = [
            models.Index(fields=["-opened_at", "-id"], name="tickets_newest"),
            models.Index(fields=["status", "-opened_at", "-id"], name="tickets_by_status"),
            models.Index(
                fields=["-opened_at", "-id"],
                condition=~Q(status__in=OVER),
                name="tickets_live",
            ),
            models.Index(
                fields=["conversation", "-id"], condition=~Q(status__in=OVER), name="tickets_live_of_conversation"
            ),
            GinIndex(fields=["tags"], condition=~Q(tags=[]), name="tickets_by_tag"),
            models.Index(
                fields=["assignee", "-opened_at", "-id"],
                condition=Q(assignee__isnull=False),
                name="tickets_of_assignee",
            ),
            models.Index(
                fields=["assignee"],
                condition=Q(assignee__isnull=False) & ~Q(status__in=OVER),
                name="tickets_live_of_assignee",
            ),
            models.Index(fields=["external_id"], condition=Q(external_id__isnull=False), name="tickets_by_external_id"),
        ]

    def __str__(self) -> str:
        return f"№ {self.pk}"

    @property
    def marks(self) -> list[str]:
        """What programs set and operators should see: another priority or type than usual, and the tags."""
        marks = [] if self.priority == self.Priority.MEDIUM else [str(self.Priority(self.priority).label)]
        if self.type != self.Type.QUESTION:
            marks.append(str(self.Type(self.type).label))
        return [*marks, *self.tags]

    @property
    def status_words(self) -> str:
        """``get_status_display``, which puts all the choices together anew at each call."""
        return str(self.Status(self.status).label)
