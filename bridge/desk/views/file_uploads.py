"""Files of the composer: upload, delete, and store files of plain forms."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from bridge.desk import access, forms
from bridge.files import file_responses, uploads
from bridge.files.media_types import find_media_type
from bridge.models import Conversation, Upload

MAX_FILES = 10  # files of one reply


@forms.require_chat_form
def upload_file(request: HttpRequest, pk: int) -> HttpResponse:
    """Store one file. Return its chip, or its link for the text if the provider cannot send files."""
    conversation = access.get_conversation_or_404(request, pk)
    file = request.FILES.get("file")
    if file is None:
        return JsonResponse({"sentence": _("No file was received. Try again.")}, status=422)
    if len(uploads.list_unsent_uploads(conversation, author=request.user)) >= MAX_FILES:
        return JsonResponse(
            {"sentence": _("A reply can have at most %(most)d files.") % {"most": MAX_FILES}}, status=422
        )
    try:
        upload = uploads.save_upload(conversation, file, author=request.user)
    except uploads.UploadRefused as problem:
        return JsonResponse({"sentence": str(problem)}, status=422)
    if conversation.api_channel.provider.sends_files:
        chip = render_to_string("bridge/upload_chip.html", {"upload": upload, "conversation": conversation}, request)
        return JsonResponse({"chip": chip}, status=201)
    return JsonResponse({"text": link_line(upload)}, status=201)


@forms.require_chat_form
def delete_upload(request: HttpRequest, pk: int, upload_id: int) -> HttpResponse:
    """Delete an unsent file of the current user."""
    upload = _find_unsent(request, pk, upload_id)
    if upload is not None:
        uploads.delete_upload(upload)
    return HttpResponse(status=204)


@forms.require_chat_form
def rename_upload(request: HttpRequest, pk: int, upload_id: int) -> HttpResponse:
    """Rename an unsent file of the current user. Return the name: cleaned, with the ending that it had."""
    upload = _find_unsent(request, pk, upload_id)
    if upload is None:
        return JsonResponse({"sentence": _("This file is no longer available.")}, status=404)
    uploads.rename_upload(upload, request.POST.get("name", ""))
    return JsonResponse({"name": upload.name})


@require_safe
def serve_upload(request: HttpRequest, pk: int, upload_id: int) -> HttpResponseBase:
    """Serve an unsent file to its author."""
    upload = _find_unsent(request, pk, upload_id)
    if upload is None:
        raise Http404
    media = find_media_type(upload.mime, upload.name)
    response = file_responses.build_file_response(
        request, upload.file, name=upload.name, mime=media.mime, is_inline=media.is_inline
    )
    response["Cache-Control"] = "private, no-cache"
    return response


def _find_unsent(request: HttpRequest, pk: int, upload_id: int) -> Upload | None:
    conversation = access.get_conversation_or_404(request, pk)
    user: Any = request.user
    return Upload.objects.filter(pk=upload_id, conversation=conversation, author=user, message=None).first()


def link_line(upload: Upload) -> str:
    """Return the line of text that replaces a file."""
    return f"{upload.name}: {uploads.build_share_link(upload)}"


def store_form_files(request: HttpRequest, conversation: Conversation) -> list[str]:
    """Store the files of a plain form. Return link lines for the text if the provider cannot send files."""
    lines = []
    for file in request.FILES.getlist("files")[:MAX_FILES]:
        upload = uploads.save_upload(conversation, file, author=request.user)
        if not conversation.api_channel.provider.sends_files:
            lines.append(link_line(upload))
    return lines
