"""The client beside the chat: notes and tags that operators put on a person, and erasing them altogether."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from bridge import erasing, uploads
from bridge.models import Contact, ContactNote, Conversation, Message, Upload
from templates_registry.graph import NotATemplate
from templates_registry.models import Template

from . import access, actions, presentation
from .numbers import as_number

NOTES, LONGEST_NOTE = 20, 2_000
TAGS, LONGEST_TAG = 20, 40
FILES = 10
VALUES = 8


@dataclass(frozen=True, kw_only=True)
class Note:
    pk: int
    text: str
    author: str
    at: str
    is_mine: bool


@dataclass(frozen=True, kw_only=True)
class GivenFile:
    upload: Upload
    link: str
    until: str
    is_over: bool


def about(request: HttpRequest, conversation: Conversation, *, now: datetime) -> dict[str, Any]:
    """What the pane shows besides the contact itself; four queries."""
    user: Any = request.user
    contact = conversation.contact
    notes = ContactNote.objects.filter(contact=contact).select_related("author").order_by("-pk")[:NOTES]
    files = Upload.objects.filter(conversation=conversation, message=None).order_by("-pk")[:FILES]
    carries_files = conversation.api_channel.provider.sends_files
    return {
        "notes": [
            Note(
                pk=note.pk,
                text=note.text,
                author=presentation.person_name(note.author),
                at=presentation.moment_words(note.created_at, now=now),
                is_mine=note.author_id == user.pk,
            )
            for note in notes
        ],
        "given_files": []
        if carries_files
        else [
            GivenFile(
                upload=upload,
                link=uploads.link(upload),
                until=presentation.day_words(upload.expires_at, now=now),
                is_over=upload.expires_at <= now,
            )
            for upload in files
        ],
        "template_values": template_values(conversation),
        "may_erase": user.has_perm(erasing.PERMISSION) and contact.erased_at is None,
    }


def template_values(conversation: Conversation) -> dict[str, str]:
    """What the last template messages said for their variables, under the titles of these; the newest counts."""
    sent = Message.objects.filter(conversation=conversation, kind=Message.Kind.TEMPLATE, template__isnull=False)
    rows: list[Any] = list(sent.order_by("-pk").values_list("template", flat=True)[:5])
    known = Template.objects.in_bulk({row["id"] for row in rows if row.get("id")}) if rows else {}
    found: dict[str, str] = {}
    for row in rows:
        given = row.get("parameters") or []
        pairs = given.items() if isinstance(given, dict) else ((str(n), value) for n, value in enumerate(given, 1))
        template = known.get(row.get("id") or 0)
        for key, value in pairs:
            found.setdefault(_title(template, key), str(value))
    return dict(list(found.items())[:VALUES])


def _title(template: Template | None, key: str) -> str:
    try:
        return str(template.pattern.title_of(key)) if template else key
    except NotATemplate:
        return key


@login_required
@require_POST
def add_note(request: HttpRequest, pk: int) -> HttpResponse:
    conversation = access.conversation_or_404(request, pk)
    text = request.POST.get("note", "").replace("\0", "").strip()[:LONGEST_NOTE]
    if text and not conversation.contact.erased_at:
        user: Any = request.user
        ContactNote.objects.create(contact=conversation.contact, author=user, text=text)
    return actions.done(request, conversation)


@login_required
@require_POST
def drop_note(request: HttpRequest, pk: int, note_id: int) -> HttpResponse:
    """One's own; somebody else's word stays."""
    conversation = access.conversation_or_404(request, pk)
    user: Any = request.user
    ContactNote.objects.filter(pk=note_id, contact=conversation.contact, author=user).delete()
    return actions.done(request, conversation)


@login_required
@require_POST
def tag(request: HttpRequest, pk: int) -> HttpResponse:
    """Put a tag on the person (``add``), or take one off (``drop``)."""
    conversation = access.conversation_or_404(request, pk)
    added = " ".join(request.POST.get("add", "").replace("\0", "").split())[:LONGEST_TAG]
    dropped = request.POST.get("drop", "")
    contact = conversation.contact
    tags = [one for one in contact.tags if one != dropped]
    if added and added.casefold() not in {one.casefold() for one in tags} and len(tags) < TAGS:
        tags.append(added)
    if contact.erased_at is None:
        Contact.objects.filter(pk=contact.pk).update(tags=tags)
    return actions.done(request, conversation)


@login_required
@permission_required(erasing.PERMISSION, raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def erase(request: HttpRequest, pk: int) -> HttpResponse:
    """Look once more at who and where; then erase. There is no way back."""
    conversation = access.conversation_or_404(request, pk)
    is_sure = request.method == "POST" and as_number(request.POST.get("sure")) == conversation.contact_id
    if is_sure:
        erasing.erase(conversation.contact_id, by=request.user)
        return actions.back(request, conversation)
    people = erasing.same_person(conversation.contact)
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "phone": presentation.phone_words(conversation.contact.phone),
        "people": people,
        "section": "chats",
        "is_erased": conversation.contact.erased_at is not None,
        "was_not_sure": request.method == "POST",
    }
    return render(request, "bridge/erase.html", context, status=422 if request.method == "POST" else 200)
