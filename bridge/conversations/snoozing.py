"""Snoozed chats: out of the list of waiting chats until a time, or until the client writes.

A snooze is no status: the request stays open, and programs do not see it. The statuses "on hold" and "pending" have no
time and are seen by reports and programs. A snooze ends when its time comes, when the client writes, when the request
is closed, or when an operator ends it. A chat with an unanswered message wakes before its service window closes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.models import Conversation, Snooze
from bridge.notifications import notify
from channels_setup.failing_items import FailingItems
from channels_setup.working_hours import WorkingHours

from .activity import record_activity
from .receiving import lock_conversation

WAKE_BEFORE_CLOSING = timedelta(minutes=60)
END_OF_DAY_MARGIN = timedelta(minutes=30)
LATER = timedelta(hours=3)
MORNING = time(9)
LONGEST = timedelta(days=365)  # also of "until the client writes"
SAME_TIME = timedelta(minutes=1)  # a choice counts from now, so its repetition gives a slightly later time
WAKE_BATCH = 200
WAKING = FailingItems("wake_chats")

# Snoozed chats are few. OFFSET keeps the look-up one search of an index, whatever the statistics say.
DUE_SQL = """
SELECT s.conversation_id FROM bridge_snooze s
CROSS JOIN LATERAL (SELECT snoozed_until FROM bridge_conversation WHERE id = s.conversation_id OFFSET 0) c
WHERE (c.snoozed_until IS NULL OR c.snoozed_until <= clock_timestamp()) AND NOT s.conversation_id = ANY (%(failing)s)
LIMIT %(batch)s
"""


class SnoozeRefused(Exception):
    """The chat cannot be snoozed so. The text is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class SnoozePlan:
    """When a snoozed chat wakes. ``is_before_closing``: earlier than chosen, because its window closes."""

    wakes_at: datetime
    is_before_closing: bool = False


def plan_snooze(
    conversation: Conversation,
    until: datetime | None,
    *,
    now: datetime,
    window: service_window.WindowState | None = None,
) -> SnoozePlan:
    """Return when the chat would wake. ``until``: None until the client writes. Raises SnoozeRefused."""
    if conversation.request_status is None or conversation.request_status in service_window.RESOLVED_STATUSES:
        raise SnoozeRefused(_("This chat has no open request, so there is nothing to snooze."))
    if until is not None and until <= now:
        raise SnoozeRefused(_("This time has passed. Choose a later one."))
    if until is not None and until > now + LONGEST:
        raise SnoozeRefused(_("A chat can be snoozed for a year at most."))
    wanted = until or now + LONGEST
    limit = _find_latest_wake(conversation, window=window, now=now)
    if limit is None or wanted <= limit:
        return SnoozePlan(wakes_at=wanted)
    if limit <= now:
        raise SnoozeRefused(_("The window closes soon and the client waits for a reply. Reply before you snooze."))
    return SnoozePlan(wakes_at=limit, is_before_closing=True)


def _find_latest_wake(
    conversation: Conversation, *, window: service_window.WindowState | None, now: datetime
) -> datetime | None:
    """Return when a chat with an unanswered message must wake before its window closes; None: no such limit."""
    if conversation.last_direction != "inbound":
        return None
    window = window or service_window.get_window_state(conversation, now=now)
    if not window.applies or not window.is_open or window.expires_at is None:
        return None
    return compute_latest_wake(window.expires_at, conversation.chat_channel.working_hours, now=now)


def compute_latest_wake(expires_at: datetime, hours: WorkingHours | None, *, now: datetime) -> datetime:
    """Return the last useful moment to wake: an hour before the window closes, and while somebody is at work."""
    wake = expires_at - WAKE_BEFORE_CLOSING
    if hours is None or hours.is_at_work(wake):
        return wake
    in_hours = hours.last_end(wake) - END_OF_DAY_MARGIN
    return in_hours if in_hours > now else wake


