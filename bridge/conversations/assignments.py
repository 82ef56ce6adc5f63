"""Release assignments of users who can no longer answer: deactivated, deleted, without role or chat channel.

Changes of users, groups and operators call ``release_lost_assignments`` at once. Beat calls it every minute, for
changes that bypass signals (bulk updates, SQL).
"""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from bridge import wakeups
from bridge.models import ClosingReminder, Conversation, ServiceWindow, Ticket
from bridge.notices import create_notice
from channels_setup.failing_items import FailingItems
from channels_setup.permissions import VIEW_ALL_CHATS, VIEW_CHATS, has_permission_condition

from . import receiving, tickets

RELEASE_BATCH = 200
RELEASING = FailingItems("release_assignments")

# Whether the user ``u`` sees chats now, and those of all channels; as ``ChatChannelQuerySet.visible_to`` asks.
SEES_CHATS_CONDITION = f"(u.is_active AND {has_permission_condition(VIEW_CHATS)})"
SEES_ALL_CONDITION = f"({SEES_CHATS_CONDITION} AND {has_permission_condition(VIEW_ALL_CHATS)})"


def can_answer_condition(person: str) -> str:
    """Return the SQL condition that a user can answer in the conversation ``c`` now. ``person``: SQL of their id."""
    return f"""EXISTS (
    SELECT FROM accounts_user u WHERE u.id = {person} AND {SEES_CHATS_CONDITION} AND ({SEES_ALL_CONDITION} OR EXISTS (
        SELECT FROM channels_setup_chatchannel_operators o
        WHERE o.user_id = u.id AND o.chatchannel_id = c.chat_channel_id)))"""


def waits_for_condition(team: str, person: str) -> str:
    """Return the SQL condition that what waits for a team waits for this user, too.

    Without a team, or with one that has no members, it waits for all. ``team``, ``person``: SQL of their ids.
    """
    member = f"SELECT FROM channels_setup_team_members m WHERE m.team_id = {team}"
    return f"({team} IS NULL OR EXISTS ({member} AND m.user_id = {person}) OR NOT EXISTS ({member}))"


ASSIGNEE_CAN_ANSWER_CONDITION = can_answer_condition("c.assignee_id")

# Whether the team of the conversation ``c`` serves its channel and has a member who can answer in it.
TEAM_CAN_ANSWER_CONDITION = f"""EXISTS (
    SELECT FROM channels_setup_team_chat_channels served
    JOIN channels_setup_team_members member ON member.team_id = served.team_id
    WHERE served.team_id = c.team_id AND served.chatchannel_id = c.chat_channel_id
      AND {can_answer_condition("member.user_id")})"""

# Walk the distinct assignees over their index. For each who may not see all channels, find chats of other channels.
LOST_CHATS_SQL = f"""
WITH RECURSIVE people AS (
    SELECT min(assignee_id) AS id FROM bridge_conversation WHERE assignee_id IS NOT NULL
    UNION ALL
    SELECT (SELECT min(assignee_id) FROM bridge_conversation WHERE assignee_id > people.id)
    FROM people WHERE people.id IS NOT NULL
)
SELECT c.id FROM people JOIN accounts_user u ON u.id = people.id
CROSS JOIN LATERAL (
    SELECT id FROM bridge_conversation
    WHERE assignee_id = u.id AND NOT ({SEES_CHATS_CONDITION} AND chat_channel_id = ANY (ARRAY(
        SELECT chatchannel_id FROM channels_setup_chatchannel_operators WHERE user_id = u.id)))
      AND NOT id = ANY (%s)
    LIMIT {RELEASE_BATCH}
) c
WHERE NOT {SEES_ALL_CONDITION}
LIMIT {RELEASE_BATCH}
"""

