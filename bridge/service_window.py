"""The service window: the one place that knows the 24-hour rule.

WhatsApp lets a business answer freely for 24 hours after the contact's last own message, by the provider's
clock. At exactly 24 hours the window is closed. Only a contact's message moves it, never backwards; a stamp from
the future counts as now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connection, transaction

from channels_setup.codecs import chat_events

if TYPE_CHECKING:
    from .models import Conversation, ServiceWindow

WINDOW_LENGTH = timedelta(hours=24)
EXPIRE_BATCH = 500

# A window is missed when it shuts on a client's unanswered words, and nobody has closed or solved the request.
RESOLVED_STATUSES = (chat_events.SOLVED, chat_events.CLOSED, chat_events.DELETED, chat_events.SPAM, chat_events.MERGED)
MISSED_CONDITION = f"(c.last_direction = 'inbound' AND coalesce(c.request_status, 0) NOT IN {RESOLVED_STATUSES})"

# Conversation ID, and the merged contact's ID (None: the conversation's own contact).
WindowKey = tuple[int, int | None]

LATEST_WINDOW_SQL = """
SELECT opened_at, expires_at FROM bridge_servicewindow WHERE conversation_id = %s ORDER BY expires_at DESC LIMIT 1
"""


def compute_expiry(written_at: datetime, *, now: datetime) -> datetime:
    """When the window of a message written at ``written_at`` (the provider's clock) shuts."""
    return min(written_at, now) + WINDOW_LENGTH


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
        """``open``, ``closed``, ``none`` (the contact never wrote) or ``unrestricted`` (no such rule)."""
        if not self.applies:
            return "unrestricted"
        if self.is_open:
            return "open"
        return "closed" if self.expires_at else "none"


def get_window_state(conversation: Conversation, *, now: datetime | None = None) -> WindowState:
    """The state of one conversation's window now."""
    if not conversation.api_channel.provider.service_window:
        return WindowState(applies=False, is_open=True)
    with connection.cursor() as cursor:
        cursor.execute(LATEST_WINDOW_SQL, [conversation.pk])
        row = cursor.fetchone()
    if row is None:
        return WindowState(applies=True, is_open=False)
    opened_at, expires_at = row
    shows_open = is_open(expires_at, now=now or database_now())
    return WindowState(applies=True, is_open=shows_open, opened_at=opened_at, expires_at=expires_at)


def get_merged_window_state(conversation: Conversation, merged_contact_id: int | None, *, now: datetime) -> WindowState:
    """The window of one number in a conversation of merged contacts."""
    from .models import ServiceWindow

    if not conversation.contact.has_merged or not conversation.api_channel.provider.service_window:
        return get_window_state(conversation, now=now)
    own = ServiceWindow.objects.filter(conversation=conversation, merged_contact=merged_contact_id)
    expires_at = own.order_by("-expires_at").values_list("expires_at", flat=True).first()
    return WindowState(applies=True, is_open=is_open(expires_at, now=now), expires_at=expires_at)


def find_closed_windows(keys: Iterable[WindowKey], *, now: datetime) -> set[WindowKey]:
    """Return the keys whose window is not open: the set form of ``get_window_state``, for the outbox."""
    from .models import ServiceWindow

    wanted = set(keys)
    latest: dict[WindowKey, datetime] = {}
    rows = ServiceWindow.objects.filter(conversation__in={conversation_id for conversation_id, _contact in wanted})
    for conversation_id, merged_id, expires_at in rows.values_list(
        "conversation_id", "merged_contact_id", "expires_at"
    ):
        key = conversation_id, merged_id
        latest[key] = max(expires_at, latest.get(key, expires_at))
    return {key for key in wanted if not is_open(latest.get(key), now=now)}


def get_addressee_id(conversation: Conversation) -> int | None:
    """The merged contact to whom an answer goes: the one whose window ends last. None: the chat's own contact."""
    from .models import ServiceWindow

    if not conversation.contact.has_merged:
        return None
    rows = ServiceWindow.objects.filter(conversation=conversation).order_by("-expires_at", "-pk")
    return rows.values_list("merged_contact_id", flat=True).first()


@dataclass(frozen=True, kw_only=True)
class ContactActivity:
    """A contact's newest message in a conversation: when it was written, by the provider's clock."""

    conversation_id: int
    at: datetime
    message_id: int | None
    merged_contact_id: int | None = None  # of a contact that was merged into the conversation's own


def extend_windows(written: Iterable[ContactActivity], *, now: datetime) -> None:
    """Open or prolong the windows of contacts who wrote. The caller holds the locks of these conversations.

    Words that reach us after their 24 hours open nothing, but they are on record as a window that has closed: see
    ``_record_closed``.
    """
    from .models import ServiceWindow

    State = ServiceWindow.State
    items = list(written)
    writers = Counter(item.conversation_id for item in items)
    open_windows = {
        window.conversation_id: window
        for window in ServiceWindow.objects.select_for_update(no_key=True).filter(
            conversation__in=writers, state=State.OPEN
        )
    }
    new, changed, of_several = [], [], []
    late: list[ContactActivity] = []
    for item in items:
        until = compute_expiry(item.at, now=now)
        window = open_windows.get(item.conversation_id)
        if writers[item.conversation_id] > 1 or (window and window.merged_contact_id != item.merged_contact_id):
            of_several.append(item)
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
    for item in sorted(of_several, key=lambda item: item.at):
        _extend_merged_window(item, now=now)


def _record_closed(late: Sequence[ContactActivity]) -> None:
    """Record the windows of messages that reached us after their 24 hours: closed, and missed.

    So every screen and report says "closed" and not "never opened", and counts what nobody could answer. Where the
    24 hours overlap with those of an earlier record, that record becomes longer instead.
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
                (conversation_id, merged_contact_id, opened_at, expires_at, state, opened_by_id, missed, assignee_id)
            SELECT c.id, late.merged_contact_id, late.opened_at, late.expires_at, 'closed', late.message_id, TRUE,
                c.assignee_id
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
    from .models import ServiceWindow

    return ServiceWindow(
        conversation_id=item.conversation_id,
        merged_contact_id=item.merged_contact_id,
        opened_at=min(item.at, now),
        expires_at=until,
        opened_by_id=item.message_id,
    )


def _extend_merged_window(item: ContactActivity, *, now: datetime) -> None:
    """Open or prolong the window of one of several merged contacts; the one that ends last is the open one."""
    from .models import ServiceWindow

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
        own.expires_at, own.warned_at, own.warned_mark = until, None, None
        own.save(update_fields=["expires_at", "warned_at", "warned_mark"])
    open_latest_window(item.conversation_id, now=now)


def close_windows(conversation_id: int, *, now: datetime) -> None:
    """Close a conversation's open window while its rows move. ``open_latest_window`` opens it again."""
    _close_other_windows(conversation_id, None, now=now)


def open_latest_window(conversation_id: int, *, now: datetime) -> None:
    """Of a conversation's windows, one for each merged contact, open the one that ends last and close the others."""
    from .models import ServiceWindow

    unexpired = ServiceWindow.objects.filter(conversation=conversation_id, expires_at__gt=now)
    last = unexpired.order_by("-expires_at", "-pk").values_list("pk", flat=True).first()
    _close_other_windows(conversation_id, last, now=now)
    ServiceWindow.objects.filter(pk=last or 0, state=ServiceWindow.State.CLOSED).update(
        state=ServiceWindow.State.OPEN, missed=None, assignee=None
    )


def _close_other_windows(conversation_id: int, kept: int | None, *, now: datetime) -> None:
    """Close the open windows but one. One that has time left is not missed: the person can still be answered."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE bridge_servicewindow w
            SET state = 'closed', missed = w.expires_at <= %s AND {MISSED_CONDITION}, assignee_id = c.assignee_id
            FROM bridge_conversation c
            WHERE c.id = w.conversation_id AND w.conversation_id = %s AND w.state = 'open'
              AND w.id IS DISTINCT FROM %s
            """,
            [now, conversation_id, kept],
        )


