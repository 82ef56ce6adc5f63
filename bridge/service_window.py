"""Service window: the only implementation of the 24-hour rule.

WhatsApp accepts free text for 24 hours after the contact's last own message, by the provider's clock. At exactly 24
hours the window is closed. Only a contact's message or reaction extends the window, and never shortens it. A timestamp
in the future counts as now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction

from channels_setup.codecs import chat_events

from .models import Conversation, ServiceWindow

WINDOW_LENGTH = timedelta(hours=24)
EXPIRE_BATCH = 500

# A window is missed if it closes while the client's last message is unanswered and the request is not closed or solved.
RESOLVED_STATUSES = (chat_events.SOLVED, chat_events.CLOSED, chat_events.DELETED, chat_events.SPAM, chat_events.MERGED)
MISSED_CONDITION = f"(c.last_direction = 'inbound' AND coalesce(c.request_status, 0) NOT IN {RESOLVED_STATUSES})"

# Conversation ID, and the merged contact's ID (None: the conversation's own contact).
WindowKey = tuple[int, int | None]

LATEST_WINDOW_SQL = """
SELECT opened_at, expires_at FROM bridge_servicewindow WHERE conversation_id = %s ORDER BY expires_at DESC LIMIT 1
"""


def compute_expiry(written_at: datetime, *, now: datetime) -> datetime:
    """Return when the window of a message closes. ``written_at``: by the provider's clock."""
    return min(written_at, now) + WINDOW_LENGTH


def is_open(expires_at: datetime | None, *, now: datetime) -> bool:
    """Return whether a window is open. ``expires_at``: the stored one; None if the contact never wrote."""
    return expires_at is not None and now < expires_at


def database_now() -> datetime:
    """Return the database's time. All time rules use it, so that machines with skewed clocks agree."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    now: datetime = row[0]
    return now


@dataclass(frozen=True, kw_only=True)
class WindowState:
    """State of a conversation's window. ``applies`` is False if the provider has no 24-hour rule."""

    applies: bool
    is_open: bool
    opened_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def state(self) -> str:
        """``open``, ``closed``, ``none`` (the contact never wrote) or ``unrestricted`` (no such rule)."""
        if not self.applies:
            return "unrestricted"
        if self.is_open:
            return "open"
        return "closed" if self.expires_at else "none"


def get_window_state(conversation: Conversation, *, now: datetime | None = None) -> WindowState:
    """Return the state of a conversation's window."""
    if not conversation.api_channel.provider.service_window:
        return WindowState(applies=False, is_open=True)
    with connection.cursor() as cursor:
        cursor.execute(LATEST_WINDOW_SQL, [conversation.pk])
        row = cursor.fetchone()
    if row is None:
        return WindowState(applies=True, is_open=False)
    opened_at, expires_at = row
    is_window_open = is_open(expires_at, now=now or database_now())
    return WindowState(applies=True, is_open=is_window_open, opened_at=opened_at, expires_at=expires_at)


def get_merged_window_state(conversation: Conversation, merged_contact_id: int | None, *, now: datetime) -> WindowState:
    """Return the window state of one number in a conversation of merged contacts."""
    if not conversation.contact.has_merged or not conversation.api_channel.provider.service_window:
        return get_window_state(conversation, now=now)
    own = ServiceWindow.objects.filter(conversation=conversation, merged_contact=merged_contact_id)
    expires_at = own.order_by("-expires_at").values_list("expires_at", flat=True).first()
    return WindowState(applies=True, is_open=is_open(expires_at, now=now), expires_at=expires_at)


def find_closed_windows(keys: Iterable[WindowKey], *, now: datetime) -> set[WindowKey]:
    """Return the keys whose window is not open: the set form of ``get_window_state``, for the outbox."""
    wanted_keys = set(keys)
    latest: dict[WindowKey, datetime] = {}
    rows = ServiceWindow.objects.filter(conversation__in={conversation_id for conversation_id, _contact in wanted_keys})
    for conversation_id, merged_id, expires_at in rows.values_list(
        "conversation_id", "merged_contact_id", "expires_at"
    ):
        key = conversation_id, merged_id
        latest[key] = max(expires_at, latest.get(key, expires_at))
    return {key for key in wanted_keys if not is_open(latest.get(key), now=now)}


def get_addressee_id(conversation: Conversation) -> int | None:
    """Return the ID of the merged contact that replies go to: the one whose window ends last.

    None: the conversation's own contact.
    """
    if not conversation.contact.has_merged:
        return None
    rows = ServiceWindow.objects.filter(conversation=conversation).order_by("-expires_at", "-pk")
    return rows.values_list("merged_contact_id", flat=True).first()


@dataclass(frozen=True, kw_only=True)
class ContactActivity:
    """A contact's newest message or reaction in a conversation. ``at``: by the provider's clock."""

    conversation_id: int
    at: datetime
    message_id: int | None
    merged_contact_id: int | None = None  # set if the author was merged into the conversation's contact


