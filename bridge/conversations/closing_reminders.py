"""Closing reminders: warn operators before a window closes on an unanswered message, once per lead time.

Each lead time is one SQL statement. Rows locked by another worker are skipped, and a unique constraint allows one
reminder per window, expiry and lead time. The shortest lead time runs first and suppresses the longer ones, so that
after an outage a window with ten minutes left gets one reminder and not three.

A reminder is for the assignee if they can answer now and are not known to be away, else for the members of the chat's
team if one of them can, else for all operators of the channel.

No reminders are sent outside working hours. In the last half hour of the working day, all reminders are sent that would
become due before the next working day starts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q

from bridge import service_window
from bridge.fanout import operator_notes
from bridge.models import ClosingReminder, ServiceWindow
from channels_setup.failing_items import FailingItems
from channels_setup.models import ChatChannel, Team
from channels_setup.providers import messengers
from channels_setup.working_hours import WorkingHours

from . import assignments, availability

END_OF_DAY_MARGIN = timedelta(minutes=30)
REMINDER_BATCH = 500
CHANNELS = FailingItems("closing reminders: channels")
CLAIMS = FailingItems("closing reminders: claims")

CLAIM_REMINDERS_SQL = f"""
WITH due AS (
    SELECT w.id, w.expires_at, c.chat_channel_id,
        CASE WHEN {assignments.ASSIGNEE_CAN_ANSWER_CONDITION} AND NOT {availability.is_away_condition("c.assignee_id")}
             THEN c.assignee_id END AS assignee_id,
        CASE WHEN {assignments.TEAM_CAN_ANSWER_CONDITION} THEN c.team_id END AS team_id
    FROM bridge_servicewindow w
    JOIN bridge_conversation c ON c.id = w.conversation_id
    JOIN channels_setup_apichannel a ON a.id = c.api_channel_id
    WHERE w.state = 'open' AND w.expires_at > %(now)s AND w.expires_at <= %(until)s
      AND c.chat_channel_id = ANY(%(channels)s) AND {service_window.MISSED_CONDITION}
      AND NOT a.kind = ANY(%(without_window)s::text[]) AND a.archived_at IS NULL
      AND (w.reminded_lead_minutes IS NULL OR w.reminded_lead_minutes > %(lead_minutes)s)
    ORDER BY w.expires_at LIMIT {REMINDER_BATCH} FOR NO KEY UPDATE OF w SKIP LOCKED
), reminded AS (
    INSERT INTO bridge_closingreminder (window_id, expires_at, lead_minutes, chat_channel_id, assignee_id, team_id)
    SELECT id, expires_at, %(lead_minutes)s, chat_channel_id, assignee_id,
        CASE WHEN assignee_id IS NULL THEN team_id END FROM due
    ON CONFLICT DO NOTHING RETURNING window_id
)
UPDATE bridge_servicewindow w SET reminded_at = clock_timestamp(), reminded_lead_minutes = %(lead_minutes)s
FROM reminded WHERE w.id = reminded.window_id RETURNING w.id
"""


@dataclass(frozen=True, kw_only=True)
class PendingReminders:
    """Reminders that still apply, newest first, and the ID of the newest reminder."""

    last: int
    reminders: list[ClosingReminder]


def send_reminders(*, now: datetime | None = None) -> int:
    """Create a reminder for every window that has reached a lead time. Return their number."""
    now = now or service_window.database_now()
    without_window = [kind for kind, provider in messengers().items() if not provider.service_window]
    created = 0
    for minutes in sorted(minutes for minutes in settings.CLOSING_REMINDER_MINUTES if minutes > 0):
        for until, channels in _find_due_channels(minutes, now=now).items():
            values = {
                "now": now,
                "until": until,
                "channels": channels,
                "lead_minutes": minutes,
                "without_window": without_window,
            }
            with CLAIMS.isolate((minutes, *channels)):
                created += _claim_all_reminders(values)
    return created


def _claim_all_reminders(values: dict[str, Any]) -> int:
    created = 0
    claimed = REMINDER_BATCH
    while claimed == REMINDER_BATCH:
        claimed = _claim_reminders(values)
        created += claimed
    return created


def get_reminder_horizon(hours: WorkingHours | None, lead_time: timedelta, *, now: datetime) -> datetime | None:
    """Return the latest expiry this reminder covers, or None outside working hours."""
    if hours is None:
        return now + lead_time
    if not hours.is_at_work(now):
        return None
    if now >= hours.end_of_day(now) - END_OF_DAY_MARGIN:
        return hours.next_start(now) + lead_time
    return now + lead_time


def find_pending_reminders(user: Any, channels: Sequence[int], *, after: int) -> PendingReminders:
    """Return the reminders for this user that are newer than ID ``after`` and still apply."""
    members = Team.members.through.objects.all()
    has_members = Exists(members.filter(team=OuterRef("team")))  # the last one may have left it since
    of_team = Q(team=None) | Q(team__in=members.filter(user=user.pk).values("team")) | ~Q(has_members)
    own = Q(assignee=user.pk) | Q(of_team, assignee=None, chat_channel__in=list(channels))
    new = ClosingReminder.objects.filter(own, pk__gt=after)
    is_current = Q(window__state=ServiceWindow.State.OPEN, window__expires_at=F("expires_at"))
    is_current &= Q(
        window__conversation__last_direction="inbound", window__conversation__chat_channel__in=list(channels)
    )
    rows = new.filter(is_current).select_related("window__conversation__contact").order_by("-pk")
    last = new.order_by("-pk").values_list("pk", flat=True).first()
    return PendingReminders(last=last or after, reminders=list(rows[:REMINDER_BATCH]))


def _find_due_channels(minutes: int, *, now: datetime) -> dict[datetime, list[int]]:
    """Return chat channel IDs by the latest expiry that this lead time covers."""
    channels: dict[datetime, list[int]] = defaultdict(list)
    for channel in ChatChannel.objects.all():
        with CHANNELS.isolate(channel.pk):
            until = get_reminder_horizon(channel.working_hours, timedelta(minutes=minutes), now=now)
            if until is not None:
                channels[until].append(channel.pk)
    return channels


def _claim_reminders(values: dict[str, Any]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CLAIM_REMINDERS_SQL, values)
        window_ids = [row[0] for row in cursor.fetchall()]
        operator_notes.note_closing_windows(window_ids)
        return len(window_ids)