def _save_windows(changed: list[ServiceWindow]) -> None:
    """One plain statement: Django's bulk_update costs more than all the rest of taking a message in."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE bridge_servicewindow w SET expires_at = v.expires_at, state = v.state,
                warned_at = CASE WHEN v.state = 'closed' THEN w.warned_at END,
                warned_mark = CASE WHEN v.state = 'closed' THEN w.warned_mark END,
                missed = CASE WHEN v.state = 'closed' THEN {MISSED_CONDITION} END,
                assignee_id = CASE WHEN v.state = 'closed' THEN c.assignee_id END
            FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS v(id, expires_at, state),
                bridge_conversation c
            WHERE w.id = v.id AND c.id = w.conversation_id
            """,
            [[w.pk for w in changed], [w.expires_at for w in changed], [str(w.state) for w in changed]],
        )


def record_reply(conversation_id: int, *, at: datetime) -> None:
    """We answered: the open window is no longer a missed one."""
    from .models import ServiceWindow

    ServiceWindow.objects.filter(
        conversation=conversation_id, state=ServiceWindow.State.OPEN, first_reply_at=None
    ).update(first_reply_at=at)


def expire_batch(*, limit: int = EXPIRE_BATCH) -> list[int]:
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
            UPDATE bridge_servicewindow w SET state = 'closed', missed = {MISSED_CONDITION}, assignee_id = c.assignee_id
            FROM due, bridge_conversation c
            WHERE w.id = due.id AND c.id = w.conversation_id
            RETURNING w.conversation_id
            """,
            [limit],
        )
        return [row[0] for row in cursor.fetchall()]
