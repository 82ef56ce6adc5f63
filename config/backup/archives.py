"""The two forms of a backup, a tar archive and a folder, with the same files in them.

Both are written from first to last, so that an archive can go to a pipe, and get their final name when they are
complete. Files are private (0600).
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from django.conf import settings

from config.file_permissions import private_opener

from .manifest import CHECKSUMS_NAME, MANIFEST_NAME, BackupError

CHUNK = 1024 * 1024
CHECK_SPACE_BYTES = 16 * CHUNK  # the free disk space is checked each time so much was written
SUFFIX = ".tar"
PARTIAL_SUFFIX = ".partial"


class HashingReader:
    """File object that hashes and counts what is read through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._hash, self.size = stream, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except tarfile.TarError as problem:
            raise BackupError(f"The archive is damaged or incomplete: {problem}.") from problem
        self._hash.update(data)
        self.size += len(data)
        return data

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    def drain(self) -> None:
        while self.read(CHUNK):
            pass


class EntryWriter(Protocol):
    """Destination of a backup's files."""

    def add(self, name: str, size: int, stream: HashingReader) -> None:
        """Write one file. Raises OSError if the stream has fewer bytes than `size`."""

    def close(self) -> None:
        """Complete the backup."""


class _Output:
    """The part of a file that tarfile needs to write. A pipe does not know its position."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._position = stream, 0

    def write(self, data: bytes) -> int:
        self._stream.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


class TarWriter:
    """Writes a tar archive to a stream that cannot seek."""

    def __init__(self, stream: IO[bytes], *, name: str, modified: float) -> None:
        self._folder, self._modified = name, modified
        # Not mode "w|": its stream would write to the archive once more when it is freed after a failure.
        self._tar = tarfile.TarFile(mode="w", fileobj=cast(IO[bytes], _Output(stream)), format=tarfile.PAX_FORMAT)

    def add(self, name: str, size: int, stream: HashingReader) -> None:
        entry = tarfile.TarInfo(f"{self._folder}/{name}")
        entry.size, entry.mode, entry.mtime = size, 0o600, int(self._modified)
        self._tar.addfile(entry, stream)
        self._tar.members = []  # type: ignore[attr-defined]  # tarfile keeps an object per file otherwise

    def close(self) -> None:
        self._tar.close()


class FolderWriter:
    """Writes the files into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700)

    def add(self, name: str, size: int, stream: HashingReader) -> None:
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "xb", opener=private_opener) as file:
            shutil.copyfileobj(stream, file, CHUNK)
        if stream.size != size:
            raise OSError("unexpected end of data")

    def close(self) -> None:
        os.sync()


class BackupWriter:
    """Adds files to a backup and collects their checksums."""

    def __init__(self, target: EntryWriter, *, folder: Path | None = None) -> None:
        self._target, self._folder = target, folder
        self._checksums = io.BytesIO()
        self._unchecked = CHECK_SPACE_BYTES

    def add(self, name: str, size: int, stream: IO[bytes]) -> None:
        self._check_space(size)
        hashing = HashingReader(stream)
        self._target.add(name, size, hashing)
        self._checksums.write(f"{hashing.sha256}  {name}\n".encode())

    def _check_space(self, size: int) -> None:
        """Stop before the portal has less disk space than it needs to accept files. Raises BackupError."""
        self._unchecked += size
        if self._folder is None or self._unchecked < CHECK_SPACE_BYTES:
            return
        self._unchecked = 0
        free = shutil.disk_usage(self._folder).free
        if free - size < settings.MIN_FREE_DISK_MB * 1024 * 1024:
            raise BackupError(
                f"Less than {settings.MIN_FREE_DISK_MB} MB would be free in {self._folder} (MIN_FREE_DISK_MB). Free up "
                "space, or choose another disk with BACKUP_DIR."
            )

    def add_bytes(self, name: str, data: bytes) -> None:
        self.add(name, len(data), io.BytesIO(data))

    def add_checksums(self) -> str:
        """Write the list of checksums and return its own hash."""
        data = self._checksums.getvalue()
        self._target.add(CHECKSUMS_NAME, len(data), HashingReader(io.BytesIO(data)))
        return hashlib.sha256(data).hexdigest()

    def finish(self, manifest: bytes) -> None:
        self._target.add(MANIFEST_NAME, len(manifest), HashingReader(io.BytesIO(manifest)))
        self._target.close()


@contextmanager
def open_writer(destination: Path, *, as_folder: bool, modified: float) -> Iterator[BackupWriter]:
    """Yield a writer of a new backup. It gets its name when it is complete; a failure leaves nothing behind."""
    if destination.exists():
        raise BackupError(f"{destination} exists already.")
    for leftover in destination.parent.glob(f".okno-*{PARTIAL_SUFFIX}"):  # the caller has locked the folder
        remove_backup(leftover)
    partial = destination.with_name(f".{destination.name}{PARTIAL_SUFFIX}")
    name = destination.name.removesuffix(SUFFIX)
    try:
        if as_folder:
            yield BackupWriter(FolderWriter(partial), folder=destination.parent)
        else:
            with open(partial, "xb", opener=private_opener) as file:
                yield BackupWriter(TarWriter(file, name=name, modified=modified), folder=destination.parent)
                file.flush()
                os.fsync(file.fileno())
        partial.rename(destination)
    except BaseException:
        remove_backup(partial)
        raise
    _sync_folder(destination.parent)


def remove_backup(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading ---------------------------------------------------------------------------------------------


def read_entries(source: Path | IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of each file in the order in which they were written. Raises BackupError."""
    if isinstance(source, Path) and source.is_dir():
        yield from _read_folder(source)
        return
    try:
        if isinstance(source, Path):
            with open(source, "rb") as file:
                yield from _read_tar(file)
        else:
            yield from _read_tar(source)
    except tarfile.TarError as problem:
        raise BackupError(f"The archive is damaged or incomplete: {problem}.") from problem
    except FileNotFoundError as problem:
        raise BackupError(f"There is no backup at {source}.") from problem


def _read_tar(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    # As a stream, also from a file: tarfile then notices a header that is damaged, where a seek would pass over it.
    with tarfile.open(mode="r|", fileobj=stream, bufsize=CHUNK) as tar:
        for entry in tar:
            tar.members = []  # type: ignore[attr-defined]  # see TarWriter
            # A sparse entry of a few bytes can stand for any number of zeros.
            content = tar.extractfile(entry) if entry.isreg() and not entry.issparse() else None
            _folder, _, name = entry.name.partition("/")
            if content is None or not is_safe_name(name):
                raise BackupError(f"The archive contains an unexpected entry: {entry.name!r}.")
            yield name, content


def _read_folder(folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    last = [name for name in (CHECKSUMS_NAME, MANIFEST_NAME) if name in names]
    for name in [*(name for name in names if name not in last), *last]:
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise BackupError(f"The folder contains a link or something else that is not a file: {name}.")
        with open(folder / name, "rb") as file:
            yield name, file


def is_safe_name(name: str) -> bool:
    """Return whether a name stays inside the backup's folder."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name and "\n" not in name
