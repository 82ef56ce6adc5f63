"""Export of one person's data: a ZIP archive with JSON, a readable page, and the files."""

from .archive import EXPORT_PERMISSION, Export, FilesUnavailable, PersonErased, build_export, list_exported_contacts
from .download import build_download

__all__ = [
    "EXPORT_PERMISSION",
    "Export",
    "FilesUnavailable",
    "PersonErased",
    "build_download",
    "build_export",
    "list_exported_contacts",
]
