"""Release chats whose team no longer serves their chat channel, so that they wait for all operators again."""

from __future__ import annotations

from django.db import connection, transaction

from bridge.models import Ticket
from channels_setup.failing_items import FailingItems
from channels_setup.models import Team

from . import assignments, receiving
from .activity import record_activity

RELEASING = FailingItems("release_teams")

# One index look-up for each pair of a team and a chat channel that it does not serve.
LOST_TEAMS_SQL = f"""
SELECT c.id FROM channels_setup_team t CROSS JOIN channels_setup_chatchannel channel
CROSS JOIN LATERAL (
    SELECT id FROM bridge_conversation
    WHERE team_id = t.id AND chat_channel_id = channel.id AND NOT id = ANY (%s)
    LIMIT {assignments.RELEASE_BATCH}
) c
WHERE NOT EXISTS (SELECT FROM channels_setup_team_chat_channels served
                  WHERE served.team_id = t.id AND served.chatchannel_id = channel.id)
LIMIT {assignments.RELEASE_BATCH}
"""


def release_lost_teams() -> int:
    """Remove the team from every chat whose channel the team does not serve. Return the number of chats."""
    released = 0
    while found := _find_lost_chats():
        count = 0
        for pk in found:
            with RELEASING.isolate(pk):
                count += release_team(pk)
        released += count
        if count + sum(map(RELEASING.is_in_backoff, found)) < len(found):  # another worker is processing them
            return released
    return released


def _find_lost_chats() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(LOST_TEAMS_SQL, [RELEASING.items_in_backoff()])
        return sorted(row[0] for row in cursor.fetchall())


@transaction.atomic
def release_team(conversation_id: int) -> bool:
    """Remove a chat's team if it does not serve the chat's channel. Ended requests keep theirs, for reports."""
    conversation = receiving.lock_conversation(conversation_id)
    team_id = conversation.team_id
    if team_id is None or Team.objects.filter(pk=team_id, chat_channels=conversation.chat_channel_id).exists():
        return False
    live = Ticket.objects.filter(conversation=conversation, team=team_id).exclude(status__in=Ticket.ENDED)
    live.update(team=None)
    conversation.team_id = None
    conversation.save(update_fields=["team"])
    record_activity(conversation.pk, "team_removed", team=team_id)
    if conversation.assignee_id is None:
        assignments.reset_reminders(conversation)
    return True
