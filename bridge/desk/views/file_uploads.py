"""Files of the composer: upload, delete, and store files of plain forms."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from bridge.desk import access, forms
from bridge.files import uploads
from bridge.models import Conversation, Upload

MAX_FILES = 10  # files of one reply


@forms.require_chat_form
def upload_file(request: HttpRequest, pk: int) -> HttpResponse:
    """Store one file. Return its chip, or its link for the text if the provider cannot send files."""
    conversation = access.get_conversation_or_404(request, pk)
    given = request.FILES.get("file")
    if given is None:
        return JsonResponse({"sentence": _("No file was received. Try again.")}, status=422)
    if len(uploads.list_unsent_uploads(conversation, author=request.user)) >= MAX_FILES:
        return JsonResponse(
            {"sentence": _("A reply can have at most %(most)d files.") % {"most": MAX_FILES}}, status=422
        )
    try:
        kept = uploads.save_upload(conversation, given, author=request.user)
    except uploads.UploadRefused as problem:
        return JsonResponse({"sentence": str(problem)}, status=422)
    if conversation.api_channel.provider.sends_files:
        chip = render_to_string("bridge/upload.html", {"upload": kept, "conversation": conversation}, request)
        return JsonResponse({"chip": chip}, status=201)
    return JsonResponse({"text": link_line(kept)}, status=201)


@forms.require_chat_form
def delete_upload(request: HttpRequest, pk: int, upload_id: int) -> HttpResponse:
    """Delete an unsent file of the current user."""
    conversation = access.get_conversation_or_404(request, pk)
    user: Any = request.user
    mine = Upload.objects.filter(pk=upload_id, conversation=conversation, author=user, message=None).first()
    if mine is not None:
        uploads.delete_upload(mine)
    return HttpResponse(status=204)


def link_line(kept: Upload) -> str:
    """Return the line of text that replaces a file."""
    return f"{kept.name}: {uploads.build_share_link(kept)}"


def store_form_files(request: HttpRequest, conversation: Conversation) -> list[str]:
    """Store the files of a plain form. Return link lines for the text if the provider cannot send files."""
    lines = []
    for given in request.FILES.getlist("files")[:MAX_FILES]:
        kept = uploads.save_upload(conversation, given, author=request.user)
        if not conversation.api_channel.provider.sends_files:
            lines.append(link_line(kept))
    return lines
