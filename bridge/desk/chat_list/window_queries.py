"""Queries of the chat list by service window: groups of chats in which it is open, closes soon, or is closed.

A window is open for at most 24 hours after the client's last message. So chats with an open window are read within the
last 24 hours, and those without one mostly before, whatever filter is set: a filter that few of them pass must not make
PostgreSQL read all chats of a channel or a person.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bridge.service_window import WINDOW_LENGTH

from . import queries
from .queries import (
    COMMON_TAG_SQL,
    HAS_OPEN_WINDOW_SQL,
    LATER_WINDOW_SQL,
    OPEN_WINDOW_SQL,
    RARE_TAG_SQL,
    RECENT_SQL,
    STAYS_OPEN_SQL,
    STAYS_RECENT_SQL,
    UNRESTRICTED_SQL,
    WAITING_SINCE_SQL,
    WAITING_SQL,
    FoundChats,
    ListScope,
)

Position = tuple[datetime, int] | None  # sort value and ID of the last row of the page before

# In channels with few recent chats, the windows of these chats are read; in others, windows in order until enough
# chats match. PostgreSQL does not know that open windows are those that end in the future, so it cannot choose.
CLOSING_FIRST_SQL = """
WITH recent AS MATERIALIZED (
    SELECT c.id FROM unnest(%(channels)s::bigint[]) AS channel(id) CROSS JOIN LATERAL (
        SELECT c.id FROM bridge_conversation c WHERE c.chat_channel_id = channel.id AND {recent}
        ORDER BY c.last_message_at DESC LIMIT %(few)s
    ) c LIMIT %(few)s
), size AS MATERIALIZED (SELECT count(*) >= %(few)s AS is_large FROM recent)
SELECT id, expires_at FROM (
    (SELECT c.id, w.expires_at FROM bridge_servicewindow w JOIN bridge_conversation c ON c.id = w.conversation_id
     WHERE (SELECT is_large FROM size) AND w.state = 'open' AND c.chat_channel_id = ANY(%(channels)s) AND {conditions}
     ORDER BY w.expires_at, c.id LIMIT %(limit)s)
    UNION ALL
    (SELECT c.id, w.expires_at FROM recent CROSS JOIN LATERAL (
         SELECT c.* FROM bridge_conversation c WHERE c.id = recent.id OFFSET 0
     ) c CROSS JOIN LATERAL (
         SELECT w.expires_at FROM bridge_servicewindow w WHERE w.conversation_id = c.id AND w.state = 'open' OFFSET 0
     ) w WHERE NOT (SELECT is_large FROM size) AND {conditions}
     ORDER BY w.expires_at, c.id LIMIT %(limit)s)
) found ORDER BY expires_at, id LIMIT %(limit)s
"""
FEW_RECENT = 1_000
# Of a person or a tag. MATERIALIZED keeps PostgreSQL from reading all windows in order until enough chats match.
CLOSING_FIRST_OF_FEW_SQL = f"""
WITH found AS MATERIALIZED (
    SELECT c.id, w.expires_at FROM bridge_conversation c JOIN bridge_servicewindow w ON w.conversation_id = c.id
    WHERE w.state = 'open' AND {RECENT_SQL} AND c.chat_channel_id = ANY(%(channels)s) AND {{conditions}}
)
SELECT id, expires_at FROM found ORDER BY expires_at, id LIMIT %(limit)s
"""
# Chats whose window closes soon, newest message first: few windows, sorted. In order of messages they come last.
CLOSING_NEWEST_SQL = """
WITH closing AS MATERIALIZED (
    SELECT w.conversation_id AS id FROM bridge_servicewindow w
    WHERE w.state = 'open' AND w.expires_at > %(now)s AND w.expires_at < %(soon)s
), found AS MATERIALIZED (
    SELECT c.id, c.last_message_at FROM closing JOIN bridge_conversation c USING (id)
    WHERE c.chat_channel_id = ANY(%(channels)s) AND {conditions}
)
SELECT id, last_message_at FROM found ORDER BY last_message_at DESC, id DESC LIMIT %(limit)s
"""
# Who began to wait after ``split`` has a window that stays open, so reading in order finds them at once. Those who have
# waited longer and still write are few: they are found among the chats with a message since then. The first part does
# not repeat that bound, or PostgreSQL would read and sort all waiting chats; "+ interval" keeps the second part off the
# index of those who wait.
LONGEST_WAITING_SQL = f"""
SELECT c.id, c.since FROM unnest(%(channels)s::bigint[]) AS channel(id) CROSS JOIN LATERAL (
    (SELECT c.id, {WAITING_SINCE_SQL} AS since FROM bridge_conversation c
     WHERE c.chat_channel_id = channel.id AND {WAITING_SQL} AND {WAITING_SINCE_SQL} > %(split)s
       AND {{window}} AND {{conditions}}
     ORDER BY {WAITING_SINCE_SQL}, c.id LIMIT %(limit)s)
    UNION ALL
    (SELECT c.id, {WAITING_SINCE_SQL} AS since FROM bridge_conversation c
     WHERE c.chat_channel_id = channel.id AND {WAITING_SQL}
       AND {WAITING_SINCE_SQL} + interval '0' <= %(split)s
       AND {{recent}} AND {{window}} AND {{conditions}}
     ORDER BY {WAITING_SINCE_SQL} + interval '0', c.id LIMIT %(limit)s)
) c ORDER BY c.since, c.id LIMIT %(limit)s
"""
LONGEST_WAITING_OF_FEW_SQL = f"""
WITH found AS MATERIALIZED (
    SELECT c.id, {WAITING_SINCE_SQL} AS since FROM bridge_conversation c
    WHERE c.chat_channel_id = ANY(%(channels)s) AND {WAITING_SQL} AND {{recent}} AND {{window}} AND {{conditions}}
)
SELECT id, since FROM found ORDER BY since, id LIMIT %(limit)s
"""
# Chats with a recent message, but without an open window: we wrote last, and long after the client. NOT IN is answered
# from one hash table of the open windows, which an index has; NOT EXISTS would look for a window for each chat of the
# last 24 hours. Windows are "open" until the next run after their end closes them: few, read by their end. PostgreSQL
# expects few of them only between two bounds of which it does not know one, and then uses their index.
RECENTLY_CLOSED_SQL = f"""{RECENT_SQL} AND (
    c.id NOT IN (SELECT w.conversation_id FROM bridge_servicewindow w WHERE w.state = 'open')
    OR c.id IN (SELECT w.conversation_id FROM bridge_servicewindow w WHERE w.state = 'open'
                AND w.expires_at <= %(now)s AND w.expires_at > (SELECT '-infinity'::timestamptz)))"""
RECENTLY_CLOSED_OF_FEW_SQL = f"""{RECENT_SQL} AND NOT EXISTS (
    {OPEN_WINDOW_SQL} AND w.expires_at + interval '0' > %(now)s OFFSET 0)"""
CLOSED_BEFORE_SQL = "c.last_message_at <= %(now)s - %(length)s"


def stays_open_condition(scope: ListScope) -> str:
    return f"({STAYS_OPEN_SQL} OR {UNRESTRICTED_SQL})" if scope.unrestricted else STAYS_OPEN_SQL


def open_condition(scope: ListScope) -> str:
    return f"({HAS_OPEN_WINDOW_SQL} OR {UNRESTRICTED_SQL})" if scope.unrestricted else HAS_OPEN_WINDOW_SQL


def find_longest_waiting(scope: ListScope, *, after: Position, limit: int) -> FoundChats:
    """Find chats that need a reply and whose window stays open, longest waiting first."""
    conditions_sql = [*scope.filter_conditions, *scope.request_conditions]
    if after is not None:
        conditions_sql.append(f"({WAITING_SINCE_SQL}, c.id) > (%(moment)s, %(last)s)")
    shape = LONGEST_WAITING_SQL if scope.is_grouped else LONGEST_WAITING_OF_FEW_SQL
    statement = shape.format(
        conditions=" AND ".join(conditions_sql) or "TRUE",
        recent=f"({STAYS_RECENT_SQL} OR {UNRESTRICTED_SQL})" if scope.unrestricted else STAYS_RECENT_SQL,
        window=f"({LATER_WINDOW_SQL} OR {UNRESTRICTED_SQL})" if scope.unrestricted else LATER_WINDOW_SQL,
    )
    split = scope.soon - WINDOW_LENGTH
    if scope.since_day:
        split = max(split, scope.since_day)
    return scope.fetch(statement, scope.values(limit=limit, split=split) | _position(after))


def find_closing_first(
    scope: ListScope, *conditions: str, since: datetime, until: datetime | None, after: Position, limit: int
) -> FoundChats:
    """Find chats whose window closes in ``[since, until)``, soonest first."""
    conditions_sql = [*scope.filter_conditions, *scope.request_conditions, *conditions, "w.expires_at >= %(since)s"]
    if until is not None:
        conditions_sql.append("w.expires_at < %(until)s")
    if after is not None:
        conditions_sql.append("(w.expires_at, c.id) > (%(moment)s, %(last)s)")
    if scope.unrestricted:
        conditions_sql.append(f"NOT {UNRESTRICTED_SQL}")
    shape = CLOSING_FIRST_SQL if scope.is_grouped else CLOSING_FIRST_OF_FEW_SQL
    values = scope.values(limit=limit, since=since, until=until, few=FEW_RECENT) | _position(after)
    return scope.fetch(shape.format(conditions=" AND ".join(conditions_sql), recent=RECENT_SQL), values)


def find_closing_newest(scope: ListScope, *conditions: str, after: Position, limit: int) -> FoundChats:
    """Find chats whose window closes soon, newest message first. They are fewer than those with the tag."""
    if scope.tag_sql == RARE_TAG_SQL:
        scope = replace(scope, tag_sql=COMMON_TAG_SQL)
    conditions_sql = [*scope.filter_conditions, *scope.request_conditions, *conditions]
    if after is not None:
        conditions_sql.append("(c.last_message_at, c.id) < (%(moment)s, %(last)s)")
    if scope.unrestricted:
        conditions_sql.append(f"NOT {UNRESTRICTED_SQL}")
    if scope.hits is not None:
        conditions_sql.append("c.id = ANY(%(hits)s)")
    statement = CLOSING_NEWEST_SQL.format(conditions=" AND ".join(conditions_sql) or "TRUE")
    return scope.fetch(statement, scope.values(limit=limit) | _position(after))


def find_closed(scope: ListScope, *conditions: str, after: Position, limit: int) -> FoundChats:
    """Find chats without an open window, newest message first: those with a recent message, then all before."""
    extra = (*conditions, f"NOT {UNRESTRICTED_SQL}") if scope.unrestricted else conditions
    found: FoundChats = []
    if after is None or after[0] > scope.now - WINDOW_LENGTH:
        recent = scope.recent
        closed = RECENTLY_CLOSED_SQL if recent.tagged is None else RECENTLY_CLOSED_OF_FEW_SQL
        found = queries.find_newest(recent, *extra, closed, after=after, limit=limit)
    if len(found) < limit:
        found += queries.find_newest(scope.older, *extra, CLOSED_BEFORE_SQL, after=after, limit=limit - len(found))
    return found


def _position(after: Position) -> dict[str, object]:
    moment, last = after or (None, None)
    return {"moment": moment, "last": last}
