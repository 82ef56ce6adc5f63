"""Automatic assignment: unassigned waiting chats go to the online operator with the fewest waiting chats.

One worker at a time assigns, so that limits and loads are right; each chat is checked again under its own
lock, because people assign at the same time. The inbox does nothing for this: a run finds the chats in an index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max

from bridge.conversations import assignments, availability, tickets
from bridge.conversations.receiving import lock_conversation
from bridge.models import ACTIVE_STATUSES, AutomaticAssignment, ChannelAutomation, Conversation, Ticket
from channels_setup import advisory_locks
from channels_setup.advisory_locks import LockSpace
from channels_setup.failing_items import FailingItems

BATCH = 200  # chats of one channel in one run
CHANNELS = FailingItems("automatic assignment: channels")
CHATS = FailingItems("automatic assignment: chats")

WAITING_CONDITION = f"""c.last_direction = 'inbound' AND c.request_status IN {ACTIVE_STATUSES}
  AND c.snoozed_until IS NULL AND NOT c.is_erased AND NOT c.id = ANY (%(failing)s)
  AND (%(only)s::bigint IS NULL OR c.id = %(only)s)
  AND (c.team_id = ANY (%(teams)s) OR c.team_id IS NULL AND %(has_operators)s)"""

# The oldest first. Both use the index conversations_waiting_of.
UNASSIGNED_SQL = f"""
SELECT c.id FROM bridge_conversation c
WHERE c.assignee_id IS NULL AND c.chat_channel_id = %(channel)s AND {WAITING_CONDITION}
ORDER BY c.last_message_at LIMIT {BATCH}
"""
# Chats whose assignee has been gone for a while: no page was open, or the status is away. A chat that was changed
# meanwhile, for example assigned by a supervisor, stays. Nothing is known about users who never opened the desk.
ABANDONED_SQL = f"""
SELECT c.id FROM bridge_operatoravailability v
JOIN bridge_conversation c ON c.assignee_id = v.user_id
WHERE (v.last_seen_at IS NULL OR v.last_seen_at < clock_timestamp() - %(gone)s
       OR v.status = 'away' AND (v.until IS NULL OR v.until > clock_timestamp()))
  AND c.chat_channel_id = %(channel)s AND c.last_message_at < clock_timestamp() - %(gone)s AND {WAITING_CONDITION}
  AND NOT EXISTS (SELECT FROM bridge_conversationactivity a
                  WHERE a.conversation_id = c.id AND a.created_at > clock_timestamp() - %(gone)s)
ORDER BY c.last_message_at LIMIT {BATCH}
"""
OPERATORS_SQL = f"""
SELECT u.id FROM accounts_user u JOIN channels_setup_chatchannel_operators o ON o.user_id = u.id
WHERE o.chatchannel_id = %(channel)s AND {assignments.SEES_CHATS_CONDITION}
"""
MEMBERS_SQL = f"""
SELECT m.team_id, m.user_id FROM channels_setup_team_members m
JOIN channels_setup_team_chat_channels served ON served.team_id = m.team_id AND served.chatchannel_id = %(channel)s
JOIN accounts_user u ON u.id = m.user_id
WHERE {assignments.SEES_ALL_CONDITION} OR {assignments.SEES_CHATS_CONDITION} AND EXISTS (
    SELECT FROM channels_setup_chatchannel_operators o WHERE o.user_id = u.id AND o.chatchannel_id = %(channel)s)
"""


@dataclass
class Operators:
    """Operators of one channel who are online, with their loads. Teams: the members among them."""

    online: set[int]
    teams: dict[int, set[int]]
    limit: int | None
    loads: dict[int, int] = field(default_factory=dict)
    last_assigned: dict[int, datetime | int] = field(default_factory=dict)
    _turn: int = 0

    def choose(self, *, team_id: int | None, without: Collection[int | None], preferred: int | None) -> int | None:
        """Return the next chat's user: the preferred one, else the lowest load, then the longest without a chat."""
        members = self.online if team_id is None else self.teams.get(team_id, set())
        free = [pk for pk in members if pk not in without and self._is_free(pk)]
        if preferred in free:
            return preferred
        return min(free, key=self._rank, default=None)

    def is_anyone_free(self) -> bool:
        return any(self._is_free(pk) for pk in self.online.union(*self.teams.values()))

    def count(self, user_id: int) -> None:
        """Count a chat that the user got in this run."""
        self._turn += 1
        self.loads[user_id] += 1
        self.last_assigned[user_id] = self._turn

    def _is_free(self, user_id: int) -> bool:
        return self.limit is None or self.loads[user_id] < self.limit

    def _rank(self, user_id: int) -> tuple[int, int, float, int]:
        last = self.last_assigned.get(user_id)
        if isinstance(last, int):  # in this run
            return self.loads[user_id], 1, last, user_id
        return self.loads[user_id], 0, last.timestamp() if last else 0.0, user_id


