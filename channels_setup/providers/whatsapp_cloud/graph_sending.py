"""A message on its way out, as the Graph API takes it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from channels_setup.codecs.facts import ContactInfo
from channels_setup.codecs.phone_numbers import format_wire_phone
from channels_setup.codecs.values import FileInfo, as_text

from .graph_contacts import read_user_id, read_wa_id

MAX_CAPTION_LENGTH = 1024
HELD_STATUSES = ("held_for_quality_assessment", "paused")
_OFFICE = "application/vnd.openxmlformats-officedocument"
IMAGE_TYPES = ("image/jpeg", "image/png")
AUDIO_TYPES = ("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg")
VIDEO_TYPES = ("video/mp4", "video/3gpp")
DOCUMENT_TYPES = (
    *("text/plain", "application/pdf", "application/msword", "application/vnd.ms-excel"),
    *("application/vnd.ms-powerpoint", f"{_OFFICE}.wordprocessingml.document", f"{_OFFICE}.spreadsheetml.sheet"),
    f"{_OFFICE}.presentationml.presentation",
)
UPLOADABLE_TYPES = frozenset((*IMAGE_TYPES, *AUDIO_TYPES, *VIDEO_TYPES, *DOCUMENT_TYPES))
TYPE_BY_EXTENSION = {
    **dict.fromkeys(("jpg", "jpeg"), "image/jpeg"),
    **{"png": "image/png", "mp4": "video/mp4", "3gp": "video/3gpp", "mp3": "audio/mpeg", "ogg": "audio/ogg"},
    **{"m4a": "audio/mp4", "aac": "audio/aac", "amr": "audio/amr"},
}


class NotSendable(ValueError):
    """There is no way to say this. ``reason`` is a code of ``bridge.outcomes``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def build_message_body(
    *,
    contact: ContactInfo,
    key: str,
    text: str,
    template: Mapping[str, Any] | None,
    components: Sequence[Mapping[str, Any]],
    files: Sequence[FileInfo],
    quoted_id: str,
) -> dict[str, Any]:
    """The body of one send call. ``key`` comes back with every status of the message. Raises NotSendable."""
    body: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **_recipient(contact),
        "biz_opaque_callback_data": key,
    }
    if quoted_id:
        body["context"] = {"message_id": quoted_id}
    if template is not None:
        chosen: dict[str, Any] = {"name": template["name"], "language": {"code": template["language"]}}
        if components:
            chosen["components"] = list(components)
        return {**body, "type": "template", "template": chosen}
    if files:
        return {**body, **_file(files[0], text)}
    return {**body, "type": "text", "text": {"body": text, "preview_url": "https://" in text}}


def _recipient(contact: ContactInfo) -> dict[str, str]:
    """With a plus, always: without it the provider puts the country of our own number in front.

    A phone that only stands on the card comes last: somebody else may have that number by now.
    """
    if number := read_wa_id(contact.external_id):
        return {"to": f"+{number}"}
    if contact.user_id:
        return {"recipient": contact.user_id}
    if digits := re.sub(r"[^0-9]", "", format_wire_phone(contact.phone)):
        return {"to": f"+{digits}"}
    raise NotSendable("wa_no_recipient")


def _file(file: FileInfo, text: str) -> dict[str, Any]:
    mime = file.mime.split(";")[0].strip().lower() or _guess_mime(file)
    kind = (
        "image"
        if mime in IMAGE_TYPES
        else "audio"
        if mime in AUDIO_TYPES
        else "video"
        if mime in VIDEO_TYPES
        else "document"
    )
    if len(text) > MAX_CAPTION_LENGTH or (text and kind == "audio"):
        raise NotSendable("wa_caption_not_allowed")
    sent: dict[str, str] = {"id": file.external_id} if file.external_id else {"link": file.url}
    if text:
        sent["caption"] = text
    if kind == "document" and file.name:
        sent["filename"] = file.name
    return {"type": kind, kind: sent}


def build_upload_form(name: str, mime: str, content: bytes) -> tuple[str, bytes]:
    """A file as ``multipart/form-data``: the content type with its boundary, and the body."""
    boundary = f"okno-{uuid.uuid4().hex}"
    quoted = re.sub(r'[\x00-\x1f"\\]', "_", name) or "file"
    fields = (("messaging_product", "whatsapp"), ("type", mime))
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields]
    head = f'Content-Disposition: form-data; name="file"; filename="{quoted}"\r\nContent-Type: {mime}'
    parts.append(f"--{boundary}\r\n{head}\r\n\r\n")
    body = b"".join(("".join(parts).encode(), content, f"\r\n--{boundary}--\r\n".encode()))
    return f"multipart/form-data; boundary={boundary}", body


def _guess_mime(file: FileInfo) -> str:
    name = file.name or file.url.split("?")[0]
    return TYPE_BY_EXTENSION.get(name.rsplit(".", 1)[-1].lower(), "")


@dataclass(frozen=True, kw_only=True)
class AcceptedMessage:
    """What the provider says of a message that it took: not that it arrived."""

    external_id: str
    contact: ContactInfo
    is_held: bool  # its template's quality is looked at first; it may fail yet


def read_accepted_message(body: Mapping[str, Any]) -> AcceptedMessage | None:
    """None where the answer names no message. The contact's ids may be others than those we wrote to."""
    message, contact = _first(body.get("messages")), _first(body.get("contacts"))
    external_id = as_text(message.get("id"))[:190]
    if not external_id:
        return None
    who = ContactInfo(external_id=read_wa_id(contact.get("wa_id")), user_id=read_user_id(contact.get("user_id")))
    return AcceptedMessage(external_id=external_id, contact=who, is_held=message.get("message_status") in HELD_STATUSES)


def _first(items: Any) -> Mapping[str, Any]:
    first = items[0] if isinstance(items, list) and items else None
    return first if isinstance(first, dict) else {}


def build_read_receipt_body(external_id: str) -> dict[str, str]:
    """Tells the contact that their message, and all before it, was read."""
    return {"messaging_product": "whatsapp", "status": "read", "message_id": external_id}
