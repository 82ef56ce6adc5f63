"""One chat in Chromium: two operators, sending once, files, quick replies, the client pane."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from bridge.conversations import tickets
from bridge.desk.live import presence
from bridge.models import CannedResponse, Conversation, Message, ServiceWindow, Ticket, Upload
from channels_setup.models import ApiChannel
from channels_setup.providers.sandbox import messenger as sandbox
from tests.browser.test_desk import SOON, bubble, end_windows_in, open_chat, sign_in, writes
from tests.factories import TemplateFactory, boris, vera

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return writes(channel, "Анна Соколова", "Где мой заказ?")


@pytest.fixture
def complaints(context: BrowserContext) -> Iterator[list[str]]:
    """Yield script and policy errors of the pages. The browser also logs intended refusals of the server."""
    found: list[str] = []
    context.on("weberror", lambda error: found.append(str(error.error)))
    context.on(
        "console",
        lambda message: (
            found.append(message.text)
            if message.type == "error" and "Failed to load resource" not in message.text
            else None
        ),
    )
    yield found
    assert found == []


@pytest.fixture
def desk(context: BrowserContext, page: Page, chat: Conversation, complaints: list[str]) -> Page:
    """Sign in as Boris."""
    presence.store.client.flushdb()
    sign_in(context, boris(chat.chat_channel))
    return page


def test_two_operators_in_one_chat_see_each_other_typing(
    desk: Page, chat: Conversation, context: BrowserContext, live_server: object
) -> None:
    assert context.browser
    elsewhere = context.browser.new_context(base_url=str(live_server))
    sign_in(elsewhere, vera())
    admin = elsewhere.new_page()
    open_chat(desk, chat)
    open_chat(admin, chat)
    expect(desk.locator("#presence")).to_have_text("vera has this chat open too.", timeout=2 * SOON)

    admin.locator("#text").press_sequentially("Здравствуйте, Анна")

    expect(desk.locator("#presence.writing")).to_have_text("vera is writing here.", timeout=SOON)
    admin.close()
    elsewhere.close()
    expect(desk.locator("#presence")).to_be_hidden(timeout=60_000)


def test_a_reply_with_a_lost_response_is_sent_once(desk: Page, chat: Conversation) -> None:
    open_chat(desk, chat)
    lost = []

    def lose(route: object) -> None:
        route.fetch()  # type: ignore[attr-defined]  # playwright's Route: the portal took the words
        lost.append(True)
        route.abort()  # type: ignore[attr-defined]  # and its answer never came

    desk.route("**/send/", lose, times=1)
    desk.fill("#text", "Уже едет")
    desk.keyboard.press("Control+Enter")

    expect(bubble(desk, "Уже едет")).to_have_count(1, timeout=SOON)
    expect(desk.locator("#sending > li")).to_have_count(0)
    expect(desk.locator("#text")).to_have_value("")
    assert lost and Message.objects.filter(text="Уже едет").count() == 1


def test_a_closed_window_offers_templates_and_keeps_the_text(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    TemplateFactory(api_channel=channel, name="news", body="Есть новости по вашему заказу.", examples=())
    end_windows_in(-60)
    open_chat(desk, chat)
    desk.fill("#text", "Своё")

    desk.locator(".offer", has_text="news").click()
    desk.get_by_role("button", name="Send as template").click()

    expect(bubble(desk, "Есть новости по вашему заказу.")).to_be_visible(timeout=2 * SOON)
    expect(desk.locator("#text")).to_have_value("Своё")
    assert ServiceWindow.objects.get().expires_at


# --- reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "most"), [(390, 4), (1024, 3)])
def test_a_closed_window_notice_is_short_and_offers_show_languages(
    desk: Page, chat: Conversation, channel: ApiChannel, width: int, most: int
) -> None:
    for language in ("ru", "en"):
        TemplateFactory(api_channel=channel, name="delivery_address_is_needed_again", language=language, body="Адрес?")
    end_windows_in(-60)
    desk.set_viewport_size({"width": width, "height": 800})
    open_chat(desk, chat)

    height = "box => box.getBoundingClientRect().height / parseFloat(getComputedStyle(box).lineHeight)"
    assert desk.locator("#composer_notices .notice > span").evaluate(height) < most + 0.5
    for language in desk.locator(".offer b > .faint").all():
        inside = "word => word.getBoundingClientRect().right <= word.closest('.offer').getBoundingClientRect().right"
        assert language.evaluate(inside)
    expect(desk.locator(".offer b > .faint")).to_have_text(["ru", "en"])  # the client writes Russian


def test_the_client_pane_by_keyboard_only(desk: Page, chat: Conversation) -> None:
    open_chat(desk, chat)
    desk.locator("#add-tag").focus()

    for word in ("опт", "ВИП"):
        desk.keyboard.press("Enter")
        expect(desk.get_by_label("New tag")).to_be_focused()
        desk.keyboard.type(word)
        desk.keyboard.press("Enter")
        expect(desk.locator(".tags .chip span", has_text=word)).to_be_visible(timeout=2 * SOON)
        expect(desk.locator("#add-tag")).to_be_focused()

    desk.locator("#add-note").focus()
    desk.keyboard.press("Enter")
    expect(desk.locator("#add-note ~ form [name=note]")).to_be_focused()
    desk.keyboard.type("Звонить после шести")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator(".note-of", has_text="Звонить после шести")).to_be_visible(timeout=2 * SOON)
    expect(desk.locator("#add-note")).to_be_focused()


def test_an_earlier_request_is_folded_and_opens_by_the_keyboard(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED)
    writes(channel, "Анна Соколова", "Новый вопрос")
    open_chat(desk, chat)
    expect(bubble(desk, "Где мой заказ?")).to_be_hidden()

    desk.locator("[data-fold]").focus()
    desk.keyboard.press("Enter")
    expect(bubble(desk, "Где мой заказ?")).to_be_visible()

    writes(channel, "Анна Соколова", "Ау!")
    expect(bubble(desk, "Ау!")).to_be_visible(timeout=SOON)
    expect(bubble(desk, "Где мой заказ?")).to_be_visible()
    desk.locator("[data-fold]").click()
    expect(bubble(desk, "Где мой заказ?")).to_be_hidden()


def test_a_chat_opens_at_the_requested_message(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED)
    for number in range(30):
        writes(channel, "Анна Соколова", f"Вопрос {number}.")

    desk.goto(f"/chats/{chat.pk}/?at=r{Ticket.objects.earliest('pk').pk}")

    expect(bubble(desk, "Где мой заказ?")).to_be_in_viewport()
    expect(desk.locator("[data-fold]")).to_have_attribute("aria-expanded", "true")


def test_the_trail_of_an_inbound_message_shows_its_steps(desk: Page, chat: Conversation) -> None:
    open_chat(desk, chat)

    desk.locator("[data-trail]").click()

    expect(desk.locator(".trail .path li")).to_have_text(["received", "stored", "window"])
    expect(desk.locator(".trail")).to_contain_text("The message opened the window until tomorrow")


# --- files -----------------------------------------------------------------------------------------------


PDF = {"name": "счёт.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 bill"}


def drop(page: Page, name: str, content: str) -> None:
    """Drop a file on the chat."""
    page.evaluate(
        """([name, content]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([content], name));
            for (const type of ["dragover", "drop"])
                document.querySelector("#scroll").dispatchEvent(
                    new DragEvent(type, { dataTransfer: carried, bubbles: true, cancelable: true }));
        }""",
        [name, content],
    )


def test_a_dropped_file_becomes_a_link_to_its_download_page(
    desk: Page, chat: Conversation, context: BrowserContext, tmp_path: Path, settings: Any, live_server: Any
) -> None:
    settings.MEDIA_ROOT, settings.PUBLIC_URL = tmp_path, live_server.url
    open_chat(desk, chat)
    desk.fill("#text", "Вот:")

    drop(desk, "план.pdf", "%PDF-1.7 plan")

    expect(desk.locator("#text")).to_have_value(re.compile(r"^Вот:\nплан\.pdf: http\S+/shared/\S+/$"), timeout=SOON)
    desk.keyboard.press("Control+Enter")
    link = bubble(desk, "Вот:").get_by_role("link").filter(has_text="/shared/")
    expect(link).to_be_visible(timeout=2 * SOON)
    page = context.new_page()
    page.goto(str(link.get_attribute("href")))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "план.pdf"
    assert Upload.objects.get().downloads == 1


def test_a_refused_file_shows_the_reason_and_can_be_removed(
    desk: Page, chat: Conversation, tmp_path: Path, settings: Any
) -> None:
    settings.MEDIA_ROOT = tmp_path
    open_chat(desk, chat)

    drop(desk, "virus.exe", "MZ")

    expect(desk.locator(".upload.failed")).to_contain_text("cannot be sent", timeout=SOON)
    desk.get_by_role("button", name="Remove the file").click()
    expect(desk.locator(".upload")).to_have_count(0)


def test_files_to_send_stay_in_the_composer_after_a_reload(
    desk: Page, chat: Conversation, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(sandbox.Sandbox, "sends_files", True)
    open_chat(desk, chat)
    desk.set_input_files("#composer input[type=file]", [PDF, PDF | {"name": "второй.pdf"}])
    expect(desk.locator("#uploads [data-upload]")).to_have_count(2, timeout=2 * SOON)

    with desk.expect_response("**/delete/"):
        desk.get_by_role("button", name="Remove второй.pdf").click()
    desk.reload()
    expect(desk.locator("#uploads [data-upload]")).to_have_count(1)
    desk.get_by_role("button", name="Send", exact=True).click()

    expect(desk.locator("#messages .file", has_text="счёт.pdf")).to_be_visible(timeout=2 * SOON)
    expect(desk.locator("#uploads [data-upload]")).to_have_count(0)
    assert Message.objects.latest("pk").kind == Message.Kind.FILE


# --- a reply to one message ------------------------------------------------------------------------------------


def test_a_reply_quotes_the_chosen_message_and_escape_clears_it(desk: Page, chat: Conversation) -> None:
    Message.objects.filter(conversation=chat).update(external_id="m-1")
    asked = Message.objects.get(conversation=chat)
    open_chat(desk, chat)
    reply = desk.get_by_role("link", name="Reply to this message")

    reply.focus()
    desk.keyboard.press("Enter")
    expect(desk.locator("#replying .quoted")).to_have_text("Анна СоколоваГде мой заказ?")
    expect(desk.locator("#text")).to_be_focused()
    desk.keyboard.press("Escape")
    expect(desk.locator("#replying")).to_be_hidden()

    bubble(desk, "Где мой заказ?").hover()
    reply.click()
    desk.keyboard.type("В пути")
    desk.keyboard.press("Control+Enter")

    expect(bubble(desk, "В пути").locator(".quoted")).to_have_text("Анна СоколоваГде мой заказ?", timeout=2 * SOON)
    expect(desk.locator("#replying")).to_be_hidden()
    assert Message.objects.get(text="В пути").quoted == asked


# --- quick replies ---------------------------------------------------------------------------------------


def test_a_quick_reply_by_keyboard_only(desk: Page, chat: Conversation) -> None:
    CannedResponse.objects.create(name="адрес", text="{имя}, мы на Лиговском, 50.")
    CannedResponse.objects.create(name="часы", text="Работаем с 9 до 21.")
    open_chat(desk, chat)
    desk.locator("#text").focus()

    desk.keyboard.press("/")
    expect(desk.locator("[data-find]")).to_be_focused()
    desk.keyboard.type("лигов")
    expect(desk.locator(".tp-pick")).to_have_count(1, timeout=SOON)
    desk.keyboard.press("Enter")

    expect(desk.locator("#text")).to_have_value("Анна, мы на Лиговском, 50.")
    expect(desk.locator("#text")).to_be_focused()
    desk.keyboard.type(" 1/2")
    expect(desk.locator("#text")).to_have_value("Анна, мы на Лиговском, 50. 1/2")
    desk.keyboard.press("Shift+Enter")
    desk.keyboard.press("/")
    expect(desk.locator("[data-find]")).to_be_focused()
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Enter")
    expect(desk.locator("#text")).to_have_value("Анна, мы на Лиговском, 50. 1/2\nРаботаем с 9 до 21.")


def test_hidden_text_for_screen_readers_does_not_lengthen_the_page(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    """Otherwise a jump to an earlier message scrolls the page's header out of view."""
    for number in range(24):
        writes(channel, f"Клиент {number}", "Сапоги ещё есть?")

    open_chat(desk, chat)

    expect(desk.locator("a.row")).to_have_count(25)
    assert desk.evaluate("document.documentElement.scrollHeight <= innerHeight")
