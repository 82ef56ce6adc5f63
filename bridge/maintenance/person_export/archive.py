"""The ZIP archive of a person's data: ``data.json``, ``index.html``, ``files/…``.

The archive is written to a temporary file without a name, so neither memory nor a forgotten copy grows with the person.
"""

from __future__ import annotations

import base64
import json
import logging
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models import Model, Sum
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from bridge.files import storage_limits
from bridge.models import Attachment, Contact, Upload
from config.audit import record

from . import page
from .file_names import build_file_names
from .sections import SECTIONS, Scope, Section, find_scope

logger = logging.getLogger(__name__)

EXPORT_PERMISSION = "bridge.export_contact"
FORMAT, VERSION = "okno-person-export", 1
COPY_BYTES = 256 * 1024


class PersonErased(Exception):
    """The person was erased, so there is nothing to export."""


class FilesUnavailable(Exception):
    """Files exist, but cannot be read now. Its text is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A finished archive. ``file`` has no name on disk and disappears when it is closed."""

    file: IO[bytes]
    name: str
    contacts: list[int]
    messages: int


def build_export(contact: Contact, *, user: Any = None) -> Export:
    """Build the archive of everything about this person that the user may see. Without a user: everything.

    Raise PersonErased, FilesUnavailable, or ``storage_limits.DiskAlmostFull``.
    """
    scope = find_scope(contact, user=user)
    if not scope.contacts:
        raise PersonErased
    files = _list_files(scope)
    storage_limits.check_disk(_count_file_bytes(scope))
    made_at = timezone.now()
    file = tempfile.TemporaryFile(dir=settings.DATA_DIR)  # noqa: SIM115  # the response closes it
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            stored = _copy_files(archive, files)
            _write_text(archive, "data.json", _generate_json(scope, stored, made_at=made_at))
            _write_text(archive, "index.html", page.generate_page(scope, stored, made_at=made_at))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    record.record_export("bridge.contact", contact.pk, details={"contacts": scope.contact_ids})
    logger.info("person exported", extra={"contact": contact.pk, "by": getattr(user, "pk", None)})
    return Export(
        file=file,
        name=f"client-{contact.owner_id}-{timezone.localtime(made_at):%Y-%m-%d}.zip",
        contacts=scope.contact_ids,
        messages=next(len(section.list_ids(scope)) for section in SECTIONS if section.name == "messages"),
    )


def list_exported_contacts(contact: Contact, *, user: Any = None) -> list[Contact]:
    """Return the contacts that an export by this user contains. Empty if the person was erased."""
    return find_scope(contact, user=user).contacts


# --- files ---


def _list_files(scope: Scope) -> dict[str, str]:
    """Return path in the storage → path in the archive. A file of a message may also be an upload: one copy."""
    rows = Attachment.objects.filter(message__conversation__in=scope.chats).order_by("pk").values_list("file", "name")
    uploads = Upload.objects.filter(conversation__in=scope.chats).order_by("pk").values_list("file", "name")
    return build_file_names((path, name) for found in (rows, uploads) for path, name in found.iterator() if path)


def _count_file_bytes(scope: Scope) -> int:
    sizes = (
        Attachment.objects.filter(message__conversation__in=scope.chats).exclude(file=""),
        Upload.objects.filter(conversation__in=scope.chats),
    )
    return sum(rows.aggregate(size=Sum("size"))["size"] or 0 for rows in sizes)


def _copy_files(archive: zipfile.ZipFile, files: dict[str, str]) -> dict[str, str]:
    """Copy the stored files into the archive. Return those that exist on disk."""
    stored = {}
    for path, name in files.items():
        try:
            source = default_storage.open(path, "rb")
        except FileNotFoundError:
            continue  # pruned meanwhile, or lost: the archive names it without a path
        except OSError as problem:
            raise FilesUnavailable(
                _("The file storage does not answer, so the export would be incomplete. Try again later.")
            ) from problem
        with source, archive.open(_entry(name, zipfile.ZIP_STORED), "w", force_zip64=True) as target:
            while block := source.read(COPY_BYTES):
                target.write(block)
        stored[path] = name
    return stored


def _entry(name: str, compression: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=timezone.localtime().timetuple()[:6])
    entry.compress_type = compression
    entry.external_attr = 0o600 << 16
    return entry


def _write_text(archive: zipfile.ZipFile, name: str, parts: Iterator[str]) -> None:
    with archive.open(_entry(name, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as target:
        for part in parts:
            target.write(part.encode("utf-8", "backslashreplace"))


# --- data.json ---


def _generate_json(scope: Scope, stored: dict[str, str], *, made_at: datetime) -> Iterator[str]:
    """Yield data.json row by row."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "made_at": made_at.isoformat(),
        "portal": settings.PUBLIC_URL,
        "language": translation.get_language(),
        "keys": {section.name: _describe_keys(section, scope) for section in SECTIONS},
    }
    yield json.dumps(head, ensure_ascii=False, indent=1)[:-2] + ',\n "data": {'
    for number, section in enumerate(SECTIONS):
        yield f"{',' if number else ''}\n  {json.dumps(section.name)}: ["
        fields = [field.name for field in section.list_fields(scope)]
        for row_number, row in enumerate(section.iterate_rows(scope)):
            yield f"{',' if row_number else ''}\n   "
            yield json.dumps(describe_row(row, fields, stored), ensure_ascii=False)
        yield "]"
    yield "\n }\n}\n"


def _describe_keys(section: Section, scope: Scope) -> dict[str, Any]:
    fields = {field.name: str(field.verbose_name) for field in section.list_fields(scope)}
    return {"about": str(section.about), "fields": fields}


def describe_row(row: Model, fields: list[str], stored: dict[str, str]) -> dict[str, Any]:
    """Return a row as JSON values. Related rows are IDs, files are paths in the archive."""
    values = {name: row._meta.get_field(name).value_from_object(row) for name in fields}  # type: ignore[union-attr]
    if "file" in values:
        values["file"] = stored.get(str(values["file"]), "")
    return {name: _to_json(value) for name, value in values.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(raw).decode()}
    return str(value) if isinstance(value, UUID) else value
