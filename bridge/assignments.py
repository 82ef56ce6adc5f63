"""Chats of people who can no longer answer them: deactivated, deleted, without their role or their chat channel.

Changes of users, groups and operators call ``release`` at once; beat calls it every minute, so that nothing is missed
that bypasses signals (bulk updates, SQL).
"""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction

from channels_setup.failing_items import FailingItems

from . import conversations, doorbell, tickets
from .models import Conversation, ServiceWindow, Ticket, WindowWarning

BATCH = 200
RELEASING = FailingItems("release_assignments")

# Whether the user ``u`` sees the chats of all channels; the same as ``ChatChannelQuerySet.seen_by`` asks.
SEES_ALL = """(u.is_superuser OR EXISTS (
    SELECT FROM auth_permission p JOIN django_content_type t ON t.id = p.content_type_id
    WHERE t.app_label = 'channels_setup' AND p.codename = 'change_apichannel' AND p.id IN (
        SELECT permission_id FROM auth_user_user_permissions WHERE user_id = u.id
        UNION ALL
        SELECT held.permission_id FROM auth_user_groups mine
        JOIN auth_group_permissions held USING (group_id) WHERE mine.user_id = u.id)))"""

# Whether the assignee of the conversation ``c`` can answer in it now.
ASSIGNEE_CAN_ANSWER = f"""EXISTS (
    SELECT FROM auth_user u WHERE u.id = c.assignee_id AND u.is_active AND ({SEES_ALL} OR EXISTS (
        SELECT FROM channels_setup_chatchannel_operators o
        WHERE o.user_id = u.id AND o.chatchannel_id = c.chat_channel_id)))"""

# The assignees by a walk over the index that begins with them; then, of each who may not see all, the chats of
# channels that are not theirs.
LOST = f"""
WITH RECURSIVE people AS (
    SELECT min(assignee_id) AS id FROM bridge_conversation WHERE assignee_id IS NOT NULL
    UNION ALL
    SELECT (SELECT min(assignee_id) FROM bridge_conversation WHERE assignee_id > people.id)
    FROM people WHERE people.id IS NOT NULL
)
SELECT c.id FROM people JOIN auth_user u ON u.id = people.id
CROSS JOIN LATERAL (
    SELECT id FROM bridge_conversation
    WHERE assignee_id = u.id AND NOT (u.is_active AND chat_channel_id = ANY (ARRAY(
        SELECT chatchannel_id FROM channels_setup_chatchannel_operators WHERE user_id = u.id)))
      AND NOT id = ANY (%s)
    LIMIT {BATCH}
) c
WHERE NOT (u.is_active AND {SEES_ALL})
LIMIT {BATCH}
"""


def release() -> int:
    """Unassign every chat whose assignee can no longer answer in it; how many."""
    released = 0
    while found := _lost():
        done = 0
        for pk in found:
            with RELEASING.isolate(pk):
                done += release_chat(pk)
        released += done
        failed = sum(map(RELEASING.is_resting, found))
        if done + failed < len(found):  # somebody else is at it, or gave one back meanwhile
            return released
    return released


def _lost() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(LOST, [RELEASING.resting()])
        return sorted(row[0] for row in cursor.fetchall())


@transaction.atomic
def release_chat(conversation_id: int, *, leaving: Any = None) -> bool:
    """Unassign one chat if its assignee cannot answer, or is ``leaving``. A live request says so in the thread.

    Its closing warnings were for the assignee alone: they are given again, to all operators of the channel.
    """
    conversation = conversations.lock(conversation_id)
    user = conversation.assignee
    if user is None or (user != leaving and _can_answer(conversation)):
        return False
    tickets.assign(conversation_id, user_id=None)
    warned = ServiceWindow.objects.filter(conversation=conversation, state=ServiceWindow.State.OPEN)
    warned = warned.exclude(warned_mark=None)
    WindowWarning.objects.filter(window__in=warned.values("pk")).delete()
    warned.update(warned_mark=None, warned_at=None)
    if Ticket.objects.filter(conversation=conversation).exclude(status__in=Ticket.ENDED).exists():
        conversations.notice(conversation, "assignee_left", name=user.get_full_name() or user.get_username())
    return True


def release_all_of(user: Any) -> int:
    """Unassign all chats of a user who is about to be deleted."""
    chats = Conversation.objects.filter(assignee=user).order_by("pk").values_list("pk", flat=True)
    return sum(release_chat(pk, leaving=user) for pk in list(chats))


def _can_answer(conversation: Conversation) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {ASSIGNEE_CAN_ANSWER} FROM bridge_conversation c WHERE c.id = %s", [conversation.pk])
        row = cursor.fetchone()
    return bool(row and row[0])


def release_soon() -> None:
    """Have ``release`` run after the commit. Beat does it within a minute if the call is lost."""
    doorbell.call_after_commit("release_assignments")
