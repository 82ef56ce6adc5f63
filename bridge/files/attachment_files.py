"""Files of messages: stored outside the web root, served as downloads only to users who may see the chat.

Destinations get a signed link that expires. Only a few safe image types are shown inline; everything else is a
download, whatever type its sender claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.core.signing import BadSignature, TimestampSigner
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from bridge import wakeups
from bridge.models import Attachment, Conversation, Message
from channels_setup.codecs.values import FileInfo

from . import file_responses, image_sizes, storage_limits
from .media_types import find_media_type

SIGNED_LINK_SECONDS = 7 * 24 * 3600

_signer = TimestampSigner(salt="okno.files")


def create_attachments(items: Iterable[tuple[Message, Sequence[FileInfo]]]) -> list[Attachment]:
    """Create attachments of saved messages: with their link, or waiting to be downloaded by the provider's file ID."""
    now = timezone.now()
    attachments = Attachment.objects.bulk_create(
        [
            Attachment(
                message=message,
                url=file.url[:2000],
                name=file.name[:200],
                mime=file.mime[:100],
                size=file.size,
                external_id=file.external_id[:190],
                sha256=file.sha256[:64],
                state=Attachment.State.WAITING if file.external_id else Attachment.State.AVAILABLE,
                due_at=now if file.external_id else None,
            )
            for message, files in items
            for file in files
        ]
    )
    if any(attachment.state == Attachment.State.WAITING for attachment in attachments):
        wakeups.notify_after_commit(wakeups.FILES)
    return attachments


def store_attachments(message: Message, files: Sequence[UploadedFile[bytes]]) -> list[Attachment]:
    """Store uploaded files as attachments of a saved message. Raises storage_limits.DiskAlmostFull."""
    stored = []
    storage_limits.check_disk(sum(upload.size or 0 for upload in files))
    for upload in files:
        attachment = Attachment(
            message=message,
            name=(upload.name or "")[:200],
            mime=(upload.content_type or "")[:100],
            size=upload.size,
        )
        if upload.file and (size := image_sizes.read_image_size(upload.file)):
            attachment.width, attachment.height = size
        attachment.file.save(upload.name or "file", upload, save=False)
        attachment.save()
        stored.append(attachment)
    return stored


def build_signed_link(attachment: Attachment) -> str:
    """Return a path that works without a login for SIGNED_LINK_SECONDS."""
    return reverse("signed-file", args=[_signer.sign(str(attachment.pk))])


def serve_signed_file(request: HttpRequest, signature: str) -> HttpResponseBase:
    """Serve a stored file by its signed link."""
    try:
        pk = int(_signer.unsign(signature, max_age=SIGNED_LINK_SECONDS))
    except (BadSignature, ValueError):
        raise Http404 from None
    return build_file_response(request, Attachment.objects.filter(pk=pk).first())


def find_visible_file(user: Any, pk: int) -> Attachment | None:
    """Return the file if the user may see its chat."""
    visible = Conversation.objects.all().visible_to(user)
    rows = Attachment.objects.select_related("message__conversation")
    return rows.filter(pk=pk, message__conversation__in=visible).first()


def build_file_response(request: HttpRequest, attachment: Attachment | None) -> HttpResponseBase:
    """Serve a stored file or a range of it. The sender's type is kept if no browser executes it: some receivers rely
    on it.
    """
    if attachment is not None and attachment.state == Attachment.State.WAITING:
        return file_responses.build_retry_response()  # still downloading
    if attachment is None or not attachment.file:
        raise Http404
    media = find_media_type(attachment.mime, attachment.name)
    response = file_responses.build_file_response(
        request, attachment.file, name=attachment.name or "file", mime=media.mime, is_inline=media.is_inline
    )
    if response.status_code in (200, 206, 304):
        # Asked for again each time, at the price of a 304: the next user of this browser may not see the chat.
        response["Cache-Control"] = "private, no-cache"
    return response
