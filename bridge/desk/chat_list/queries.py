"""Queries of the chat list: IDs in order, row data, counts and search.

Plain SQL, because the query shape matters: for each channel (and status) the newest rows are read from their own index
and then merged, so that a quiet channel next to a busy one, or the last page of a million rows, costs as much as the
first page. Values are always parameters; only the constant fragments below are interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from bridge.conversations import merge_lookup
from bridge.desk.live import versions
from bridge.models import ACTIVE_STATUSES, Contact, Message, Ticket, search
from bridge.service_window import WINDOW_LENGTH
from channels_setup.codecs.phone_numbers import search_keys
from channels_setup.models import ApiChannel

MAX_HITS = 1_000  # at most this many newest chats per search
# A search reads this many newest messages first, and all messages only if it finds too few.
RECENT_MESSAGES = 200_000
ENOUGH_HITS = 100

AT_WORK_SQL = f"c.request_status IN {ACTIVE_STATUSES}"
AWAKE_SQL = "c.snoozed_until IS NULL"
SNOOZED_SQL = "c.snoozed_until IS NOT NULL"
WAITING_SQL = f"c.last_direction = 'inbound' AND {AT_WORK_SQL} AND {AWAKE_SQL}"
# A row that the release before wrote has no ``waiting_since``. The index repeats this expression.
WAITING_SINCE_SQL = "coalesce(c.waiting_since, c.last_message_at)"
NOT_WAITING_SQL = f"({WAITING_SQL}) IS NOT TRUE"
UNASSIGNED_SQL = f"c.assignee_id IS NULL AND {AT_WORK_SQL} AND {AWAKE_SQL}"
MINE_SQL = "c.assignee_id = %(me)s"
MENTIONED_SQL = "c.id IN (SELECT conversation_id FROM bridge_notemention WHERE user_id = %(me)s)"
LIVE_STATUSES = tuple(status for status in Ticket.Status.values if status not in Ticket.ENDED)

OPEN_WINDOW_SQL = "SELECT FROM bridge_servicewindow w WHERE w.conversation_id = c.id AND w.state = 'open'"
UNRESTRICTED_SQL = "c.api_channel_id IN (SELECT id FROM channels_setup_apichannel WHERE kind = ANY(%(unrestricted)s))"
# A window is open for at most 24 hours after the client's last message, so older chats can be skipped.
RECENT_SQL = "c.last_message_at > %(now)s - %(length)s"
EXPIRING_SQL = f"({RECENT_SQL} AND EXISTS ({OPEN_WINDOW_SQL} AND w.expires_at > %(now)s AND w.expires_at < %(soon)s))"
STAYS_OPEN_SQL = f"({RECENT_SQL} AND EXISTS ({OPEN_WINDOW_SQL} AND w.expires_at >= %(soon)s))"
CLOSED_SQL = f"NOT EXISTS ({OPEN_WINDOW_SQL} AND w.expires_at > %(now)s)"

NEWEST_SQL = """
SELECT c.id, c.last_message_at FROM unnest(%(channels)s::bigint[]) AS channel(id) {groups}
CROSS JOIN LATERAL (
    SELECT c.id, c.last_message_at FROM bridge_conversation c
    WHERE c.chat_channel_id = channel.id AND {conditions}
    ORDER BY c.last_message_at DESC, c.id DESC LIMIT %(limit)s
) c ORDER BY c.last_message_at DESC, c.id DESC LIMIT %(limit)s
"""
NEWEST_UNGROUPED_SQL = """
SELECT c.id, c.last_message_at FROM bridge_conversation c
WHERE c.chat_channel_id = ANY(%(channels)s) AND {conditions}
ORDER BY c.last_message_at DESC, c.id DESC LIMIT %(limit)s
"""
CLOSING_FIRST_SQL = """
SELECT c.id, w.expires_at FROM bridge_servicewindow w JOIN bridge_conversation c ON c.id = w.conversation_id
WHERE w.state = 'open' AND c.chat_channel_id = ANY(%(channels)s) AND {conditions}
ORDER BY w.expires_at, c.id LIMIT %(limit)s
"""
# Who began to wait within the last 24 hours has an open window, so reading in order finds them at once. Those who have
# waited longer and still write are few: they are found among the chats with a message of the last 24 hours.
LONGEST_WAITING_SQL = f"""
SELECT c.id, c.since FROM unnest(%(channels)s::bigint[]) AS channel(id) CROSS JOIN LATERAL (
    (SELECT c.id, {WAITING_SINCE_SQL} AS since FROM bridge_conversation c
     WHERE c.chat_channel_id = channel.id AND {WAITING_SQL} AND {WAITING_SINCE_SQL} > %(now)s - %(length)s
       AND {{conditions}}
     ORDER BY {WAITING_SINCE_SQL}, c.id LIMIT %(limit)s)
    UNION ALL
    (SELECT c.id, {WAITING_SINCE_SQL} AS since FROM bridge_conversation c
     WHERE c.chat_channel_id = channel.id AND {WAITING_SQL} AND {WAITING_SINCE_SQL} <= %(now)s - %(length)s
       AND {{recent}} AND {{conditions}}
     ORDER BY {WAITING_SINCE_SQL}, c.id LIMIT %(limit)s)
) c ORDER BY c.since, c.id LIMIT %(limit)s
"""
COUNT_BY_CHANNEL_SQL = """
(SELECT count(*) FROM (SELECT FROM unnest(visible.ids) AS channel(id) CROSS JOIN LATERAL (
    SELECT FROM bridge_conversation c WHERE c.chat_channel_id = channel.id AND {} LIMIT %(cap)s
) c LIMIT %(cap)s) capped)
"""
COUNT_MINE_SQL = f"""
(SELECT count(*) FROM (SELECT FROM bridge_conversation c
    WHERE {MINE_SQL} AND {AT_WORK_SQL} AND c.chat_channel_id = ANY(visible.ids) LIMIT %(cap)s) capped)
