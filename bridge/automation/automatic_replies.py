"""Automatic replies: a greeting for a new client, and a reply outside working hours.

An automatic reply answers nothing: the chat stays unread and waiting, and its closing reminders are sent. There is at
most one of a kind per service window (a unique constraint), so two robots cannot write to each other forever. The reply
is decided like any text, here and again before the call, so none leaves after the window has closed.

Only chats of the built-in desk get one: another helpdesk has rules of its own and would not know of the portal's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from bridge import canned_variables, service_window
from bridge.conversations import consents
from bridge.conversations.receiving import lock_conversation
from bridge.models import (
    ACTIVE_STATUSES,
    AutomaticReply,
    ChannelAutomation,
    Conversation,
    Message,
    OptOut,
    ServiceWindow,
)
from bridge.relay import reply_submission
from channels_setup.failing_items import FailingItems

BATCH = 200
MAX_AGE = timedelta(hours=1)  # of the client's message: after an outage, an older one gets no automatic reply
OVERTIME = timedelta(hours=12)  # after a reply of an operator outside working hours, clients get no away reply
CHANNELS = FailingItems("automatic replies: channels")
CHATS = FailingItems("automatic replies: chats")

Kind = AutomaticReply.Kind

# Read through the index of waiting chats (conversations_waiting), newest first, so older chats cost nothing.
FIND_SQL = f"""
SELECT c.id FROM bridge_conversation c
JOIN bridge_servicewindow w ON w.conversation_id = c.id AND w.state = 'open' AND w.expires_at > clock_timestamp()
WHERE c.chat_channel_id = %(channel)s AND c.last_direction = 'inbound' AND c.request_status IN {ACTIVE_STATUSES}
  AND c.last_message_at > %(since)s AND NOT c.is_erased AND NOT c.id = ANY (%(failing)s)
  AND NOT EXISTS (SELECT FROM bridge_automaticreply r WHERE r.window_id = w.id AND r.kind = %(kind)s)
  {{}}
ORDER BY c.last_message_at DESC LIMIT {BATCH}
"""
# Nobody has replied yet, neither a person nor a program, and there is one window only.
NEW_CLIENT_SQL = """AND w.first_reply_at IS NULL
  AND NOT EXISTS (SELECT FROM bridge_servicewindow o WHERE o.conversation_id = c.id AND o.id <> w.id)
  AND NOT EXISTS (SELECT FROM bridge_message m WHERE m.conversation_id = c.id AND m.direction = 'outbound')"""


def send_due_replies() -> int:
    """Send the automatic replies that are due. Return their number."""
    found = ChannelAutomation.objects.exclude(away_text="", greeting_text="").select_related("chat_channel")
    sent = 0
    for automation in found.order_by("chat_channel"):
        if automation.chat_channel.provider.built_in:
            with CHANNELS.isolate(automation.pk):
                sent += reply_in_channel(automation, now=service_window.database_now())
    return sent


def reply_in_channel(automation: ChannelAutomation, *, now: datetime) -> int:
    """Send the replies of one channel that are due at ``now``. Return their number."""
    hours = automation.chat_channel.working_hours
    if hours is not None and not hours.is_at_work(now):
        kind, text, closed_at, extra = Kind.AWAY, automation.away_text, hours.last_end(now), ""
    else:
        kind, text, closed_at, extra = Kind.GREETING, automation.greeting_text, now - MAX_AGE, NEW_CLIENT_SQL
    if not text.strip():
        return 0
    since = max(closed_at, now - MAX_AGE)
    values: dict[str, Any] = {
        "channel": automation.chat_channel_id,
        "since": since,
        "kind": str(kind),
        "failing": CHATS.items_in_backoff(),
    }
    with connection.cursor() as cursor:
        cursor.execute(FIND_SQL.format(extra), values)
        chats = [row[0] for row in cursor.fetchall()]
    sent = 0
    for pk in chats:
        with CHATS.isolate(pk):
            sent += _reply(automation, pk, kind=kind, text=text, worked_since=max(closed_at, now - OVERTIME), now=now)
    return sent


@transaction.atomic
def _reply(
    automation: ChannelAutomation,
    pk: int,
    *,
    kind: AutomaticReply.Kind,
    text: str,
    worked_since: datetime,
    now: datetime,
) -> bool:
    """Decide and send one reply. The decision is stored also if the text is refused, so it is not repeated."""
    conversation = lock_conversation(pk)
    window = ServiceWindow.objects.filter(conversation=conversation, state=ServiceWindow.State.OPEN).first()
    if window is None or conversation.is_erased or not conversation.needs_reply:
        return False
    if AutomaticReply.objects.filter(window=window, kind=kind).exists():
        return False
    replied = Message.objects.filter(conversation=conversation, direction=Message.Direction.OUTBOUND)
    of_people = replied.exclude(details__has_key=reply_submission.AUTOMATIC)
    if kind == Kind.AWAY and of_people.filter(created_at__gte=worked_since).exists():
        return False  # somebody works late
    if kind == Kind.GREETING and replied.exists():
        return False
    if consents.find_opt_outs([conversation.pk]).get(conversation.pk) == OptOut.ALL:
        AutomaticReply.objects.create(conversation=conversation, window=window, kind=kind, reason="client_opted_out")
        return False
    record = AutomaticReply.objects.create(conversation=conversation, window=window, kind=kind)
    result = reply_submission.submit_reply(
        conversation_id=conversation.pk,
        text=canned_variables.fill_variables(text, _list_values(conversation, automation, now=now)),
        author=None,
        deletes_draft=False,
        form_key=f"{kind}-{window.pk}",
        extra_context={reply_submission.AUTOMATIC: str(kind)},
    )
    record.message, record.reason = result.message, "" if result.message else result.decision.reason
    record.save(update_fields=["message", "reason"])
    return result.message is not None


def _list_values(conversation: Conversation, automation: ChannelAutomation, *, now: datetime) -> Mapping[str, str]:
    """Return the values of the variables, by variable key. ``opens``: the start of the next working day."""
    channel = automation.chat_channel
    values = canned_variables.client_values(conversation)
    if hours := channel.working_hours:
        opens = timezone.localtime(hours.next_start(now), channel.zone)
        values["opens"] = f"{opens:%d.%m, %H:%M}"
    return values
