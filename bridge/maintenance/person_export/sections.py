"""Sections of an export: which rows of which tables are a person's data.

A section exports every column of its model except the ones in OMITTED, so a new column is exported without a change
here. ``tests/test_person_export.py`` reports a model with a person's rows that is in no section.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db.models import Field, Model, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.utils.translation import gettext_lazy as _

from bridge.conversations import contact_fields, merge_lookup
from bridge.maintenance import erasure
from bridge.models import (
    Alert,
    Attachment,
    Attempt,
    AutomaticAssignment,
    AutomaticReply,
    ClosingReminder,
    Contact,
    ContactChange,
    ContactConsent,
    ContactField,
    ContactMerge,
    ContactNote,
    Conversation,
    ConversationActivity,
    ConversationNote,
    Delivery,
    DeliveryDecision,
    Draft,
    FormerId,
    HeldReply,
    HelpdeskChat,
    HelpdeskDuplicateWindow,
    HelpdeskReply,
    IdempotencyKey,
    MergedConversation,
    Message,
    Mismatch,
    NoteMention,
    Notification,
    PendingCorrection,
    ProviderUpload,
    RateLimit,
    ServiceWindow,
    Snooze,
    StrayStatus,
    TemplateLink,
    TemplateTest,
    Ticket,
    TicketField,
    Upload,
    WebhookEvent,
)
from channels_setup.models import ChatChannel

BATCH = 500
# Derived from other columns, or internal: the portal's locks, and fingerprints of credentials.
OMITTED = {"phone_key", "address_key", "lease_token", "fingerprint", "proof", "traceback"}


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The contacts and chats of a person that the export contains."""

    contacts: list[Contact]
    chats: list[int]
    ids: dict[str, list[Any]] = field(default_factory=dict)  # of each section, read once

    @property
    def contact_ids(self) -> list[int]:
        return [contact.pk for contact in self.contacts]

    @property
    def channel_ids(self) -> list[int]:
        return [contact.api_channel_id for contact in self.contacts]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One list in data.json."""

    name: str
    about: Any  # a lazy sentence
    select: Callable[[Scope], QuerySet[Any]]
    batch: int = BATCH

    def list_ids(self, scope: Scope) -> list[Any]:
        # IDs first: with LIMIT and ORDER BY, PostgreSQL might read a large table along its primary key instead.
        if self.name not in scope.ids:
            scope.ids[self.name] = sorted(self.select(scope).order_by().values_list("pk", flat=True))
        return scope.ids[self.name]

    def iterate_rows(self, scope: Scope) -> Iterator[Model]:
        model = self.select(scope).model
        ids = self.list_ids(scope)
        for start in range(0, len(ids), self.batch):
            yield from model._default_manager.filter(pk__in=ids[start : start + self.batch]).order_by("pk")

    def list_fields(self, scope: Scope) -> list[Field[Any, Any]]:
        return [field for field in self.select(scope).model._meta.concrete_fields if field.name not in OMITTED]


def find_scope(contact: Contact, *, user: Any = None) -> Scope:
    """Return the person's contacts and chats that the user may see. Without a user, return all."""
    contact = Contact.objects.get(pk=contact.pk)  # as merged by now
    people = [one for one in erasure.find_same_person(contact) if one.erased_at is None]
    chats = Conversation.objects.filter(contact__in=[one.pk for one in people])
    if user is not None and not _sees_every_channel(user):
        chats = chats.visible_to(user)
        owners = set(chats.values_list("contact", flat=True))
        people = [one for one in people if one.owner_id in owners]
    return Scope(contacts=people, chats=sorted(chats.values_list("pk", flat=True)))


def _sees_every_channel(user: Any) -> bool:
    channels = ChatChannel.objects.all()
    return not channels.exclude(pk__in=channels.visible_to(user).values("pk")).exists()


def _of_chat(model: Any, path: str = "conversation") -> Callable[[Scope], QuerySet[Any]]:
    return lambda scope: model.objects.filter(**{f"{path}__in": scope.chats})


def _of_contact(model: Any, path: str = "contact") -> Callable[[Scope], QuerySet[Any]]:
    return lambda scope: model.objects.filter(**{f"{path}__in": scope.contact_ids})


def _select_merges(scope: Scope) -> QuerySet[ContactMerge]:
    return ContactMerge.objects.filter(Q(source__in=scope.contact_ids) | Q(target__in=scope.contact_ids))


def _select_provider_uploads(scope: Scope) -> QuerySet[ProviderUpload]:
    files = Attachment.objects.filter(message__conversation__in=scope.chats).values("sha256")
    uploads = Upload.objects.filter(conversation__in=scope.chats).values("sha256")
    return ProviderUpload.objects.filter(
        Q(sha256__in=files) | Q(sha256__in=uploads), api_channel__in=scope.channel_ids
    ).exclude(sha256="")


