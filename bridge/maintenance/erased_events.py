"""Raw requests that name a person: found by their links to contacts, and by a search in those that are not linked.

A request that also names other people is emptied as a whole: it has been processed, so nothing needs it any more.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from bridge.inbox import routing
from bridge.models import Contact, Conversation, Message, Ticket, WebhookEvent

from . import identifier_patterns

# Everything in a request that may name somebody, in the form that ``identifier_patterns`` matches.
SEARCHED_SQL = """encode(body || convert_to(
    concat_ws(' ', '', query_string, content_type, headers::text, error, traceback), 'UTF8'), 'escape')"""
NOT_EMPTY_SQL = "(octet_length(body) > 0 OR query_string <> '' OR error <> '' OR traceback <> '' OR headers <> '{}')"

NUMBER_NAMES = (b"client_id", b"chat_id", b"ticket_id", b"message_id")
OUR_NUMBERS = re.compile(rb"""(%s)["'\]]*\s*[:=]\s*["']?(\d{1,18})(?!\d)""" % b"|".join(NUMBER_NAMES))


def erase_events(contact: Contact, pattern: str) -> int:
    """Empty the processed requests that name this contact. Return how many."""
    condition = "contact_ids && ARRAY[%s]::bigint[]" + (f" OR {SEARCHED_SQL} ~ %s" if pattern else "")
    return _clear(condition, [contact.pk, *([pattern] if pattern else [])])


def erase_helpdesk_events(chat_channel_ids: Collection[int], numbers: Collection[int]) -> int:
    """Empty the requests of external helpdesks that name the person by the helpdesk's numbers only."""
    if not chat_channel_ids or not numbers:
        return 0
    pattern = f"(?<![0-9])(?:{'|'.join(str(number) for number in sorted(numbers))})(?![0-9])"
    # Also events that were linked to nobody: a rule's text concerns no fact, and names a request only.
    condition = f"chat_channel_id = ANY(%s) AND cardinality(coalesce(contact_ids, '{{}}')) = 0 AND {SEARCHED_SQL} ~ %s"
    return _clear(condition, [list(chat_channel_ids), pattern])


def erase_failed_events(contact: Contact, chats: QuerySet[Conversation]) -> int:
    """Empty the failed requests of the contact's channel that name the person by our numbers only."""
    rows = WebhookEvent.objects.filter(
        api_channel=contact.api_channel_id, state__in=WebhookEvent.STUCK, contact_ids=None
    ).only("pk", "body", "query_string")
    found = []
    for event in rows.iterator(chunk_size=50):
        named = {name: set() for name in NUMBER_NAMES}  # type: dict[bytes, set[int]]
        for name, number in OUR_NUMBERS.findall(bytes(event.body) + b"&" + event.query_string.encode()):
            named[name].add(int(number))
        if _is_any_of_person(named, contact, chats):
            found.append(event.pk)
    return _clear("id = ANY(%s)", [found]) if found else 0


def _is_any_of_person(named: dict[bytes, set[int]], contact: Contact, chats: QuerySet[Conversation]) -> bool:
    return (
        contact.pk in named[b"client_id"]
        or (bool(named[b"chat_id"]) and chats.filter(pk__in=named[b"chat_id"]).exists())
        or (
            bool(named[b"ticket_id"])
            and Ticket.objects.filter(pk__in=named[b"ticket_id"], conversation__in=chats).exists()
        )
        or (
            bool(named[b"message_id"])
            and Message.objects.filter(pk__in=named[b"message_id"], conversation__in=chats).exists()
        )
    )


def count_events(contact: Contact) -> int:
    """Return how many stored requests an erasure would empty."""
    pattern = build_contact_pattern(contact)
    condition = "contact_ids && ARRAY[%s]::bigint[]" + (f" OR {SEARCHED_SQL} ~ %s" if pattern else "")
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM bridge_webhookevent WHERE {NOT_EMPTY_SQL} AND ({condition})",
            [contact.pk, *([pattern] if pattern else [])],
        )
        return int(cursor.fetchone()[0])


def erase_mentions(pattern: str) -> int:
    """Empty requests of any channel that match a pattern."""
    return _clear(f"{SEARCHED_SQL} ~ %s", [pattern]) if pattern else 0


def build_contact_pattern(contact: Contact) -> str:
    """Return the pattern of a contact's identifiers. Names are left out: other people have them too."""
    identifiers = {contact.external_id, contact.user_id, contact.caller_id, contact.username, contact.email}
    identifiers.update(contact.former_ids.values_list("value", flat=True))
    phones = identifier_patterns.list_phones(contact)
    return identifier_patterns.build_pattern(identifiers, phones=phones)


def _clear(condition: str, values: list[Any]) -> int:
    """Empty matching requests. A failed one counts as processed: there is nothing left to process again."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE bridge_webhookevent
                SET body = ''::bytea, headers = '{{}}', query_string = '', content_type = '', error = '',
                    traceback = '', state = 'processed'
                WHERE state <> 'new' AND {NOT_EMPTY_SQL} AND ({condition})""",
            values,
        )
        count = int(cursor.rowcount)
    if count:
        routing.settle_unrouted_alerts()
    return count
