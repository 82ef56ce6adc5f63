"""Sizes of pictures: read from the file when it arrives, and reserved in the thread before the picture has loaded."""

import io
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from bridge.desk.thread.message_view import fit_picture
from bridge.files import attachment_files, inbound_downloads, uploads
from bridge.files.image_sizes import read_image_size
from bridge.models import Attachment
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import boris
from tests.pages import page_html
from tests.scenarios.sending import client_writes


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, settings: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


def jpeg(*, orientation: int = 0, order: str = ">", filler: bytes = b"") -> bytes:
    """Return the beginning of a JPEG of 4000 × 3000 pixels."""
    exif = b""
    if orientation:
        mark = b"MM" if order == ">" else b"II"
        entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
        tiff = mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry
        exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    tables = b"\xff\xc4" + struct.pack(">H", 6) + b"\xff\xc0\0\0"  # looks like a frame, but is a table
    frame = b"\xff\xc2" + struct.pack(">HBHH", 17, 8, 3000, 4000)
    return b"\xff\xd8\xff\xe0\0\4ab" + exif + tables + filler + frame


PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480)
WEBP = b"RIFF\0\0\0\0WEBP"
LOSSY = WEBP + b"VP8 " + bytes(7) + b"\x9d\x01\x2a" + struct.pack("<HH", 800 | 1 << 14, 600)
LOSSLESS = WEBP + b"VP8L" + bytes(4) + b"\x2f" + struct.pack("<I", 799 | 599 << 14)
EXTENDED = WEBP + b"VP8X" + bytes(8) + (799).to_bytes(3, "little") + (599).to_bytes(3, "little")


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (jpeg(), (4000, 3000)),
        (jpeg(filler=b"\xff\xff"), (4000, 3000)),
        (jpeg(orientation=3), (4000, 3000)),
        (jpeg(orientation=6), (3000, 4000)),  # a phone held upright
        (jpeg(orientation=8, order="<"), (3000, 4000)),
        (PNG, (640, 480)),
        (b"GIF89a" + struct.pack("<HH", 320, 200), (320, 200)),
        (LOSSY, (800, 600)),
        (LOSSLESS, (800, 600)),
        (EXTENDED, (800, 600)),
        (b"", None),
        (b"%PDF-1.7", None),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"GIF89a" + struct.pack("<HH", 0, 200), None),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 2**31, 1), None),
        (b"\xff\xd8" + b"\xff" * 1000, None),
        (b"\xff\xd8\xff\xe0\0\0" * 300, None),
    ],
)
def test_the_size_is_read_from_the_file(content: bytes, size: tuple[int, int] | None) -> None:
    file = io.BytesIO(content)
    file.seek(3)

    assert read_image_size(file) == size
    assert file.tell() == 3


@pytest.mark.parametrize("content", [jpeg(orientation=6), PNG, LOSSY, LOSSLESS, EXTENDED])
def test_a_truncated_picture_has_no_size(content: bytes) -> None:
    assert [read_image_size(io.BytesIO(content[:end])) for end in range(20)] == [None] * 20


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((4000, 3000), (320, 240)),
        ((3000, 4000), (240, 320)),
        ((200, 100), (200, 100)),  # not enlarged
        ((5000, 1), (320, 1)),
        ((None, None), (None, None)),
    ],
)
def test_a_picture_fits_into_its_box(size: tuple[int | None, int | None], shown: tuple[int | None, int | None]) -> None:
    assert fit_picture(*size) == shown


@pytest.mark.django_db
def test_clients_pictures_keep_their_place_in_the_thread(desk: Client, channel: ApiChannel) -> None:
    message = client_writes(channel, "Анна", "Смотрите").messages.get()
    waiting = Attachment.objects.create(message=message, mime="image/jpeg", state="waiting", due_at=timezone.now())
    old = Attachment.objects.create(message=message, file="files/old.png", mime="image/png")
    (claimed,) = inbound_downloads._claim_attachments()
    content = jpeg(orientation=6)
    fetched = inbound_downloads.DownloadedFile(
        content=io.BytesIO(content),
        size=len(content),
        mime="image/jpeg",
        image_size=read_image_size(io.BytesIO(content)),
    )

    assert inbound_downloads._save_result(claimed, fetched)

    waiting.refresh_from_db()
    assert (waiting.width, waiting.height) == (3000, 4000)
    html = page_html(desk, f"/chats/{message.conversation_id}/")
    pictures = re.findall(r'<img src="/files/(\d+)/"[^>]*?(?: width="(\d+)" height="(\d+)")? loading', html)
    assert sorted(pictures) == sorted([(str(waiting.pk), "240", "320"), (str(old.pk), "", "")])


@pytest.mark.django_db
def test_operators_pictures_have_a_size(channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна", "Покажите")
    upload = uploads.save_upload(chat, SimpleUploadedFile("box.png", PNG), author=boris())
    sent = reply_submission._attach_upload(chat.messages.get(), upload)
    stored, *_rest = attachment_files.store_attachments(
        chat.messages.get(), [SimpleUploadedFile("box.gif", b"GIF89a" + struct.pack("<HH", 32, 20), "image/gif")]
    )
    bill = uploads.save_upload(chat, SimpleUploadedFile("bill.pdf", b"%PDF-1.7"), author=boris())

    assert (upload.width, upload.height) == (sent.width, sent.height) == (640, 480)
    assert (stored.width, stored.height) == (32, 20)
    assert bill.width is None
