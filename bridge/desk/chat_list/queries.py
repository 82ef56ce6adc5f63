"""Queries of the chat list: IDs in order, row data and counts. See also ``window_queries`` and ``search``.

Plain SQL, because the query shape matters: for each channel (and status) the newest rows are read from their own index
and then merged, so that a quiet channel next to a busy one, or the last page of a million rows, costs as much as the
first page. Values are always parameters; only the constant fragments below are interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from bridge.desk.live import versions
from bridge.desk.tags import CHATS_WITH_TAG_SQL
from bridge.models import ACTIVE_STATUSES, Ticket
from bridge.service_window import WINDOW_LENGTH
from channels_setup.prepared_statements import execute_read

AT_WORK_SQL = f"c.request_status IN {ACTIVE_STATUSES}"
AWAKE_SQL = "c.snoozed_until IS NULL"
SNOOZED_SQL = "c.snoozed_until IS NOT NULL"
WAITING_SQL = f"c.last_direction = 'inbound' AND {AT_WORK_SQL} AND {AWAKE_SQL}"
# A row that the release before wrote has no ``waiting_since``. The index repeats this expression.
WAITING_SINCE_SQL = "coalesce(c.waiting_since, c.last_message_at)"
NOT_WAITING_SQL = f"({WAITING_SQL}) IS NOT TRUE"
UNASSIGNED_SQL = f"c.assignee_id IS NULL AND {AT_WORK_SQL} AND {AWAKE_SQL}"
MINE_SQL = "c.assignee_id = %(me)s"
FREE_SQL = "(c.assignee_id IS NULL OR c.assignee_id = %(me)s)"
MENTIONED_SQL = "c.id IN (SELECT conversation_id FROM bridge_notemention WHERE user_id = %(me)s)"
ASSIGNEE_SQL, NOBODY_SQL = "c.assignee_id = %(assignee)s", "c.assignee_id IS NULL"
PINNED_SQL, NOT_PINNED_SQL = "c.id = ANY(%(pinned)s)", "c.id <> ALL(%(pinned)s)"
SINCE_SQL, UNTIL_SQL = "c.last_message_at >= %(since_day)s", "c.last_message_at < %(until_day)s"
# A chat with a frequent tag. Clients with it are looked up once, because they are few or none: tags of requests are
# frequent, those of clients seldom.
HAS_TAG_SQL = """(EXISTS (SELECT FROM bridge_ticket t
    WHERE t.conversation_id = c.id AND t.tags @> ARRAY[%(tag)s]::varchar[])
    OR c.contact_id IN (SELECT p.id FROM bridge_contact p
    WHERE p.tags @> to_jsonb(ARRAY[%(tag)s]::text[]) AND p.tags <> '[]'))"""
TAGGED_SQL = "c.id = ANY(%(tagged)s)"  # with a rare tag, of one list
FIND_WITH_TAG_SQL = (
    f"SELECT found.id FROM (SELECT %(tag)s AS tag) wanted CROSS JOIN LATERAL ({CHATS_WITH_TAG_SQL}) found"
)
RARE_TAG_SQL = f"c.id = ANY(ARRAY({FIND_WITH_TAG_SQL}))"  # the same, without another statement
# Of thousands of chats with the tag, in the order of the list. IS TRUE keeps PostgreSQL from a join.
COMMON_TAG_SQL = f"((c.id IN ({FIND_WITH_TAG_SQL})) IS TRUE)"
FEW_TAGGED = 500  # those with the newest message are tried first
LIVE_STATUSES = tuple(status for status in Ticket.Status.values if status not in Ticket.ENDED)

OPEN_WINDOW_SQL = "SELECT FROM bridge_servicewindow w WHERE w.conversation_id = c.id AND w.state = 'open'"
UNRESTRICTED_SQL = "c.api_channel_id IN (SELECT id FROM channels_setup_apichannel WHERE kind = ANY(%(unrestricted)s))"
# A window is open for at most 24 hours after the client's last message, so older chats can be skipped.
RECENT_SQL = "c.last_message_at > %(now)s - %(length)s"
# OFFSET 0 keeps PostgreSQL from joining all open windows. It expects few, because it takes their state and their end
# for independent, and would give up reading chats in order.
HAS_OPEN_WINDOW_SQL = (
    f"({RECENT_SQL} AND EXISTS ({OPEN_WINDOW_SQL} AND w.expires_at + interval '0' > %(now)s OFFSET 0))"
)
LATER_WINDOW_SQL = f"EXISTS ({OPEN_WINDOW_SQL} AND w.expires_at + interval '0' >= %(soon)s OFFSET 0)"
# The same for a window that is open for some hours.
STAYS_RECENT_SQL = "c.last_message_at >= %(soon)s - %(length)s"
STAYS_OPEN_SQL = f"({STAYS_RECENT_SQL} AND {LATER_WINDOW_SQL})"

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
# Of a rare tag. MATERIALIZED keeps PostgreSQL from reading all chats in order until enough of them have it.
NEWEST_TAGGED_SQL = """
WITH found AS MATERIALIZED (
    SELECT c.id, c.last_message_at FROM bridge_conversation c
    WHERE c.chat_channel_id = ANY(%(channels)s) AND {conditions}
)
SELECT id, last_message_at FROM found ORDER BY last_message_at DESC, id DESC LIMIT %(limit)s
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

