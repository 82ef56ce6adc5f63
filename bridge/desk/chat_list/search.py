"""Search of the chat list: by client, request, tag, message and note.

Each source is one query with its own index, because their OR could use none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from bridge.conversations import chat_notes, merge_lookup
from bridge.desk import presentation
from bridge.desk.statement_timeouts import raise_unless_timeout
from bridge.models import Contact, ContactNote, ConversationNote, Message, Ticket, search
from channels_setup.codecs.phone_numbers import search_keys
from channels_setup.models import ApiChannel

MAX_HITS = 1_000  # at most this many newest chats per search and source
# Where a search may find very many rows, it reads the newest of them first, and all only if it finds too few.
RECENT_MESSAGES, RECENT_REQUESTS = 100_000, 50_000
ENOUGH_HITS = 100
MANY_CLIENTS = 3_000  # found; their chats are read in order instead of looked up one by one
MAX_SECONDS = 3  # of each source
CLIENT, REQUEST, TAG, MESSAGE, NOTE = "client", "request", "tag", "message", "note"
REQUEST_NUMBER = re.compile(r"\s*(?:№|#|no\.?|n°)?\s*(\d{1,18})\s*", re.IGNORECASE)

# PostgreSQL cannot estimate how many rows a word finds. Each source has an index, so no table is read as a whole; and
# with more memory the index gives rows instead of pages, whose words would have to be compared again.
BEGIN_SQL = """
SELECT set_config('statement_timeout', %s, true), set_config('work_mem', '64MB', true),
    set_config('enable_seqscan', 'off', true), set_config('max_parallel_workers_per_gather', '0', true),
    (SELECT max(id) FROM bridge_message), (SELECT max(id) FROM bridge_ticket)
"""
# OFFSET 0 makes PostgreSQL look up the chats of the found rows one by one, instead of reading all chats for a join.
VISIBLE_SQL = "c.chat_channel_id = ANY(ARRAY(SELECT id FROM visible))"
CHATS_OF_CONTACTS_SQL = f"""
, size AS MATERIALIZED (SELECT count(*) >= {MANY_CLIENTS} AS is_large FROM found)
SELECT id, '' FROM (
    (SELECT c.id, c.last_message_at FROM found CROSS JOIN LATERAL (
         SELECT c.id, c.last_message_at FROM bridge_conversation c
         WHERE c.contact_id = found.owner AND {VISIBLE_SQL} OFFSET 0
     ) c WHERE NOT (SELECT is_large FROM size))
    UNION ALL
    (SELECT c.id, c.last_message_at FROM visible CROSS JOIN LATERAL (
         SELECT c.id, c.last_message_at FROM bridge_conversation c
         WHERE c.chat_channel_id = visible.id AND (c.contact_id IN (SELECT owner FROM found)) IS TRUE
         ORDER BY c.last_message_at DESC, c.id DESC LIMIT {ENOUGH_HITS}
     ) c WHERE (SELECT is_large FROM size))
) c ORDER BY last_message_at DESC LIMIT {MAX_HITS}
"""
CHATS_OF_MESSAGES_SQL = f"""
SELECT c.id, newest.id FROM (
    SELECT conversation_id, max(id) AS id FROM found GROUP BY conversation_id ORDER BY max(id) DESC OFFSET 0
) newest CROSS JOIN LATERAL (
    SELECT c.id FROM bridge_conversation c WHERE c.id = newest.conversation_id AND {VISIBLE_SQL} OFFSET 0
) c ORDER BY newest.id DESC LIMIT {MAX_HITS}
"""


def _build_chats_of_rows(owner: str, chat_column: str) -> str:
    """Return SQL for the chats of found rows, with the ``words`` to show: those of each owner's newest row."""
    return f"""
SELECT c.id, newest.words FROM (
    SELECT id, {owner}, words FROM (
        SELECT DISTINCT ON ({owner}) id, {owner}, words FROM found ORDER BY {owner}, id DESC
    ) newest ORDER BY id DESC OFFSET 0
) newest CROSS JOIN LATERAL (
    SELECT c.id FROM bridge_conversation c WHERE c.{chat_column} = newest.{owner} AND {VISIBLE_SQL} OFFSET 0
) c ORDER BY newest.id DESC LIMIT {MAX_HITS}
"""


CHATS_OF_ROWS_SQL = _build_chats_of_rows("conversation_id", "id")
CHATS_OF_CLIENT_ROWS_SQL = _build_chats_of_rows("owner", "contact_id")


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


@dataclass(kw_only=True)
class Hits:
    """What a search found. ``is_cut``: a source took too long, so only those before it were searched."""

    by_chat: dict[int, Hit] = field(default_factory=dict)
    is_cut: bool = False


def search_chats(channels: Sequence[int], query: str) -> Hits:
    """Search chats: by client, request, tag, message, note. Each chat has its first hit in this order."""
    hits = Hits()
    try:
        with transaction.atomic(savepoint=False):
            for source, found in _search_sources(channels, query):
                for pk, value in found:
                    hit = Hit(source=source, message=value) if source == MESSAGE else Hit(source=source, words=value)
                    hits.by_chat.setdefault(pk, hit)
    except OperationalError as problem:
        raise_unless_timeout(problem)
        hits.is_cut = True
    return hits