@transaction.atomic
def snooze_chat(conversation_id: int, *, until: datetime | None, by: Any) -> SnoozePlan:
    """Snooze a chat until a time, or until the client writes (None). Raises SnoozeRefused."""
    conversation = lock_conversation(conversation_id)
    now = service_window.database_now()
    plan = plan_snooze(conversation, until, now=now)
    if _is_snoozed_so(conversation, until, plan, by=by, now=now):
        return plan
    Snooze.objects.update_or_create(
        conversation=conversation,
        defaults={"user": by, "until": until, "is_before_closing": plan.is_before_closing},
    )
    Conversation.objects.filter(pk=conversation.pk).update(snoozed_until=plan.wakes_at)
    if until is None and not plan.is_before_closing:
        record_activity(conversation.pk, "snoozed_until_reply", actor=by)
    else:
        record_activity(conversation.pk, "snoozed", actor=by, until=plan.wakes_at.isoformat())
    return plan


def _is_snoozed_so(
    conversation: Conversation, until: datetime | None, plan: SnoozePlan, *, by: Any, now: datetime
) -> bool:
    """Return whether this user has already snoozed the chat like this, for example with a repeated key."""
    if conversation.snoozed_until is None or conversation.snoozed_until <= now:
        return False
    snooze = Snooze.objects.filter(conversation=conversation, user=by).first()
    if (
        snooze is None
        or snooze.is_before_closing != plan.is_before_closing
        or (snooze.until is None) != (until is None)
    ):
        return False
    return until is None or abs(plan.wakes_at - conversation.snoozed_until) < SAME_TIME


@transaction.atomic
def end_snooze(conversation_id: int, *, by: Any) -> bool:
    """End a snooze at an operator's request. Return whether the chat was snoozed."""
    conversation = lock_conversation(conversation_id)
    if conversation.snoozed_until is None:
        return False
    Snooze.objects.filter(conversation=conversation).delete()
    Conversation.objects.filter(pk=conversation.pk).update(snoozed_until=None)
    record_activity(conversation.pk, "woken", actor=by)
    return True


def wake_due_chats() -> int:
    """End every snooze that is over. Return how many chats wait again."""
    woken = 0
    while found := _find_due_chats():
        done = 0
        for pk in found:
            with WAKING.isolate(pk):
                woken += _wake_chat(pk)
                done += 1
        if len(found) < WAKE_BATCH or not done:
            break
    return woken


def _find_due_chats() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(DUE_SQL, {"failing": WAKING.items_in_backoff(), "batch": WAKE_BATCH})
        return sorted(row[0] for row in cursor.fetchall())


@transaction.atomic
def _wake_chat(conversation_id: int) -> bool:
    """End the snooze of one chat if it is over: its time has come, the client wrote, or the request was closed."""
    conversation = lock_conversation(conversation_id)
    snooze = Snooze.objects.filter(conversation=conversation).first()
    is_early = conversation.snoozed_until is not None and conversation.snoozed_until > service_window.database_now()
    if is_early or snooze is None:
        return False  # snoozed again, or another worker was faster
    by_client = conversation.snoozed_until is None
    Snooze.objects.filter(conversation=conversation).delete()
    Conversation.objects.filter(pk=conversation.pk).update(snoozed_until=None)
    if conversation.request_status in service_window.RESOLVED_STATUSES:
        return False
    kind = "woken_by_client" if by_client else "woken_before_closing" if snooze.is_before_closing else "woken"
    record_activity(conversation.pk, kind)
    if not by_client:  # a message notifies by itself
        notify({conversation.assignee_id, snooze.user_id}, "woken", conversation.pk)
    return True


# --- choices of the menu ---------------------------------------------------------------------------------

CHOICES = ("later", "tomorrow", "monday", "reply")


def compute_choice(choice: str, *, now: datetime) -> datetime | None:
    """Return the time of a choice of the menu, in the user's time zone; None: until the client writes."""
    local = timezone.localtime(now)
    if choice == "later":
        return now + LATER
    if choice == "reply":
        return None
    days = 1 if choice == "tomorrow" else 7 - local.weekday()
    return datetime.combine(local.date() + timedelta(days=days), MORNING, tzinfo=local.tzinfo)


def parse_local_time(value: str) -> datetime | None:
    """Return the time of a ``datetime-local`` field in the user's time zone, or None if it is none."""
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return timezone.make_aware(parsed) if parsed.tzinfo is None else None
