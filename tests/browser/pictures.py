"""Screenshots for the guides: `make pictures` takes them from the demo, in both languages.

Not collected by `make test`: the file's name does not begin with ``test_``.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Page

from bridge.inbox import processing
from bridge.maintenance.portal_checks import MAX_HEARTBEAT_AGE
from bridge.models import Conversation, Delivery, Heartbeat, Message
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel, ChannelState
from templates_registry.models import Template
from tests.factories import DeliveryFactory, MessageFactory, boris, vera

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER: Path = settings.BASE_DIR / "docs/images"
TEMPLATE_TEXT = "Здравствуйте, Олег! Ваш заказ № 4417 готов к выдаче."
SIZE = {"width": 1280, "height": 760}
MAX_BYTES = 120 * 1024
# A minimal system has no emoji font and would show an empty box.
WITHOUT_EMOJI = r"""() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        walker.currentNode.data = walker.currentNode.data.replace(/\s*\p{Extended_Pictographic}\uFE0F?/gu, "");
    }
}"""


# --- PNG with a palette ----------------------------------------------------------------------------------


def read_png(data: bytes) -> tuple[int, int, list[bytes]]:
    """Return width, height and the rows of RGB bytes of a Chromium screenshot (8 bits, RGB, not interlaced)."""
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    assert (depth, color, interlaced) == (8, 2, 0), "an unexpected PNG format"
    packed, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    raw, rows, above = zlib.decompress(packed), [], bytearray(width * 3)
    for number in range(height):
        start = number * (width * 3 + 1)
        above = _unfilter(raw[start], bytearray(raw[start + 1 : start + 1 + width * 3]), above)
        rows.append(bytes(above))
    return width, height, rows


def _unfilter(kind: int, row: bytearray, above: bytearray) -> bytearray:
    for at in range(len(row)) if kind else ():
        left, up, corner = (row[at - 3], above[at], above[at - 3]) if at > 2 else (0, above[at], 0)
        if kind == 4:
            guess = left + up - corner
            nearest = min((left, up, corner), key=lambda value: abs(guess - value))
        else:
            nearest = {1: left, 2: up, 3: (left + up) // 2}[kind]
        row[at] = (row[at] + nearest) & 255
    return row


def write_png(path: Path, width: int, height: int, rows: list[bytes]) -> None:
    """Write the rows with a palette of the 256 most frequent colors; other colors become the nearest of them."""
    pixels = [[row[at : at + 3] for at in range(0, width * 3, 3)] for row in rows]
    counted = Counter(pixel for row in pixels for pixel in row)
    palette = [color for color, _ in counted.most_common(256)]
    index = {color: number for number, color in enumerate(palette)}
    for color in counted:
        if color not in index:
            index[color] = min(
                range(len(palette)),
                key=lambda number: sum((a - b) ** 2 for a, b in zip(palette[number], color, strict=True)),
            )
    packed = zlib.compress(b"".join(b"\0" + bytes(map(index.__getitem__, row)) for row in pixels), 9)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(palette)),
        (b"IDAT", packed),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    )


# --- the scene -------------------------------------------------------------------------------------------


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ApiChannel:
    """Fill in the demo data, with workers that appear to be running."""
    passwords = dict.fromkeys(settings.DEMO_PASSWORDS, "a password of the demo")
    monkeypatch.setattr(settings, "DEMO_PASSWORDS", passwords)
    monkeypatch.setattr(settings, "RELAY_ALLOWED_PRIVATE_CIDRS", [])
    call_command("load_demo", verbosity=0)
    channel: ApiChannel = ApiChannel.objects.get()
    ApiChannel.objects.update(state=ChannelState.LIVE)
    for name in MAX_HEARTBEAT_AGE:
        Heartbeat.objects.update_or_create(name=name, defaults={"at": timezone.now() + timedelta(minutes=5)})
    return channel


@pytest.fixture
def dead_letters(demo: ApiChannel) -> None:
    for name, state, status, reason in (
        ("Анна Петрова", Delivery.State.DEAD, Message.Status.FAILED, "retries_exhausted"),
        ("Игорь Лебедев", Delivery.State.UNKNOWN, Message.Status.UNKNOWN, "outcome_unknown"),
    ):
        text = "Курьер приедет завтра с 10 до 14."
        message = MessageFactory(conversation=chat_of(name), outbound=True, status=status, text=text)
        DeliveryFactory(message=message, state=state, reason=reason, attempts=10)
    Delivery.objects.filter(state__in=(Delivery.State.DEAD, Delivery.State.UNKNOWN)).update(
        created_at=timezone.now() - timedelta(hours=3)
    )


def chat_of(name: str) -> Conversation:
    return Conversation.objects.get(contact__name=name)


@pytest.fixture(params=["en", "ru"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_page(
    browser: Browser, demo: ApiChannel, language: str, live_server: object
) -> Iterator[Callable[[Any], Page]]:
    """Return a function that opens an empty page for a user, in the light theme and the picture's language."""
    context = browser.new_context(
        base_url=str(live_server), locale=language, timezone_id="Europe/Moscow", viewport=SIZE, color_scheme="light"
    )
    context.set_default_timeout(30_000)

    def open_for(user: Any) -> Page:
        client = Client()
        client.force_login(user)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        cookies = {settings.SESSION_COOKIE_NAME: session, settings.LANGUAGE_COOKIE_NAME: language}
        context.add_cookies(
            [{"name": name, "value": value, "url": str(live_server)} for name, value in cookies.items()]
        )
        return context.new_page()

    yield open_for
    context.close()


