"""Bulk actions on chats, and their undo. The menu of a row and the keys of the list use them for one chat.

Read, unread and pins change with one statement for all chats. The other actions change each chat under its lock, in a
short transaction of its own (see ``changes``). The form names the state of each row that its user saw, and a chat that
changed since is left as it is: nobody closes a chat whose client has just written, or takes one from a colleague.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from bridge import idempotency, service_window
from bridge.automation import macros
from bridge.conversations import assignment_rules, chat_notes, chat_pins, snoozing, tickets, unread_marks
from bridge.conversations.receiving import lock_conversation
from bridge.desk import access
from bridge.models import Conversation, Snooze, Ticket
from bridge.ticket_properties import LONGEST_TAG
from channels_setup.codecs.bodies import BadBody

from . import changes, chat_macros
from .changes import Change, Value
from .results import Action, BulkResult, Skip
from .row_states import ShownState, has_client_written

FOR_ALL = {Action.READ, Action.UNREAD, Action.PIN, Action.UNPIN}  # also chats of erased clients
OTHER_TIME = "other"


class BulkRefused(Exception):
    """The action is not possible for any chat. The text is a sentence for the user."""


class _Skipped(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason


def run_action(
    action: Action, shown: Mapping[int, ShownState], *, user: Any, values: Mapping[str, str], done: int = 0
) -> BulkResult:
    """Run an action on these chats, as far as the user may. Raises BulkRefused. ``done``: chats of earlier parts.

    ``values``: the form's ``assignee``, ``tag``, ``snooze`` and ``until``, or ``macro`` and ``macro_key``.
    """
    chosen = list(shown)[: max(changes.MAX_CHANGES - done, 0)]
    visible = Conversation.objects.all().visible_to(user).filter(pk__in=chosen)
    chats = list(visible.select_related("chat_channel").order_by("pk"))
    skipped: Counter[str] = Counter()
    if len(chosen) < len(shown):
        reason = _("At most %(most)d chats can be changed at once.") % {"most": changes.MAX_CHANGES}
        skipped[reason] = len(shown) - len(chosen)
    if len(chats) < len(chosen):
        skipped[Skip.GONE] = len(chosen) - len(chats)
    if action in FOR_ALL:
        changed = _change_together(action, chats, shown, skipped, user=user)
        return BulkResult(action=action, changed=changed, skipped=skipped)
    change_one = _build_change(action, chats, shown, user=user, values=values)
    changed = []
    for chat in chats:
        try:
            with transaction.atomic():
                locked = lock_conversation(chat.pk)
                if locked.pk != chat.pk:
                    raise _Skipped(Skip.GONE)  # merged meanwhile
                if locked.is_erased:
                    raise _Skipped(Skip.ERASED)
                changed.append((chat.pk, *change_one(locked)))
        except _Skipped as problem:
            skipped[problem.reason] += 1
        except Conversation.DoesNotExist:  # deleted meanwhile
            skipped[Skip.GONE] += 1
    return BulkResult(action=action, changed=changed, skipped=skipped)


# --- one statement for all chats --------------------------------------------------------------------------------


def _change_together(
    action: Action, chats: list[Conversation], shown: Mapping[int, ShownState], skipped: Counter[str], *, user: Any
) -> list[Change]:
    ids = [chat.pk for chat in chats]
    if action == Action.READ:
        wrote = {chat.pk for chat in chats if has_client_written(chat, shown[chat.pk])}
        skipped.update(Skip.WROTE for _pk in wrote)
        known = {chat.pk: chat.unread for chat in chats if chat.pk not in wrote}
        ids = list(known)
        chat_notes.mark_mentions_seen(ids, user)
        changed = [(pk, unread, 0) for pk, unread in unread_marks.mark_read(known).items()]
    elif action == Action.UNREAD:
        changed = [(pk, 0, 1) for pk in unread_marks.mark_unread(dict.fromkeys(ids, 1))]
    elif action == Action.PIN:
        try:
            changed = [(pk, False, True) for pk in chat_pins.pin_chats(user, ids)]
        except chat_pins.PinRefused as problem:
            raise BulkRefused(str(problem)) from problem
    else:
        changed = [(pk, True, False) for pk in chat_pins.unpin_chats(user, ids)]
    if len(changed) < len(ids):
        skipped[Skip.SAME] += len(ids) - len(changed)
    return changed


# --- one transaction for each chat ------------------------------------------------------------------------------

ChangeOne = Callable[[Conversation], tuple[Value, Value]]


def _build_change(
    action: Action,
    chats: list[Conversation],
    shown: Mapping[int, ShownState],
    *,
    user: Any,
    values: Mapping[str, str],
) -> ChangeOne:
    """Return the function that changes one locked chat and returns its value before and after."""
    if action == Action.ASSIGN:
        return _build_assignment(chats, shown, user=user, text=values.get("assignee", ""))
    if action == Action.CLOSE:
        return lambda chat: _close(chat, shown[chat.pk], user=user)
    if action in (Action.TAG, Action.UNTAG):
        tag = " ".join(values.get("tag", "").replace("\0", "").split()).removeprefix("#")[:LONGEST_TAG]
        if not tag:
            raise BulkRefused(_("Enter a tag."))
        return lambda chat: _tag(chat, tag, is_added=action == Action.TAG, user=user)
    if action == Action.SNOOZE:
        until = _read_snooze(values)
        return lambda chat: _snooze(chat, until, shown[chat.pk], user=user)
    if action == Action.WAKE:
        return lambda chat: _wake(chat, user=user)
    return _build_macro(shown, user=user, values=values)


def _build_assignment(
    chats: Sequence[Conversation], shown: Mapping[int, ShownState], *, user: Any, text: str
) -> ChangeOne:
    user_id, team_id = changes.read_assignee(text)
    channels = {chat.chat_channel_id for chat in chats}
    allowed = changes.find_assignable_channels(channels, user=user, user_id=user_id, team_id=team_id)

    def assign(chat: Conversation) -> tuple[Value, Value]:
        before = [chat.assignee_id, chat.team_id]
        wanted = [user_id, chat.team_id if user_id else team_id]
        if chat.chat_channel_id not in allowed:
            raise _Skipped(Skip.CHANNEL)
        if before == wanted:
            raise _Skipped(Skip.SAME)
        seen = shown[chat.pk].assignee
        if seen is not None and seen != (chat.assignee_id or 0):
            raise _Skipped(Skip.TAKEN)
        team = tickets.UNCHANGED if user_id else team_id
        try:
            changed = assignment_rules.assign_chat(user, chat.pk, user_id=user_id, team_id=team)
        except assignment_rules.AssignmentRefused as problem:
            raise _Skipped(str(problem)) from problem
        return before, [changed.assignee_id, changed.team_id]

    return assign


def _close(chat: Conversation, shown: ShownState, *, user: Any) -> tuple[Value, Value]:
    ticket = tickets.get_current_ticket(chat)
    if ticket is None:
        raise _Skipped(Skip.CLOSED if chat.request_status is not None else Skip.NO_REQUEST)
    if has_client_written(chat, shown):
        raise _Skipped(Skip.WROTE)
    changes.change_status(ticket.pk, Ticket.Status.CLOSED, by=user.pk)
    return [ticket.pk, ticket.status], [ticket.pk, int(Ticket.Status.CLOSED)]


def _tag(chat: Conversation, tag: str, *, is_added: bool, user: Any) -> tuple[Value, Value]:
    """Add a tag to the chat's current request, or its newest one, or remove it."""
    newest = Ticket.objects.filter(conversation=chat).order_by("-pk")
    ticket = tickets.get_current_ticket(chat) or newest.first()
    if ticket is None:
        raise _Skipped(Skip.NO_REQUEST)
    found = next((one for one in ticket.tags if one.casefold() == tag.casefold()), None)
    if (found is not None) == is_added:
        raise _Skipped(Skip.SAME)
    _set_tag(ticket, found or tag, is_added=is_added, user=user)
    return [ticket.pk, found or tag, not is_added], [ticket.pk, found or tag, is_added]


