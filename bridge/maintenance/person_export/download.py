"""HTTP response with an exported archive."""

from __future__ import annotations

from typing import Any

from django.http import FileResponse

from bridge.models import Contact

from .archive import build_export


def build_download(contact: Contact, *, user: Any) -> FileResponse:
    """Return the archive as a download. Raise PersonErased, FilesUnavailable, or ``storage_limits.DiskAlmostFull``."""
    export = build_export(contact, user=user)
    response = FileResponse(export.file, as_attachment=True, filename=export.name, content_type="application/zip")
    response["Cache-Control"] = "no-store, private"
    response["X-Content-Type-Options"] = "nosniff"
    return response
