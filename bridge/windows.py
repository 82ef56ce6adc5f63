"""The service window: the one place that knows the 24-hour rule.

WhatsApp lets a business answer freely for 24 hours after the contact's last own message, by the provider's
clock. At exactly 24 hours the window is closed. Only a contact's message moves it, never backwards; a stamp from
the future counts as now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connection, transaction

from channels_setup.codecs import chat_events

if TYPE_CHECKING:
    from .models import Conversation, ServiceWindow

LENGTH = timedelta(hours=24)
BATCH = 500

# A window is missed when it shuts on a client's unanswered words, and nobody has closed or solved the request.
OVER = (chat_events.SOLVED, chat_events.CLOSED, chat_events.DELETED, chat_events.SPAM, chat_events.MERGED)
MISSED = f"(c.last_direction = 'inbound' AND coalesce(c.request_status, 0) NOT IN {OVER})"

LATEST = """
SELECT opened_at, expires_at FROM bridge_servicewindow WHERE conversation_id = %s ORDER BY expires_at DESC LIMIT 1
"""


def expiry(written_at: datetime, *, now: datetime) -> datetime:
    """When the window of a message written at ``written_at`` (the provider's clock) shuts."""
    return min(written_at, now) + LENGTH


def is_open(expires_at: datetime | None, *, now: datetime) -> bool:
    """The rule itself. ``expires_at`` is the stored one; None: the contact never wrote."""
    return expires_at is not None and now < expires_at


def database_now() -> datetime:
    """The clock that every time rule goes by, so that two machines with skewed clocks decide alike."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    now: datetime = row[0]
    return now


@dataclass(frozen=True, kw_only=True)
class WindowState:
    """What to say of a conversation's window now. ``applies`` is False where the provider has no such rule."""

    applies: bool
    is_open: bool
    opened_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def state(self) -> str:
        """``open``, ``shut`` (it was open once), ``none`` (the contact never wrote) or ``free`` (no such rule)."""
        if not self.applies:
            return "free"
        if self.is_open:
            return "open"
        return "closed" if self.expires_at else "none"


def of(conversation: Conversation, *, now: datetime | None = None) -> WindowState:
    """The state of one conversation's window now."""
    if not conversation.api_channel.provider.service_window:
        return WindowState(applies=False, is_open=True)
    with connection.cursor() as cursor:
        cursor.execute(LATEST, [conversation.pk])
        row = cursor.fetchone()
    if row is None:
        return WindowState(applies=True, is_open=False)
    opened_at, expires_at = row
    shows_open = is_open(expires_at, now=now or database_now())
    return WindowState(applies=True, is_open=shows_open, opened_at=opened_at, expires_at=expires_at)


def shut_among(conversation_ids: Iterable[int], *, now: datetime) -> set[int]:
    """Of these conversations, those whose window is not open: the set form of ``of``, for the outbox."""
    from .models import ServiceWindow

    ids = set(conversation_ids)
    latest: dict[int, datetime] = {}
    rows = ServiceWindow.objects.filter(conversation__in=ids).values_list("conversation_id", "expires_at")
    for conversation_id, expires_at in rows:
        latest[conversation_id] = max(expires_at, latest.get(conversation_id, expires_at))
    return {pk for pk in ids if not is_open(latest.get(pk), now=now)}


def prolong(written: Mapping[int, tuple[datetime, int]], *, now: datetime) -> None:
    """Open or prolong the windows of contacts who wrote.

    ``written``: conversation id -> (time of the contact's newest message by the provider's clock, message id).
    The caller holds the locks of these conversations. Words that reach us after their 24 hours open nothing, but
    they are on record as a window that has closed: see ``_record_closed``.
    """
    from .models import ServiceWindow

    State = ServiceWindow.State
    open_windows = {
        window.conversation_id: window
        for window in ServiceWindow.objects.select_for_update(no_key=True).filter(
            conversation__in=written, state=State.OPEN
        )
    }
    new, changed = [], []
    late: dict[int, tuple[datetime, int]] = {}
    for conversation_id, (written_at, message_id) in written.items():
        until = expiry(written_at, now=now)
        window = open_windows.get(conversation_id)
        if window is not None and min(written_at, now) < window.expires_at:
            if until > window.expires_at:
                window.expires_at = until
                changed.append(window)
            continue
        if until <= now:
            late[conversation_id] = (written_at, message_id)
            continue
        if window is not None:
            window.state = State.CLOSED
            changed.append(window)
        new.append(
            ServiceWindow(
                conversation_id=conversation_id,
                opened_at=min(written_at, now),
                expires_at=until,
                opened_by_id=message_id,
            )
        )
    if changed:
        _write(changed)
    if new:
        ServiceWindow.objects.bulk_create(new)
    if late:
        _record_closed(late)


def _record_closed(late: Mapping[int, tuple[datetime, int]]) -> None:
    """Record the windows of messages that reached us after their 24 hours: closed, and missed.

    So every screen and report says "closed" and not "never opened", and counts what nobody could answer. Where the
    24 hours overlap with those of an earlier record, that record becomes longer instead.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH late AS (
                SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::bigint[])
                    AS late(conversation_id, opened_at, expires_at, message_id)
            ), covered AS (
                SELECT DISTINCT ON (late.conversation_id) w.id, late.*
                FROM late JOIN bridge_servicewindow w ON w.conversation_id = late.conversation_id
                WHERE w.opened_at <= late.expires_at AND w.expires_at >= late.opened_at
                ORDER BY late.conversation_id, w.expires_at DESC
            ), prolonged AS (
                UPDATE bridge_servicewindow w
                SET opened_at = least(w.opened_at, covered.opened_at),
                    expires_at = greatest(w.expires_at, covered.expires_at)
                FROM covered WHERE w.id = covered.id AND w.state = 'closed'
            )
            INSERT INTO bridge_servicewindow
                (conversation_id, opened_at, expires_at, state, opened_by_id, missed, assignee_id)
            SELECT c.id, late.opened_at, late.expires_at, 'closed', late.message_id, TRUE, c.assignee_id
            FROM late JOIN bridge_conversation c ON c.id = late.conversation_id
            WHERE NOT EXISTS (SELECT FROM covered WHERE covered.conversation_id = late.conversation_id)
            """,
            [
                list(late),
                [written_at for written_at, _message in late.values()],
                [written_at + LENGTH for written_at, _message in late.values()],
                [message_id for _written_at, message_id in late.values()],
            ],
        )


