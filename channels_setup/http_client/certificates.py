"""The certificate authorities that TLS connections are checked against."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import certifi

# Names by which OpenSSL finds a certificate in a folder of authorities.
HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")

_lock = threading.Lock()


def authorities_path() -> str:
    """Return the path of one file with the machine's certificate authorities and those of certifi.

    The machine's list may contain a company's own authority; a machine without a list has those of certifi. libcurl
    parses one file once for all connections of a thread, but a folder or a text in memory for each connection.
    Threads that make their first calls together wait for one reading.
    """
    with _lock:
        return _write_authorities()


@cache
def _write_authorities() -> str:
    content = b"\n".join(path.read_bytes() for path in _authority_files())
    if hasattr(os, "memfd_create"):  # Linux: a file without a name ends with the process
        descriptor = os.memfd_create("okno-authorities")
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp(prefix="okno-authorities-", suffix=".pem")
    with os.fdopen(descriptor, "wb", closefd=not path.startswith("/proc/")) as file:
        file.write(content)
    return path


def _authority_files() -> Iterator[Path]:
    yield Path(certifi.where())
    paths = ssl.get_default_verify_paths()
    if paths.cafile and os.access(paths.cafile, os.R_OK):
        yield Path(paths.cafile)
    if paths.capath and os.path.isdir(paths.capath):
        for path in sorted(Path(paths.capath).iterdir()):
            if HASHED_NAME.fullmatch(path.name) and os.access(path, os.R_OK):
                yield path
