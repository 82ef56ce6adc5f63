"""Planning of push messages: one statement per source finds what is new, and one message per event and browser is made.

A plan looks back further than the time between two plans, because a transaction may commit late. The unique key of a
message keeps an event from being sent twice. Settings, access and "do not disturb" are checked here, for each user.
"""

from __future__ import annotations

from django.db import connection

from bridge.conversations.assignments import can_answer_condition, waits_for_condition
from bridge.desk.live.notifications import concerns_condition
from bridge.models import NotificationKind, NotificationSettings, OperatorAvailability, PushSubscription

LOOKS_BACK_SECONDS = 60
MAX_CHATS = 200  # with news in LOOKS_BACK_SECONDS, newest first
Kind, Scope = NotificationKind, NotificationSettings.Scope

# Subscribed users who are not to be disturbed are left out, and so are the kinds that they have muted.
RECEIVERS_SQL = f"""
WITH receiver AS (
    SELECT s.id, s.user_id, coalesce(n.scope, '{Scope.UNASSIGNED}') AS scope,
           coalesce(n.muted_kinds, ARRAY[]::varchar[]) AS muted
    FROM bridge_pushsubscription s
    LEFT JOIN bridge_notificationsettings n ON n.user_id = s.user_id
    LEFT JOIN bridge_operatoravailability v ON v.user_id = s.user_id
    WHERE s.created_at < clock_timestamp() AND NOT (
        coalesce(v.status, '') = '{OperatorAvailability.Status.DND}'
        AND (v.until IS NULL OR v.until > clock_timestamp()))
)"""
INSERT_SQL = "INSERT INTO bridge_pushmessage (subscription_id, key, kind, conversation_id, notification_id)"
SINCE_SQL = f"clock_timestamp() - interval '{LOOKS_BACK_SECONDS} seconds'"
SEES_CHAT_SQL = can_answer_condition("r.user_id")
MESSAGES_SQL = f"""
{RECEIVERS_SQL}, news AS (
    SELECT id, assignee_id, team_id, chat_channel_id, last_message_at FROM bridge_conversation
    WHERE last_message_at > {SINCE_SQL} AND last_direction = 'inbound'
    ORDER BY last_message_at DESC, id DESC LIMIT {MAX_CHATS}
)
{INSERT_SQL}
SELECT r.id, 'm' || c.id || ':' || (extract(epoch FROM c.last_message_at) * 1000000)::bigint,
       '{Kind.MESSAGE}', c.id, NULL
FROM receiver r CROSS JOIN news c
WHERE NOT '{Kind.MESSAGE}' = ANY(r.muted) AND {SEES_CHAT_SQL}
  AND {concerns_condition(scope="r.scope", user="r.user_id")}
ON CONFLICT DO NOTHING
"""
NOTIFICATIONS_SQL = f"""
{RECEIVERS_SQL}
{INSERT_SQL}
SELECT r.id, 'n' || n.id, n.kind, n.conversation_id, n.id
FROM receiver r JOIN bridge_notification n ON n.user_id = r.user_id
JOIN bridge_conversation c ON c.id = n.conversation_id
WHERE n.created_at > {SINCE_SQL} AND NOT n.kind = ANY(r.muted) AND {SEES_CHAT_SQL}
ON CONFLICT DO NOTHING
"""
REMINDERS_SQL = f"""
{RECEIVERS_SQL}
{INSERT_SQL}
SELECT r.id, 'c' || reminder.id, '{Kind.CLOSING}', c.id, NULL
FROM bridge_closingreminder reminder
JOIN bridge_servicewindow w ON w.id = reminder.window_id
JOIN bridge_conversation c ON c.id = w.conversation_id
CROSS JOIN receiver r
WHERE reminder.created_at > {SINCE_SQL} AND NOT '{Kind.CLOSING}' = ANY(r.muted) AND {SEES_CHAT_SQL}
  AND (reminder.assignee_id = r.user_id
       OR (reminder.assignee_id IS NULL AND {waits_for_condition("reminder.team_id", "r.user_id")}))
ON CONFLICT DO NOTHING
"""


def plan_pushes() -> int:
    """Create the messages of what is new. Return how many. Without subscriptions, this is one cheap query."""
    if not PushSubscription.objects.exists():
        return 0
    planned = 0
    with connection.cursor() as cursor:
        for statement in (MESSAGES_SQL, NOTIFICATIONS_SQL, REMINDERS_SQL):
            cursor.execute(statement)
            planned += cursor.rowcount
    return planned
