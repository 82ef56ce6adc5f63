"""Tags of requests and clients: which are frequent, which are used, and which to suggest.

A list with a rare tag reads the rows with the tag. A list with a frequent one reads its rows in order, because many of
them have it. PostgreSQL's statistics of requests say which tag is frequent, without reading a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from django.db import connection
from django.db.models import Q

from bridge.models import Contact, Conversation, Ticket

FREQUENT = 20_000  # rows with the tag
CANDIDATES = 5_000  # newest requests, and newest clients with tags, of which tags are suggested
# The elements of an array have statistics. Those of JSON, as in clients, have none.
FREQUENT_OF_REQUESTS_SQL = """
SELECT common.tag FROM pg_stats s JOIN pg_class k ON k.oid = 'bridge_ticket'::regclass
CROSS JOIN LATERAL unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs) AS common(tag, share)
WHERE s.schemaname = current_schema() AND s.tablename = 'bridge_ticket' AND s.attname = 'tags'
AND common.share * k.reltuples >= %(frequent)s
"""
FREQUENT_SQL = f"""
SELECT wanted.tag FROM unnest(%(tags)s::text[]) AS wanted(tag)
WHERE wanted.tag IN ({FREQUENT_OF_REQUESTS_SQL}) OR %(frequent)s <= (SELECT count(*) FROM (
    SELECT FROM bridge_contact p
    WHERE p.tags @> to_jsonb(ARRAY[wanted.tag]) AND p.tags <> '[]' LIMIT %(frequent)s) capped)
"""
# count(*) instead of EXISTS, for which PostgreSQL would read the table until it finds the first row.
USED_SQL = f"""
SELECT wanted.tag FROM unnest(%(tags)s::text[]) AS wanted(tag)
WHERE wanted.tag IN ({FREQUENT_OF_REQUESTS_SQL})
OR 0 < (SELECT count(*) FROM bridge_ticket t WHERE t.tags @> ARRAY[wanted.tag]::varchar[] AND t.tags <> '{{}}')
OR 0 < (SELECT count(*) FROM bridge_contact p WHERE p.tags @> to_jsonb(ARRAY[wanted.tag]) AND p.tags <> '[]')
"""
# The chats and the requests with ``wanted.tag``. The request's own tag, or that of its client.
CHATS_WITH_TAG_SQL = """
SELECT t.conversation_id AS id FROM bridge_ticket t
WHERE t.tags @> ARRAY[wanted.tag]::varchar[] AND t.tags <> '{}'
UNION
SELECT c.id FROM bridge_contact p JOIN bridge_conversation c ON c.contact_id = p.id
WHERE p.tags @> to_jsonb(ARRAY[wanted.tag]) AND p.tags <> '[]'
"""
REQUESTS_WITH_TAG_SQL = """
SELECT t.id FROM bridge_ticket t
WHERE t.tags @> ARRAY[wanted.tag]::varchar[] AND t.tags <> '{}'
UNION
SELECT t.id FROM bridge_contact p JOIN bridge_conversation c ON c.contact_id = p.id
JOIN bridge_ticket t ON t.conversation_id = c.id
WHERE p.tags @> to_jsonb(ARRAY[wanted.tag]) AND p.tags <> '[]'
"""


def find_frequent_tags(tags: Iterable[str]) -> set[str]:
    """Return those of the tags that many requests or clients have, with one query."""
    return _find_tags(FREQUENT_SQL, tags)


def find_used_tags(tags: Iterable[str]) -> set[str]:
    """Return those of the tags that a request or a client has, with one query."""
    return _find_tags(USED_SQL, tags)


def _find_tags(statement: str, tags: Iterable[str]) -> set[str]:
    if not (wanted := list(tags)):
        return set()
    with connection.cursor() as cursor:
        cursor.execute(statement, {"tags": wanted, "frequent": FREQUENT})
        return {row[0] for row in cursor.fetchall()}


def suggest_request_tags(channels: Sequence[int], *, limit: int) -> list[str]:
    """Return the most frequent tags of the newest requests of these channels."""
    return _most_common(_list_request_tags(channels), limit)


def suggest_tags(channels: Sequence[int], *, limit: int) -> list[str]:
    """Return the most frequent tags of the newest requests and of the newest clients with tags, in these channels."""
    return _most_common(chain(_list_request_tags(channels), _list_client_tags(channels)), limit)


def _most_common(lists: Iterable[list[str]], limit: int) -> list[str]:
    return [tag for tag, _number in Counter(chain.from_iterable(lists)).most_common(limit)]


def _list_request_tags(channels: Sequence[int]) -> list[list[str]]:
    newest = Ticket.objects.order_by("-opened_at", "-pk").values("pk")[:CANDIDATES]
    found = Ticket.objects.filter(pk__in=newest, conversation__chat_channel__in=channels).exclude(tags=[])
    return list(found.order_by().values_list("tags", flat=True))


def _list_client_tags(channels: Sequence[int]) -> list[list[str]]:
    newest = Contact.objects.filter(~Q(tags=[])).order_by("-pk").values("pk")[:CANDIDATES]
    visible = Conversation.objects.filter(chat_channel__in=channels, contact__in=newest).values("contact")
    return list(Contact.objects.filter(pk__in=visible).order_by().values_list("tags", flat=True))
