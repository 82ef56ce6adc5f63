"""Look-up of stored messages by the provider's IDs."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

# One look-up in one_message_per_external_id for each ID, whatever the planner knows about the table. LIMIT keeps the
# planner from turning it into a join. `external_id IN (…)` read all messages of the channel until the first ANALYZE,
# and always for more than 100 IDs, which the planner does not compare with the index's condition.
FIND_MESSAGES_SQL = """
SELECT wanted.external_id, found.id FROM unnest(%(ids)s::text[]) AS wanted(external_id), LATERAL (
    SELECT m.id FROM bridge_message m
    WHERE m.api_channel_id = %(api_channel)s AND m.external_id = wanted.external_id AND m.external_id <> '' LIMIT 1
) found
"""


def find_message_ids(api_channel_id: int, external_ids: Iterable[str]) -> dict[str, int]:
    """Return the IDs of stored messages by the provider's ID."""
    ids = sorted(set(external_ids) - {""})
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(FIND_MESSAGES_SQL, {"ids": ids, "api_channel": api_channel_id})
        return dict(cursor.fetchall())
