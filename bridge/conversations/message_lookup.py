"""Look-up of stored messages by the provider's IDs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import connection

from bridge.models import Message
from channels_setup.models import ApiChannel

# One look-up in one_message_per_external_id for each ID, whatever the statistics say. LIMIT keeps the planner from
# turning it into a join. `external_id IN (…)` read all of the channel's messages until the first ANALYZE, and always
# for more than 100 IDs, which the planner does not compare with the index's condition. `(SELECT …)` hides the channel's
# ID from the planner: for a channel that the statistics do not know it expects no rows, and reads all of them.
FIND_MESSAGES_SQL = """
SELECT wanted.external_id, found.id FROM unnest(%(external_ids)s::text[]) AS wanted(external_id), LATERAL (
    SELECT m.id FROM bridge_message m
    WHERE m.api_channel_id = (SELECT %(api_channel)s::bigint) AND m.external_id = wanted.external_id
        AND m.external_id <> '' LIMIT 1
) found
"""


def find_message_ids(api_channel_id: int, external_ids: Iterable[str]) -> dict[str, int]:
    """Return the IDs of stored messages by the provider's ID."""
    ids = sorted(set(external_ids) - {""})
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(FIND_MESSAGES_SQL, {"external_ids": ids, "api_channel": api_channel_id})
        return dict(cursor.fetchall())


def find_by_external_id(api_channel: ApiChannel, external_ids: Iterable[str]) -> dict[str, Message]:
    """Return stored messages by the provider's ID."""
    pks = find_message_ids(api_channel.pk, external_ids).values()
    rows = Message.objects.filter(pk__in=pks).select_related("conversation") if pks else ()
    return {row.external_id: row for row in rows}


def link_quotes(api_channel: ApiChannel, answers: Sequence[tuple[Message, str]]) -> None:
    """Link stored messages to the messages that they quote, if those are stored."""
    quoted = find_by_external_id(api_channel, (external_id for _message, external_id in answers))
    changed = []
    for message, external_id in answers:
        target = quoted.get(external_id)
        if target is not None and target.conversation_id == message.conversation_id and target.pk != message.pk:
            message.quoted = target
            changed.append(message)
    if changed:
        Message.objects.bulk_update(changed, ["quoted"])
