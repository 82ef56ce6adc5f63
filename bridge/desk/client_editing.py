"""The client's card and notes, edited beside the chat; and what was changed before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge import contact_editing
from bridge.contact_editing import Editor, NotValid
from bridge.merging import lookup
from bridge.models import ContactChange, ContactNote, Conversation

from . import access, actions, forms, presentation

MOST_CHANGES = 20
LONGEST_SHOWN = 80  # characters of a value in the history; the whole value is its title


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of the form, with its label, what it holds and what is wrong with it."""

    name: str
    label: str
    kind: str
    value: str
    shown: str  # as the person saw it when the form was opened
    complete: str
    limit: int
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A line of the history."""

    title: str
    old: str
    new: str
    who: str
    at: str


def form_of(
    conversation: Conversation, values: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None
) -> list[Field]:
    contact = conversation.contact
    values, errors = values or {}, errors or {}
    rows = (
        ("name", pgettext("person", "Name"), "text", contact.name, contact_editing.LONGEST_NAME),
        ("phone", _("Phone"), "tel", contact.phone, 40),
        ("email", _("E-mail"), "email", contact.email, contact_editing.LONGEST_EMAIL),
    )
    return [
        Field(
            name=name,
            label=label,
            kind=kind,
            value=values.get(name, stored),
            shown=values.get(f"was_{name}", stored),
            complete="off",
            limit=limit,
            error=errors.get(name, ""),
        )
        for name, label, kind, stored, limit in rows
    ]


@login_required
@require_http_methods(["GET", "POST"])
@never_cache
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Name, phone and e-mail. Without a script the form is a page of its own."""
    if refusal := forms.conflict(request, chat=pk):
        return refusal
    conversation = access.conversation_or_404(request, pk)
    if request.method == "GET":
        return _page(request, conversation, form_of(conversation))
    posted = {name: request.POST.get(name, "") for name in contact_editing.FIELDS if name in request.POST}
    shown = {name: request.POST[f"was_{name}"] for name in posted if f"was_{name}" in request.POST}
    try:
        contact_editing.edit(conversation.contact_id, posted, by=_editor(request), shown=shown)
    except NotValid as problem:
        if actions.by_script(request):
            return _refused(problem)
        values = posted | {f"was_{name}": value for name, value in shown.items()}
        return _page(request, conversation, form_of(conversation, values, problem.fields), problem=problem)
    return actions.done(request, conversation)


@login_required
@require_http_methods(["GET", "POST"])
@never_cache
def edit_note(request: HttpRequest, pk: int, note_id: int) -> HttpResponse:
    """One's own note, in other words."""
    if refusal := forms.conflict(request, chat=pk):
        return refusal
    conversation = access.conversation_or_404(request, pk)
    people = [person.pk for person in lookup.people(conversation.contact)]
    user: Any = request.user
    if request.method == "GET":
        note = ContactNote.objects.filter(pk=note_id, contact__in=people, author=user).first()
        return _page(request, conversation, None, note_id=note_id, note=note.text if note else "")
    text = request.POST.get("text", "")
    try:
        contact_editing.edit_note(note_id, text, contact_ids=people, by=_editor(request))
    except NotValid as problem:
        if actions.by_script(request):
            return _refused(problem)
        return _page(request, conversation, None, note_id=note_id, note=text, problem=problem)
    return actions.done(request, conversation)


@forms.writes
def add_note(request: HttpRequest, pk: int) -> HttpResponse:
    conversation = access.conversation_or_404(request, pk)
    user: Any = request.user
    if conversation.contact.erased_at:
        return actions.done(request, conversation)
    try:
        text = contact_editing.note_text(request.POST.get("note", ""))
    except NotValid as problem:
        return actions.refused(request, conversation, str(problem))
    ContactNote.objects.create(contact=conversation.contact, author=user, text=text)
    return actions.done(request, conversation)


@forms.writes
def drop_note(request: HttpRequest, pk: int, note_id: int) -> HttpResponse:
    """One's own; somebody else's word stays."""
    conversation = access.conversation_or_404(request, pk)
    people = [person.pk for person in lookup.people(conversation.contact)]
    try:
        contact_editing.drop_note(note_id, contact_ids=people, by=_editor(request))
    except NotValid as problem:
        return actions.refused(request, conversation, str(problem))
    return actions.done(request, conversation)


def history(conversation: Conversation, contact_ids: list[int], *, now: datetime) -> list[Change]:
    """The last changes, the newest first."""
    rows = ContactChange.objects.filter(contact__in=contact_ids).select_related("by", "api_channel")
    return [
        Change(
            title=str(row.get_field_display()),
            old=row.old,
            new=row.new,
            who=presentation.person_name(row.by) or (row.api_channel.name if row.api_channel else ""),
            at=presentation.moment_words(row.at, now=now),
        )
        for row in rows.order_by("-pk")[:MOST_CHANGES]
    ]


def _editor(request: HttpRequest) -> Editor:
    return Editor(source=ContactChange.Source.OPERATOR, user=request.user)


def _refused(problem: NotValid) -> HttpResponse:
    return JsonResponse({"sentence": str(problem), "fields": problem.fields}, status=422)


def _page(
    request: HttpRequest,
    conversation: Conversation,
    fields: list[Field] | None,
    *,
    note_id: int = 0,
    note: str = "",
    problem: NotValid | None = None,
) -> HttpResponse:
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "card_fields": fields,
        "writes_to": writes_to(conversation),
        "note_id": note_id,
        "note": note,
        "problem": "" if problem is None else problem.fields.get("", "") or problem.fields.get("text", ""),
        "section": "chats",
    }
    return render(request, "bridge/client_edit.html", context, status=422 if problem else 200)


def writes_to(conversation: Conversation) -> str:
    """The number that messages go to, where it is not the phone on the card."""
    contact = conversation.contact
    return presentation.phone_words(contact.external_id) if contact_editing.differs_from_address(contact) else ""