def assign_waiting_chats() -> int:
    """Assign what waits in all channels with automatic assignment. Return the number of assigned chats."""
    found = list(
        ChannelAutomation.objects.filter(assigns_chats=True).select_related("chat_channel").order_by("chat_channel")
    )
    if not found:
        return 0
    assigned = 0
    with advisory_locks.exclusive(LockSpace.AUTOMATION, 0) as is_free:
        if is_free:
            for automation in found:
                if not automation.chat_channel.provider.built_in:
                    continue  # another helpdesk assigns
                with CHANNELS.isolate(automation.pk):
                    assigned += _assign_channel(automation)
    return assigned


def _assign_channel(automation: ChannelAutomation) -> int:
    operators = load_operators(automation)
    if not operators.is_anyone_free():
        return 0
    chats = _find_chats(UNASSIGNED_SQL, automation, operators)
    if automation.returns_after_minutes:
        chats += _find_chats(ABANDONED_SQL, automation, operators)
    if not chats:
        return 0
    former = _find_former_assignees(chats) if automation.prefers_former_assignee else {}
    declined = _find_declined(chats)
    assigned = 0
    for pk in chats:
        if not operators.is_anyone_free():
            break
        with CHATS.isolate(pk):
            assigned += _assign_chat(automation, pk, operators, former=former.get(pk), declined=declined[pk])
    return assigned


def load_operators(automation: ChannelAutomation) -> Operators:
    """Load the operators of a channel who are online, and how many chats wait for each."""
    with connection.cursor() as cursor:
        cursor.execute(OPERATORS_SQL, {"channel": automation.chat_channel_id})
        people = {row[0] for row in cursor.fetchall()}
        cursor.execute(MEMBERS_SQL, {"channel": automation.chat_channel_id})
        members = cursor.fetchall()
    online = availability.find_online({*people, *(user_id for _team, user_id in members)})
    teams: dict[int, set[int]] = defaultdict(set)
    for team_id, user_id in members:
        if user_id in online:
            teams[team_id].add(user_id)
    waiting = Conversation.objects.filter(
        assignee__in=online, last_direction="inbound", request_status__in=ACTIVE_STATUSES, snoozed_until=None
    )
    loads = dict(waiting.order_by().values_list("assignee").annotate(Count("pk")))
    last = (
        AutomaticAssignment.objects.filter(user__in=online).order_by().values_list("user").annotate(Max("created_at"))
    )
    return Operators(
        online=online & people if automation.team_id is None else teams.get(automation.team_id, set()),
        teams=teams,
        limit=automation.max_waiting_chats,
        loads={pk: loads.get(pk, 0) for pk in online},
        last_assigned=dict(last),
    )


def _find_chats(
    statement: str, automation: ChannelAutomation, operators: Operators, *, only: int | None = None
) -> list[int]:
    """Return the chats that a statement finds. ``only``: look at this chat alone."""
    values: dict[str, Any] = {
        "channel": automation.chat_channel_id,
        "failing": CHATS.items_in_backoff(),
        "only": only,
        "teams": list(operators.teams),
        "has_operators": bool(operators.online),
        "gone": timedelta(minutes=automation.returns_after_minutes or 0),
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [row[0] for row in cursor.fetchall()]


def _find_former_assignees(chats: Iterable[int]) -> dict[int, int]:
    """Return the assignee of the newest assigned request of each chat."""
    rows = Ticket.objects.filter(conversation__in=list(chats), assignee__isnull=False)
    newest = rows.order_by("conversation", "-pk").distinct("conversation")
    return {chat: user for chat, user in newest.values_list("conversation", "assignee") if user is not None}


def _find_declined(chats: Iterable[int]) -> dict[int, set[int]]:
    """Return the users of each chat who already had its present request and gave it back."""
    declined: dict[int, set[int]] = defaultdict(set)
    rows = AutomaticAssignment.objects.filter(conversation__in=list(chats), was_gone=False)
    for chat, user in rows.exclude(ticket__status__in=Ticket.ENDED).values_list("conversation", "user"):
        declined[chat].add(user)
    return declined


@transaction.atomic
def _assign_chat(
    automation: ChannelAutomation, pk: int, operators: Operators, *, former: int | None, declined: set[int]
) -> bool:
    """Assign one chat if it still waits. Its present assignee, if any, is gone."""
    conversation = lock_conversation(pk)
    if conversation.pk != pk or conversation.is_erased or conversation.snoozed_until or not conversation.needs_reply:
        return False
    gone = conversation.assignee_id
    if gone is not None and not automation.returns_after_minutes:
        return False  # somebody took it meanwhile
    if gone is not None and not _find_chats(ABANDONED_SQL, automation, operators, only=pk):
        return False
    chosen = operators.choose(team_id=conversation.team_id, without={*declined, gone}, preferred=former)
    if chosen is None:
        return False
    ticket = tickets.get_current_ticket(conversation)
    if gone is not None:
        AutomaticAssignment.objects.filter(conversation=conversation, user=gone, ticket=ticket).update(was_gone=True)
    tickets.assign_chat(pk, user_id=chosen, line="auto_assigned")
    AutomaticAssignment.objects.create(conversation=conversation, ticket=ticket, user_id=chosen)
    operators.count(chosen)
    return True
