"""Media store: uploaded files, their short-lived download URLs on another host, and template samples."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any

from tests.simulators.errors import GraphError

URL_TTL_SECONDS = 300
INBOUND_TTL_SECONDS = 7 * 86_400
UPLOAD_TTL_SECONDS = 30 * 86_400
MB = 1_000_000

# Media types that can be sent -> kind of message and maximum size in bytes.
ACCEPTED_TYPES: dict[str, tuple[str, int]] = {
    **dict.fromkeys(("image/jpeg", "image/png"), ("image", 5 * MB)),
    **dict.fromkeys(("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"), ("audio", 16 * MB)),
    **dict.fromkeys(("video/mp4", "video/3gpp"), ("video", 16 * MB)),
    "image/webp": ("sticker", 500_000),
    **dict.fromkeys(
        (
            "text/plain",
            "application/pdf",
            "application/msword",
            "application/vnd.ms-excel",
            "application/vnd.ms-powerpoint",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ),
        ("document", 100 * MB),
    ),
}


@dataclass(kw_only=True)
class Medium:
    id: str
    data: bytes
    mime: str
    until: float
    name: str = ""

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    def build_webhook_file(self) -> dict[str, Any]:
        return {"id": self.id, "mime_type": self.mime, "sha256": base64.b64encode(self.digest).decode()}


class MediaStore:
    def __init__(self) -> None:
        self.media: dict[str, Medium] = {}
        self.addresses: dict[str, tuple[str, float]] = {}  # hash -> media ID and expiry
        self.next_id = 1_013_859_600_000_000
        self.sessions: dict[str, int] = {}  # sessions of the Resumable Upload API -> announced size in bytes
        self.samples: dict[str, bytes] = {}  # handle -> content, for headers of templates

    def keep(self, data: bytes, *, mime: str, now: float, name: str = "", lives: float = UPLOAD_TTL_SECONDS) -> Medium:
        self.next_id += 1
        medium = Medium(id=str(self.next_id), data=data, mime=mime, until=now + lives, name=name)
        self.media[medium.id] = medium
        return medium

    def take_upload(self, form: dict[str, bytes], mime: str, name: str, *, now: float) -> Medium:
        """Check a file from the portal as Meta does, and store it. Raises GraphError."""
        if form.get("messaging_product") != b"whatsapp":
            raise GraphError(100, "The parameter messaging_product is required.")
        if "file" not in form:
            raise GraphError(100, "The parameter file is required.")
        plain = mime.split(";")[0].strip()
        if plain not in ACCEPTED_TYPES:
            raise GraphError(
                100, f"Param file must be a file with one of the following types: {', '.join(ACCEPTED_TYPES)}."
            )
        if len(form["file"]) > ACCEPTED_TYPES[plain][1]:
            raise GraphError(131053, f"The file is larger than {ACCEPTED_TYPES[plain][1]} bytes.")
        return self.keep(form["file"], mime=plain, now=now, name=name)

    def open_session(self, query: dict[str, str]) -> str:
        if query.get("file_type") not in (*ACCEPTED_TYPES, "video/gif") or not query.get("file_length", "").isdigit():
            raise GraphError(100, "file_length and file_type are required, of a type that a header can have.")
        session = f"upload:MTphd{secrets.token_urlsafe(9)}"
        self.sessions[session] = int(query["file_length"])
        return f"{session}?sig=ARZ{secrets.token_urlsafe(6)}"

    def close_session(self, called: Any) -> str:
        length = self.sessions.pop(called.path, None)
        if length is None or not called.query.get("sig") or called.headers.get("file_offset") != "0":
            raise GraphError(100, "There is no such upload session.")
        if len(called.body) != length:
            raise GraphError(100, f"{length} bytes were announced, {len(called.body)} came.")
        handle = f"4::aW1hZ2U=:ARb{secrets.token_urlsafe(9)}"
        self.samples[handle] = called.body
        return handle

    def find(self, media_id: str, *, now: float) -> Medium:
        medium = self.media.get(media_id)
        if medium is None or medium.until < now:
            raise GraphError(100, f"Object with ID '{media_id}' does not exist", status=404, subcode=33)
        return medium

    def address(self, medium: Medium, *, host: str, now: float) -> str:
        token = secrets.token_urlsafe(12)
        self.addresses[token] = (medium.id, now + URL_TTL_SECONDS)
        return f"{host}/whatsapp_business/attachments/?mid={medium.id}&ext={int(now + URL_TTL_SECONDS)}&hash={token}"

    def behind(self, token: str, *, now: float) -> Medium | None:
        media_id, until = self.addresses.get(token, ("", 0.0))
        return self.media.get(media_id) if until >= now else None


def parse_form(body: bytes, content_type: str) -> tuple[dict[str, bytes], str, str]:
    """Return the fields of a well-formed multipart form, the file's media type and the file's name."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if not found:
        raise GraphError(100, "An upload is multipart/form-data.")
    form: dict[str, bytes] = {}
    mime = name = ""
    for part in body.split(b"--" + found[1].encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        words = head.decode("utf-8", "replace")
        field = re.search(r'[; ]name="([^"]*)"', words)
        if not field:
            continue
        form[field[1]] = content.removesuffix(b"\r\n")
        if field[1] == "file":
            declared = re.search(r"(?im)^content-type: *(.+?)\s*$", words)
            mime = declared[1] if declared else "application/octet-stream"
            filename = re.search(r'filename="([^"]*)"', words)
            name = filename[1] if filename else ""
    return form, form["type"].decode() if form.get("type") else mime, name
