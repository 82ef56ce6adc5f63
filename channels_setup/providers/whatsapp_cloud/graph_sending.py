"""Outbound messages and uploads in the Graph API's format, and its response to them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from channels_setup.codecs.facts import ContactInfo
from channels_setup.codecs.phone_numbers import format_wire_phone
from channels_setup.codecs.values import FileInfo, as_text
from channels_setup.providers.base import OutboundReaction

from .graph_contacts import read_user_id, read_wa_id

MAX_CAPTION_LENGTH = 1024
HELD_STATUSES = ("held_for_quality_assessment", "paused")
_OFFICE = "application/vnd.openxmlformats-officedocument"
IMAGE_TYPES = ("image/jpeg", "image/png")
AUDIO_TYPES = ("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg")
VIDEO_TYPES = ("video/mp4", "video/3gpp")
TYPES_BY_KIND = {"image": IMAGE_TYPES, "audio": AUDIO_TYPES, "video": VIDEO_TYPES}
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
    """The Graph API has no way to send this message. ``reason`` is a code of ``bridge.outcomes``."""

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
    reaction: OutboundReaction | None = None,
) -> dict[str, Any]:
    """Build the body of one send call. Every status of the message returns ``key``. Raises NotSendable."""
    body: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **_build_recipient(contact),
        "biz_opaque_callback_data": key,
    }
    if reaction is not None:
        content = {"message_id": reaction.target_id, "emoji": reaction.emoji}
        return {**body, "type": "reaction", "reaction": content}
    if quoted_id:
        body["context"] = {"message_id": quoted_id}
    if template is not None:
        template_body: dict[str, Any] = {"name": template["name"], "language": {"code": template["language"]}}
        if components:
            template_body["components"] = list(components)
        return {**body, "type": "template", "template": template_body}
    if files:
        return {**body, **_build_file_message(files[0], text)}
    return {**body, "type": "text", "text": {"body": text, "preview_url": "https://" in text}}


def _build_recipient(contact: ContactInfo) -> dict[str, str]:
    """Return the recipient's field. Raises NotSendable.

    A number always has a plus: without it the provider prepends the country code of our own number. The phone on the
    contact's card is the last choice, because that number may have a new owner.
    """
    if number := read_wa_id(contact.external_id):
        return {"to": f"+{number}"}
    if contact.user_id:
        return {"recipient": contact.user_id}
    if digits := re.sub(r"[^0-9]", "", format_wire_phone(contact.phone)):
        return {"to": f"+{digits}"}
    raise NotSendable("wa_no_recipient")


def _build_file_message(file: FileInfo, text: str) -> dict[str, Any]:
    mime = file.mime.split(";")[0].strip().lower() or _guess_mime(file)
    kind = next((kind for kind, types in TYPES_BY_KIND.items() if mime in types), "document")
    if len(text) > MAX_CAPTION_LENGTH or (text and kind == "audio"):
        raise NotSendable("wa_caption_not_allowed")
    body: dict[str, str] = {"id": file.external_id} if file.external_id else {"link": file.url}
    if text:
        body["caption"] = text
    if kind == "document" and file.name:
        body["filename"] = file.name
    return {"type": kind, kind: body}


def build_upload_form(name: str, mime: str, content: bytes) -> tuple[str, bytes]:
    """Build an upload as ``multipart/form-data``. Return its content type with the boundary, and its body."""
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
    """Response to a message that the provider accepted but has not delivered yet."""

    external_id: str
    contact: ContactInfo
    is_held: bool  # the provider checks the template's quality first, and may still reject the message


def read_accepted_message(body: Mapping[str, Any]) -> AcceptedMessage | None:
    """Return the accepted message, or None if the response contains no message ID.

    The contact's IDs may differ from those that the message was sent to.
    """
    message, contact = _get_first(body.get("messages")), _get_first(body.get("contacts"))
    external_id = as_text(message.get("id"))[:190]
    if not external_id:
        return None
    recipient = ContactInfo(external_id=read_wa_id(contact.get("wa_id")), user_id=read_user_id(contact.get("user_id")))
    is_held = message.get("message_status") in HELD_STATUSES
    return AcceptedMessage(external_id=external_id, contact=recipient, is_held=is_held)


def _get_first(items: Any) -> Mapping[str, Any]:
    first = items[0] if isinstance(items, list) and items else None
    return first if isinstance(first, dict) else {}


def build_read_receipt_body(external_id: str) -> dict[str, str]:
    """Build the read receipt of a message and of all before it."""
    return {"messaging_product": "whatsapp", "status": "read", "message_id": external_id}
