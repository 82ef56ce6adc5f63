"""Macros: several actions on a chat that run in one transaction, so all of them happen or none.

The order is fixed: reply, note, tags, assignment, status, snooze. Every action uses the function that the desk's own
button uses, so its rules, events and lines in the thread are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from bridge import canned_variables, service_window
from bridge.conversations import assignment_rules, assignments, chat_notes, snoozing, tickets
from bridge.conversations.activity import record_activity
from bridge.conversations.receiving import lock_conversation
from bridge.models import Conversation, Macro, Ticket
from bridge.relay import colleague_replies, reply_submission
from channels_setup.codecs.bodies import BadBody
from channels_setup.models import Team
from channels_setup.prepared_queries import PreparedQuery

MAX_LISTED = 40  # in the menu of a chat


class MacroRefused(Exception):
    """One of the actions is not possible, so nothing was changed. The text is a sentence for the user."""


def list_macros(conversation: Conversation, *, user: Any, query: str = "") -> QuerySet[Macro]:
    """Return the macros that the user may run in this chat: their own and the shared ones of its channel."""
    rows = _find_macros(conversation.chat_channel_id, user.pk)
    for word in query.split():
        rows = rows.filter(Q(name__icontains=word) | Q(reply_text__icontains=word))
    return rows.distinct().order_by("name", "pk")


def list_all_macros(conversation: Conversation, *, user: Any) -> list[Macro]:
    """Return the first macros that the user may run in this chat, with a prepared query."""
    return FIRST_MACROS(conversation.chat_channel_id, user.pk)


def _find_macros(chat_channel_id: int, user_id: int) -> QuerySet[Macro]:
    return Macro.objects.filter(
        Q(chat_channels=chat_channel_id) | Q(chat_channels=None), Q(owner=None) | Q(owner=user_id), is_used=True
    ).select_related("assign_user", "assign_team")


FIRST_MACROS: PreparedQuery[Macro] = PreparedQuery(
    lambda chat_channel, user: _find_macros(chat_channel, user).distinct().order_by("name", "pk")[:MAX_LISTED]
)


def describe_actions(macro: Macro, values: Mapping[str, str] | None) -> list[str]:
    """Return what the macro does, one sentence per action. ``values``: of the variables in its texts, in a chat."""
    lines = []
    if macro.reply_text:
        lines.append(_("Reply: %(text)s") % {"text": _fill(macro.reply_text, values)})
    if macro.note_text:
        lines.append(_("Note: %(text)s") % {"text": _fill(macro.note_text, values)})
    if macro.add_tags:
        lines.append(_("Add tags: %(tags)s") % {"tags": ", ".join(macro.add_tags)})
    if macro.remove_tags:
        lines.append(_("Remove tags: %(tags)s") % {"tags": ", ".join(macro.remove_tags)})
    if macro.assignment:
        lines.append(_("Assign to: %(name)s") % {"name": _describe_assignee(macro)})
    if macro.status is not None:
        lines.append(_("Status: %(status)s") % {"status": Ticket.Status(macro.status).label})
    if macro.snooze:
        lines.append(_("Snooze: %(until)s") % {"until": Macro.SnoozeChoice(macro.snooze).label})
    return lines


def _fill(text: str, values: Mapping[str, str] | None) -> str:
    return text if values is None else canned_variables.fill_variables(text, values)


def _describe_assignee(macro: Macro) -> str:
    Assignment = Macro.Assignment
    if macro.assignment == Assignment.USER:
        return str(macro.assign_user.get_full_name() or macro.assign_user) if macro.assign_user else "?"
    if macro.assignment == Assignment.TEAM:
        return macro.assign_team.name if macro.assign_team else "?"
    return str(_("you") if macro.assignment == Assignment.ME else Assignment(macro.assignment).label)


@transaction.atomic
def run_macro(
    macro: Macro,
    conversation_id: int,
    *,
    user: Any,
    form_key: str,
    people: Sequence[Any] = (),
    seen: int | None = None,
) -> None:
    """Run all actions of a macro as this user. Raises MacroRefused or AnsweredMeanwhile; then nothing has changed.

    ``form_key``: key of the submitted form, which the reply gets. ``people``: the users whom its note can mention.
    ``seen``: the newest reply that the user has seen, for macros that reply.
    """
    if macro.reply_text:
        colleague_replies.check_no_reply_since(conversation_id, author=user, seen=seen)
    conversation = lock_conversation(conversation_id)
    values = canned_variables.variable_values(conversation, user=user)
    if macro.reply_text:
        _reply(macro, conversation, values, user=user, form_key=form_key)
    if macro.note_text:
        text = canned_variables.fill_variables(macro.note_text, values)
        try:
            chat_notes.add_note(conversation.pk, text, author=user, people=people, form_key=form_key)
        except chat_notes.NoteRefused as problem:
            raise MacroRefused(str(problem)) from problem
    if macro.add_tags or macro.remove_tags:
        _change_tags(macro, conversation, user=user)
    try:
        if macro.assignment:
            _assign(macro, conversation, user=user)
        if macro.status is not None:
            tickets.set_ticket_status(_get_ticket(conversation).pk, status=macro.status, by=user.pk)
        if macro.snooze:
            until = snoozing.compute_choice(macro.snooze, now=service_window.database_now())
            snoozing.snooze_chat(conversation.pk, until=until, by=user)
    except (assignment_rules.AssignmentRefused, snoozing.SnoozeRefused) as problem:
        raise MacroRefused(str(problem)) from problem
    except ValueError as problem:
        raise MacroRefused(
            _("Another request in this chat is already open. Close it before you reopen an earlier one.")
        ) from problem
    record_activity(conversation.pk, "macro", actor=user, macro=macro.name)


def _reply(macro: Macro, conversation: Conversation, values: Mapping[str, str], *, user: Any, form_key: str) -> None:
    result = reply_submission.submit_reply(
        conversation_id=conversation.pk,
        text=canned_variables.fill_variables(macro.reply_text, values),
        author=user,
        deletes_draft=False,
        form_key=form_key,
    )
    if result.message is None:
        raise MacroRefused(result.decision.sentence)
    if not macro.assignment:
        colleague_replies.take_unassigned_chat(conversation.pk, author=user)


def _change_tags(macro: Macro, conversation: Conversation, *, user: Any) -> None:
    ticket = _get_ticket(conversation)
    removed = {tag.casefold() for tag in macro.remove_tags}
    kept = [tag for tag in ticket.tags if tag.casefold() not in removed]
    try:
        tickets.set_ticket_properties(ticket.pk, {"tags": kept, "add_tags": macro.add_tags}, by=user.pk)
    except BadBody as problem:
        raise MacroRefused(str(problem)) from problem


def _assign(macro: Macro, conversation: Conversation, *, user: Any) -> None:
    Assignment = Macro.Assignment
    user_id, team_id = None, None
    if macro.assignment == Assignment.ME:
        user_id, team_id = user.pk, tickets.UNCHANGED
    elif macro.assignment == Assignment.USER:
        person = get_user_model().objects.people().filter(pk=macro.assign_user_id or 0).first()
        if person is None or not assignments.can_answer(conversation, person.pk):
            raise MacroRefused(_("The person to whom this macro assigns the chat cannot answer in this channel."))
        user_id, team_id = person.pk, tickets.UNCHANGED
    elif macro.assignment == Assignment.TEAM:
        if not Team.objects.filter(pk=macro.assign_team_id or 0, chat_channels=conversation.chat_channel_id).exists():
            raise MacroRefused(_("The team to which this macro assigns the chat does not serve this channel."))
        team_id = macro.assign_team_id
    assignment_rules.assign_chat(user, conversation.pk, user_id=user_id, team_id=team_id)


def _get_ticket(conversation: Conversation) -> Ticket:
    """Return the open request of the chat, or its newest one."""
    newest = Ticket.objects.filter(conversation=conversation).order_by("-pk")
    ticket = tickets.get_current_ticket(conversation) or newest.first()
    if ticket is None:
        raise MacroRefused(_("This chat has no request yet."))
    return ticket