"""
COUNT_UNREAD_MENTIONS_SQL = """
(SELECT count(*) FROM (SELECT DISTINCT n.conversation_id
    FROM bridge_notemention n JOIN bridge_conversation c ON c.id = n.conversation_id
    WHERE n.user_id = %(me)s AND n.seen_at IS NULL AND c.chat_channel_id = ANY(visible.ids) LIMIT %(cap)s) capped)
"""

SUMMARY_SQL = f"""
SELECT clock_timestamp(), coalesce({versions.LIST_VERSION_SQL}, 'none'),
    (SELECT coalesce(max(id), 0) FROM bridge_closingreminder),
    {COUNT_BY_CHANNEL_SQL.format(WAITING_SQL)}, {COUNT_MINE_SQL}, {COUNT_BY_CHANNEL_SQL.format(UNASSIGNED_SQL)},
    {COUNT_UNREAD_MENTIONS_SQL}
FROM (SELECT %(channels)s::bigint[] AS ids) visible
"""

CHATS_OF_CONTACTS_SQL = """
SELECT c.id, c.last_message_at FROM found JOIN bridge_conversation c ON c.contact_id = found.owner
WHERE c.chat_channel_id = ANY(%s) ORDER BY c.last_message_at DESC LIMIT %s
"""
CHATS_OF_MESSAGES_SQL = """
SELECT c.id, max(found.id) FROM found JOIN bridge_conversation c ON c.id = found.conversation_id
WHERE c.chat_channel_id = ANY(%s) GROUP BY c.id ORDER BY max(found.id) DESC LIMIT %s
"""

ROW_DATA_SQL = f"""
SELECT c.id, c.unread, c.change_after_answer, c.last_direction, c.last_text, c.last_message_at,
       c.last_written_at, CASE WHEN {WAITING_SQL} THEN {WAITING_SINCE_SQL} END,
       a.kind, p.id, p.name, p.phone, p.external_id, p.user_id, p.erased_at, p.api_channel_id,
       coalesce(nullif(u.display_name, ''), nullif(trim(concat(u.first_name, ' ', u.last_name)), ''), u.username, ''),
       coalesce(t.name, ''),
       w.expires_at, w.reminded_at,
       (SELECT left(d.text, 200) FROM bridge_draft d WHERE d.conversation_id = c.id AND d.user_id = %(me)s),
       c.snoozed_until
FROM bridge_conversation c
JOIN bridge_contact p ON p.id = c.contact_id
JOIN channels_setup_apichannel a ON a.id = c.api_channel_id
LEFT JOIN accounts_user u ON u.id = c.assignee_id
LEFT JOIN channels_setup_team t ON t.id = c.team_id
LEFT JOIN LATERAL (SELECT expires_at, reminded_at FROM bridge_servicewindow WHERE conversation_id = c.id
                   ORDER BY expires_at DESC LIMIT 1) w ON TRUE
