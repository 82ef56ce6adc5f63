"""Opt-outs and consents of contacts: who sets them, and which templates they block.

An opt-out belongs to one contact, so to one number of the business. In a chat of merged contacts the broadest one
counts. It is decided twice, like the window: under the chat's lock on submission, and right before the call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from bridge import outcomes, service_window
from bridge.models import Contact, ContactConsent, Conversation, Message, OptOut, OptOutSource
from bridge.person_erased import PersonErased
from channels_setup.codecs import opt_out_words
from channels_setup.prepared_queries import PreparedQuery
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


@dataclass(frozen=True, kw_only=True)
class OptOutReport:
    """An opt-out of one contact, or its end. ``at``: the client's time, or None for now."""

    contact_id: int
    opt_out: OptOut
    source: OptOutSource
    at: datetime | None = None
    by: Any = None
    reason: str = ""


def set_opt_out(
    contact_id: int, opt_out: OptOut, *, source: OptOutSource, by: Any = None, reason: str = "", at: Any = None
) -> bool:
    """Set or take back a contact's opt-out. Return whether it changed. Raises PersonErased."""
    report = OptOutReport(contact_id=contact_id, opt_out=opt_out, source=source, at=at, by=by, reason=reason)
    return bool(set_opt_outs([report]))


@transaction.atomic
def set_opt_outs(reports: Sequence[OptOutReport]) -> set[int]:
    """Set or take back opt-outs with a fixed number of statements. Return the contacts that changed.

    Taking one back does so for all contacts that were merged with this one. Raises PersonErased.

    A reply that is being submitted in one of the chats is decided before or after this, never in between. Lock order:
    contacts (shared, as an insert of their rows does), chats, consents. Erasures lock contacts first, too, and the
    inbox locks chats before consents.
    """
    if not reports:
        return set()
    contact_ids = sorted({report.contact_id for report in reports})
    owners = {
        pk: into or pk for pk, into in Contact.objects.filter(pk__in=contact_ids).values_list("pk", "merged_into")
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, erased_at IS NOT NULL FROM bridge_contact WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE",
            [sorted({*contact_ids, *owners.values()})],
        )
        if any(is_erased for pk, is_erased in cursor.fetchall() if pk in owners):
            raise PersonErased
    chats = Conversation.objects.select_for_update(of=("self",), no_key=True).filter(contact__in=owners.values())
    list(chats.order_by("pk").values_list("pk"))
    return apply_reports(reports)


def apply_reports(reports: Sequence[OptOutReport]) -> set[int]:
    """Apply opt-outs in the order of the clients' time. Return the contacts that changed.

    Locks the consents only: the second decision, right before the call, sees what a submission of now did not.
    """
    now = service_window.database_now()
    dated = [(min(report.at or now, now) if report.by is None else now, report) for report in reports]
    dated.sort(key=lambda pair: pair[0])
    families = _find_families([report.contact_id for report in reports if report.opt_out == OptOut.NONE])
    people = {report.contact_id for report in reports} | {pk for family in families.values() for pk in family}
    own = sorted({report.contact_id for report in reports})
    ContactConsent.objects.bulk_create([ContactConsent(contact_id=pk) for pk in own], ignore_conflicts=True)
    locked = ContactConsent.objects.select_for_update(no_key=True, of=("self",)).filter(contact__in=people)
    rows = {row.contact_id: row for row in locked.order_by("contact")}
    before = {pk: row.opt_out for pk, row in rows.items()}
    touched: set[int] = set()
    for at, report in dated:
        for pk in sorted({report.contact_id, *families.get(report.contact_id, ())}):
            if pk in rows and _change_row(rows[pk], report, at=at):
                touched.add(pk)
    fields = ["opt_out", "opt_out_source", "opt_out_at", "opt_out_by", "opt_out_reason"]
    ContactConsent.objects.bulk_update([rows[pk] for pk in sorted(touched)], fields)
    changed = {pk for pk in touched if rows[pk].opt_out != before[pk]}
    _record_lines({pk: rows[pk] for pk in changed})
    return changed


