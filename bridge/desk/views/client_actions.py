"""Actions on the client of a chat: edit tags, export and erase all data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from bridge.conversations.activity import record_activity
from bridge.conversations.contact_editing import MAX_TAG_LENGTH, MAX_TAGS
from bridge.desk import access, forms, presentation
from bridge.desk.parameters import parse_int
from bridge.files import storage_limits
from bridge.maintenance import erasure, erasure_log, outside_copies, person_export
from bridge.models import Contact, Erasure
from channels_setup.permissions import require_chat_access

from . import chat_actions

TAGGED_CLIENTS, MAX_SUGGESTED = 300, 50  # clients whose tags are suggested
TAGGED_CANDIDATES = 3_000  # newest tagged clients of the channel, of whom the user may not see all


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
    if contact.erased_at is None and tags != contact.tags:
        Contact.objects.filter(pk=contact.pk).update(tags=tags)
        lines = (("client_tagged", set(tags) - set(contact.tags)), ("client_untagged", set(contact.tags) - set(tags)))
        for kind, changed in lines:
            if changed:
                record_activity(conversation.pk, kind, actor=request.user, tags=sorted(changed))
    return chat_actions.success_response(request, conversation)


@require_chat_access
@require_GET
@never_cache
def suggest_tags(request: HttpRequest, pk: int) -> HttpResponse:
    """Return tags of the channel's clients whom the user sees, as JSON: the most frequent of the newest first."""
    conversation = access.get_conversation_or_404(request, pk)
    newest = Contact.objects.filter(~Q(tags=[]), api_channel=conversation.api_channel_id).order_by("-pk")
    visible = access.visible_conversations(request).filter(contact=OuterRef("pk"))
    candidates = Contact.objects.filter(pk__in=newest.values("pk")[:TAGGED_CANDIDATES])
    tagged = candidates.filter(Exists(visible)).order_by("-pk")
    counts = Counter(tag for tags in tagged.values_list("tags", flat=True)[:TAGGED_CLIENTS] for tag in tags)
    own = set(conversation.contact.tags)
    return JsonResponse({"tags": [tag for tag, _n in counts.most_common(MAX_SUGGESTED + len(own)) if tag not in own]})


@require_chat_access
@permission_required(erasure.ERASE_PERMISSION, raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def erase_client(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the affected contacts, and erase their data after confirmation. Cannot be undone."""
    if refusal := forms.reject_stale_form(request, chat=pk):
        return refusal
    conversation = access.get_conversation_or_404(request, pk, allow_erased=True)
    contact = conversation.contact
    is_log_missing = False
    if request.method == "POST" and parse_int(request.POST.get("sure")) == contact.pk:
        try:
            erasure.erase_person(contact.pk, by=request.user)
            return redirect("chat-erase", pk=conversation.pk)
        except erasure_log.ErasureLogUnavailable:
            is_log_missing = True
    people = erasure.find_same_person(contact)
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(contact),
        "phone": presentation.contact_phone(contact),
        "people": people,
        "section": "chats",
        "is_erased": contact.erased_at is not None,
        "receipts": _describe_receipts(people),
        "was_not_sure": request.method == "POST" and not is_log_missing,
        "is_log_missing": is_log_missing,
    }
    return render(request, "bridge/client_erase.html", context, status=422 if request.method == "POST" else 200)


def _describe_receipts(people: Sequence[Contact]) -> list[dict[str, Any]]:
    """Return the receipts of a person's erasures, newest first."""
    rows = Erasure.objects.filter(contact__in=people).select_related("by").order_by("-pk")
    return [
        {
            "receipt": receipt,
            "counts": outside_copies.describe_counts(receipt),
            "outside": outside_copies.describe_copies(receipt),
        }
        for receipt in rows
    ]


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
        except (storage_limits.DiskAlmostFull, person_export.FilesUnavailable) as error:
            status, problem = 503, str(error)
    context = {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "contacts": person_export.list_exported_contacts(conversation.contact, user=request.user),
        "section": "chats",
        "problem": problem,
    }
    return render(request, "bridge/client_export.html", context, status=status)