WHERE c.id = ANY(%(chats)s)
"""

FoundChats = list[tuple[int, datetime]]


class ChatRowData(NamedTuple):
    """Database values of one row. ``pk`` to ``api_channel_id`` belong to the contact."""

    chat: int
    unread: int
    change_after_answer: str
    last_direction: str
    last_text: str
    last_message_at: datetime
    last_written_at: datetime | None  # of a message that was received late
    waiting_since: datetime | None  # None if the chat needs no reply
    kind: str  # of the API channel
    pk: int
    name: str
    phone: str
    external_id: str
    user_id: str
    erased_at: datetime | None
    api_channel_id: int
    assignee: str
    team: str
    expires_at: datetime | None
    reminded_at: datetime | None
    draft: str | None  # of the user who looks at the list
    snoozed_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class ListScope:
    """The user and the filters that limit the list."""

    channels: list[int]
    me: int
    now: datetime
    soon: datetime
    unrestricted: list[str]  # provider kinds without the 24-hour rule
    conditions: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)  # ticket statuses; empty: any
    teams: list[int] | None = None  # None: with and without a team
    hits: list[int] | None = None  # IDs found by a search; None without a search

    def values(self, **extra: Any) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "me": self.me,
            "now": self.now,
            "soon": self.soon,
            "length": WINDOW_LENGTH,
            "unrestricted": self.unrestricted,
            "statuses": self.statuses,
            "teams": self.teams,
            "hits": self.hits,
            **extra,
        }


def find_newest(scope: ListScope, *conditions: str, after: tuple[datetime, int] | None, limit: int) -> FoundChats:
    """Find chats by last message, newest first."""
    conditions_sql = [*scope.conditions, *conditions]
    if after is not None:
        conditions_sql.append("(c.last_message_at, c.id) < (%(moment)s, %(last)s)")
    is_grouped = scope.hits is None and not {MINE_SQL, MENTIONED_SQL} & set(scope.conditions)
    groups = []
    if scope.teams is not None and is_grouped:
        groups.append("CROSS JOIN unnest(%(teams)s::bigint[]) AS wanted(team)")
        conditions_sql.append("c.team_id = wanted.team")
    elif scope.teams is not None:
        conditions_sql.append("c.team_id = ANY(%(teams)s)")
    if scope.statuses and (groups or not is_grouped):
        conditions_sql.append("c.request_status = ANY(%(statuses)s)")
    elif scope.statuses:
        groups.append("CROSS JOIN unnest(%(statuses)s::int[]) AS allowed(status)")
        conditions_sql.append("c.request_status = allowed.status")
    if scope.hits is not None:
        conditions_sql.append("c.id = ANY(%(hits)s)")
    shape = NEWEST_SQL if is_grouped else NEWEST_UNGROUPED_SQL
    statement = shape.format(groups=" ".join(groups), conditions=" AND ".join(conditions_sql) or "TRUE")
    moment, last = after or (None, None)
    return _fetch_rows(statement, scope.values(limit=limit, moment=moment, last=last))


def find_longest_waiting(scope: ListScope, *, after: tuple[datetime, int] | None, limit: int) -> FoundChats:
    """Find chats that need a reply and whose window stays open, longest waiting first."""
    conditions_sql = [*scope.conditions, stays_open_condition(scope)]
    if after is not None:
        conditions_sql.append(f"({WAITING_SINCE_SQL}, c.id) > (%(moment)s, %(last)s)")
    if scope.statuses:
        conditions_sql.append("c.request_status = ANY(%(statuses)s)")
    if scope.teams is not None:
        conditions_sql.append("c.team_id = ANY(%(teams)s)")
    recent = f"({RECENT_SQL} OR {UNRESTRICTED_SQL})" if scope.unrestricted else RECENT_SQL
    moment, last = after or (None, None)
    statement = LONGEST_WAITING_SQL.format(conditions=" AND ".join(conditions_sql), recent=recent)
    return _fetch_rows(statement, scope.values(limit=limit, moment=moment, last=last))


def find_closing_first(
    scope: ListScope,
    *conditions: str,
    since: datetime,
    until: datetime | None,
    after: tuple[datetime, int] | None,
    limit: int,
) -> FoundChats:
    """Find chats whose window closes in ``[since, until)``, soonest first."""
    conditions_sql = [*scope.conditions, *conditions, "w.expires_at >= %(since)s"]
    if until is not None:
        conditions_sql.append("w.expires_at < %(until)s")
    if after is not None:
        conditions_sql.append("(w.expires_at, c.id) > (%(moment)s, %(last)s)")
    if scope.statuses:
        conditions_sql.append("c.request_status = ANY(%(statuses)s)")
    if scope.teams is not None:
        conditions_sql.append("c.team_id = ANY(%(teams)s)")
    if scope.unrestricted:
        conditions_sql.append(f"NOT {UNRESTRICTED_SQL}")
    moment, last = after or (None, None)
    values = scope.values(limit=limit, since=since, until=until, moment=moment, last=last)
    return _fetch_rows(CLOSING_FIRST_SQL.format(conditions=" AND ".join(conditions_sql)), values)


def load_row_data(chats: Sequence[int], *, me: int) -> list[ChatRowData]:
    """Load the row data of the chats with one query, unordered. ``me``: the user whose drafts are marked."""
    with connection.cursor() as cursor:
        cursor.execute(ROW_DATA_SQL, {"chats": list(chats), "me": me})
        return [ChatRowData(*row) for row in cursor.fetchall()]


def stays_open_condition(scope: ListScope) -> str:
    return f"({STAYS_OPEN_SQL} OR {UNRESTRICTED_SQL})" if scope.unrestricted else STAYS_OPEN_SQL


def closed_condition(scope: ListScope) -> str:
    return f"{CLOSED_SQL} AND NOT {UNRESTRICTED_SQL}" if scope.unrestricted else CLOSED_SQL


def load_summary(channels: Sequence[int], *, me: int, cap: int) -> tuple[Any, ...]:
    """Return the database time, the list version, the last reminder's ID, and three counts.

    The counts, each capped at ``cap``: chats that need a reply, assigned to me, and unassigned.
    """
    with connection.cursor() as cursor:
        cursor.execute(SUMMARY_SQL, {"channels": list(channels), "me": me, "cap": cap})
        row: tuple[Any, ...] = cursor.fetchone()
    return row


def find_contacts(query: str, *, api_channels: Sequence[int]) -> list[QuerySet[Contact]]:
    """Find contacts by name prefix, phone digits, provider ID or whole phone number.

    Returns several querysets, because each can use an index and their OR could not.
    """
    found: list[QuerySet[Contact]] = [Contact.objects.filter(api_channel__in=list(api_channels), external_id=query)]
    if keys := search_keys(query):
        contacts = Contact.objects.filter(api_channel__in=list(api_channels))
        found += [contacts.filter(phone_key__in=keys), contacts.filter(address_key__in=keys)]
    if search.build_contact_query(query) is not None:
        found.append(Contact.objects.all().matching_words(query))
    return found


def chat_owners(found: QuerySet[Contact]) -> QuerySet[Any, Any]:
    """Return the contacts that own the chats. A merged contact's chats belong to the merge target (``owner``)."""
    return found.order_by().annotate(owner=Coalesce("merged_into", "pk")).values("owner")


