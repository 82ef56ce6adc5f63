"""Merging two clients from the desk: choose, preview, merge, undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge import phone_visibility
from bridge.desk import access, forms, presentation
from bridge.desk.chat_list import search as chat_search
from bridge.desk.client import merges
from bridge.desk.parameters import parse_int
from bridge.merging import rules
from bridge.merging.merge import merge_contacts
from bridge.merging.undo import UNDO_WITHIN, undo_merge
from bridge.models import Contact, ContactMerge, Conversation
from channels_setup.permissions import require_chat_access

from . import chat_actions, chats

MAX_FOUND = 20
MAX_QUERY_LENGTH = 80


@dataclass(frozen=True, kw_only=True)
class MergeCandidate:
    """A client that can be chosen for merging."""

    pk: int
    name: str
    number: str


@require_chat_access
@permission_required(rules.MERGE_PERMISSION, raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def merge_clients(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose the other client, preview the changes, and merge."""
    if refusal := forms.reject_stale_form(request, chat=pk):
        return refusal
    conversation = access.get_conversation_or_404(request, pk)
    values = request.POST if request.method == "POST" else request.GET
    other = (
        _mergeable_contacts(request).filter(pk=parse_int(values.get("with")) or 0).select_related("api_channel").first()
    )
    if other is None:
        return _choose_client(request, conversation, is_unknown="with" in values)
    keeps_other = values.get("keep") == "other"
    source, target = (conversation.contact, other) if keeps_other else (other, conversation.contact)
    problem = "" if _sees_all(request, source, target) else _hidden_chats_sentence()
    if request.method == "POST" and not problem:
        if parse_int(request.POST.get("sure")) == other.pk:
            try:
                merge_contacts(source.pk, target.pk, by=request.user)
                return _redirect_to_merged(request, target, conversation)
            except rules.MergeRefused as refused:
                problem = str(refused)
            except OperationalError:  # rolled back by the database to resolve a deadlock
                problem = _("Someone else is changing one of these clients. Try again.")
        else:
            problem = _("Select the checkbox first.")
    return _preview_merge(request, conversation, source, target, problem=problem, keeps_other=keeps_other)


@forms.require_chat_form
def undo_client_merge(request: HttpRequest, pk: int, merge_id: int) -> HttpResponse:
    """Undo a merge."""
    conversation = access.get_conversation_or_404(request, pk)
    if not request.user.has_perm(rules.MERGE_PERMISSION):
        return chat_actions.refusal_response(request, conversation, _("You do not have permission to merge contacts."))
    merge = ContactMerge.objects.filter(pk=merge_id, target=conversation.contact_id).select_related("source").first()
    if merge is None:
        return chat_actions.refusal_response(request, conversation, _("Not found, or you do not have access."))
    if not _sees_all(request, conversation.contact):
        return chat_actions.refusal_response(request, conversation, _hidden_chats_sentence())
    try:
        undo_merge(merge.pk, by=request.user)
    except rules.MergeRefused as refused:
        return chat_actions.refusal_response(request, conversation, str(refused))
    except OperationalError:
        return chat_actions.refusal_response(
            request, conversation, _("Someone else is changing one of these clients. Try again.")
        )
    return chat_actions.success_response(
        request, Conversation.objects.filter(pk=conversation.pk).first() or _first_chat(merge.source)
    )


def _mergeable_contacts(request: HttpRequest) -> Any:
    """Find contacts with a chat that the user may see."""
    rows = Contact.objects.filter(merged_into=None, erased_at=None)
    return rows.filter(pk__in=access.visible_conversations(request).values("contact"))


def _choose_client(request: HttpRequest, conversation: Conversation, *, is_unknown: bool) -> HttpResponse:
    query = request.GET.get("q", "").replace("\0", "").strip()[:MAX_QUERY_LENGTH]
    found: dict[int, Contact] = {}
    if query:
        visible = _mergeable_contacts(request).exclude(pk=conversation.contact_id).select_related("api_channel")
        for people in chat_search.find_contacts(query, api_channels=[conversation.api_channel_id]):
            for person in visible.filter(pk__in=people.values("pk"), api_channel=conversation.api_channel_id)[
                :MAX_FOUND
            ]:
                found[person.pk] = person
    suggested = rules.suggest_matches(conversation.contact, visible_chats=access.visible_conversations(request))
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "query": query,
        "found": [_build_candidate(one) for one in list(found.values())[:MAX_FOUND]],
        "suggested": [_build_candidate(one) for one in suggested if one.api_channel_id == conversation.api_channel_id],
        "elsewhere": [
            {"person": _build_candidate(one), "channel": one.api_channel.name}
            for one in suggested
            if one.api_channel_id != conversation.api_channel_id
        ],
        "is_unknown": is_unknown,
        "section": "chats",
    }
    return render(request, "bridge/client_merge.html", context, status=404 if is_unknown else 200)


def _preview_merge(
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
    else:  # a preview would reveal channels and chats that the user may not see
        preview = rules.MergePreview(source=source, target=target, problem=_hidden_chats_sentence())
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "other": source if target.pk == conversation.contact_id else target,
        "preview": preview,
        "source": _build_candidate(source),
        "target": _build_candidate(target),
        "kept_name": phone_visibility.visible_id(preview.keeps.get("name", ""), target.api_channel_id)
        or presentation.contact_name(target),
        "problem": problem or preview.problem,
        "keeps_other": keeps_other,
        "hours": int(UNDO_WITHIN.total_seconds() // 3600),
        "section": "chats",
    }
    return render(request, "bridge/client_merge.html", context, status=422 if request.method == "POST" else 200)


def _sees_all(request: HttpRequest, *contacts: Contact) -> bool:
    """Return whether the user may see all chats of the contacts. Merging moves all of them."""
    visible = access.visible_conversations(request).values("pk")
    return not rules.find_chats(*contacts).exclude(pk__in=visible).exists()


def _hidden_chats_sentence() -> str:
    return _("These clients also have chats in channels that you cannot access. Ask an admin to merge them.")


def _redirect_to_merged(request: HttpRequest, contact: Contact, before: Conversation) -> HttpResponse:
    """Redirect to the merged client's chat, preferably in the same channel."""
    chat = Conversation.objects.filter(contact=contact, chat_channel=before.chat_channel_id).first() or _first_chat(
        contact
    )
    return redirect(chats.chat_url(chat, request))


def _first_chat(contact: Contact) -> Conversation:
    return Conversation.objects.filter(contact=contact).order_by("pk")[0]


def _build_candidate(contact: Contact) -> MergeCandidate:
    return MergeCandidate(pk=contact.pk, name=presentation.contact_name(contact), number=merges.contact_number(contact))