def name_mentions(hits: Mapping[int, Hit]) -> dict[int, Hit]:
    """Return the hits with names for the "@[ID]" of found notes."""
    notes = [hit for hit in hits.values() if hit.source == NOTE]
    mentioned = {pk for hit in notes for pk in chat_notes.list_mentioned(hit.words)}
    users = get_user_model()._default_manager.in_bulk(mentioned) if mentioned else {}
    names = {pk: presentation.person_name(user) for pk, user in users.items()}
    return {
        pk: replace(hit, words=chat_notes.decode_mentions(hit.words, names)) if hit.source == NOTE else hit
        for pk, hit in hits.items()
    }


def _search_sources(channels: Sequence[int], query: str) -> Iterator[tuple[str, list[tuple[int, Any]]]]:
    with connection.cursor() as cursor:
        cursor.execute(BEGIN_SQL, [f"{MAX_SECONDS}s"])
        *_settings, newest_message, newest_request = cursor.fetchone()
    for people in find_contacts(query, api_channels=list(ApiChannel.objects.values_list("pk", flat=True))):
        owners = chat_owners(merge_lookup.filter_visible_people(people, channels))
        yield CLIENT, _find_chats(owners, CHATS_OF_CONTACTS_SQL, channels)
    yield REQUEST, _find_chats(_find_requests(query), CHATS_OF_ROWS_SQL, channels)
    tickets, contacts = _find_tagged(query, channels)
    first = (newest_request or 0) - RECENT_REQUESTS
    yield TAG, _find_newest_first(tickets, CHATS_OF_ROWS_SQL, channels, first=first)
    yield TAG, _find_chats(contacts, CHATS_OF_CLIENT_ROWS_SQL, channels)
    if (text_query := search.build_message_query(query)) is None:
        return
    first = (newest_message or 0) - RECENT_MESSAGES
    messages = Message.objects.annotate(words=search.build_message_vector()).filter(words=text_query).order_by()
    found = messages.values("id", "conversation_id")
    yield MESSAGE, _find_newest_first(found, CHATS_OF_MESSAGES_SQL, channels, first=first)
    for notes, chats_sql in _find_notes(text_query, channels):
        yield NOTE, _find_chats(notes, chats_sql, channels)


def _find_requests(query: str) -> QuerySet[Any, Any]:
    """Find requests by their number here, in the helpdesk, or in a program ("№ 1006", "#1006")."""
    found = Q(additional_id=query.strip()) & ~Q(additional_id="")
    if number := REQUEST_NUMBER.fullmatch(query):
        found |= Q(pk=int(number[1])) | Q(external_id=int(number[1]))
    return Ticket.objects.filter(found).order_by().values("id", "conversation_id", words=F("id"))


def _find_tagged(query: str, channels: Sequence[int]) -> tuple[QuerySet[Any, Any], QuerySet[Any, Any]]:
    """Find requests and contacts with this tag, written in small letters, capitals, or with a capital."""
    tag = query.strip().removeprefix("#").strip()
    tags = sorted({tag, tag.lower(), tag.upper(), tag.capitalize()})
    tickets = Ticket.objects.filter(tags__overlap=tags).exclude(tags=[]).order_by()
    by_tag = reduce(or_, (Q(tags__contains=[tag]) for tag in tags))
    people = merge_lookup.filter_visible_people(Contact.objects.filter(by_tag).exclude(tags=[]), channels)
    contacts = people.order_by("-pk")[:MAX_HITS]
    word = Value(tag)
    owner = Coalesce("merged_into", "pk")
    return (
        tickets.values("id", "conversation_id", words=word),
        contacts.values("id", owner=owner, words=word),
    )


def _find_notes(text_query: Any, channels: Sequence[int]) -> list[tuple[QuerySet[Any, Any], str]]:
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


def _find_newest_first(
    found: QuerySet[Any, Any], chats_sql: str, channels: Sequence[int], *, first: int
) -> list[tuple[int, Any]]:
    """Return the chats of the found rows. Rows up to the ID ``first`` are read only if there are too few others."""
    chats = _find_chats(found.filter(pk__gt=first), chats_sql, channels)
    return chats if len(chats) >= ENOUGH_HITS or first <= 0 else _find_chats(found, chats_sql, channels)


def _find_chats(found: QuerySet[Any, Any], chats_sql: str, channels: Sequence[int]) -> list[tuple[int, Any]]:
    """Return the chats of the found rows.

    MATERIALIZED keeps PostgreSQL from walking all chats, newest first, to match their text one by one.
    """
    sql, params = found.query.sql_with_params()
    statement = f"""WITH visible AS MATERIALIZED (SELECT unnest(%s::bigint[]) AS id), found AS MATERIALIZED ({sql})
    {chats_sql}"""
    with connection.cursor() as cursor:
        cursor.execute(statement, [list(channels), *params])
        return cursor.fetchall()