# Chats with live requests of users who can no longer answer in them. Each user's live requests have an index.
LOST_REQUESTS_SQL = f"""
SELECT DISTINCT t.conversation_id FROM accounts_user u
CROSS JOIN LATERAL (
    SELECT t.conversation_id FROM bridge_ticket t JOIN bridge_conversation c ON c.id = t.conversation_id
    WHERE t.assignee_id = u.id AND t.status NOT IN ({", ".join(str(int(status)) for status in Ticket.ENDED)})
      AND NOT ({SEES_CHATS_CONDITION} AND c.chat_channel_id = ANY (ARRAY(
        SELECT chatchannel_id FROM channels_setup_chatchannel_operators WHERE user_id = u.id)))
      AND NOT c.id = ANY (%s)
    LIMIT {RELEASE_BATCH}
) t
WHERE NOT {SEES_ALL_CONDITION}
LIMIT {RELEASE_BATCH}
"""


def release_lost_assignments() -> int:
    """Unassign every chat and open request whose assignee can no longer answer there. Return the number of chats."""
    released = 0
    while found := _find_lost_chats():
        count = 0
        for pk in found:
            with RELEASING.isolate(pk):
                count += release_chat(pk)
        released += count
        failed = sum(map(RELEASING.is_in_backoff, found))
        if count + failed < len(found):  # another worker is processing them, or they changed meanwhile
            return released
    return released


def _find_lost_chats() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"({LOST_CHATS_SQL}) UNION ({LOST_REQUESTS_SQL})",
            [RELEASING.items_in_backoff(), RELEASING.items_in_backoff()],
        )
        return sorted(row[0] for row in cursor.fetchall())


@transaction.atomic
def release_chat(conversation_id: int, *, leaving: Any = None) -> bool:
    """Unassign one chat and its open requests from users who cannot answer, or from ``leaving``.

    Requests of other users stay assigned. A notice in the thread reports each unassigned request.
    """
    conversation = receiving.lock_conversation(conversation_id)
    live = Ticket.objects.filter(conversation=conversation).exclude(status__in=Ticket.ENDED)
    requests = list(live.select_related("assignee").order_by("-pk"))
    assignees = {user.pk: user for user in (conversation.assignee, *(request.assignee for request in requests)) if user}
    removed = {pk: user for pk, user in assignees.items() if user == leaving or not can_answer(conversation, pk)}
    if not removed:
        return False
    before = conversation.assignee_id
    line = None if requests else "released"  # the notices below say the same
    for request in requests:
        if request.assignee_id in removed:
            tickets.assign_ticket(request.pk, user_id=None, line=line)
    has_chat_notice = False
    if before is not None and before in removed:
        has_chat_notice = tickets.assign_chat(conversation_id, user_id=None, line=line).assignee_id is None and bool(
            requests
        )
        reset_reminders(conversation)
        if has_chat_notice:
            create_notice(conversation, "assignee_left", name=_get_name(removed[before]))
    for request in requests[1:] if has_chat_notice else requests:
        if request.assignee_id is not None and request.assignee_id in removed:
            name = _get_name(removed[request.assignee_id])
            create_notice(conversation, "request_assignee_left", name=name, number=request.pk)
    return True


def reset_reminders(conversation: Conversation) -> None:
    """Delete the chat's closing reminders, so that all operators of the channel get them."""
    reminded = ServiceWindow.objects.filter(conversation=conversation, state=ServiceWindow.State.OPEN)
    reminded = reminded.exclude(reminded_lead_minutes=None)
    ClosingReminder.objects.filter(window__in=reminded.values("pk")).delete()
    reminded.update(reminded_lead_minutes=None, reminded_at=None)


def release_user_assignments(user: Any) -> int:
    """Unassign all chats and open requests of a user who is about to be deleted."""
    live = Ticket.objects.filter(assignee=user).exclude(status__in=Ticket.ENDED)
    chats = Conversation.objects.filter(Q(assignee=user) | Q(pk__in=live.values("conversation")))
    return sum(release_chat(pk, leaving=user) for pk in list(chats.order_by("pk").values_list("pk", flat=True)))


def can_answer(conversation: Conversation, user_id: int) -> bool:
    """Return whether the user can answer in this chat now."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {can_answer_condition('%s')} FROM bridge_conversation c WHERE c.id = %s",
            [user_id, conversation.pk],
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def _get_name(user: Any) -> str:
    return str(user.get_full_name() or user.get_username())


def schedule_release() -> None:
    """Run ``release_lost_assignments`` after the commit. If the task is lost, beat runs it within a minute."""
    wakeups.enqueue_after_commit("release_assignments")