def _find_families(contact_ids: Sequence[int]) -> dict[int, set[int]]:
    """Return all contacts that were merged with each of these, with one query."""
    if not contact_ids:
        return {}
    statement = """
        SELECT p.id, f.id FROM bridge_contact p
        CROSS JOIN LATERAL (
            SELECT id FROM bridge_contact WHERE id = coalesce(p.merged_into_id, p.id)
            UNION ALL SELECT id FROM bridge_contact WHERE merged_into_id = coalesce(p.merged_into_id, p.id)
        ) f WHERE p.id = ANY(%s)"""
    found: dict[int, set[int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(statement, [sorted(set(contact_ids))])
        for pk, relative in cursor.fetchall():
            found.setdefault(pk, set()).add(relative)
    return found


def _change_row(row: ContactConsent, report: OptOutReport, *, at: datetime) -> bool:
    """Apply one report to a row. Return whether the row has to be saved."""
    # Reports may arrive late. A person's decision is the newest one, even if the provider's clock is ahead.
    is_report = report.source in (OptOutSource.WORDS, OptOutSource.WHATSAPP)
    if is_report and row.opt_out_at is not None and at < row.opt_out_at:
        return False
    if report.source == OptOutSource.WHATSAPP and row.opt_out == OptOut.ALL:
        return False  # WhatsApp's setting is about marketing only: it neither narrows nor lifts the client's own words
    if row.opt_out == report.opt_out:
        # A repeated refusal is a newer one: what the client wrote before it, and arrives later, does not lift it.
        row.opt_out_at = at if is_report else row.opt_out_at
        return is_report
    row.opt_out, row.opt_out_source, row.opt_out_at, row.opt_out_by = report.opt_out, report.source, at, report.by
    row.opt_out_reason = " ".join(report.reason.replace("\0", "").split())[:MAX_REASON_LENGTH]
    return True


def _record_lines(changed: Mapping[int, ContactConsent]) -> None:
    """Add a line to each chat of the changed contacts: one per chat, of the broadest change."""
    if not changed:
        return
    found: dict[int, ContactConsent] = {}
    owners = Contact.objects.filter(pk__in=changed).values_list("pk", "merged_into")
    by_owner: dict[int, list[ContactConsent]] = {}
    for pk, into in owners:
        by_owner.setdefault(into or pk, []).append(changed[pk])
    for chat, owner in Conversation.objects.filter(contact__in=by_owner).order_by("pk").values_list("pk", "contact"):
        found[chat] = max(by_owner[owner], key=lambda row: STRICTNESS[OptOut(row.opt_out)])
    activity.record_activities(
        activity.NewActivity(conversation_id=chat, kind=ACTIVITIES[OptOut(row.opt_out)], actor_id=row.opt_out_by_id)
        for chat, row in found.items()
    )


def apply_words(messages: Sequence[Message]) -> None:
    """Opt clients out, or in again, whose new message is one of the words of its chat channel.

    The caller holds the locks of the conversations. Without such a word there is no query; with any number of them,
    there is a fixed number.
    """
    reports = []
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
            reports.append(
                OptOutReport(
                    contact_id=message.merged_contact_id or message.conversation.contact_id,
                    opt_out=OptOut.ALL if word == opt_out_words.STOP else OptOut.NONE,
                    source=OptOutSource.WORDS,
                    reason=message.text,
                    at=message.provider_time,
                )
            )
    if reports:
        apply_reports(reports)


def apply_failures(failed: Iterable[tuple[Message, str, datetime | None]]) -> None:
    """Opt clients out of marketing if the provider refused a message because they did so at WhatsApp.

    ``failed``: messages with the reason and the time of the refusal, None for now.
    """
    concerned = [(message, at) for message, reason, at in failed if outcomes.get_effects(reason).opts_out_of_marketing]
    if not concerned:
        return
    chats = {message.conversation_id for message, _at in concerned}
    owners = dict(Conversation.objects.filter(pk__in=chats).values_list("pk", "contact"))
    writers = [(message.merged_contact_id or owners[message.conversation_id], at) for message, at in concerned]
    erased = set(
        Contact.objects.filter(pk__in={pk for pk, _at in writers}, erased_at__isnull=False).values_list("pk", flat=True)
    )
    reports = [
        OptOutReport(contact_id=pk, opt_out=OptOut.MARKETING, source=OptOutSource.WHATSAPP, at=at)
        for pk, at in writers
        if pk not in erased
    ]
    if reports:
        apply_reports(reports)


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


OWN_CONSENT: PreparedQuery[ContactConsent] = PreparedQuery(
    lambda contact: ContactConsent.objects.filter(contact=contact).select_related("opt_out_by", "recorded_by")
)


def get_consent(contact: Contact) -> ContactConsent | None:
    """Return the consent that pages show: the broadest opt-out among merged contacts, else the contact's own row."""
    if not contact.has_merged:
        return OWN_CONSENT.first(contact.pk)
    people = [contact.pk, *Contact.objects.filter(merged_into=contact.pk).values_list("pk", flat=True)]
    rows = list(ContactConsent.objects.filter(contact__in=people).select_related("opt_out_by", "recorded_by"))
    return choose_strictest(rows, contact.pk)


def choose_strictest(rows: Sequence[ContactConsent], contact_id: int) -> ContactConsent | None:
    """Return the row with the broadest opt-out; among equal ones, that of this contact."""
    return max(rows, key=lambda row: (STRICTNESS[OptOut(row.opt_out)], row.contact_id == contact_id), default=None)