def _write(changed: list[ServiceWindow]) -> None:
    """One plain statement: Django's bulk_update costs more than all the rest of taking a message in."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE bridge_servicewindow w SET expires_at = v.expires_at, state = v.state,
                warned_at = CASE WHEN v.state = 'closed' THEN w.warned_at END,
                warned_mark = CASE WHEN v.state = 'closed' THEN w.warned_mark END,
                missed = CASE WHEN v.state = 'closed' THEN {MISSED} END,
                assignee_id = CASE WHEN v.state = 'closed' THEN c.assignee_id END
            FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS v(id, expires_at, state),
                bridge_conversation c
            WHERE w.id = v.id AND c.id = w.conversation_id
            """,
            [[w.pk for w in changed], [w.expires_at for w in changed], [str(w.state) for w in changed]],
        )


def note_reply(conversation_id: int, *, at: datetime) -> None:
    """We answered: the open window is no longer a missed one."""
    from .models import ServiceWindow

    ServiceWindow.objects.filter(
        conversation=conversation_id, state=ServiceWindow.State.OPEN, first_reply_at=None
    ).update(first_reply_at=at)


def expire_batch(*, limit: int = BATCH) -> list[int]:
    """Shut up to ``limit`` windows that are due, the oldest first; the conversations concerned.

    One short transaction by the database's clock over a partial index; the clock is asked in a SELECT of its own,
    because an index takes no bound that may change while it is read. What is due is found once, ahead of the update:
    as a condition of it, it would be found anew for each row wherever PostgreSQL believes that there are few. Rows
    that another beat works on are skipped, so two at once share the work and do nothing twice.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH due AS MATERIALIZED (
                SELECT id FROM bridge_servicewindow
                WHERE state = 'open' AND expires_at <= (SELECT clock_timestamp())
                ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            UPDATE bridge_servicewindow w SET state = 'closed', missed = {MISSED}, assignee_id = c.assignee_id
            FROM due, bridge_conversation c
            WHERE w.id = due.id AND c.id = w.conversation_id
            RETURNING w.conversation_id
            """,
            [limit],
        )
        return [row[0] for row in cursor.fetchall()]
