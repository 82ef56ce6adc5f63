"""Static files: compressed, with hashed names that browsers keep for years, once `manage.py collectstatic` has run.

Without STATIC_ROOT, as in development and tests, they are served from their source folders under their own names.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.files.base import ContentFile
from django.http import HttpRequest, HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

logger = logging.getLogger(__name__)
CHECKSUM_NAME = "sources.sha256"  # names the source files that were collected
HASH_IN_NAME = re.compile(r"\.[0-9a-f]{12}(?=\.\w+$)")


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Collected files. Those of another release are not used, because its pages and files do not fit together."""

    def load_manifest(self) -> tuple[dict[str, str], str]:
        names, manifest_hash = super().load_manifest()
        is_current = self.read_checksum() == compute_sources_checksum()
        return (names, manifest_hash) if is_current else ({}, "")

    def read_checksum(self) -> str:
        try:
            with self.open(CHECKSUM_NAME) as file:
                return str(file.read().decode())
        except FileNotFoundError:
            return ""

    def save_manifest(self) -> None:
        super().save_manifest()
        self.delete(CHECKSUM_NAME)
        self._save(CHECKSUM_NAME, ContentFile(compute_sources_checksum().encode()))

    def stored_name(self, name: str) -> str:
        """Return the hashed name, or the plain one of a file that was not collected."""
        return self.hashed_files.get(self.hash_key(self.clean_name(name)), name)


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise, which also answers for the hashed names of other releases with this release's files.

    During a rolling restart, a page of one release can request its files from a process of another.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if settings.STATIC_ROOT and not getattr(staticfiles_storage, "hashed_files", None):
            logger.warning(
                "STATIC_ROOT has no static files of this release, so they are served uncompressed. "
                "Run manage.py collectstatic --noinput, then restart the web processes."
            )

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        if path.startswith(self.static_prefix) and path not in self.files and HASH_IN_NAME.search(path):
            file = self.find_plain_file(HASH_IN_NAME.sub("", path))
            if file is not None:
                return self.serve(file, request)
        return super().__call__(request)

    def find_plain_file(self, path: str) -> Any:
        """Return the file by its plain name. Browsers keep it for a minute only."""
        return self.find_file(path) if self.autorefresh else self.files.get(path)


def compute_sources_checksum() -> str:
    """Return a checksum of the names and contents of all source files."""
    checksum = hashlib.sha256()
    for finder in finders.get_finders():
        for name, storage in sorted(finder.list(None), key=lambda found: found[0]):
            with storage.open(name) as file:
                checksum.update(f"{name}\0".encode() + hashlib.sha256(file.read()).digest())
    return checksum.hexdigest()
