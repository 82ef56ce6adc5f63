"""Commands to external helpdesks: the content of a delivery with the helpdesk's IDs that are known by now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from channels_setup.providers.base import ContactInfo, FileInfo
from channels_setup.providers.base.helpdesk import AttachedFile, HelpdeskAccount, HelpdeskCommand, RemoteIds

from ..models import Attachment, Delivery, HelpdeskChat

MAX_REPEATS = 50  # longest run of equal messages in which a lookup can identify one
MAX_UPLOAD_BYTES = 20 * 1024 * 1024


def build_command(delivery: Delivery, account: HelpdeskAccount, *, repeats: int = 0) -> HelpdeskCommand:
    """Build the command of a delivery, with the helpdesk's IDs that are known by now."""
    payload = delivery.payload
    link = HelpdeskChat.objects.filter(conversation=delivery.conversation_id).first()
    at = payload.get("at")
    return HelpdeskCommand(
        kind=delivery.track,
        key=delivery.key,
        text=payload.get("text", ""),
        contact=ContactInfo(**payload.get("contact", {})),
        at=datetime.fromisoformat(at) if at else None,
        external_id=payload.get("external_id", ""),
        files=tuple(FileInfo(url=url) for url in payload.get("files", [])),
        uploads=tuple(_read_uploads(delivery)) if account.options.get("files") == "comment" else (),
        remote_ids=RemoteIds(chat_id=link.chat_id, client_id=link.client_id, ticket_id=link.ticket_id)
        if link
        else RemoteIds(),
        repeats=repeats,
    )


def _read_uploads(delivery: Delivery) -> Iterator[AttachedFile]:
    """Yield the files themselves if all are stored here and small enough; otherwise they are sent as links."""
    if delivery.message_id is None or not delivery.payload.get("files"):
        return
    attachments = list(Attachment.objects.filter(message=delivery.message_id).order_by("pk"))
    if not all(each.file and each.file.size <= MAX_UPLOAD_BYTES for each in attachments):
        return
    for each in attachments:
        with each.file.open("rb") as stored:
            yield AttachedFile(name=each.name, mime=each.mime, content=stored.read())


def count_repeats(delivery: Delivery) -> int:
    """Count equal deliveries right before this one, so that a lookup can tell them apart."""
    before = Delivery.objects.filter(
        conversation=delivery.conversation_id, kind=delivery.kind, track=delivery.track, pk__lt=delivery.pk
    ).order_by("-pk")
    contents = [(row.payload.get("text"), row.payload.get("files")) for row in before.only("payload")[:MAX_REPEATS]]
    own = (delivery.payload.get("text"), delivery.payload.get("files"))
    return next((index for index, content in enumerate(contents) if content != own), len(contents))
