"""Merging two clients from the desk: whom, with what consequences, and back again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge.desk import access, forms, presentation
from bridge.desk.chat_list import finding
from bridge.desk.client import merges
from bridge.desk.parameters import as_number
from bridge.merging import rules
from bridge.merging.merge import merge_contacts as merge_contacts
from bridge.merging.undo import UNDO_WITHIN
from bridge.merging.undo import undo_merge as undo_merge
from bridge.models import Contact, ContactMerge, Conversation

from . import chat_actions, chats

MOST_FOUND = 20
LONGEST_QUERY = 80


@dataclass(frozen=True, kw_only=True)
class Person:
    """A client to choose from."""

    pk: int
    name: str
    number: str


@login_required
@permission_required(rules.MERGE_PERMISSION, raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def merge(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose the other client, look at what would move, and merge."""
    if refusal := forms.conflict(request, chat=pk):
        return refusal
    conversation = access.conversation_or_404(request, pk)
    values = request.POST if request.method == "POST" else request.GET
    other = _mergeable(request).filter(pk=as_number(values.get("with")) or 0).select_related("api_channel").first()
    if other is None:
        return _choice(request, conversation, is_unknown="with" in values)
    keeps_other = values.get("keep") == "other"
    source, target = (conversation.contact, other) if keeps_other else (other, conversation.contact)
    problem = "" if _sees_all(request, source, target) else _out_of_sight()
    if request.method == "POST" and not problem:
        if as_number(request.POST.get("sure")) == other.pk:
            try:
                merge_contacts(source.pk, target.pk, by=request.user)
                return _to(request, target, conversation)
            except rules.MergeRefused as refused:
                problem = str(refused)
            except OperationalError:  # the database broke a deadlock at our cost; nothing was done
                problem = _("Somebody is working with one of these clients. Try again.")
        else:
            problem = _("Tick the box first.")
    return _preview(request, conversation, source, target, problem=problem, keeps_other=keeps_other)


@forms.writes
def undo(request: HttpRequest, pk: int, merge_id: int) -> HttpResponse:
    """Make two clients of one again."""
    conversation = access.conversation_or_404(request, pk)
    if not request.user.has_perm(rules.MERGE_PERMISSION):
        return chat_actions.refused(request, conversation, _("You do not have the right to merge contacts."))
    made = ContactMerge.objects.filter(pk=merge_id, target=conversation.contact_id).select_related("source").first()
    if made is None:
        return chat_actions.refused(request, conversation, _("Not found, or you do not have access."))
    if not _sees_all(request, conversation.contact):
        return chat_actions.refused(request, conversation, _out_of_sight())
    try:
        undo_merge(made.pk, by=request.user)
    except rules.MergeRefused as refused:
        return chat_actions.refused(request, conversation, str(refused))
    except OperationalError:
        return chat_actions.refused(
            request, conversation, _("Somebody is working with one of these clients. Try again.")
        )
    return chat_actions.done(request, Conversation.objects.filter(pk=conversation.pk).first() or _first(made.source))


def _mergeable(request: HttpRequest) -> Any:
    """Clients with a chat that this person sees."""
    rows = Contact.objects.filter(merged_into=None, erased_at=None)
    return rows.filter(pk__in=access.visible(request).values("contact"))


def _choice(request: HttpRequest, conversation: Conversation, *, is_unknown: bool) -> HttpResponse:
    query = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_QUERY]
    found: dict[int, Contact] = {}
    if query:
        mine = _mergeable(request).exclude(pk=conversation.contact_id).select_related("api_channel")
        for people in finding.people(query, api_channels=[conversation.api_channel_id]):
            for person in mine.filter(pk__in=people.values("pk"), api_channel=conversation.api_channel_id)[:MOST_FOUND]:
                found[person.pk] = person
    suggested = rules.suggest_matches(conversation.contact, seen=access.visible(request))
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "query": query,
        "found": [_person(one) for one in list(found.values())[:MOST_FOUND]],
        "suggested": [_person(one) for one in suggested if one.api_channel_id == conversation.api_channel_id],
        "elsewhere": [
            {"person": _person(one), "channel": one.api_channel.name}
            for one in suggested
            if one.api_channel_id != conversation.api_channel_id
        ],
        "is_unknown": is_unknown,
        "section": "chats",
    }
    return render(request, "bridge/client_merge.html", context, status=404 if is_unknown else 200)


def _preview(
    request: HttpRequest,
    conversation: Conversation,
    source: Contact,
    target: Contact,
    *,
    problem: str,
    keeps_other: bool,
) -> HttpResponse:
    if _sees_all(request, source, target):
        preview = rules.preview_merge(source, target)
    else:  # it would name the channels and count the chats that this person does not see
        preview = rules.MergePreview(source=source, target=target, problem=_out_of_sight())
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "other": source if target.pk == conversation.contact_id else target,
        "preview": preview,
        "source": _person(source),
        "target": _person(target),
        "kept_name": preview.keeps.get("name") or presentation.contact_name(target),
        "problem": problem or preview.problem,
        "keeps_other": keeps_other,
        "hours": int(UNDO_WITHIN.total_seconds() // 3600),
        "section": "chats",
    }
    return render(request, "bridge/client_merge.html", context, status=422 if request.method == "POST" else 200)


def _sees_all(request: HttpRequest, *contacts: Contact) -> bool:
    """A merge moves every chat of the two, so who merges must see them all."""
    visible = access.visible(request).values("pk")
    return not rules.find_chats(*contacts).exclude(pk__in=visible).exists()


def _out_of_sight() -> str:
    return _("These clients also have chats in channels that you do not see. Ask an admin to merge them.")


def _to(request: HttpRequest, contact: Contact, before: Conversation) -> HttpResponse:
    """The merged client's chat in the channel where one was."""
    chat = Conversation.objects.filter(contact=contact, chat_channel=before.chat_channel_id).first() or _first(contact)
    return redirect(chats.address_of(chat, request))


def _first(contact: Contact) -> Conversation:
    return Conversation.objects.filter(contact=contact).order_by("pk")[0]


def _person(contact: Contact) -> Person:
    return Person(pk=contact.pk, name=presentation.contact_name(contact), number=merges.number_of(contact))
