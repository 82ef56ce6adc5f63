"""Files of messages in Chromium: players, lightbox, PDF, albums, uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from playwright.sync_api import BrowserContext, Page, expect

from bridge.desk.live import presence
from bridge.models import Attachment, Conversation, Message
from channels_setup.codecs.values import FileInfo
from channels_setup.models import ApiChannel
from tests.browser.test_desk import SOON, open_chat, sign_in
from tests.factories import ApiChannelFactory, boris
from tests.scenarios.sending import receive_text

pytestmark = pytest.mark.django_db(transaction=True)
MEDIA = Path(__file__).parent.parent / "media"
NAME = "Анна Соколова"


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="Магазин")


@pytest.fixture
def complaints(context: BrowserContext) -> Iterator[list[str]]:
    """Yield script errors of the pages."""
    found: list[str] = []
    context.on("weberror", lambda error: found.append(str(error.error)))
    yield found
    assert found == []


@pytest.fixture
def desk(context: BrowserContext, page: Page, channel: ApiChannel, complaints: list[str]) -> Page:
    """Sign in as Boris."""
    presence.store.client.flushdb()
    assert channel.default_chat_channel
    sign_in(context, boris(channel.default_chat_channel))
    return page


def receive_file(
    channel: ApiChannel, name: str, mime: str, *, text: str = "", content: bytes | None = None, who: str = NAME
) -> Attachment:
    """Receive a message with a file that is already stored."""
    files = [FileInfo(url="https://example.com/file", name=name, mime=mime)]
    message = receive_text(channel, text, who=who, name=who, files=files).message
    assert message
    attachment = message.attachments.get()
    data = (MEDIA / name).read_bytes() if content is None else content
    attachment.size = len(data)
    attachment.file.save(name, ContentFile(data))
    return attachment


def chat_of(attachment: Attachment) -> Conversation:
    return attachment.message.conversation


def pdf(pages: int) -> bytes:
    """Return a PDF with one line of text on each page."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(pages))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {pages}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number in range(pages):
        text = f"BT /F 36 Tf 60 700 Td (Bill page {number + 1}) Tj ET"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F 3 0 R>>>>/Contents {5 + 2 * number} 0 R>>"
        )
        objects.append(f"<</Length {len(text)}>>stream\n{text}\nendstream")
    parts, places = ["%PDF-1.4\n"], []
    for number, content in enumerate(objects, 1):
        places.append(sum(map(len, parts)))
        parts.append(f"{number} 0 obj{content}endobj\n")
    start = sum(map(len, parts))
    rows = "".join(f"{place:010} 00000 n \n" for place in places)
    parts.append(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{rows}")
    parts.append(f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n")
    return "".join(parts).encode("ascii")