@pytest.fixture
def take(language: str) -> Callable[..., None]:
    """Return a function that takes a screenshot of the top of a page."""

    def take_picture(page: Page, name: str, *, height: int = SIZE["height"]) -> None:
        page.wait_for_timeout(1_000)  # milliseconds; the network is never idle, because pages poll
        page.evaluate(WITHOUT_EMOJI)
        area = {"x": 0, "y": 0, "width": SIZE["width"], "height": height}
        path = FOLDER / f"{name}.{language}.png"
        write_png(path, *read_png(page.screenshot(animations="disabled", clip=area)))
        assert path.stat().st_size <= MAX_BYTES, path.name

    return take_picture


# --- the pictures ----------------------------------------------------------------------------------------


def test_desk(open_page: Callable[[Any], Page], take: Callable[..., None]) -> None:
    page = open_page(boris())
    page.goto(f"/chats/{chat_of('Анна Петрова').pk}/")

    take(page, "desk")


def test_template(open_page: Callable[[Any], Page], take: Callable[..., None]) -> None:
    page = open_page(boris())
    page.goto(f"/chats/{chat_of('Олег Кравцов').pk}/")
    page.locator("#text").fill(TEMPLATE_TEXT)
    page.locator("#template_panel .wa-bubble").wait_for()

    take(page, "template")


def test_requests(open_page: Callable[[Any], Page], take: Callable[..., None]) -> None:
    page = open_page(boris())
    page.goto("/requests/")
    for number in (0, 1):
        page.locator("[name=ticket]").nth(number).check()

    take(page, "requests", height=560)


def test_phone(open_page: Callable[[Any], Page], take: Callable[..., None], demo: ApiChannel) -> None:
    page = open_page(boris())
    page.goto(f"/phone/{demo.pk}/")
    page.locator("#words").fill("Здравствуйте! Заказ № 4417 уже собран?")
    page.keyboard.press("Enter")
    arrived = Message.objects.filter(text__contains="уже собран")
    while not arrived:  # the page posts with a delay
        processing.process_inbox()
        page.wait_for_timeout(200)
        arrived = arrived.all()
    chat = arrived[0].conversation
    reply_submission.submit_reply(conversation_id=chat.pk, text="Здравствуйте! Да, ждём вас до 21:00.", author=boris())
    dispatcher.send_due_deliveries()
    page.locator("#log").get_by_text("ждём вас").wait_for()

    take(page, "phone")


def test_channel_form(open_page: Callable[[Any], Page], take: Callable[..., None]) -> None:
    page = open_page(vera())
    page.goto("/admin/channels_setup/apichannel/add/?kind=acebot")

    take(page, "channel-form")


def test_templates(open_page: Callable[[Any], Page], take: Callable[..., None]) -> None:
    page = open_page(vera())
    page.goto(f"/admin/templates_registry/template/{Template.objects.order_by('pk')[0].pk}/change/")

    take(page, "templates")


@pytest.mark.usefixtures("dead_letters")
def test_start(open_page: Callable[[Any], Page], take: Callable[..., None]) -> None:
    page = open_page(vera())
    page.goto("/admin/")

    take(page, "start", height=520)


@pytest.mark.usefixtures("dead_letters")
def test_dead_letters(open_page: Callable[[Any], Page], take: Callable[..., None]) -> None:
    page = open_page(vera())
    page.goto("/admin/bridge/deadletter/")

    take(page, "dead-letters", height=600)
