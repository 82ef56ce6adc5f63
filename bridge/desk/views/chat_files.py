"""Files of messages, for users who may see the chat."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponseBase

from bridge.conversations import chat_looks
from bridge.files import attachment_files


def serve_chat_file(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Serve a stored file. A file of somebody else's chat counts as a look at the chat."""
    if not request.user.is_authenticated:
        raise Http404
    attachment = attachment_files.find_visible_file(request.user, pk)
    if attachment is not None:
        chat_looks.record_chat_look(request.user, attachment.message.conversation)
    return attachment_files.build_file_response(request, attachment)