def _select_stray_statuses(scope: Scope) -> QuerySet[StrayStatus]:
    messages = Message.objects.filter(conversation__in=scope.chats).exclude(external_id="")
    return StrayStatus.objects.filter(api_channel__in=scope.channel_ids, external_id__in=messages.values("external_id"))


def _select_corrections(scope: Scope) -> QuerySet[PendingCorrection]:
    found = Q(pk__in=[])
    for contact in scope.contacts:
        for name in ("external_id", "user_id"):
            if value := getattr(contact, name):
                found |= Q(**{"api_channel": contact.api_channel_id, f"contact__{name}": value})
    return PendingCorrection.objects.filter(found)


def _select_webhook_events(scope: Scope) -> QuerySet[WebhookEvent]:
    """Select the requests that name this person and nobody else."""
    return WebhookEvent.objects.filter(
        contact_ids__overlap=scope.contact_ids, contact_ids__contained_by=scope.contact_ids
    )


def _select_idempotency_keys(scope: Scope) -> QuerySet[IdempotencyKey]:
    named = RawSQL(
        "SELECT id FROM bridge_idempotencykey "
        "WHERE jsonb_path_exists(answer, '$.**.chat_id ? (@ == $ids[*])', %s) OR owner ~ %s",
        [json.dumps({"ids": scope.chats}), f"^chat ({'|'.join(map(str, scope.chats)) or 'none'})/"],
    )
    linked = Q(contact_ids__overlap=scope.contact_ids, contact_ids__contained_by=scope.contact_ids)
    return IdempotencyKey.objects.filter(Q(pk__in=named) | linked)


def _select_rate_limits(scope: Scope) -> QuerySet[RateLimit]:
    found = Q(pk__in=[])
    for contact in scope.contacts:
        for identifier in erasure.list_identifiers(contact):
            found |= Q(api_channel=contact.api_channel_id, key__endswith=f" {identifier}")
    return RateLimit.objects.filter(found)


def _select_admin_log(scope: Scope) -> QuerySet[LogEntry]:
    rows = LogEntry.objects.filter(content_type__app_label="bridge")
    contacts = Q(content_type__model="contact", object_id__in=[str(pk) for pk in scope.contact_ids])
    return rows.filter(contacts | Q(content_type__model="conversation", object_id__in=[str(pk) for pk in scope.chats]))


def _select_ticket_fields(scope: Scope) -> QuerySet[TicketField]:
    used = Ticket.objects.filter(conversation__in=scope.chats).exclude(custom_fields={})
    ids = {int(key) for fields in used.values_list("custom_fields", flat=True) for key in fields if key.isdecimal()}
    return TicketField.objects.filter(pk__in=ids)


def _select_contact_fields(scope: Scope) -> QuerySet[ContactField]:
    values = [contact_fields.read_values(contact) for contact in scope.contacts]
    return ContactField.objects.filter(pk__in={int(key) for found in values for key in found if key.isdecimal()})