def search_chats(channels: Sequence[int], query: str) -> tuple[set[int], dict[int, int]]:
    """Search chats. Return chat IDs found by contact, and chat ID -> newest matching message ID."""
    contact_hits: set[int] = set()
    for found in find_contacts(query, api_channels=list(ApiChannel.objects.values_list("pk", flat=True))):
        owners = chat_owners(merge_lookup.filter_visible_people(found, channels))
        contact_hits.update(pk for pk, _moment in _chats_among(owners, CHATS_OF_CONTACTS_SQL, channels))
    text_query = search.build_message_query(query)
    if text_query is None:
        return contact_hits, {}
    messages = Message.objects.annotate(words=search.build_message_vector()).filter(words=text_query).order_by()
    newest_id = Message.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    message_hits = _chats_among(
        messages.filter(pk__gt=newest_id - RECENT_MESSAGES).values("id", "conversation_id"),
        CHATS_OF_MESSAGES_SQL,
        channels,
    )
    if len(message_hits) < ENOUGH_HITS and newest_id > RECENT_MESSAGES:
        message_hits = _chats_among(messages.values("id", "conversation_id"), CHATS_OF_MESSAGES_SQL, channels)
    return contact_hits, dict(message_hits)


def _chats_among(found: QuerySet[Any], chats_sql: str, channels: Sequence[int]) -> list[tuple[int, Any]]:
    """Return the chats of the found rows.

    MATERIALIZED keeps PostgreSQL from walking all chats, newest first, to match their text one by one.
    """
    sql, params = found.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"WITH found AS MATERIALIZED ({sql}) {chats_sql}", [*params, list(channels), MAX_HITS])
        return cursor.fetchall()


def _fetch_rows(statement: str, values: dict[str, Any]) -> FoundChats:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()
