"""Number of chats in each saved view, capped, with a constant number of statements.

The statements are those of the list, so each count costs as much as opening the view.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import OperationalError, connection, transaction

from bridge.desk import filters

from . import listing, queries

MAX_SECONDS = 2  # of all counts together
PARAMETER = re.compile(r"%\((\w+)\)s")
FIND_ALL_TAGGED_SQL = f"""
SELECT wanted.tag, found.id FROM unnest(%(tags)s::text[]) AS wanted(tag)
CROSS JOIN LATERAL ({queries.FIND_TAGGED_SQL.replace("%(tag)s", "wanted.tag")}) found
"""


def count_chats(
    views: Mapping[int, listing.ChatListParams], *, channels: Sequence[int], user: Any, now: datetime, cap: int
) -> dict[int, int]:
    """Count the chats of each view, at most ``cap``. A view with a search has no count, because it would be slow.

    Empty if the counts take too long.
    """
    counted = {pk: params for pk, params in views.items() if not params.query}
    if not counted:
        return {}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            limit_time(cursor)
            tags = {params.tag for params in counted.values() if params.tag}
            lookups = filters.Lookups(
                user=user, find_tagged=queries.find_tagged, tagged=find_all_tagged(tags, FIND_ALL_TAGGED_SQL)
            )
            columns: list[str] = []
            values: dict[str, Any] = {}
            for params in counted.values():
                scope = listing.build_scope(params, channels=channels, user=user, now=now, lookups=lookups)
                parts = []
                for statement, own_values in listing.list_statements(scope, params, limit=cap):
                    number = len(values)
                    renamed = PARAMETER.sub(rf"%(\1_{number})s", statement)
                    parts.append(f"(SELECT count(*) FROM ({renamed}) found)")
                    values |= {f"{name}_{number}": value for name, value in own_values.items()}
                columns.append(f"least({' + '.join(parts)}, {cap:d})")
            cursor.execute(f"SELECT {', '.join(columns)}", values)
            return dict(zip(counted, cursor.fetchone(), strict=True))
    except OperationalError:
        return {}


def limit_time(cursor: Any) -> None:
    """Limit each statement of the transaction."""
    cursor.execute(f"SET LOCAL statement_timeout = {MAX_SECONDS * 1000:.0f}")


def find_all_tagged(tags: Iterable[str], statement: str) -> dict[str, list[int] | None]:
    """Return the IDs of the rows with each tag, with one query. None if there are many."""
    found: dict[str, list[int] | None] = {tag: [] for tag in tags}
    if not found:
        return found
    with connection.cursor() as cursor:
        cursor.execute(statement, {"tags": list(found), "limit": queries.MAX_TAGGED})
        rows = cursor.fetchall()
    ids: dict[str, list[int]] = {tag: [] for tag in found}
    for tag, pk in rows:
        ids[tag].append(pk)
    return {tag: pks if len(pks) < queries.MAX_TAGGED else None for tag, pks in ids.items()}
