"""Media types of stored files: how the desk shows them, and the Content-Type with which they are served.

The sender states the type. It is served only if it is on the list, because a browser may execute others.
"""

from __future__ import annotations

from typing import NamedTuple

from .uploads import FILE_TYPES

PICTURE, AUDIO, VIDEO, PDF, OTHER = "picture", "audio", "video", "pdf", "file"
UNKNOWN = "application/octet-stream"
# Only these are displayed by the browser itself. The desk plays audio and video and draws PDF in its own pages.
INLINE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")

# Extensions of types that clients send and operators cannot upload.
MORE_TYPES = {
    "aac": "audio/aac",
    "amr": "audio/amr",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "wmv": "video/x-ms-wmv",
}
TYPES_BY_EXTENSION = {ending: mime for ending, (mime, _offset, _marks) in FILE_TYPES.items()} | MORE_TYPES
ALIASES = {
    "audio/mp3": "audio/mpeg",
    "audio/opus": "audio/ogg",
    "audio/x-wav": "audio/wav",
    "audio/x-m4a": "audio/mp4",
    "image/jpg": "image/jpeg",
    "application/x-pdf": "application/pdf",
}
SERVED_TYPES = frozenset(TYPES_BY_EXTENSION.values())


class MediaType(NamedTuple):
    kind: str  # how the desk shows the file
    mime: str  # Content-Type
    is_inline: bool


def find_media_type(mime: str, name: str) -> MediaType:
    """Return the type by what the sender states, or by the extension of the name if nothing is stated."""
    stated = mime.partition(";")[0].strip().lower()
    stated = ALIASES.get(stated, stated)
    if stated in ("", UNKNOWN, "binary/octet-stream"):
        stated = TYPES_BY_EXTENSION.get(name.rpartition(".")[2].lower(), UNKNOWN)
    if stated not in SERVED_TYPES:
        return MediaType(OTHER, UNKNOWN, is_inline=False)
    if stated in INLINE_TYPES:
        return MediaType(PICTURE, stated, is_inline=True)
    if stated == "application/pdf":
        return MediaType(PDF, stated, is_inline=False)
    family = stated.partition("/")[0]
    return MediaType(family if family in (AUDIO, VIDEO) else OTHER, stated, is_inline=False)
