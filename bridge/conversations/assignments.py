"""Chats and requests of people who can no longer answer: deactivated, deleted, without their role or chat channel.

Changes of users, groups and operators call ``release_lost_assignments`` at once. Beat calls it every minute, for
changes that bypass signals (bulk updates, SQL).
"""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from bridge import wakeups
from bridge.models import Conversation, ServiceWindow, Ticket, WindowWarning
from bridge.notices import create_notice
from channels_setup.failing_items import FailingItems

from . import receiving, tickets

RELEASE_BATCH = 200
RELEASING = FailingItems("release_assignments")

# Whether the user ``u`` sees the chats of all channels; the same as ``ChatChannelQuerySet.visible_to`` asks.
SEES_ALL_CONDITION = """(u.is_superuser OR EXISTS (
    SELECT FROM auth_permission p JOIN django_content_type t ON t.id = p.content_type_id
    WHERE t.app_label = 'channels_setup' AND p.codename = 'change_apichannel' AND p.id IN (
        SELECT permission_id FROM accounts_user_user_permissions WHERE user_id = u.id
        UNION ALL
        SELECT held.permission_id FROM accounts_user_groups mine
        JOIN auth_group_permissions held USING (group_id) WHERE mine.user_id = u.id)))"""


def can_answer_condition(person: str) -> str:
    """Return the SQL condition that a user can answer in the conversation ``c`` now. ``person``: SQL of their id."""
    return f"""EXISTS (
    SELECT FROM accounts_user u WHERE u.id = {person} AND u.is_active AND ({SEES_ALL_CONDITION} OR EXISTS (
        SELECT FROM channels_setup_chatchannel_operators o
        WHERE o.user_id = u.id AND o.chatchannel_id = c.chat_channel_id)))"""


ASSIGNEE_CAN_ANSWER_CONDITION = can_answer_condition("c.assignee_id")

# The assignees by a walk over the index that begins with them; then, of each who may not see all, the chats of
# channels that are not theirs.
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
    WHERE assignee_id = u.id AND NOT (u.is_active AND chat_channel_id = ANY (ARRAY(
        SELECT chatchannel_id FROM channels_setup_chatchannel_operators WHERE user_id = u.id)))
      AND NOT id = ANY (%s)
    LIMIT {RELEASE_BATCH}
) c
WHERE NOT (u.is_active AND {SEES_ALL_CONDITION})
LIMIT {RELEASE_BATCH}
"""

# Chats with live requests of users who can no longer answer in them. Each user's live requests have an index.
LOST_REQUESTS_SQL = f"""
SELECT DISTINCT t.conversation_id FROM accounts_user u
CROSS JOIN LATERAL (
    SELECT t.conversation_id FROM bridge_ticket t JOIN bridge_conversation c ON c.id = t.conversation_id
    WHERE t.assignee_id = u.id AND t.status NOT IN ({", ".join(str(int(status)) for status in Ticket.ENDED)})
      AND NOT (u.is_active AND c.chat_channel_id = ANY (ARRAY(
        SELECT chatchannel_id FROM channels_setup_chatchannel_operators WHERE user_id = u.id)))
      AND NOT c.id = ANY (%s)
    LIMIT {RELEASE_BATCH}
) t
WHERE NOT (u.is_active AND {SEES_ALL_CONDITION})
LIMIT {RELEASE_BATCH}
"""


def release_lost_assignments() -> int:
    """Unassign every chat and live request whose assignee can no longer answer there; how many chats."""
    released = 0
    while found := _find_lost_chats():
        done = 0
        for pk in found:
            with RELEASING.isolate(pk):
                done += release_chat(pk)
        released += done
        failed = sum(map(RELEASING.is_in_backoff, found))
        if done + failed < len(found):  # somebody else is at it, or gave one back meanwhile
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
    """Unassign one chat and its live requests from everybody who cannot answer, or is ``leaving``.

    Requests of others stay theirs. A live request says so in the thread.
    """
    conversation = receiving.lock_conversation(conversation_id)
    live = Ticket.objects.filter(conversation=conversation).exclude(status__in=Ticket.ENDED)
    requests = list(live.select_related("assignee").order_by("-pk"))
    people = {user.pk: user for user in (conversation.assignee, *(one.assignee for one in requests)) if user}
    lost = {pk: user for pk, user in people.items() if user == leaving or not _can_answer(conversation, pk)}
    if not lost:
        return False
    before = conversation.assignee_id
    for request in requests:
        if request.assignee_id in lost:
            tickets.assign_ticket(request.pk, user_id=None)
    told_of_chat = False
    if before is not None and before in lost:
        told_of_chat = tickets.assign_chat(conversation_id, user_id=None).assignee_id is None and bool(requests)
        _reset_reminders(conversation)
        if told_of_chat:
            create_notice(conversation, "assignee_left", name=_name_of(lost[before]))
    for request in requests[1:] if told_of_chat else requests:
        if request.assignee_id is not None and request.assignee_id in lost:
            name = _name_of(lost[request.assignee_id])
            create_notice(conversation, "request_assignee_left", name=name, number=request.pk)
    return True


def _reset_reminders(conversation: Conversation) -> None:
    """Give the chat's closing warnings again, to all operators of the channel: they were for the assignee alone."""
    warned = ServiceWindow.objects.filter(conversation=conversation, state=ServiceWindow.State.OPEN)
    warned = warned.exclude(warned_mark=None)
    WindowWarning.objects.filter(window__in=warned.values("pk")).delete()
    warned.update(warned_mark=None, warned_at=None)


def release_user_assignments(user: Any) -> int:
    """Unassign all chats and live requests of a user who is about to be deleted."""
    live = Ticket.objects.filter(assignee=user).exclude(status__in=Ticket.ENDED)
    chats = Conversation.objects.filter(Q(assignee=user) | Q(pk__in=live.values("conversation")))
    return sum(release_chat(pk, leaving=user) for pk in list(chats.order_by("pk").values_list("pk", flat=True)))


def _can_answer(conversation: Conversation, user_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {can_answer_condition('%s')} FROM bridge_conversation c WHERE c.id = %s",
            [user_id, conversation.pk],
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def _name_of(user: Any) -> str:
    return str(user.get_full_name() or user.get_username())


def schedule_release() -> None:
    """Have ``release_lost_assignments`` run after the commit. Beat does it within a minute if the call is lost."""
    wakeups.enqueue_after_commit("release_assignments")
