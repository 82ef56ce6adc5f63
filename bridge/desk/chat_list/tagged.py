"""Chats of one list with a tag that is not frequent, found before its groups are read (see ``desk.tags``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import connection

from bridge.desk import tags

from .queries import COMMON_TAG_SQL, RECENT_SQL, TAGGED_SQL, ListScope

FEW, MANY = 500, 8_000  # chats with the tag
ENOUGH = 50  # fill a page
# By all conditions that need no window, newest message first. The first row has the number of chats with the tag, and
# whether all of them were looked up: if there are few, or if few of them are recent. Otherwise the index of recent
# messages finds those that fill the page.
FIND_CHATS_SQL = f"""
WITH frequent AS MATERIALIZED ({tags.FREQUENT_SQL}), found AS MATERIALIZED (
    SELECT found.id FROM (SELECT %(tag)s AS tag WHERE NOT EXISTS (SELECT FROM frequent)) wanted
    CROSS JOIN LATERAL ({tags.CHATS_WITH_TAG_SQL} LIMIT %(frequent)s) found
), size AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM frequent) THEN %(frequent)s ELSE count(*) END AS number FROM found
), recent AS MATERIALIZED (
    SELECT c.id FROM unnest(%(channels)s::bigint[]) AS channel(id) CROSS JOIN LATERAL (
        SELECT c.id FROM bridge_conversation c
        WHERE c.chat_channel_id = channel.id AND {RECENT_SQL} AND (c.id IN (SELECT id FROM found)) IS TRUE
    ) c WHERE (SELECT number FROM size) BETWEEN %(few)s AND %(frequent)s - 1
), shape AS MATERIALIZED (
    SELECT number, number < %(few)s OR number < %(many)s AND (SELECT count(*) FROM recent) < %(enough)s AS is_whole
    FROM size
)
SELECT number AS id, is_whole AS is_recent, NULL AS last_message_at FROM shape
UNION ALL
SELECT c.id, {RECENT_SQL}, c.last_message_at FROM (
    SELECT id FROM recent WHERE NOT (SELECT is_whole FROM shape)
    UNION ALL SELECT id FROM found WHERE (SELECT is_whole FROM shape)
) found CROSS JOIN LATERAL (
    SELECT c.id, c.last_message_at FROM bridge_conversation c
    WHERE c.id = found.id AND c.chat_channel_id = ANY(%(channels)s) AND {{conditions}} OFFSET 0
) c ORDER BY last_message_at DESC NULLS FIRST, id DESC
"""


def find_tagged_chats(scope: ListScope) -> ListScope:
    """Return the scope with the chats of the list that have its tag, unless the tag is frequent."""
    conditions = [*scope.conditions, *scope.request_conditions]
    statement = FIND_CHATS_SQL.replace("{conditions}", " AND ".join(conditions) or "TRUE")
    with connection.cursor() as cursor:
        limits = {"few": FEW, "many": MANY, "enough": ENOUGH, "frequent": tags.FREQUENT}
        cursor.execute(statement, scope.values(tags=[scope.tag], **limits))
        (number, is_whole, _moment), *rows = cursor.fetchall()
    if number >= tags.FREQUENT:
        return scope
    found = [pk for pk, _is_recent, _moment in rows]
    # A provider without the 24-hour rule has chats that are open without a recent message.
    values: dict[str, Any] = {} if scope.unrestricted else {"recently_tagged": [pk for pk, recent, _ in rows if recent]}
    if is_whole:
        return replace(scope, tag_sql=TAGGED_SQL, tagged=found, **values)
    return replace(scope, tag_sql=COMMON_TAG_SQL, **values)