SECTIONS: tuple[Section, ...] = (
    Section(
        name="contacts",
        about=_("The person on each API channel: names, phone numbers, IDs, tags."),
        select=lambda scope: Contact.objects.filter(pk__in=scope.contact_ids),
    ),
    Section(
        name="former_ids", about=_("IDs at the provider that the person had before."), select=_of_contact(FormerId)
    ),
    Section(
        name="contact_changes",
        about=_("Changes of name, phone, email and notes: old and new value."),
        select=_of_contact(ContactChange),
    ),
    Section(
        name="contact_consents",
        about=_("How the person agreed to be written to, and what they opted out of."),
        select=_of_contact(ContactConsent),
    ),
    Section(name="contact_notes", about=_("Internal notes of operators."), select=_of_contact(ContactNote)),
    Section(name="contact_merges", about=_("Merges with other contacts of the person."), select=_select_merges),
    Section(
        name="conversations",
        about=_("Chats of the person."),
        select=lambda scope: Conversation.objects.filter(pk__in=scope.chats),
    ),
    Section(
        name="merged_conversations",
        about=_("Chats that a merge moved into another chat, with what is needed to undo it."),
        select=_of_chat(MergedConversation),
    ),
    Section(name="tickets", about=_("Requests in the chats: status, subject, tags, fields."), select=_of_chat(Ticket)),
    Section(
        name="contact_fields",
        about=_("Titles of the additional fields that the contacts use."),
        select=_select_contact_fields,
    ),
    Section(
        name="ticket_fields",
        about=_("Titles of the additional fields that the requests use."),
        select=_select_ticket_fields,
    ),
    Section(
        name="service_windows",
        about=_("Periods in which free text could be sent."),
        select=_of_chat(ServiceWindow),
    ),
    Section(
        name="closing_reminders",
        about=_("Reminders of operators before such a period ended."),
        select=_of_chat(ClosingReminder, "window__conversation"),
    ),
    Section(
        name="automatic_assignments",
        about=_("Operators to whom the portal assigned the chat."),
        select=_of_chat(AutomaticAssignment),
    ),
    Section(
        name="automatic_replies",
        about=_("Messages that the portal sent by itself, and when it sent none."),
        select=_of_chat(AutomaticReply),
    ),
    Section(name="snoozes", about=_("Until when the chat is put aside, and by whom."), select=_of_chat(Snooze)),
    Section(
        name="messages",
        about=_("Messages of both sides and notices, with reactions, edits and statuses."),
        select=_of_chat(Message),
    ),
    Section(
        name="attachments",
        about=_("Files of messages. “file” is the path in this archive."),
        select=_of_chat(Attachment, "message__conversation"),
    ),
    Section(
        name="uploads",
        about=_("Files uploaded by operators. “file” is the path in this archive."),
        select=_of_chat(Upload),
    ),
    Section(
        name="provider_uploads",
        about=_("IDs of these files at the provider."),
        select=_select_provider_uploads,
    ),
    Section(
        name="held_replies",
        about=_("Replies that wait or waited for the person's next message."),
        select=_of_chat(HeldReply),
    ),
    Section(
        name="notifications", about=_("Notifications of operators about the chats."), select=_of_chat(Notification)
    ),
    Section(name="chat_notes", about=_("Internal notes of operators in the chats."), select=_of_chat(ConversationNote)),
    Section(name="mentions", about=_("Operators whom these notes mention."), select=_of_chat(NoteMention)),
    Section(
        name="activities",
        about=_("What was done with the chats: assigned, closed, tagged."),
        select=_of_chat(ConversationActivity),
    ),
    Section(name="drafts", about=_("Unsent texts of operators."), select=_of_chat(Draft)),
    Section(
        name="template_links",
        about=_("Links with which an operator could send a template."),
        select=_of_chat(TemplateLink),
    ),
    Section(
        name="template_tests",
        about=_("Messages that were tests of a template."),
        select=_of_chat(TemplateTest, "message__conversation"),
    ),
    Section(name="deliveries", about=_("What was sent to which system."), select=_of_chat(Delivery)),
    Section(
        name="attempts",
        about=_("Attempts to send, with the answers of the other system."),
        select=_of_chat(Attempt, "delivery__conversation"),
    ),
    Section(
        name="delivery_decisions",
        about=_("Decisions of admins about undelivered messages."),
        select=_of_chat(DeliveryDecision, "delivery__conversation"),
    ),
    Section(
        name="helpdesk_chats", about=_("IDs of the person in the outside helpdesk."), select=_of_chat(HelpdeskChat)
    ),
    Section(
        name="helpdesk_replies", about=_("Replies that came from the outside helpdesk."), select=_of_chat(HelpdeskReply)
    ),
    Section(
        name="helpdesk_duplicate_windows",
        about=_("Fingerprints that detect repeated events of the outside helpdesk."),
        select=_of_chat(HelpdeskDuplicateWindow),
    ),
    Section(name="mismatches", about=_("Open questions about the chats' messages."), select=_of_chat(Mismatch)),
    Section(
        name="alerts",
        about=_("Alerts about deliveries to the person."),
        select=_of_chat(Alert, "delivery__conversation"),
    ),
    Section(
        name="stray_statuses",
        about=_("Statuses that arrived before their message."),
        select=_select_stray_statuses,
    ),
    Section(
        name="pending_corrections",
        about=_("Reactions, edits and deletions that arrived before their message."),
        select=_select_corrections,
    ),
    Section(
        name="idempotency_keys", about=_("Stored answers to programs about the chats."), select=_select_idempotency_keys
    ),
    Section(
        name="webhook_events",
        about=_("Raw requests of providers, helpdesks and programs that name the person and nobody else."),
        select=_select_webhook_events,
        batch=10,  # a body may have 20 MB
    ),
    Section(name="rate_limits", about=_("Sending limits that name the person."), select=_select_rate_limits),
    Section(name="admin_log", about=_("Actions of admins on the contacts and chats."), select=_select_admin_log),
)


def list_chat_people(scope: Scope) -> dict[int, list[Contact]]:
    """Return the contacts of each chat: its owner, and the contacts that were merged into the owner."""
    chats = Conversation.objects.filter(pk__in=scope.chats).select_related("contact")
    return {chat.pk: merge_lookup.list_people(chat.contact) for chat in chats}