def _set_tag(ticket: Ticket, tag: str, *, is_added: bool, user: Any) -> None:
    wanted: dict[str, Any] = {"add_tags": [tag]} if is_added else {"tags": [one for one in ticket.tags if one != tag]}
    try:
        tickets.set_ticket_properties(ticket.pk, wanted, by=user.pk)
    except BadBody as problem:
        raise _Skipped(str(problem)) from problem


def _read_snooze(values: Mapping[str, str]) -> datetime | None:
    """Return the time of the form; None: until the client writes. Raises BulkRefused."""
    choice = values.get("snooze", "")
    if choice == OTHER_TIME:
        until = snoozing.parse_local_time(values.get("until", ""))
        if until is None:
            raise BulkRefused(_("Enter a date and a time."))
        return until
    if choice not in snoozing.CHOICES:
        raise BulkRefused(_("Choose until when to snooze this chat."))
    return snoozing.compute_choice(choice, now=service_window.database_now())


def _read_snoozed(chat: Conversation) -> str | None:
    """Return until when a chat is snoozed. None: it is not; empty: until the client writes."""
    if chat.snoozed_until is None:
        return None
    snooze = Snooze.objects.filter(conversation=chat).first()
    return snooze.until.isoformat() if snooze is not None and snooze.until is not None else ""


def _snooze(chat: Conversation, until: datetime | None, shown: ShownState, *, user: Any) -> tuple[Value, Value]:
    if has_client_written(chat, shown):
        raise _Skipped(Skip.WROTE)
    before = _read_snoozed(chat)
    try:
        snoozing.snooze_chat(chat.pk, until=until, by=user)
    except snoozing.SnoozeRefused as problem:
        raise _Skipped(str(problem)) from problem
    chat.refresh_from_db(fields=["snoozed_until"])
    return before, _read_snoozed(chat)


