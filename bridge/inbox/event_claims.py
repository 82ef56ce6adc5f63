"""Claims of stored events: the next events of a channel, with their attempt counted before the work begins."""

from __future__ import annotations

from django.db import connection
from django.utils.translation import gettext as _

from bridge.models import WebhookEvent
from bridge.raw_requests import mark_event_failed
from bridge.row_reads import RowReader
from channels_setup import prepared_statements

EVENT_BATCH = 200
MAX_EVENT_ATTEMPTS = 5
EVENTS = RowReader(WebhookEvent, "bridge_webhookevent")

# The next events of a channel, each with its attempt counted. An event that was interrupted before is claimed alone, so
# that it cannot interrupt others; exhausted events come with it, to be marked as failed. `waiting` reads a partial
# index in order. ANY(ARRAY(…)) makes PostgreSQL look the rows up by primary key, whatever it believes about the table.
# Needs no row lock before the update: the caller holds the channel's inbox lock, and a dismissed event fails the check
# of its state. The commit does not wait for the disk: a crash of PostgreSQL may lose the count of an attempt, no more.
CLAIM_EVENTS_SQL = f"""
WITH waiting AS MATERIALIZED (
    SELECT id, attempts FROM bridge_webhookevent
    WHERE {{source}}_id = %(channel)s AND state = 'new' ORDER BY id LIMIT %(batch)s
), usable AS (
    SELECT id FROM waiting WHERE attempts < %(most)s ORDER BY id
    LIMIT CASE WHEN EXISTS (SELECT FROM waiting WHERE attempts > 0 AND attempts < %(most)s) THEN 1 END
), claimed AS (
    SELECT id FROM usable UNION ALL SELECT id FROM waiting WHERE attempts >= %(most)s
)
UPDATE bridge_webhookevent SET attempts = least(attempts + 1, %(most)s + 1)
WHERE id = ANY(ARRAY(SELECT id FROM claimed)) AND state = 'new'
    AND (SELECT set_config('synchronous_commit', 'off', TRUE)) = 'off'
RETURNING {EVENTS.columns}
"""


def claim_events(channel_id: int, *, source: str = "api_channel") -> list[WebhookEvent]:
    """Return the next events of a channel in order, and count their attempt. Mark exhausted events as failed.

    Call it outside a transaction: the rest of that would commit without waiting for the disk, too.
    """
    events: list[WebhookEvent] = []
    has_exhausted = True
    while has_exhausted and not events:
        parameters = {"channel": channel_id, "batch": EVENT_BATCH, "most": MAX_EVENT_ATTEMPTS}
        with connection.cursor() as cursor:
            prepared_statements.execute(cursor, CLAIM_EVENTS_SQL.format(source=source), parameters)
            in_order = sorted(map(EVENTS.read, cursor.fetchall()), key=lambda event: event.pk)
        exhausted = [event for event in in_order if event.attempts > MAX_EVENT_ATTEMPTS]
        for event in exhausted:
            mark_event_failed(event, _("Processing was interrupted %(count)d times.") % {"count": MAX_EVENT_ATTEMPTS})
        events = [event for event in in_order if event.attempts <= MAX_EVENT_ATTEMPTS]
        has_exhausted = bool(exhausted)
    return events
