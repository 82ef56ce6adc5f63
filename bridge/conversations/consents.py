"""Opt-outs and consents of contacts: who sets them, and which templates they block.

An opt-out belongs to one contact, so to one number of the business. In a chat of merged contacts the broadest one
counts. It is decided twice, like the window: under the chat's lock on submission, and right before the call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from bridge import outcomes, service_window
from bridge.models import Contact, ContactConsent, Conversation, Message, OptOut, OptOutSource
from bridge.person_erased import PersonErased
from channels_setup.codecs import opt_out_words
from templates_registry.models import Category

from . import activity

MAX_REASON_LENGTH = 200
ACTIVITIES = {OptOut.NONE: "opted_in", OptOut.MARKETING: "opted_out_of_marketing", OptOut.ALL: "opted_out"}
STRICTNESS = {OptOut.NONE: 0, OptOut.MARKETING: 1, OptOut.ALL: 2}

FIND_OPT_OUTS_SQL = """
SELECT c.id, k.opt_out FROM bridge_conversation c
JOIN bridge_contactconsent k ON k.contact_id = c.contact_id
WHERE c.id = ANY(%(chats)s) AND k.opt_out <> ''
UNION ALL
SELECT c.id, k.opt_out FROM bridge_conversation c
JOIN bridge_contact p ON p.merged_into_id = c.contact_id
JOIN bridge_contactconsent k ON k.contact_id = p.id
WHERE c.id = ANY(%(chats)s) AND k.opt_out <> ''
"""


def find_opt_outs(chat_ids: Collection[int]) -> dict[int, OptOut]:
    """Return the opt-outs in force by conversation ID, with one query. Chats without one are left out."""
    found: dict[int, OptOut] = {}
    if not chat_ids:
        return found
    with connection.cursor() as cursor:
        cursor.execute(FIND_OPT_OUTS_SQL, {"chats": sorted(chat_ids)})
        for chat_id, value in cursor.fetchall():
            found[chat_id] = max(OptOut(value), found.get(chat_id, OptOut.NONE), key=STRICTNESS.__getitem__)
    return found


def get_refusal(opt_out: OptOut, category: str) -> str:
    """Return the code of ``outcomes`` that says why a template of this category is not sent, or ""."""
    if opt_out == OptOut.ALL:
        return "client_opted_out"
    if opt_out == OptOut.MARKETING and category == Category.MARKETING:
        return "client_opted_out_of_marketing"
    return ""


@transaction.atomic
def set_opt_out(
    contact_id: int, opt_out: OptOut, *, source: OptOutSource, by: Any = None, reason: str = "", at: Any = None
) -> bool:
    """Set or take back a contact's opt-out. Return whether it changed.

    Taking it back does so for all contacts that were merged with this one. ``at``: the client's time; an older report
    than the stored one changes nothing. Raises PersonErased.
    """
    contact = Contact.objects.get(pk=contact_id)
    # A reply that is being submitted in one of the chats is decided before or after this, never in between.
    chats = Conversation.objects.select_for_update(of=("self",), no_key=True).filter(contact=contact.owner_id)
    chat_ids = list(chats.order_by("pk").values_list("pk", flat=True))
    if Contact.objects.filter(pk=contact_id, erased_at__isnull=False).exists():
        raise PersonErased
    people = [contact_id]
    if opt_out == OptOut.NONE:
        family = Contact.objects.filter(merged_into=contact.owner_id).values_list("pk", flat=True)
        people = sorted({contact_id, contact.owner_id, *family})
    at = at or service_window.database_now()
    changed = [pk for pk in people if _store_opt_out(pk, opt_out, source=source, by=by, reason=reason, at=at)]
    if changed:
        activity.record_activities(
            activity.NewActivity(conversation_id=pk, kind=ACTIVITIES[opt_out], actor_id=getattr(by, "pk", None))
            for pk in chat_ids
        )
    return bool(changed)


def _store_opt_out(
    contact_id: int, opt_out: OptOut, *, source: OptOutSource, by: Any, reason: str, at: datetime
) -> bool:
    if opt_out == OptOut.NONE and not ContactConsent.objects.filter(contact=contact_id).exists():
        return False
    ContactConsent.objects.bulk_create([ContactConsent(contact_id=contact_id)], ignore_conflicts=True)
    row = ContactConsent.objects.select_for_update(no_key=True).get(contact=contact_id)
    # Reports may arrive late. A person's decision is the newest one, even if the provider's clock is ahead.
    is_report = source in (OptOutSource.WORDS, OptOutSource.WHATSAPP)
    if row.opt_out == opt_out or (is_report and row.opt_out_at is not None and at < row.opt_out_at):
        return False
    if source == OptOutSource.WHATSAPP and row.opt_out == OptOut.ALL:
        return False  # WhatsApp's setting is about marketing only: it neither narrows nor lifts the client's own words
    row.opt_out, row.opt_out_source, row.opt_out_at, row.opt_out_by = opt_out, source, at, by
    row.opt_out_reason = " ".join(reason.replace("\0", "").split())[:MAX_REASON_LENGTH]
    row.save(update_fields=["opt_out", "opt_out_source", "opt_out_at", "opt_out_by", "opt_out_reason"])
    return True


def apply_words(messages: Sequence[Message]) -> None:
    """Opt clients out, or in again, whose new message is one of the words of its chat channel.

    The caller holds the locks of the conversations. Without such a word there is no query.
    """
    for message in messages:
        if len(message.text) > opt_out_words.MAX_LENGTH:
            continue
        chat_channel = message.conversation.chat_channel
        if not chat_channel.recognizes_opt_outs:
            continue
        word = opt_out_words.recognize_word(
            message.text, stop_words=chat_channel.opt_out_words, start_words=chat_channel.opt_in_words
        )
        if word:
            set_opt_out(
                message.merged_contact_id or message.conversation.contact_id,
                OptOut.ALL if word == opt_out_words.STOP else OptOut.NONE,
                source=OptOutSource.WORDS,
                reason=message.text,
                at=message.provider_time,
            )


def apply_failure(message: Message, reason: str, *, at: datetime | None = None) -> None:
    """Opt the client out of marketing if the provider refused a message because they did so at WhatsApp."""
    if not outcomes.get_effects(reason).opts_out_of_marketing:
        return
    contact_id = message.merged_contact_id
    if contact_id is None:
        contact_id = Conversation.objects.values_list("contact", flat=True).get(pk=message.conversation_id)
    if not Contact.objects.filter(pk=contact_id, erased_at=None).exists():
        return
    at = at or service_window.database_now()
    if _store_opt_out(contact_id, OptOut.MARKETING, source=OptOutSource.WHATSAPP, by=None, reason="", at=at):
        activity.record_activity(message.conversation_id, ACTIVITIES[OptOut.MARKETING])


def record_consent(contact_id: int, source: str, *, note: str = "", by: Any = None) -> None:
    """Record how a contact agreed to be written to. A newer consent replaces the older one. Raises PersonErased."""
    if Contact.objects.filter(pk=contact_id, erased_at__isnull=False).exists():
        raise PersonErased
    record_consents([contact_id], source, note=note, by=by)


def record_consents(contact_ids: Collection[int], source: str, *, note: str = "", by: Any = None) -> None:
    """Record the same consent of several contacts with one statement."""
    if not contact_ids:
        return
    values = {
        "source": source,
        "note": " ".join(note.replace("\0", "").split())[:MAX_REASON_LENGTH],
        "recorded_at": service_window.database_now(),
        "recorded_by": by,
    }
    ContactConsent.objects.bulk_create(
        [ContactConsent(contact_id=pk, **values) for pk in sorted(set(contact_ids))],
        update_conflicts=True,
        unique_fields=["contact"],
        update_fields=list(values),
    )


def find_contact_opt_outs(contacts: Collection[Contact], own: Mapping[int, ContactConsent]) -> dict[int, OptOut]:
    """Return the opt-outs in force by contact ID. ``own``: the contacts' own rows."""
    found = {pk: OptOut(row.opt_out) for pk, row in own.items()}
    owners = [contact.pk for contact in contacts if contact.has_merged]
    rows = Contact.objects.filter(merged_into__in=owners, consent__isnull=False)
    for owner, value in rows.values_list("merged_into", "consent__opt_out"):
        assert owner is not None  # by the filter
        found[owner] = max(OptOut(value), found.get(owner, OptOut.NONE), key=STRICTNESS.__getitem__)
    return found


def get_consent(contact: Contact) -> ContactConsent | None:
    """Return the consent that pages show: the broadest opt-out among merged contacts, else the contact's own row."""
    people = [contact.pk]
    if contact.has_merged:
        people += Contact.objects.filter(merged_into=contact.pk).values_list("pk", flat=True)
    rows = list(ContactConsent.objects.filter(contact__in=people).select_related("opt_out_by", "recorded_by"))
    return choose_strictest(rows, contact.pk)


def choose_strictest(rows: Sequence[ContactConsent], contact_id: int) -> ContactConsent | None:
    """Return the row with the broadest opt-out; among equal ones, that of this contact."""
    return max(rows, key=lambda row: (STRICTNESS[OptOut(row.opt_out)], row.contact_id == contact_id), default=None)
