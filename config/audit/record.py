"""Records of what is not a change of a row: looks, exports, sign-ins.

The database fills in who, when and from where. Never put names, phones or words of clients, or secrets, into details.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.db import connection, transaction

from .context import current_description
from .models import Action, AuditRecord

LOOK_SECONDS = 3600  # a person's looks at one object are recorded once in this time
MAX_REMEMBERED = 20_000
# Per process: (actor, token, object) → time of the last record. The table decides; this saves the statement.
_recent_looks: dict[tuple[Any, ...], float] = {}

# Returns the looks that another process has recorded, with their age.
RECORD_LOOKS = """
WITH looked AS (
    SELECT id::text AS id FROM unnest(%(ids)s) AS given (id)
), seen AS (
    SELECT looked.id, max(earlier.at) AS at
    FROM looked JOIN audit_record earlier ON earlier.object_type = %(object_type)s AND earlier.object_id = looked.id
    WHERE earlier.action = 'viewed' AND earlier.at > clock_timestamp() - make_interval(secs => %(seconds)s)
      AND earlier.actor_id IS NOT DISTINCT FROM %(actor_id)s AND earlier.token_id IS NOT DISTINCT FROM %(token_id)s
    GROUP BY looked.id
), recorded AS (
    INSERT INTO audit_record (action, object_type, object_id, details)
    SELECT 'viewed', %(object_type)s, looked.id, %(details)s::jsonb FROM looked
    WHERE NOT EXISTS (SELECT FROM seen WHERE seen.id = looked.id)
)
SELECT seen.id::bigint, extract(epoch FROM clock_timestamp() - seen.at)::float FROM seen
"""


def record_action(
    action: str, object_type: str = "", object_id: Any = "", *, label: str = "", details: dict[str, Any] | None = None
) -> None:
    """Record one fact, in the current transaction if there is one."""
    AuditRecord.objects.create(
        action=action,
        object_type=object_type.lower(),
        object_id=str(object_id or "")[:64],
        object_label=label[:200],
        details=details or {},
    )


def record_view(object_type: str, object_id: Any, *, label: str = "", details: dict[str, Any] | None = None) -> None:
    """Record that somebody looked at an object, each time."""
    record_action(Action.VIEWED, object_type, object_id, label=label, details=details)


def record_export(
    object_type: str, object_id: Any = "", *, label: str = "", details: dict[str, Any] | None = None
) -> None:
    """Record that somebody took data out of the portal."""
    record_action(Action.EXPORTED, object_type, object_id, label=label, details=details)


def record_looks(object_type: str, ids: Iterable[int], *, details: str = "{}") -> None:
    """Record looks at objects once per person, object and hour, in one statement at most."""
    who = current_description() or {}
    actor_id, token_id = who.get("actor_id"), who.get("token_id")
    now = time.monotonic()
    fresh = [
        pk
        for pk in sorted(set(ids))
        if _recent_looks.get((actor_id, token_id, object_type, pk), float("-inf")) < now - LOOK_SECONDS
    ]
    if not fresh:
        return
    values: dict[str, Any] = {
        "object_type": object_type.lower(),
        "ids": fresh,
        "details": details,
        "seconds": LOOK_SECONDS,
    }
    with connection.cursor() as cursor:
        cursor.execute(RECORD_LOOKS, {**values, "actor_id": actor_id, "token_id": token_id})
        ages = dict(cursor.fetchall())
    times = {(actor_id, token_id, object_type, pk): now - ages.get(pk, 0.0) for pk in fresh}
    transaction.on_commit(lambda: _remember(times))


def _remember(looks: dict[tuple[Any, ...], float]) -> None:
    if len(_recent_looks) > MAX_REMEMBERED:
        _recent_looks.clear()
    _recent_looks.update(looks)
