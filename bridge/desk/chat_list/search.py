"""Search of the chat list: by client, request, tag, message and note.

Each source is one query with its own index, because their OR could use none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from bridge.conversations import merge_lookup
from bridge.models import Contact, ContactNote, ConversationNote, Message, Ticket, search
from channels_setup.codecs.phone_numbers import search_keys
from channels_setup.models import ApiChannel

MAX_HITS = 1_000  # at most this many newest chats per search and source
# A search reads this many newest messages first, and all messages only if it finds too few.
RECENT_MESSAGES = 200_000
ENOUGH_HITS = 100
CLIENT, REQUEST, TAG, MESSAGE, NOTE = "client", "request", "tag", "message", "note"
REQUEST_NUMBER = re.compile(r"\s*(?:№|#|no\.?|n°)?\s*(\d{1,18})\s*", re.IGNORECASE)

CHATS_OF_CONTACTS_SQL = """
SELECT c.id, '' FROM found JOIN bridge_conversation c ON c.contact_id = found.owner
WHERE c.chat_channel_id = ANY(%s) ORDER BY c.last_message_at DESC LIMIT %s
"""
CHATS_OF_MESSAGES_SQL = """
SELECT c.id, max(found.id) FROM found JOIN bridge_conversation c ON c.id = found.conversation_id
WHERE c.chat_channel_id = ANY(%s) GROUP BY c.id ORDER BY max(found.id) DESC LIMIT %s
"""
# ``words``: what to show of the row, the newest one of each chat.
CHATS_OF_ROWS_SQL = """
SELECT DISTINCT ON (c.id) c.id, found.words FROM found JOIN bridge_conversation c ON c.id = found.conversation_id
WHERE c.chat_channel_id = ANY(%s) ORDER BY c.id, found.id DESC LIMIT %s
"""
CHATS_OF_CLIENT_ROWS_SQL = """
SELECT DISTINCT ON (c.id) c.id, found.words FROM found JOIN bridge_conversation c ON c.contact_id = found.owner
WHERE c.chat_channel_id = ANY(%s) ORDER BY c.id, found.id DESC LIMIT %s
"""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Why a search found a chat. ``message``: the ID of the message; ``words``: the tag, number or note."""

    source: str
    message: int | None = None
    words: str = ""


def find_contacts(query: str, *, api_channels: Sequence[int]) -> list[QuerySet[Contact]]:
    """Find contacts by name prefix, phone digits, email, provider ID or whole phone number.

    Returns several querysets, because each can use an index and their OR could not.
    """
    contacts = Contact.objects.filter(api_channel__in=list(api_channels))
    found: list[QuerySet[Contact]] = [contacts.filter(external_id=query)]
    if "@" in query:
        found.append(contacts.with_email(query))
    if keys := search_keys(query):
        found += [contacts.filter(phone_key__in=keys), contacts.filter(address_key__in=keys)]
    if search.build_contact_query(query) is not None:
        found.append(Contact.objects.all().matching_words(query))
    return found


def chat_owners(found: QuerySet[Contact]) -> QuerySet[Any, Any]:
    """Return the contacts that own the chats. A merged contact's chats belong to the merge target (``owner``)."""
    return found.order_by().annotate(owner=Coalesce("merged_into", "pk")).values("owner")


def search_chats(channels: Sequence[int], query: str) -> dict[int, Hit]:
    """Search chats. Return the best hit of each chat: by client, request, tag, message, note."""
    hits: dict[int, Hit] = {}

    def add(source: str, found: list[tuple[int, Any]]) -> None:
        for pk, value in found:
            hit = Hit(source=source, message=value) if source == MESSAGE else Hit(source=source, words=value)
            hits.setdefault(pk, hit)

    for people in find_contacts(query, api_channels=list(ApiChannel.objects.values_list("pk", flat=True))):
        owners = chat_owners(merge_lookup.filter_visible_people(people, channels))
        add(CLIENT, _find_chats(owners, CHATS_OF_CONTACTS_SQL, channels))
    for requests in _find_requests(query):
        add(REQUEST, _find_chats(requests, CHATS_OF_ROWS_SQL, channels))
    tickets, contacts = _find_tagged(query, channels)
    add(TAG, _find_chats(tickets, CHATS_OF_ROWS_SQL, channels))
    add(TAG, _find_chats(contacts, CHATS_OF_CLIENT_ROWS_SQL, channels))
    add(MESSAGE, _find_chats_by_message(channels, query))
    for notes, chats_sql in _find_notes(query, channels):
        add(NOTE, _find_chats(notes, chats_sql, channels))
    return hits


