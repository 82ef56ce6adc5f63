"""Operators' uploads: checked, stored, and sent as files or shared by a link.

If the channel cannot send files, the text gets a link to a page with the file's name and size. The link is signed and
expires, and downloads are counted. Files that could run in a browser are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.models import Conversation, Upload
from channels_setup.failing_items import FailingItems

from . import file_deletions, image_sizes, storage_limits

SIGNATURE_BYTES = 4_096  # first bytes that are checked
PRUNE_BATCH = 100
PRUNING = FailingItems("prune uploads")

_signer = Signer(salt="okno.uploads")

_ZIP, _OLE, _FTYP = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"ftyp"
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"

# Extension → MIME type, offset, possible signatures there. Without signatures: text, so no zero byte.
FILE_TYPES: Mapping[str, tuple[str, int, tuple[bytes, ...]]] = {
    "jpg": ("image/jpeg", 0, (b"\xff\xd8\xff",)),
    "jpeg": ("image/jpeg", 0, (b"\xff\xd8\xff",)),
    "png": ("image/png", 0, (b"\x89PNG\r\n\x1a\n",)),
    "gif": ("image/gif", 0, (b"GIF87a", b"GIF89a")),
    "webp": ("image/webp", 8, (b"WEBP",)),
    "pdf": ("application/pdf", 0, (b"%PDF-",)),
    "docx": (f"{_OFFICE}.wordprocessingml.document", 0, (_ZIP,)),
    "xlsx": (f"{_OFFICE}.spreadsheetml.sheet", 0, (_ZIP,)),
    "pptx": (f"{_OFFICE}.presentationml.presentation", 0, (_ZIP,)),
    "odt": (f"{_OPEN}.text", 0, (_ZIP,)),
    "ods": (f"{_OPEN}.spreadsheet", 0, (_ZIP,)),
    "doc": ("application/msword", 0, (_OLE,)),
    "xls": ("application/vnd.ms-excel", 0, (_OLE,)),
    "ppt": ("application/vnd.ms-powerpoint", 0, (_OLE,)),
    "txt": ("text/plain", 0, ()),
    "csv": ("text/csv", 0, ()),
    "mp3": ("audio/mpeg", 0, (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")),
    "ogg": ("audio/ogg", 0, (b"OggS",)),
    "m4a": ("audio/mp4", 4, (_FTYP,)),
    "mp4": ("video/mp4", 4, (_FTYP,)),
    "3gp": ("video/3gpp", 4, (_FTYP,)),
}


class UploadRefused(Exception):
    """This file is refused. Its text is a sentence for the user."""


def save_upload(conversation: Conversation, file: UploadedFile[bytes], *, author: Any) -> Upload:
    """Check a file and store it for this chat. Raises UploadRefused."""
    name = clean_name(file.name or "")
    mime = detect_type(file, name)
    try:
        storage_limits.check_disk(file.size or 0)
        storage_limits.check_quota(conversation, file.size or 0, author=author)
    except (storage_limits.DiskAlmostFull, storage_limits.QuotaExceeded) as problem:
        raise UploadRefused(str(problem)) from None
    upload = Upload(conversation=conversation, author=author, name=name, mime=mime, size=file.size or 0)
    upload.expires_at = service_window.database_now() + timedelta(days=settings.FILE_LINK_DAYS)
    if upload.is_picture and file.file and (size := image_sizes.read_image_size(file.file)):
        upload.width, upload.height = size
    file.seek(0)
    upload.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    upload.file.save(f"file.{name.rpartition('.')[2].lower()}", file, save=False)
    try:
        upload.save()
    except Exception:
        upload.file.delete(save=False)
        raise
    return upload


def clean_name(name: str) -> str:
    """Return a file name without directories and unprintable characters, shortened; its extension is kept."""
    cleaned = "".join(character for character in name.replace("\\", "/").rsplit("/", 1)[-1] if character.isprintable())
    stem, dot, ending = cleaned.strip().rpartition(".")
    return f"{stem[:150]}{dot}{ending[:10]}" if dot else cleaned.strip()[:150]


def rename_upload(upload: Upload, name: str) -> None:
    """Rename an unsent file. Its ending stays, because the type was checked by it. An empty name changes nothing."""
    ending = "." + upload.name.rpartition(".")[2]
    stem = clean_name(name).removesuffix(ending).strip(" .")
    if stem:
        upload.name = f"{stem[:150]}{ending}"
        upload.save(update_fields=["name"])


def max_bytes() -> int:
    """Return the size of the largest file that an operator may send."""
    return int(settings.UPLOAD_LIMIT_MB) * 1024 * 1024


def too_large_sentence(name: str) -> str:
    values = {"name": name, "limit": filesizeformat(max_bytes())}
    return _("“%(name)s” is too large. The limit is %(limit)s.") % values


def detect_type(file: UploadedFile[bytes], name: str) -> str:
    """Return the MIME type by the extension, if the first bytes match it. Raises UploadRefused."""
    if not file.size:
        raise UploadRefused(_("“%(name)s” is empty.") % {"name": name})
    if file.size > max_bytes():
        raise UploadRefused(too_large_sentence(name))
    kind = FILE_TYPES.get(name.rpartition(".")[2].lower())
    if kind is None:
        raise UploadRefused(
            _("Files such as “%(name)s” cannot be sent. Send an image, PDF, office document, text, audio or video.")
            % {"name": name}
        )
    mime, offset, signatures = kind
    file.seek(0)
    head = file.read(SIGNATURE_BYTES)
    file.seek(0)
    is_valid = any(head[offset:].startswith(mark) for mark in signatures) if signatures else b"\0" not in head
    if not is_valid:
        raise UploadRefused(
            _("The content of “%(name)s” does not match its file type, so it was not uploaded.") % {"name": name}
        )
    return mime


def build_share_link(upload: Upload) -> str:
    """Return the public URL of the file's page. It works until the upload expires."""
    return settings.PUBLIC_URL.rstrip("/") + reverse("shared", args=[_signer.sign(str(upload.pk))])


def find_upload(signature: str) -> Upload | None:
    """Return the upload of a signature, or None if the signature is not valid."""
    try:
        pk = int(_signer.unsign(signature))
    except (BadSignature, ValueError):
        return None
    return Upload.objects.filter(pk=pk).first()


def list_unsent_uploads(conversation: Conversation, *, author: Any) -> list[Upload]:
    """Return the files that this operator attached and has not sent."""
    if not conversation.api_channel.provider.sends_files:
        return []
    return list(Upload.objects.filter(conversation=conversation, author=author, message=None).order_by("pk"))


@transaction.atomic
def delete_upload(upload: Upload) -> None:
    """Delete an upload: the row now, the file after the commit, and again later if that fails."""
    file_deletions.schedule_file_deletions([str(upload.file.name)])
    upload.delete()


def prune_uploads() -> Iterator[int]:
    """Delete uploads that were not sent and whose links have expired. Yield their number in each batch."""
    expired = Upload.objects.filter(message=None, expires_at__lte=service_window.database_now()).order_by("pk")
    while rows := list(expired.exclude(pk__in=PRUNING.items_in_backoff())[:PRUNE_BATCH]):
        deleted = 0
        for upload in rows:
            with PRUNING.isolate(upload.pk):
                upload.file.storage.delete(str(upload.file.name))  # before the row, which is needed to try again
                delete_upload(upload)
                deleted += 1
        yield deleted