class OpenWindow(NamedTuple):
    """The open window of a conversation, as read without a lock."""

    id: int
    expires_at: datetime
    merged_contact_id: int | None


# Part of a statement: extends open windows. The caller holds the locks of their conversations. Not "state = 'open'":
# on a table that was never analyzed, PostgreSQL would read the partial index of all open windows.
EXTENDED_WINDOWS_SQL = """
    UPDATE bridge_servicewindow w SET expires_at = v.until, reminded_at = NULL, reminded_lead_minutes = NULL
    FROM unnest(%(windows)s::bigint[], %(until)s::timestamptz[]) AS v(id, until)
    WHERE w.id = v.id AND w.state <> 'closed' AND w.expires_at < v.until
"""
SAFELY_OPEN = timedelta(minutes=5)  # much longer than a transaction: such a window does not expire meanwhile


def split_activities(
    activities: Iterable[ContactActivity], open_windows: Mapping[int, OpenWindow], *, now: datetime
) -> tuple[dict[int, datetime], list[ContactActivity]]:
    """Return the new expiry of open windows by their ID, and the activities that ``extend_windows`` must handle.

    The first are for EXTENDED_WINDOWS_SQL: one contact wrote in the conversation, and its window is open for a while.
    """
    items = list(activities)
    writer_counts = Counter(item.conversation_id for item in items)
    extended: dict[int, datetime] = {}
    others: list[ContactActivity] = []
    for item in items:
        window = open_windows.get(item.conversation_id)
        if (
            window is None
            or window.expires_at <= now + SAFELY_OPEN
            or window.merged_contact_id != item.merged_contact_id
            or writer_counts[item.conversation_id] > 1
        ):
            others.append(item)
        elif (until := compute_expiry(item.at, now=now)) > window.expires_at:
            extended[window.id] = until
    return extended, others


def extend_windows(activities: Iterable[ContactActivity], *, now: datetime) -> None:
    """Open or extend the windows of contacts who wrote. The caller holds the locks of these conversations.

    A message that arrives more than 24 hours late opens no window. It is recorded as a closed window instead, see
    ``_record_closed``.
    """
    State = ServiceWindow.State
    items = list(activities)
    writer_counts = Counter(item.conversation_id for item in items)
    open_windows = {
        window.conversation_id: window
        for window in ServiceWindow.objects.select_for_update(no_key=True).filter(
            conversation__in=writer_counts, state=State.OPEN
        )
    }
    new, changed, of_merged = [], [], []
    late: list[ContactActivity] = []
    for item in items:
        until = compute_expiry(item.at, now=now)
        window = open_windows.get(item.conversation_id)
        if writer_counts[item.conversation_id] > 1 or (window and window.merged_contact_id != item.merged_contact_id):
            of_merged.append(item)
            continue
        if window is not None and min(item.at, now) < window.expires_at:
            if until > window.expires_at:
                window.expires_at = until
                changed.append(window)
            continue
        if until <= now:
            late.append(item)
            continue
        if window is not None:
            window.state = State.CLOSED
            changed.append(window)
        new.append(_build_window(item, until=until, now=now))
    if changed:
        _save_windows(changed)
    if new:
        ServiceWindow.objects.bulk_create(new)
    if late:
        _record_closed(late)
    for item in sorted(of_merged, key=lambda item: item.at):
        _extend_merged_window(item, now=now)


def _record_closed(late: Sequence[ContactActivity]) -> None:
    """Record closed and missed windows for messages that arrived after their 24 hours.

    Screens and reports then show "closed" instead of "not open yet" and count the missed window. If the 24 hours
    overlap an earlier record, that record is extended instead.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH late AS (
                SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::bigint[])
                    AS late(conversation_id, merged_contact_id, opened_at, expires_at, message_id)
            ), covered AS (
                SELECT DISTINCT ON (late.conversation_id) w.id, late.*
                FROM late JOIN bridge_servicewindow w ON w.conversation_id = late.conversation_id
                    AND w.merged_contact_id IS NOT DISTINCT FROM late.merged_contact_id
                WHERE w.opened_at <= late.expires_at AND w.expires_at >= late.opened_at
                ORDER BY late.conversation_id, w.expires_at DESC
            ), prolonged AS (
                UPDATE bridge_servicewindow w
                SET opened_at = least(w.opened_at, covered.opened_at),
                    expires_at = greatest(w.expires_at, covered.expires_at)
                FROM covered WHERE w.id = covered.id AND w.state = 'closed'
            )
            INSERT INTO bridge_servicewindow
                (conversation_id, merged_contact_id, opened_at, expires_at, state, opened_by_id, missed, assignee_id,
                 team_id)
            SELECT c.id, late.merged_contact_id, late.opened_at, late.expires_at, 'closed', late.message_id, TRUE,
                c.assignee_id, c.team_id
            FROM late JOIN bridge_conversation c ON c.id = late.conversation_id
            WHERE NOT EXISTS (SELECT FROM covered WHERE covered.conversation_id = late.conversation_id)
            """,
            [
                [item.conversation_id for item in late],
                [item.merged_contact_id for item in late],
                [item.at for item in late],
                [item.at + WINDOW_LENGTH for item in late],
                [item.message_id for item in late],
            ],
        )