def _find_requests(query: str) -> list[QuerySet[Any, Any]]:
    """Find requests by their number here, in the helpdesk, or in a program ("№ 1006", "#1006")."""
    found = []
    requests = Ticket.objects.order_by()
    if number := REQUEST_NUMBER.fullmatch(query):
        wanted = int(number[1])
        found += [requests.filter(pk=wanted), requests.filter(external_id=wanted)]
    found.append(requests.filter(additional_id=query.strip()).exclude(additional_id=""))
    return [rows.values("id", "conversation_id", words=F("id")) for rows in found]


def _find_tagged(query: str, channels: Sequence[int]) -> tuple[QuerySet[Any, Any], QuerySet[Any, Any]]:
    """Find requests and contacts with this tag, written in small letters, capitals, or with a capital."""
    tag = query.strip().removeprefix("#").strip()
    tags = sorted({tag, tag.lower(), tag.upper(), tag.capitalize()})
    tickets = Ticket.objects.filter(tags__overlap=tags).exclude(tags=[]).order_by("-pk")[:MAX_HITS]
    by_tag = reduce(or_, (Q(tags__contains=[tag]) for tag in tags))
    people = merge_lookup.filter_visible_people(Contact.objects.filter(by_tag).exclude(tags=[]), channels)
    contacts = people.order_by("-pk")[:MAX_HITS]
    word = Value(tag)
    owner = Coalesce("merged_into", "pk")
    return (
        tickets.values("id", "conversation_id", words=word),
        contacts.values("id", owner=owner, words=word),
    )


def _find_notes(query: str, channels: Sequence[int]) -> list[tuple[QuerySet[Any, Any], str]]:
    text_query = search.build_message_query(query)
    if text_query is None:
        return []
    in_threads = ConversationNote.objects.annotate(found=search.build_message_vector()).filter(found=text_query)
    on_clients = ContactNote.objects.annotate(found=search.build_message_vector()).filter(found=text_query)
    # A note of a merged client may be of a chat channel that the user does not see.
    people = merge_lookup.filter_visible_people(Contact.objects.filter(pk=OuterRef("contact_id")), channels)
    on_clients = on_clients.filter(Exists(people))
    owner = Coalesce("contact__merged_into", "contact_id")
    return [
        (in_threads.order_by().values("id", "conversation_id", words=F("text")), CHATS_OF_ROWS_SQL),
        (on_clients.order_by().values("id", words=F("text"), owner=owner), CHATS_OF_CLIENT_ROWS_SQL),
    ]


def _find_chats_by_message(channels: Sequence[int], query: str) -> list[tuple[int, Any]]:
    text_query = search.build_message_query(query)
    if text_query is None:
        return []
    messages = Message.objects.annotate(words=search.build_message_vector()).filter(words=text_query).order_by()
    newest_id = Message.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    recent = messages.filter(pk__gt=newest_id - RECENT_MESSAGES).values("id", "conversation_id")
    found = _find_chats(recent, CHATS_OF_MESSAGES_SQL, channels)
    if len(found) < ENOUGH_HITS and newest_id > RECENT_MESSAGES:
        found = _find_chats(messages.values("id", "conversation_id"), CHATS_OF_MESSAGES_SQL, channels)
    return found


def _find_chats(found: QuerySet[Any, Any], chats_sql: str, channels: Sequence[int]) -> list[tuple[int, Any]]:
    """Return the chats of the found rows.

    MATERIALIZED keeps PostgreSQL from walking all chats, newest first, to match their text one by one.
    """
    sql, params = found.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"WITH found AS MATERIALIZED ({sql}) {chats_sql}", [*params, list(channels), MAX_HITS])
        return cursor.fetchall()
