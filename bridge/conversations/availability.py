"""Availability of operators: online, away or do not disturb.

Operators choose their status. Somebody whose status is online counts as away without an open page of the portal, or if
they have not touched it for ``away_after_minutes``. A user without a row has never opened the desk: they may answer
through the API or another helpdesk, so nothing is known about them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from bridge.models import OperatorAvailability

Status = OperatorAvailability.Status

SEEN_WITHIN = timedelta(minutes=2)
WRITE_SECONDS = 30  # the time of the last poll is written at most this often

IS_SEEN_CONDITION = f"last_seen_at > clock_timestamp() - interval '{SEEN_WITHIN.seconds} seconds'"
# A user who was just deleted gets no row: the lock waits for a deletion under way. Most polls have nothing to write and
# lock nothing.
RECORD_SEEN_SQL = f"""
INSERT INTO bridge_operatoravailability AS a (user_id, last_seen_at)
SELECT u.id, clock_timestamp() FROM accounts_user u
WHERE u.id = %s AND NOT EXISTS (
    SELECT FROM bridge_operatoravailability seen WHERE seen.user_id = u.id
      AND seen.last_seen_at >= clock_timestamp() - interval '{WRITE_SECONDS} seconds')
FOR KEY SHARE OF u
ON CONFLICT (user_id) DO UPDATE SET last_seen_at = excluded.last_seen_at
"""


def is_away_condition(person: str) -> str:
    """Return the SQL condition that a user is known to be away or not to be disturbed. ``person``: SQL of their id."""
    return f"""EXISTS (
    SELECT FROM bridge_operatoravailability v WHERE v.user_id = {person}
      AND (v.status <> '{Status.ONLINE}' AND (v.until IS NULL OR v.until > clock_timestamp())
           OR v.last_seen_at IS NULL OR NOT v.{IS_SEEN_CONDITION}))"""


def find_online(user_ids: Iterable[int]) -> set[int]:
    """Return those whose status is online and who are at a page of the portal now."""
    return {pk for pk, status in find_statuses(user_ids).items() if status == Status.ONLINE}


def find_statuses(user_ids: Iterable[int]) -> dict[int, Status]:
    """Return the status of each user that others see. Users without a row are away."""
    users = set(user_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT user_id, CASE WHEN status <> '{Status.ONLINE}' AND (until IS NULL OR until > clock_timestamp())
                                 THEN status WHEN {IS_SEEN_CONDITION} THEN '{Status.ONLINE}' ELSE '{Status.AWAY}' END
            FROM bridge_operatoravailability WHERE user_id = ANY(%s)""",
            [list(users)],
        )
        known = {pk: Status(status) for pk, status in cursor.fetchall()}
    return {pk: known.get(pk, Status.AWAY) for pk in users}


def get_chosen_status(user: Any) -> Status:
    """Return the status that the user has chosen, whether or not they are at the desk."""
    return get_choice(user)[0]


def get_choice(user: Any) -> tuple[Status, datetime | None]:
    """Return the status that the user has chosen, and until when."""
    row = OperatorAvailability.objects.filter(user=user.pk).first()
    return get_current_choice(row) if row else (Status.ONLINE, None)


def get_current_choice(row: OperatorAvailability) -> tuple[Status, datetime | None]:
    """Return the status of the row, and until when. It is online again after ``until``."""
    if row.until is not None and row.until <= timezone.now():
        return Status.ONLINE, None
    return Status(row.status), row.until


def choose_status(user: Any, status: str, *, until: datetime | None = None) -> None:
    """Set the user's status; ``until``: when it becomes online again."""
    value = Status(status)
    until = until if value != Status.ONLINE else None
    OperatorAvailability.objects.update_or_create(user=user, defaults={"status": value, "until": until})


def record_seen(user_id: int) -> None:
    """Record that the user is at a page of the portal. Writes at most every WRITE_SECONDS."""
    with connection.cursor() as cursor:
        cursor.execute(RECORD_SEEN_SQL, [user_id])
