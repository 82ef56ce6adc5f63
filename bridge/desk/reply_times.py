"""Report of reply times: how long clients waited for the first reply to a request, and until it was closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from bridge.models import Ticket

# Requests that began with a message of the client. A request that a reply of ours began has its first answer at once.
# Hours are hours of the clock, not working hours.
TIMES_SQL = """
SELECT GROUPING(c.chat_channel_id), GROUPING(t.assignee_id), coalesce(c.chat_channel_id, t.assignee_id),
    count(*), count(*) FILTER (WHERE t.first_answer_at IS NOT NULL), count(*) FILTER (WHERE t.closed_at IS NOT NULL),
    percentile_disc(0.5) WITHIN GROUP (ORDER BY t.first_answer_at - t.opened_at),
    percentile_disc(0.9) WITHIN GROUP (ORDER BY t.first_answer_at - t.opened_at),
    percentile_disc(0.5) WITHIN GROUP (ORDER BY t.closed_at - t.opened_at)
FROM bridge_ticket t JOIN bridge_conversation c ON c.id = t.conversation_id
WHERE t.opened_at > %(since)s AND c.chat_channel_id = ANY(%(channels)s) AND t.status <> ALL(%(left_out)s)
    AND (t.first_answer_at IS NULL OR t.first_answer_at > t.opened_at + interval '1 second')
    AND (%(assignee)s::bigint IS NULL OR t.assignee_id = %(assignee)s)
GROUP BY GROUPING SETS ((), (c.chat_channel_id), (t.assignee_id))
"""
LEFT_OUT = (Ticket.Status.SPAM, Ticket.Status.DELETED, Ticket.Status.MERGED, Ticket.Status.MAILING)


@dataclass(frozen=True, kw_only=True)
class ReplyTimes:
    """Times of the requests of one channel or assignee, or of all. A time is None if there is nothing to measure."""

    key: int | None = None  # of the channel or user; None for all, and for requests without an assignee
    requests: int = 0
    answered: int = 0
    closed: int = 0
    first_reply: timedelta | None = None  # median
    slow_first_reply: timedelta | None = None  # nine of ten replies came sooner
    closing: timedelta | None = None  # median

    @property
    def unanswered(self) -> int:
        return self.requests - self.answered


@dataclass(frozen=True, kw_only=True)
class ReplyTimesReport:
    total: ReplyTimes
    by_channel: list[ReplyTimes]
    by_operator: list[ReplyTimes]


def measure_reply_times(
    *, since: datetime, channel_ids: Sequence[int], assignee: int | None = None
) -> ReplyTimesReport:
    """Measure the requests that clients opened since then in these channels, in one statement."""
    total, by_channel, by_operator = ReplyTimes(), [], []
    parameters: dict[str, Any] = {
        "since": since,
        "channels": list(channel_ids),
        "assignee": assignee,
        "left_out": [int(status) for status in LEFT_OUT],
    }
    with connection.cursor() as cursor:
        cursor.execute(TIMES_SQL, parameters)
        for no_channel, no_assignee, key, requests, answered, closed, median, slow, closing in cursor.fetchall():
            times = ReplyTimes(
                key=key,
                requests=requests,
                answered=answered,
                closed=closed,
                first_reply=median,
                slow_first_reply=slow,
                closing=closing,
            )
            if no_channel and no_assignee:
                total = times
            elif no_assignee:
                by_channel.append(times)
            else:
                by_operator.append(times)
    return ReplyTimesReport(total=total, by_channel=by_channel, by_operator=by_operator)
