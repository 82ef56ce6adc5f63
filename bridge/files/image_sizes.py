"""Size of a picture as it is displayed, read from the beginning of its file: JPEG, PNG, GIF, WebP.

The thread reserves the place of a picture before it has loaded. Broken files have no size, and are shown all the same.
"""

from __future__ import annotations

import struct
from typing import IO

MAX_SIDE = 100_000  # larger ones are damaged files
MAX_SEGMENTS = 200  # of a JPEG before the one with its size
# Start-of-frame markers of JPEG. The others of this range define tables (C4, C8, CC).
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ALONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))  # without a length
EXIF, ORIENTATION_TAG = b"Exif\0\0", 0x0112
TURNED = range(5, 9)  # orientations that swap width and height

ImageSize = tuple[int, int]  # width and height


def read_image_size(file: IO[bytes]) -> ImageSize | None:
    """Return width and height, or None for a file that is no picture of these types. Keeps the file's position."""
    position = file.tell()
    try:
        file.seek(0)
        width, height = _read_size(file)
    except (struct.error, ValueError, OSError):
        return None
    finally:
        file.seek(position)
    return (width, height) if 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE else None


def _read_size(file: IO[bytes]) -> ImageSize:
    head = file.read(32)
    if head.startswith(b"\xff\xd8"):
        return _read_jpeg(file)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _unpack_pair(">II", head, 16)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _unpack_pair("<HH", head, 6)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _read_webp(head)
    raise ValueError("no picture")


def _read_webp(head: bytes) -> ImageSize:
    kind = head[12:16]
    if len(head) < (25 if kind == b"VP8L" else 30):
        raise ValueError("no picture")
    if kind == b"VP8X":  # two numbers of three bytes
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":  # two numbers of 14 bits
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":  # the upper two bits of each number are a scale
        width, height = _unpack_pair("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("unknown WebP")


def _read_jpeg(file: IO[bytes]) -> ImageSize:
    file.seek(2)
    is_turned = False
    for _segment in range(MAX_SEGMENTS):
        marker = _read_marker(file)
        if marker in ALONE_MARKERS:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if length < 2:
            raise ValueError("no segment")
        if marker in FRAME_MARKERS:
            height, width = _unpack_pair(">HH", file.read(5), 1)
            return (height, width) if is_turned else (width, height)
        if marker == 0xE1:
            is_turned = is_turned or _read_orientation(file.read(length - 2)) in TURNED
        else:
            file.seek(length - 2, 1)
    raise ValueError("no frame")


def _read_marker(file: IO[bytes]) -> int:
    """Return the code of the marker at the position. FF bytes may precede it."""
    byte = file.read(1)
    if byte != b"\xff":
        raise ValueError("no marker")
    for _filler in range(MAX_SEGMENTS):
        if (byte := file.read(1)) != b"\xff":
            return byte[0] if byte else -1
    raise ValueError("no marker")


def _read_orientation(segment: bytes) -> int:
    """Return the EXIF orientation of an APP1 segment; 1 (upright) if it has none."""
    if not segment.startswith(EXIF):
        return 1
    tiff = segment[len(EXIF) :]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, offset)
        for number in range(min(count, MAX_SEGMENTS)):
            tag, _kind, _values, value = struct.unpack_from(f"{order}HHIH", tiff, offset + 2 + 12 * number)
            if tag == ORIENTATION_TAG:
                return int(value)
    except struct.error:
        pass
    return 1


def _unpack_pair(layout: str, data: bytes, offset: int) -> ImageSize:
    first, second = struct.unpack_from(layout, data, offset)
    return int(first), int(second)