def _build_window(item: ContactActivity, *, until: datetime, now: datetime) -> ServiceWindow:
    return ServiceWindow(
        conversation_id=item.conversation_id,
        merged_contact_id=item.merged_contact_id,
        opened_at=min(item.at, now),
        expires_at=until,
        opened_by_id=item.message_id,
    )


def _extend_merged_window(item: ContactActivity, *, now: datetime) -> None:
    """Extend the window of one of several merged contacts. The window that ends last becomes the open one."""
    until = compute_expiry(item.at, now=now)
    if until <= now:
        _record_closed([item])
        return
    own = (
        ServiceWindow.objects.select_for_update(no_key=True)
        .filter(conversation=item.conversation_id, merged_contact=item.merged_contact_id, expires_at__gt=now)
        .first()
    )
    if own is None:
        own = _build_window(item, until=until, now=now)
        own.state, own.missed = ServiceWindow.State.CLOSED, False
        own.save(force_insert=True)
    elif until > own.expires_at:
        own.expires_at, own.reminded_at, own.reminded_lead_minutes = until, None, None
        own.save(update_fields=["expires_at", "reminded_at", "reminded_lead_minutes"])
    open_latest_window(item.conversation_id, now=now)


def close_windows(conversation_id: int, *, now: datetime) -> None:
    """Close a conversation's open window while its rows move. ``open_latest_window`` opens it again."""
    _close_other_windows(conversation_id, None, now=now)


def open_latest_window(conversation_id: int, *, now: datetime) -> None:
    """Open the conversation's window that ends last and close the windows of its other merged contacts."""
    unexpired = ServiceWindow.objects.filter(conversation=conversation_id, expires_at__gt=now)
    last = unexpired.order_by("-expires_at", "-pk").values_list("pk", flat=True).first()
    _close_other_windows(conversation_id, last, now=now)
    ServiceWindow.objects.filter(pk=last or 0, state=ServiceWindow.State.CLOSED).update(
        state=ServiceWindow.State.OPEN, missed=None, assignee=None, team=None
    )


def _close_other_windows(conversation_id: int, kept_id: int | None, *, now: datetime) -> None:
    """Close all open windows except ``kept_id``. A window with time left does not count as missed."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE bridge_servicewindow w
            SET state = 'closed', missed = w.expires_at <= %s AND {MISSED_CONDITION}, assignee_id = c.assignee_id,
                team_id = c.team_id
            FROM bridge_conversation c
            WHERE c.id = w.conversation_id AND w.conversation_id = %s AND w.state = 'open'
              AND w.id IS DISTINCT FROM %s
            """,
            [now, conversation_id, kept_id],
        )


def _save_windows(changed: list[ServiceWindow]) -> None:
    """Save changed windows in one SQL statement: bulk_update is slower than the rest of storing a message."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE bridge_servicewindow w SET expires_at = v.expires_at, state = v.state,
                reminded_at = CASE WHEN v.state = 'closed' THEN w.reminded_at END,
                reminded_lead_minutes = CASE WHEN v.state = 'closed' THEN w.reminded_lead_minutes END,
                missed = CASE WHEN v.state = 'closed' THEN {MISSED_CONDITION} END,
                assignee_id = CASE WHEN v.state = 'closed' THEN c.assignee_id END,
                team_id = CASE WHEN v.state = 'closed' THEN c.team_id END
            FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS v(id, expires_at, state),
                bridge_conversation c
            WHERE w.id = v.id AND c.id = w.conversation_id
            """,
            [[w.pk for w in changed], [w.expires_at for w in changed], [str(w.state) for w in changed]],
        )


def record_reply(conversation_id: int, *, at: datetime) -> None:
    """Record the first reply in the open window."""
    ServiceWindow.objects.filter(
        conversation=conversation_id, state=ServiceWindow.State.OPEN, first_reply_at=None
    ).update(first_reply_at=at)


def expire_batch(*, limit: int = EXPIRE_BATCH) -> list[int]:
    """Close up to ``limit`` expired windows, the oldest first. Return the conversation IDs.

    One short transaction with the database's clock over a partial index. ``clock_timestamp()`` is in a subquery because
    an index condition cannot be volatile. MATERIALIZED: the due rows are found once; as a condition of the UPDATE they
    would be searched again for each row whenever PostgreSQL estimates few rows. SKIP LOCKED lets concurrent workers
    share the rows.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM bridge_servicewindow
                WHERE state = 'open' AND expires_at <= (SELECT clock_timestamp())
                ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            UPDATE bridge_servicewindow w SET state = 'closed', missed = {MISSED_CONDITION},
                assignee_id = c.assignee_id, team_id = c.team_id
            FROM due, bridge_conversation c
            WHERE w.id = due.id AND c.id = w.conversation_id
            RETURNING w.conversation_id
            """,
            [limit],
        )
        return [row[0] for row in cursor.fetchall()]
