"""Files in a private S3-compatible bucket. The portal's own file pages are the only access; the bucket has no links."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files import File
from storages.backends.s3 import S3Storage
from storages.utils import clean_name

MAX_MEMORY_BYTES = 1_000_000  # a larger file is read into a temporary file
# A call that waits for the bucket holds one of the web's few slots, or the thread that sends all messages.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS, POOL = 3, 10, 2, 32
PAUSE_SECONDS = 15.0  # after a call without an answer: further calls of the process fail at once
BLOCK_BYTES = 1_000_000  # read by one call for a response, so that a slow reader holds no connection to the bucket
NO_VERSIONS = {"NotImplemented", "MethodNotAllowed", "InvalidRequest", "InvalidArgument"}


class FileStorageUnavailable(OSError):
    """The bucket did not answer, or refused. Like an unreadable disk, it is tried again later."""


class PrivateS3Storage(S3Storage):
    """S3 storage that fails as a disk does: FileNotFoundError or another OSError."""

    def __init__(self, **options: Any) -> None:
        endpoint = options.get("endpoint_url")
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=POOL,
            retries={"mode": "standard", "max_attempts": ATTEMPTS},
            signature_version="s3v4",
            # Servers other than Amazon's seldom have a host name for each bucket, or checksums in trailers.
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        fixed = {
            "client_config": config,
            "file_overwrite": False,
            "default_acl": None,
            "transfer_config": TransferConfig(use_threads=False),
        }
        super().__init__(**options | fixed)
        # One client, which threads may share, instead of one for each of the web process's hundreds of threads.
        self._connections = SimpleNamespace()
        self._paused_until = 0.0  # by time.monotonic

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        """Return the file, read completely: errors appear here, as the disk's do, and not while a response is sent."""
        if mode not in ("r", "rb"):
            raise ValueError("Files are saved whole. Use save().")
        content = tempfile.SpooledTemporaryFile(max_size=MAX_MEMORY_BYTES)  # noqa: SIM115  # the caller closes it
        try:
            with self.translate_errors(name):
                found = self.client.get_object(Bucket=self.bucket_name, Key=self.build_key(name))
                shutil.copyfileobj(found["Body"], content)
        except BaseException:
            content.close()
            raise
        content.seek(0)
        return File(content, name)

    def open_ranges(self, name: str) -> BucketFile:
        """Open a file whose parts are read as they are needed. A missing file or silent bucket is an error here."""
        return BucketFile(self, name, self.size(name))

    def read_part(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`, which must be inside the file."""
        with self.translate_errors(name):
            wanted = f"bytes={start}-{end - 1}"
            found = self.client.get_object(Bucket=self.bucket_name, Key=self.build_key(name), Range=wanted)
            part: bytes = found["Body"].read(end - start + 1)
        if len(part) != end - start:
            raise FileStorageUnavailable("The file storage sent another part of the file than requested.")
        return part

    def _save(self, name: str, content: File[bytes]) -> str:
        with self.translate_errors(name):
            return str(super()._save(name, content))

    def exists(self, name: str) -> bool:
        with self.translate_errors(name):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with self.translate_errors(name):
            return int(super().size(name))

    def url(self, name: str | None, *args: Any, **kwargs: Any) -> str:
        raise NotImplementedError("The bucket is private. Link to the portal's own file pages.")

    def delete(self, name: str) -> None:
        """Delete the file with all its versions, because an erased person's file must not stay in any."""
        key = self.build_key(name)
        with self.translate_errors(name):
            if not self.is_versioned():
                super().delete(name)
                return
            for version in self.list_versions(key):
                self.client.delete_object(Bucket=self.bucket_name, Key=key, VersionId=version)

    def build_key(self, name: str) -> str:
        return str(self._normalize_name(clean_name(name)))

    @property
    def client(self) -> Any:
        return self.connection.meta.client

    def is_versioned(self) -> bool:
        """Return whether the bucket keeps versions. Deleting without a version would then only hide the file."""
        try:
            status = self.client.get_bucket_versioning(Bucket=self.bucket_name).get("Status")
        except ClientError as error:
            if error.response["Error"]["Code"] in NO_VERSIONS:
                return False
            raise
        return status in ("Enabled", "Suspended")

    def list_versions(self, key: str) -> Iterator[str]:
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket_name, Prefix=key)
        for page in pages:
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if one["Key"] == key:
                    yield one["VersionId"]

    @contextmanager
    def translate_errors(self, name: str) -> Iterator[None]:
        """Raise errors of the storage as OSError. Their texts can name buckets and accounts, so they are left out."""
        if time.monotonic() < self._paused_until:
            raise FileStorageUnavailable("The file storage has just not answered.")
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("404", "NoSuchKey", "NotFound"):
                raise FileNotFoundError(name) from None
            raise FileStorageUnavailable(f"The file storage refused: {code}.") from None
        except BotoCoreError as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            raise FileStorageUnavailable(f"The file storage does not answer: {type(error).__name__}.") from None


class BucketFile:
    """A file of the bucket that is read block by block, as far as it is needed."""

    def __init__(self, storage: PrivateS3Storage, name: str, size: int) -> None:
        self.storage, self.name, self.size = storage, name, size

    def read_range(self, start: int, end: int) -> Iterator[bytes]:
        for at in range(start, end, BLOCK_BYTES):
            yield self.storage.read_part(self.name, at, min(end, at + BLOCK_BYTES))

    def close(self) -> None:
        """Do nothing: each block is a call of its own."""
