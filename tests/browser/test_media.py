"""Files of messages in Chromium: players, lightbox, PDF, albums, uploads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from bridge.conversations import receiving
from bridge.desk.live import presence
from bridge.models import Attachment, Conversation, Message
from channels_setup.codecs.values import FileInfo
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from channels_setup.providers.sandbox import messenger as sandbox
from tests.browser.test_axe import findings
from tests.browser.test_desk import SOON, eventually, open_chat, sign_in
from tests.factories import boris
from tests.scenarios.sending import receive_text

pytestmark = pytest.mark.django_db(transaction=True)
MEDIA = Path(__file__).parent.parent / "media"
NAME = "Анна Соколова"


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


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
        resources, content = "<</Font<</F 3 0 R>>>>", 5 + 2 * number
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources{resources}/Contents {content} 0 R>>")
        objects.append(f"<</Length {len(text)}>>stream\n{text}\nendstream")
    parts, places = ["%PDF-1.4\n"], []
    for number, words in enumerate(objects, 1):
        places.append(sum(map(len, parts)))
        parts.append(f"{number} 0 obj{words}endobj\n")
    start = sum(map(len, parts))
    rows = "".join(f"{place:010} 00000 n \n" for place in places)
    parts.append(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{rows}")
    parts.append(f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n")
    return "".join(parts).encode("ascii")


def is_playing(page: Page, number: int = 0) -> bool:
    return bool(page.evaluate("n => document.querySelectorAll('voice-player')[n].isPlaying()", number))


def test_voice_messages_play_one_at_a_time_and_survive_redraws(desk: Page, channel: ApiChannel) -> None:
    first = receive_file(channel, "voice.ogg", "audio/ogg; codecs=opus")
    receive_file(channel, "voice.ogg", "audio/ogg; codecs=opus", text="И ещё")
    receive_file(channel, "voice.amr", "audio/amr", content=b"#!AMR\n" + bytes(60))
    other = receive_text(channel, "Добрый день", who="Пётр", name="Пётр").conversation
    open_chat(desk, chat_of(first))
    players = desk.locator("voice-player")
    start, slider = players.nth(0).locator("[data-play]"), players.nth(0).get_by_role("slider", name="Position")

    expect(players.nth(0).locator(".voice-time")).to_have_text("1:00", timeout=SOON)  # before it plays
    assert findings(desk) == []
    expect(players.nth(2)).to_contain_text("This browser can’t play AMR. Download the file to listen.")
    expect(players.nth(2).get_by_role("link")).to_have_attribute("href", f"/files/{first.pk + 2}/")
    start.focus()
    desk.keyboard.press("Enter")
    expect(start).to_have_accessible_name("Pause")
    slider.focus()
    desk.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^0:0[5-9] / 1:00$"))
    rate = players.nth(0).locator("[data-rate]")
    rate.click()
    expect(rate).to_contain_text("1.5×")

    desk.evaluate("document.querySelector('voice-player').isOld = true")
    Message.objects.filter(pk=first.message_id).update(reactions=[{"by": "client", "emoji": "👍"}])
    receive_text(channel, "Послушали?", who=NAME, name=NAME)
    expect(desk.locator("#messages .bubble", has_text="Послушали?")).to_be_visible(timeout=SOON)
    assert not desk.evaluate("document.querySelector('voice-player').isOld")
    assert is_playing(desk)
    players.nth(1).locator("[data-play]").click()
    expect(players.nth(1).locator("[data-play]")).to_have_accessible_name("Pause")
    expect(start).to_have_accessible_name("Play")
    expect(players.nth(1).locator("[data-rate]")).to_contain_text("1.5×")

    desk.evaluate("window.plays = () => document.querySelectorAll('voice-player.playing').length")
    desk.locator(f'.row[data-chat="{other.pk}"]').click()
    expect(desk.locator("#messages .bubble", has_text="Добрый день")).to_be_visible()
    desk.locator(f'.row[data-chat="{first.message.conversation_id}"]').click()
    expect(players).to_have_count(3)
    assert desk.evaluate("window.plays()") == 0, "the sound stopped with its chat"
    desk.reload()
    expect(players.nth(0).locator("[data-rate]")).to_contain_text("1.5×")


def test_the_lightbox_shows_albums_videos_and_pdfs_by_keyboard(desk: Page, channel: ApiChannel) -> None:
    receive_text(channel, "Смотрите", who=NAME, name=NAME)
    photos = [receive_file(channel, f"photo{number}.jpg", "image/jpeg") for number in (1, 2, 3, 1, 2, 3)]
    receive_file(channel, "photo2.jpg", "image/jpeg", text="С <подписью>")
    receive_file(channel, "clip.webm", "video/webm")
    bill = receive_file(channel, "счёт.pdf", "application/pdf", content=pdf(3))
    open_chat(desk, chat_of(photos[0]))
    tiles = desk.locator(".msg[data-album]:visible")
    expect(tiles).to_have_count(4)
    expect(desk.locator("[data-album-more]")).to_have_attribute("data-album-more", "+2")
    boxes = [tiles.nth(number).bounding_box() or {} for number in range(4)]
    assert boxes[0]["y"] == boxes[1]["y"] < boxes[2]["y"] == boxes[3]["y"] and boxes[0]["x"] < boxes[1]["x"]

    tiles.nth(0).locator("a.picture").focus()
    desk.keyboard.press("Enter")
    dialog = desk.get_by_role("dialog", name="photo1.jpg")
    expect(dialog).to_contain_text("1 of 9")
    assert findings(desk) == []
    expect(dialog.get_by_role("button", name="Previous")).to_be_disabled()
    for _ in range(6):
        desk.keyboard.press("ArrowRight")
    expect(desk.locator("#lightbox [data-caption]")).to_have_text("С <подписью>")
    desk.keyboard.press("+")
    expect(desk.locator("#lightbox img")).to_have_css("transform", "matrix(1.5, 0, 0, 1.5, 0, 0)")
    desk.keyboard.press("ArrowRight")
    expect(desk.locator("#lightbox video")).to_have_js_property("readyState", 4)
    desk.keyboard.press("End")
    expect(desk.locator("#lightbox .pdf-pages section")).to_have_count(3)
    expect(desk.get_by_label("Page 1 of 3")).to_contain_text("Bill page 1")
    for _ in range(8):
        desk.keyboard.press("Tab")
        assert desk.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('#lightbox')"
        )
    desk.keyboard.press("Escape")
    expect(desk.locator("#lightbox")).to_be_hidden()
    expect(desk.locator(f'[data-file="{bill.pk}"]')).to_be_focused()


def test_an_upload_has_a_thumbnail_a_new_name_and_a_second_try(
    desk: Page, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.Sandbox, "sends_files", True)
    chat = receive_text(channel, "Пришлите фото", who=NAME, name=NAME).conversation
    photo = {"name": "IMG_0001.jpg", "mimeType": "image/jpeg", "buffer": (MEDIA / "photo1.jpg").read_bytes()}
    open_chat(desk, chat)

    posted: list[str] = []
    desk.on("request", lambda request: posted.append(request.url) if request.url.endswith("/files/") else None)
    desk.locator("#composer").evaluate("form => { form.dataset.maxBytes = 10 }")
    desk.set_input_files("#composer input[type=file]", [photo])
    expect(desk.locator(".upload.failed")).to_contain_text("“IMG_0001.jpg” is too large. The limit is 25.0 MB.")
    expect(desk.get_by_role("button", name="Try again")).to_have_count(0)
    desk.locator(".upload.failed [data-cancel-upload]").click()
    assert posted == []
    desk.locator("#composer").evaluate("form => { form.dataset.maxBytes = 1e6 }")
    desk.route("**/files/", lambda route: route.abort())
    desk.set_input_files("#composer input[type=file]", [photo])
    expect(desk.locator(".upload.failed canvas")).to_be_visible(timeout=SOON)
    desk.unroute("**/files/")
    desk.get_by_role("button", name="Try again").click()
    expect(desk.locator("#uploads [data-upload] canvas")).to_be_visible(timeout=SOON)
    desk.get_by_role("button", name="Rename IMG_0001.jpg").click()
    desk.keyboard.type("Витрина")
    with desk.expect_response("**/rename/"):
        desk.keyboard.press("Enter")
    desk.reload()
    expect(desk.locator("#uploads [data-upload] b")).to_have_text("Витрина.jpg")
    expect(desk.locator("#uploads [data-upload] img.upload-thumbnail")).to_have_js_property("naturalWidth", 200)
    desk.get_by_role("button", name="Rename Витрина.jpg").click()
    desk.keyboard.type("Вход")
    desk.get_by_role("button", name="Send", exact=True).click()  # the reply waits for the new name

    expect(desk.locator("#messages a.picture")).to_have_attribute("data-name", "Вход.jpg", timeout=2 * SOON)


def test_a_long_thread_is_read_on_after_a_jump(desk: Page, channel: ApiChannel) -> None:
    """Jump to a quoted message, play what is there, and scroll both ways until the newest message."""
    start = timezone.now() - timedelta(days=9)
    contact = ContactInfo(external_id=NAME, name=NAME)
    facts = [
        MessageReceived(
            contact=contact,
            text=f"Сообщение {number}.",
            at=start + timedelta(hours=number),
            external_id=f"n{number}",
            quoted_id="n59" if number == 199 else "",
        )
        for number in range(200)
    ]

    def receive(some: list[MessageReceived]) -> None:
        chat_channel = channel.default_chat_channel
        assert chat_channel
        receiving.receive_messages(
            channel, [receiving.IncomingMessage(fact=one, chat_channel=chat_channel) for one in some]
        )

    receive(facts[:60])
    voice = receive_file(channel, "voice.ogg", "audio/ogg; codecs=opus")
    for name in ("photo1.jpg", "photo2.jpg", "photo3.jpg"):
        receive_file(channel, name, "image/jpeg")
    receive_file(channel, "clip.webm", "video/webm")
    receive(facts[60:])
    chat = chat_of(voice)
    open_chat(desk, chat)
    scroll, messages = desk.locator("#scroll"), desk.locator("#messages .msg")
    desk.locator("#messages .quoted").click()
    expect(desk.locator("#messages .bubble", has_text="Сообщение 59.")).to_be_in_viewport()
    expect(desk.locator("#messages")).to_have_attribute("data-not-newest", "")
    expect(desk.locator("#messages .msg[data-album]")).to_have_count(3)
    desk.locator("voice-player [data-play]").click()
    eventually(desk, lambda: is_playing(desk))

    # Up: earlier messages load above, and what is in view stays. Down: later ones load until the newest.
    count = messages.count()
    place = "() => Math.round(document.querySelector('voice-player').getBoundingClientRect().top)"
    desk.locator("voice-player").scroll_into_view_if_needed()
    before = desk.evaluate(place)
    desk.locator("#earlier").evaluate("link => link.click()")
    eventually(desk, lambda: messages.count() > count)
    assert abs(desk.evaluate(place) - before) < 60  # the button itself may go
    assert is_playing(desk)
    desk.route("**/*after=*", lambda route: route.abort())
    scroll.evaluate("scroll => { scroll.scrollTop = scroll.scrollHeight }")
    expect(desk.locator("#later")).to_contain_text("Not loaded. Try again")
    desk.unroute("**/*after=*")
    before = desk.evaluate(place)
    count = messages.count()
    desk.locator("#later").click()
    eventually(desk, lambda: messages.count() > count)
    assert abs(desk.evaluate(place) - before) < 60
    for _ in range(6):
        scroll.evaluate("scroll => { scroll.scrollTop = scroll.scrollHeight }")
        desk.wait_for_timeout(300)
    expect(desk.locator("#thread-end")).to_have_count(0)
    assert is_playing(desk)
    texts = desk.locator("#messages .msg .text").all_inner_texts()
    numbers = [int(found[1]) for text in texts if (found := re.search(r"Сообщение (\d+)", text))]
    assert numbers == list(range(numbers[0], 200))
    receive_text(channel, "Новое", who=NAME, name=NAME)
    expect(desk.locator("#messages .bubble", has_text="Новое")).to_be_attached(timeout=SOON)
