"""Actions on the client of a chat: edit tags, export and erase all data."""

from __future__ import annotations

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge.desk import access, forms, presentation
from bridge.desk.parameters import parse_int
from bridge.files import storage_limits
from bridge.maintenance import erasure, person_export
from bridge.models import Contact
from channels_setup.permissions import require_chat_access

from . import chat_actions

MAX_TAGS, MAX_TAG_LENGTH = 20, 40


@forms.require_chat_form
def edit_tags(request: HttpRequest, pk: int) -> HttpResponse:
    """Add a tag to the client (``add``), or remove one (``drop``)."""
    conversation = access.get_conversation_or_404(request, pk)
    added = " ".join(request.POST.get("add", "").replace("\0", "").split())[:MAX_TAG_LENGTH]
    dropped = request.POST.get("drop", "")
    contact = conversation.contact
    tags = [tag for tag in contact.tags if tag != dropped]
    if added and added.casefold() not in {tag.casefold() for tag in tags} and len(tags) < MAX_TAGS:
        tags.append(added)
    if contact.erased_at is None:
        Contact.objects.filter(pk=contact.pk).update(tags=tags)
    return chat_actions.success_response(request, conversation)


@require_chat_access
@permission_required(erasure.ERASE_PERMISSION, raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def erase_client(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the affected contacts, and erase their data after confirmation. Cannot be undone."""
    if refusal := forms.reject_stale_form(request, chat=pk):
        return refusal
    conversation = access.get_conversation_or_404(request, pk)
    is_sure = request.method == "POST" and parse_int(request.POST.get("sure")) == conversation.contact_id
    if is_sure:
        erasure.erase_person(conversation.contact_id, by=request.user)
        return chat_actions.redirect_to_chat(request, conversation)
    people = erasure.find_same_person(conversation.contact)
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "phone": presentation.contact_phone(conversation.contact),
        "people": people,
        "section": "chats",
        "is_erased": conversation.contact.erased_at is not None,
        "was_not_sure": request.method == "POST",
    }
    return render(request, "bridge/client_erase.html", context, status=422 if request.method == "POST" else 200)


@require_chat_access
@permission_required(person_export.EXPORT_PERMISSION, raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def export_client(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show what an export contains, and download it as a ZIP archive."""
    if refusal := forms.reject_stale_form(request, chat=pk):
        return refusal
    conversation = access.get_conversation_or_404(request, pk)
    status, problem = 200, ""
    if request.method == "POST":
        try:
            return person_export.build_download(conversation.contact, user=request.user)
        except person_export.PersonErased:
            status = 410
        except storage_limits.DiskAlmostFull as error:
            status, problem = 503, str(error)
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "contacts": person_export.list_exported_contacts(conversation.contact, user=request.user),
        "section": "chats",
        "problem": problem,
    }
    return render(request, "bridge/client_export.html", context, status=status)
