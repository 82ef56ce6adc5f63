"""Editing of the client's card and notes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge.conversations import contact_editing, contact_fields
from bridge.conversations.contact_editing import Editor, InvalidContactData
from bridge.desk import access, forms, presentation
from bridge.desk.client import card
from bridge.models import ContactChange, ContactNote, Conversation
from channels_setup.permissions import require_chat_access

from . import chat_actions

OWN_FIELD = re.compile(rf"{contact_fields.PREFIX}([0-9]{{1,18}})")


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def edit_client(request: HttpRequest, pk: int) -> HttpResponse:
    """Edit name, phone, email and additional fields. Without scripts the form is a separate page."""
    if refusal := forms.reject_stale_form(request, chat=pk):
        return refusal
    conversation = access.get_conversation_or_404(request, pk)
    if request.method == "GET":
        return _edit_page(request, conversation, _list_card_fields(conversation))
    names = [*contact_editing.EDITABLE_FIELDS, *(name for name in request.POST if OWN_FIELD.fullmatch(name))]
    posted = {name: request.POST.get(name, "") for name in names if name in request.POST}
    shown = {name: request.POST[f"was_{name}"] for name in posted if f"was_{name}" in request.POST}
    own, own_shown = _split_own_fields(posted), _split_own_fields(shown)
    try:
        with transaction.atomic():
            fields, fields_shown = (
                {name: value for name, value in values.items() if name in contact_editing.EDITABLE_FIELDS}
                for values in (posted, shown)
            )
            contact_editing.edit_contact(conversation.contact_id, fields, by=_editor(request), shown=fields_shown)
            contact_fields.edit_fields(conversation.contact_id, own, by=_editor(request), shown=own_shown)
    except InvalidContactData as problem:
        if chat_actions.is_script_request(request):
            return _invalid_response(problem)
        values = posted | {f"was_{name}": value for name, value in shown.items()}
        return _edit_page(
            request, conversation, _list_card_fields(conversation, values, problem.fields), problem=problem
        )
    return chat_actions.success_response(request, conversation)


def _list_card_fields(conversation: Conversation, *values: Mapping[str, str]) -> list[card.CardField]:
    return card.card_fields(conversation, *values, own_fields=contact_fields.list_fields())


def _split_own_fields(values: Mapping[str, str]) -> dict[int, str]:
    """Return the values of additional fields by field ID."""
    found = ((OWN_FIELD.fullmatch(name), value) for name, value in values.items())
    return {int(match[1]): value for match, value in found if match}


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def edit_note(request: HttpRequest, pk: int, note_id: int) -> HttpResponse:
    """Edit a note of the current user."""
    if refusal := forms.reject_stale_form(request, chat=pk):
        return refusal
    conversation = access.get_conversation_or_404(request, pk)
    people = [person.pk for person in access.list_visible_people(request, conversation.contact)]
    user: Any = request.user
    if request.method == "GET":
        note = ContactNote.objects.filter(pk=note_id, contact__in=people, author=user).first()
        return _edit_page(request, conversation, None, note_id=note_id, note=note.text if note else "")
    text = request.POST.get("text", "")
    try:
        contact_editing.edit_note(note_id, text, contact_ids=people, by=_editor(request))
    except InvalidContactData as problem:
        if chat_actions.is_script_request(request):
            return _invalid_response(problem)
        return _edit_page(request, conversation, None, note_id=note_id, note=text, problem=problem)
    return chat_actions.success_response(request, conversation)


@forms.require_chat_form
def add_note(request: HttpRequest, pk: int) -> HttpResponse:
    conversation = access.get_conversation_or_404(request, pk)
    user: Any = request.user
    if conversation.contact.erased_at:
        return chat_actions.success_response(request, conversation)
    try:
        text = contact_editing.validate_note_text(request.POST.get("note", ""))
    except InvalidContactData as problem:
        return chat_actions.refusal_response(request, conversation, str(problem))
    ContactNote.objects.create(contact=conversation.contact, author=user, text=text)
    return chat_actions.success_response(request, conversation)


@forms.require_chat_form
def delete_note(request: HttpRequest, pk: int, note_id: int) -> HttpResponse:
    """Delete a note of the current user."""
    conversation = access.get_conversation_or_404(request, pk)
    people = [person.pk for person in access.list_visible_people(request, conversation.contact)]
    try:
        contact_editing.delete_note(note_id, contact_ids=people, by=_editor(request))
    except InvalidContactData as problem:
        return chat_actions.refusal_response(request, conversation, str(problem))
    return chat_actions.success_response(request, conversation)


def _editor(request: HttpRequest) -> Editor:
    return Editor(source=ContactChange.Source.OPERATOR, user=request.user)


def _invalid_response(problem: InvalidContactData) -> HttpResponse:
    return JsonResponse({"sentence": str(problem), "fields": problem.fields}, status=422)


def _edit_page(
    request: HttpRequest,
    conversation: Conversation,
    fields: list[card.CardField] | None,
    *,
    note_id: int = 0,
    note: str = "",
    problem: InvalidContactData | None = None,
) -> HttpResponse:
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "card_fields": fields,
        "writes_to": card.delivery_number(conversation),
        "note_id": note_id,
        "note": note,
        "problem": "" if problem is None else problem.fields.get("", "") or problem.fields.get("text", ""),
        "section": "chats",
    }
    return render(request, "bridge/client_edit.html", context, status=422 if problem else 200)
