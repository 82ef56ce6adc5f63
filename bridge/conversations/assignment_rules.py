"""Who may assign a chat or request: operators hand on their own, supervisors and admins those of everybody.

Programs with an API channel's key follow no such rule, because they act for a helpdesk with rules of its own.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from bridge.models import Conversation, Ticket
from channels_setup.permissions import ASSIGN_ANY_CHAT

from . import tickets
from .receiving import lock_conversation


class AssignmentRefused(Exception):
    """The user may not assign this chat or request so. The text is a sentence for the user."""


def may_assign(user: Any, *, current: int | None, new: int | None) -> bool:
    """Return whether the user may move a chat from the assignee ``current`` to ``new``. None: nobody.

    Everybody takes over, assigns what nobody has, and hands on their own.
    """
    return new == user.pk or may_hand_on(user, current=current)


def may_hand_on(user: Any, *, current: int | None) -> bool:
    """Return whether the user may assign a chat of this assignee to anybody, a team or nobody."""
    return current in (None, user.pk) or user.has_perm(ASSIGN_ANY_CHAT)


@transaction.atomic
def assign_chat(
    user: Any, conversation_id: int, *, user_id: int | None, team_id: int | None = tickets.UNCHANGED
) -> Conversation:
    """Assign a chat and its current request as this user. Raises AssignmentRefused."""
    conversation = lock_conversation(conversation_id)  # nobody takes the chat between the check and the change
    ticket = tickets.get_current_ticket(conversation)
    _check(user, current=conversation.assignee_id, new=user_id)
    if ticket is not None:
        _check(user, current=ticket.assignee_id, new=user_id)
    return tickets.assign_chat(conversation.pk, user_id=user_id, team_id=team_id, by=user.pk)


@transaction.atomic
def assign_ticket(user: Any, ticket: Ticket, *, user_id: int | None, team_id: int | None) -> None:
    """Assign one request as this user. Raises AssignmentRefused."""
    lock_conversation(ticket.conversation_id)
    ticket.refresh_from_db(fields=["assignee"])
    _check(user, current=ticket.assignee_id, new=user_id)
    tickets.assign_ticket(ticket.pk, user_id=user_id, team_id=team_id, to_group=False, by=user.pk)


def _check(user: Any, *, current: int | None, new: int | None) -> None:
    if not may_assign(user, current=current, new=new):
        raise AssignmentRefused(
            _("This chat belongs to a colleague. You can take it over; only a supervisor can give it to somebody else.")
        )
