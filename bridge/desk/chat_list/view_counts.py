"""Number of chats in each saved view, capped, with a constant number of statements.

The statements are those of the list, so each count costs as much as opening the view.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import OperationalError, connection, transaction

from bridge.desk import filters
from bridge.desk.statement_timeouts import raise_unless_timeout
from bridge.desk.tags import find_frequent_tags

from . import listing, queries

MAX_SECONDS = 2  # of all counts together
PARAMETER = re.compile(r"%\((\w+)\)s")


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
            lookups = filters.Lookups(user=user, frequent_tags=find_frequent(counted.values()))
            columns: list[str] = []
            values: dict[str, Any] = {}
            for params in counted.values():
                scope = listing.build_scope(params, channels=channels, user=user, now=now, lookups=lookups)
                if params.tag and not lookups.is_frequent(params.tag):
                    scope = replace(scope, tag_sql=queries.RARE_TAG_SQL)
                parts = []
                for statement, own_values in listing.list_statements(scope, params, limit=cap):
                    number = len(values)
                    renamed = PARAMETER.sub(rf"%(\1_{number})s", statement)
                    parts.append(f"(SELECT count(*) FROM ({renamed}) found)")
                    values |= {f"{name}_{number}": value for name, value in own_values.items()}
                columns.append(f"least({' + '.join(parts)}, {cap:d})")
            cursor.execute(f"SELECT {', '.join(columns)}", values)
            return dict(zip(counted, cursor.fetchone(), strict=True))
    except OperationalError as problem:
        raise_unless_timeout(problem)
        return {}


def limit_time(cursor: Any) -> None:
    """Limit each statement of the transaction."""
    cursor.execute(f"SET LOCAL statement_timeout = {MAX_SECONDS * 1000:.0f}")


def find_frequent(views: Iterable[filters.SharedFilters]) -> set[str]:
    """Return the frequent tags of the views, with one query if a view has a tag."""
    return find_frequent_tags({params.tag for params in views if params.tag})