ROW_DATA_SQL = f"""
SELECT c.id, c.unread, c.change_after_answer, c.last_direction, c.last_text, c.last_message_at,
       c.last_written_at, CASE WHEN {WAITING_SQL} THEN {WAITING_SINCE_SQL} END,
       a.kind, p.id, p.name, p.phone, p.external_id, p.user_id, p.erased_at, p.api_channel_id,
       coalesce(nullif(u.display_name, ''), nullif(trim(concat(u.first_name, ' ', u.last_name)), ''), u.username, ''),
       coalesce(t.name, ''),
       w.expires_at, w.reminded_at,
       (SELECT left(d.text, 200) FROM bridge_draft d WHERE d.conversation_id = c.id AND d.user_id = %(me)s),
       c.snoozed_until, c.request_status, c.assignee_id,
       EXISTS (SELECT FROM bridge_chatpin k WHERE k.user_id = %(me)s AND k.conversation_id = c.id)
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
    request_status: int | None
    assignee_id: int | None
    is_pinned: bool  # by the user who looks at the list


def fetch_rows(statement: str, values: dict[str, Any]) -> FoundChats:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


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
    assignee: int | None = None
    tag: str = ""
    tag_sql: str = HAS_TAG_SQL
    tagged: list[int] | None = None  # chats with a rare tag, newest message first
    recently_tagged: list[int] | None = None  # those with a message of the last 24 hours; None: unknown
    since_day: datetime | None = None
    until_day: datetime | None = None
    pinned: list[int] = field(default_factory=list)
    fetch: Callable[[str, dict[str, Any]], FoundChats] = fetch_rows

    @property
    def recent(self) -> ListScope:
        """Return the scope for queries that find only chats with a message of the last 24 hours."""
        if self.recently_tagged is None:
            return self
        return replace(self, tag_sql=TAGGED_SQL, tagged=self.recently_tagged)

    @property
    def older(self) -> ListScope:
        """Return the scope for queries that find only chats without a message of the last 24 hours."""
        if self.tagged is None:
            return self
        return replace(self, tagged=self.tagged[len(self.recently_tagged or ()) :])

    @property
    def filter_conditions(self) -> list[str]:
        return [*self.conditions, self.tag_sql] if self.tag else self.conditions

    @property
    def request_conditions(self) -> list[str]:
        """Return the conditions by status and team, for queries that do not read each status and team by itself."""
        by_status = ["c.request_status = ANY(%(statuses)s)"] if self.statuses else []
        return by_status + (["c.team_id = ANY(%(teams)s)"] if self.teams is not None else [])

    @property
    def is_grouped(self) -> bool:
        """Return whether chats are read by channel. Few chats of a search, tag or person are read at once."""
        few = {MINE_SQL, ASSIGNEE_SQL, MENTIONED_SQL, PINNED_SQL}
        return self.hits is None and not self.has_rare_tag and not few.intersection(self.conditions)

    @property
    def has_rare_tag(self) -> bool:
        return bool(self.tag) and self.tag_sql in (TAGGED_SQL, RARE_TAG_SQL)

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
            "assignee": self.assignee,
            "tag": self.tag,
            "tagged": self.tagged,
            "since_day": self.since_day,
            "until_day": self.until_day,
            "pinned": self.pinned,
            **extra,
        }


def find_newest(scope: ListScope, *conditions: str, after: tuple[datetime, int] | None, limit: int) -> FoundChats:
    """Find chats by last message, newest first."""
    if after is None and scope.tagged is not None and len(scope.tagged) > FEW_TAGGED:
        newest = replace(scope, tagged=scope.tagged[:FEW_TAGGED])
        found = _find_newest(newest, *conditions, after=after, limit=limit)
        if len(found) == limit:
            return found
    return _find_newest(scope, *conditions, after=after, limit=limit)


def _find_newest(scope: ListScope, *conditions: str, after: tuple[datetime, int] | None, limit: int) -> FoundChats:
    conditions_sql = [*scope.filter_conditions, *conditions]
    if after is not None:
        conditions_sql.append("(c.last_message_at, c.id) < (%(moment)s, %(last)s)")
    is_grouped = scope.is_grouped
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
    shape = NEWEST_SQL if is_grouped else NEWEST_TAGGED_SQL if scope.has_rare_tag else NEWEST_UNGROUPED_SQL
    statement = shape.format(groups=" ".join(groups), conditions=" AND ".join(conditions_sql) or "TRUE")
    moment, last = after or (None, None)
    return scope.fetch(statement, scope.values(limit=limit, moment=moment, last=last))


def load_row_data(chats: Sequence[int], *, me: int) -> list[ChatRowData]:
    """Load the row data of the chats with one query, unordered. ``me``: the user whose drafts are marked."""
    with connection.cursor() as cursor:
        execute_read(cursor, ROW_DATA_SQL, {"chats": list(chats), "me": me})
        return [ChatRowData(*row) for row in cursor.fetchall()]


def load_summary(channels: Sequence[int], *, me: int, cap: int) -> tuple[Any, ...]:
    """Return the database time, the list version, the last reminder's ID, and three counts.

    The counts, each capped at ``cap``: chats that need a reply, assigned to me, and unassigned.
    """
    with connection.cursor() as cursor:
        execute_read(cursor, SUMMARY_SQL, {"channels": list(channels), "me": me, "user": me, "cap": cap})
        row: tuple[Any, ...] = cursor.fetchone()
    return row