def _wake(chat: Conversation, *, user: Any) -> tuple[Value, Value]:
    before = _read_snoozed(chat)
    if not snoozing.end_snooze(chat.pk, by=user):
        raise _Skipped(Skip.SAME)
    return before, None


def _build_macro(shown: Mapping[int, ShownState], *, user: Any, values: Mapping[str, str]) -> ChangeOne:
    macro = next((one for one in chat_macros.list_bulk_macros(user) if str(one.pk) == values.get("macro")), None)
    if macro is None:
        raise BulkRefused(_("This macro no longer exists."))
    channels = {channel.pk for channel in macro.chat_channels.all()}
    key = values.get("macro_key", "")
    mentions = "@" in macro.note_text

    def run(chat: Conversation) -> idempotency.StoredResponse:
        if channels and chat.chat_channel_id not in channels:
            raise _Skipped(_("The macro is not for this channel."))
        if obstacle := chat_macros.find_obstacle(macro, chat, shown[chat.pk], user=user):
            raise _Skipped(obstacle)
        people = list(access.mentionable_users(chat)) if mentions else []
        try:
            macros.run_macro(macro, chat.pk, user=user, form_key=f"{key}-{chat.pk}" if key else "", people=people)
        except macros.MacroRefused as problem:
            raise _Skipped(str(problem)) from problem
        return idempotency.StoredResponse(204, {})

    def apply(chat: Conversation) -> tuple[Value, Value]:
        # A part whose answer was lost is posted again: each chat that has had the macro counts as changed.
        idempotency.run_once(
            owner=f"chat {chat.pk}/{user.pk}/bulk",
            key=f"{key} {macro.pk}" if key else "",
            request=b"",
            work=lambda: run(chat),
        )
        return None, None

    return apply


# --- undo -------------------------------------------------------------------------------------------------------

IRREVERSIBLE = {Action.MACRO}


def undo_action(action: Action, changed: Sequence[Change], *, user: Any) -> BulkResult:
    """Undo an action in the chats that have not changed since and that the user still sees."""
    visible = Conversation.objects.all().visible_to(user).filter(pk__in=[pk for pk, _before, _after in changed])
    ids = set(visible.values_list("pk", flat=True))
    undone: list[Change] = []
    if action in FOR_ALL:
        undone = _undo_together(action, [change for change in changed if change[0] in ids], user=user)
    else:
        for pk, before, after in changed:
            if pk not in ids:
                continue
            try:
                with transaction.atomic():
                    chat = lock_conversation(pk)
                    if chat.pk == pk and not chat.is_erased and _restore(action, chat, before, after, user=user):
                        undone.append((pk, after, before))
            except (_Skipped, snoozing.SnoozeRefused, Conversation.DoesNotExist):
                continue
    left = len(changed) - len(undone)
    return BulkResult(action=action, changed=undone, skipped=Counter({Skip.SAME: left} if left else {}), is_undo=True)


def _undo_together(action: Action, changed: Sequence[Change], *, user: Any) -> list[Change]:
    ids = [pk for pk, _before, _after in changed]
    if action == Action.READ:
        done = unread_marks.mark_unread({pk: before for pk, before, _after in changed})
    elif action == Action.UNREAD:
        done = list(unread_marks.mark_read({pk: after for pk, _before, after in changed}))
    elif action == Action.PIN:
        done = chat_pins.unpin_chats(user, ids)
    else:
        try:
            done = chat_pins.pin_chats(user, ids)
        except chat_pins.PinRefused as problem:
            raise BulkRefused(str(problem)) from problem
    return [(pk, None, None) for pk in done]


def _restore(action: Action, chat: Conversation, before: Value, after: Value, *, user: Any) -> bool:
    """Restore one locked chat. Return False if it has changed since."""
    if action == Action.ASSIGN:
        if [chat.assignee_id, chat.team_id] != after or not changes.can_restore_assignee(chat.pk, before):
            return False
        tickets.assign_chat(chat.pk, user_id=before[0], team_id=before[1], by=user.pk)
        return True
    if action == Action.CLOSE:
        ticket = Ticket.objects.filter(pk=before[0], conversation=chat, status=after[1]).first()
        return ticket is not None and changes.change_status(ticket.pk, before[1], by=user.pk)
    if action in (Action.TAG, Action.UNTAG):
        ticket = Ticket.objects.filter(pk=before[0], conversation=chat).first()
        if ticket is None or (before[1] in ticket.tags) != after[2]:
            return False
        _set_tag(ticket, before[1], is_added=before[2], user=user)
        return True
    if _read_snoozed(chat) != after:
        return False
    if before is None:
        return snoozing.end_snooze(chat.pk, by=user)
    snoozing.snooze_chat(chat.pk, until=parse_datetime(before) if before else None, by=user)
    return True
