"""Bulk actions on requests: assign, change the status, undo.

A token in the URL lists the changes for the undo (see ``bulk.changes``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy
from django.views.decorators.http import require_POST

from bridge.conversations import assignment_rules, tickets
from bridge.desk import access, presentation
from bridge.desk.bulk import changes as bulk_changes
from bridge.desk.bulk.changes import ASSIGNEE, MAX_CHANGES, STATUS, Change, Value
from bridge.desk.parameters import parse_int
from bridge.models import Ticket
from channels_setup.permissions import require_chat_access

Status = Ticket.Status
STATUS_ACTIONS = (
    (Status.CLOSED, gettext_lazy("Close")),
    (Status.SOLVED, pgettext_lazy("several requests", "Mark as solved")),
    (Status.OPEN, gettext_lazy("Reopen")),
    (Status.PENDING, gettext_lazy("Wait for the client")),
    (Status.ON_HOLD, gettext_lazy("Put on hold")),
    (Status.SPAM, gettext_lazy("Spam")),
)


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """Result of the last bulk action. ``undo_token``: signed token that undoes it; empty if nothing can be undone."""

    sentence: str
    undo_token: str = ""


@require_chat_access
@require_POST
def change_requests(request: HttpRequest) -> HttpResponse:
    """Assign the selected requests, or change their status."""
    chosen = [pk for text in request.POST.getlist("ticket")[:MAX_CHANGES] if (pk := parse_int(text)) is not None]
    found = list(_visible_tickets(request).filter(pk__in=chosen).order_by("pk"))
    if "assign" in request.POST:
        user_id, team_id = bulk_changes.read_assignee(request.POST.get("assignee", ""))
        wanted = {ticket.pk: [user_id, ticket.team_id if user_id else team_id] for ticket in found}
        field, already = ASSIGNEE, sum(_read_value(ticket, ASSIGNEE) == wanted[ticket.pk] for ticket in found)
        changed = _assign_tickets(request, found, user_id=user_id, team_id=team_id, wanted=wanted)
    else:
        status = parse_int(request.POST.get("status"))
        field, already = STATUS, sum(ticket.status == status for ticket in found)
        changed = _change_statuses(request, found, new_value=status)
    return _redirect_with_result(request, field=field, changed=changed, chosen=len(chosen), already=already)


def _read_value(ticket: Ticket, field: str) -> Value:
    return ticket.status if field == STATUS else [ticket.assignee_id, ticket.team_id]


@require_chat_access
@require_POST
def undo_change(request: HttpRequest) -> HttpResponse:
    """Undo a bulk action for requests that have not changed since."""
    bulk_change = bulk_changes.load_changes(request.user, request.POST.get("undo_token", ""))
    changed: list[Change] = []
    if bulk_change is not None:
        field, values = bulk_change["field"], {pk: (before, after) for pk, before, after in bulk_change["changed"]}
        for ticket in _visible_tickets(request).filter(pk__in=values).order_by("pk"):
            before, after = values[ticket.pk]
            if _read_value(ticket, field) != after or (
                field == ASSIGNEE and not bulk_changes.can_restore_assignee(ticket.conversation_id, before)
            ):
                continue
            if _apply_change(ticket, field, before, by=request.user.pk):
                changed.append((ticket.pk, None, None))
    return _redirect_with_result(request, field="undo", changed=changed, chosen=len(changed), already=0)


def list_channel_assignees(user: Any, channels: list[int]) -> list[dict[str, Any]]:
    """List the users that requests of these channels can be assigned to, the current user first."""
    found = access.ASSIGNABLE_USERS_OF_CHANNELS(user.pk, *channels)
    people = [
        {"pk": person.pk, "name": presentation.person_name(person), "is_me": person.pk == user.pk} for person in found
    ]
    return sorted(people, key=lambda person: not person["is_me"])


def read_bulk_result(request: HttpRequest) -> BulkResult | None:
    """Return the result of the bulk action that redirected here, or None."""
    text = request.GET.get("done", "")
    bulk_change = bulk_changes.load_changes(request.user, text)
    if bulk_change is None:
        return None
    count = len(bulk_change["changed"])
    if bulk_change["field"] == "undo":
        return BulkResult(sentence=ngettext("%d request restored.", "%d requests restored.", count) % count)
    return BulkResult(sentence=" ".join(_result_sentences(bulk_change, count=count)), undo_token=text if count else "")


def _result_sentences(bulk_change: dict[str, Any], *, count: int) -> list[str]:
    """Describe how many requests changed, and why the others did not."""
    already = bulk_change.get("already", 0)
    left = bulk_change["chosen"] - count - already
    sentences = [ngettext("%d request changed.", "%d requests changed.", count) % count] if count else []
    if already and not count and not left:
        sentences.append(_("Nothing to change."))
    elif already:
        sentences.append(ngettext("%d unchanged.", "%d unchanged.", already) % already)
    if left and bulk_change["field"] == ASSIGNEE:
        sentences.append(
            ngettext(
                "%d not assigned: it is closed or a colleague’s, or the person or team does not serve its channel.",
                "%d not assigned: they are closed or colleagues’, or the person or team does not serve their channels.",
                left,
            )
            % left
        )
    elif left:
        sentences.append(
            ngettext(
                "%d not changed: its chat has a newer request.",
                "%d not changed: their chats have newer requests.",
                left,
            )
            % left
        )
    return sentences


def _visible_tickets(request: HttpRequest) -> Any:
    rows = Ticket.objects.filter(conversation__chat_channel__in=access.visible_channel_ids(request))
    return rows.select_related("conversation")


def _assign_tickets(
    request: HttpRequest,
    found: list[Ticket],
    *,
    user_id: int | None,
    team_id: int | None,
    wanted: dict[int, Value],
) -> list[Change]:
    """Assign live requests. Skips those whose channel the user or team does not serve, and those of colleagues."""
    changed: list[Change] = []
    channels = {ticket.conversation.chat_channel_id for ticket in found}
    allowed = bulk_changes.find_assignable_channels(channels, user=request.user, user_id=user_id, team_id=team_id)
    for ticket in found:
        before, after = _read_value(ticket, ASSIGNEE), wanted[ticket.pk]
        if ticket.status in Ticket.ENDED or before == after or ticket.conversation.chat_channel_id not in allowed:
            continue
        try:
            assignment_rules.assign_ticket(request.user, ticket, user_id=after[0], team_id=after[1])
        except assignment_rules.AssignmentRefused:
            continue
        changed.append((ticket.pk, before, after))
    return changed


def _change_statuses(request: HttpRequest, found: list[Ticket], *, new_value: int | None) -> list[Change]:
    if new_value not in {int(status) for status, _words in STATUS_ACTIONS}:
        return []
    changed: list[Change] = []
    for ticket in found:
        before = ticket.status
        if before != new_value and _apply_change(ticket, STATUS, new_value, by=request.user.pk):
            changed.append((ticket.pk, before, new_value))
    return changed


def _apply_change(ticket: Ticket, field: str, value: Value, *, by: int | None) -> bool:
    """Apply one change. Return False if the chat already has another live request."""
    if field == ASSIGNEE:
        user_id, team_id = value
        tickets.assign_ticket(ticket.pk, user_id=user_id, team_id=team_id, to_group=False, by=by)
        return True
    return bulk_changes.change_status(ticket.pk, value, by=by)


def _redirect_with_result(
    request: HttpRequest,
    *,
    field: str,
    changed: list[Change],
    chosen: int,
    already: int,
) -> HttpResponse:
    """Redirect to the same page of the table, with the result token."""
    address = QueryDict(request.POST.get("back", "")[:500], mutable=True)  # user input: the page validates it
    address["done"] = bulk_changes.sign_changes(
        request.user, field=field, changed=changed, chosen=chosen, already=already
    )
    return redirect(f"{reverse('requests')}?{address.urlencode()}")
