"""Responses with a stored file: byte ranges, validators, and headers that keep a browser from executing it.

Nothing reads a file whole into memory. The content is sent after the view has returned, so a slow reader holds no slot
of the web process. Stored files never change, so their random names are their validators.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import IO, Any, Protocol

from django.db.models.fields.files import FieldFile
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header, parse_etags

from channels_setup.codecs.byte_ranges import ByteRange, RangeNotSatisfiable, parse_range

BLOCK_BYTES = 64 * 1024


class RangeReader(Protocol):
    """An open file. A storage whose files are far away offers one by its method ``open_ranges``."""

    size: int

    def read_range(self, start: int, end: int) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class DiskFile:
    """A file of a storage that can seek."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size

    def read_range(self, start: int, end: int) -> Iterator[bytes]:
        self.file.seek(start)
        while start < end and (block := self.file.read(min(BLOCK_BYTES, end - start))):
            start += len(block)
            yield block

    def close(self) -> None:
        self.file.close()


def open_ranges(file: FieldFile) -> RangeReader:
    """Open a stored file whose parts can be read. Raises FileNotFoundError or another OSError."""
    opener: Any = getattr(file.storage, "open_ranges", None)
    if opener is not None:
        reader: RangeReader = opener(str(file.name))
        return reader
    opened = file.storage.open(str(file.name), "rb")
    return DiskFile(opened, opened.size)


def build_file_response(
    request: HttpRequest, file: FieldFile, *, name: str, mime: str, is_inline: bool
) -> HttpResponseBase:
    """Serve the file or the requested range. Raises Http404 if it is missing; 503 if the storage does not answer."""
    try:
        response = _respond(request, file, mime=mime)
    except FileNotFoundError:
        raise Http404 from None
    except OSError:  # the disk or the bucket: the receiver may try again
        return build_retry_response()
    if response.status_code in (200, 206):
        disposition = content_disposition_header(not is_inline, name)
        if disposition:
            response["Content-Disposition"] = disposition
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def build_retry_response() -> HttpResponse:
    return HttpResponse(status=503, headers={"Retry-After": "10"})


def _respond(request: HttpRequest, file: FieldFile, *, mime: str) -> HttpResponseBase:
    etag = f'"{hashlib.sha256(str(file.name).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes"}
    if request.method in ("GET", "HEAD") and _matches(request.headers.get("If-None-Match", ""), etag):
        return HttpResponse(status=304, headers=headers)
    if request.method == "HEAD":
        headers["Content-Length"] = str(file.storage.size(str(file.name)))
        return HttpResponse(content_type=mime, headers=headers)
    requested = parse_range(request.headers.get("Range", ""))
    if request.headers.get("If-Range", etag) != etag:  # the receiver holds parts of something else
        requested = None
    reader = open_ranges(file)
    try:
        part = requested.resolve(reader.size) if requested else ByteRange(0, reader.size)
    except RangeNotSatisfiable:
        reader.close()
        return HttpResponse(status=416, headers=headers | {"Content-Range": f"bytes */{reader.size}"})
    if requested:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{reader.size}"
    headers["Content-Length"] = str(part.end - part.start)
    content = reader.read_range(part.start, part.end)
    response = StreamingHttpResponse(content, status=206 if requested else 200, content_type=mime, headers=headers)
    response._resource_closers.append(reader.close)  # type: ignore[attr-defined]  # as Django does for files
    return response


def _matches(header: str, etag: str) -> bool:
    tags = parse_etags(header) if header else []
    return "*" in tags or any(tag.removeprefix("W/") == etag for tag in tags)
