"""Desk and training phone in Chromium, with a real worker between them."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone, translation
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, expect

from bridge.desk.presentation import format_day
from bridge.models import Conversation, Delivery, Draft, Message, ServiceWindow, Ticket
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import boris
from tests.scenarios.sending import receive_text
from tests.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

SOON = 20_000  # milliseconds; two seconds on an idle machine


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return writes(channel, "Анна Соколова", "Где мой заказ?")


@pytest.fixture
def complaints(context: BrowserContext) -> Iterator[list[str]]:
    """Yield script and policy errors of the pages."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            found.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: found.append(str(error.error)))
    yield found
    assert found == []


@pytest.fixture
def desk(context: BrowserContext, page: Page, chat: Conversation, complaints: list[str]) -> Page:
    """Sign in as Boris."""
    sign_in(context, boris(chat.chat_channel))
    return page


def sign_in(context: BrowserContext, user: Any) -> None:
    client = Client()
    client.force_login(user)
    cookie = client.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": cookie, "domain": "localhost", "path": "/"}])
    context.add_cookies([{"name": "sessionid", "value": cookie, "domain": "127.0.0.1", "path": "/"}])
    context.add_cookies([{"name": "django_language", "value": "en", "domain": "localhost", "path": "/"}])
    context.add_cookies([{"name": "django_language", "value": "en", "domain": "127.0.0.1", "path": "/"}])


def writes(channel: ApiChannel, name: str, text: str) -> Conversation:
    return receive_text(channel, text, who=name, name=name).conversation


def answers(chat: Conversation, text: str, **status: Any) -> Message:
    message = reply_submission.submit_reply(conversation_id=chat.pk, text=text, author=boris()).message
    assert message
    Message.objects.filter(pk=message.pk).update(**status)
    return message


def end_windows_in(seconds: float) -> None:
    ServiceWindow.objects.update(
        opened_at=F("opened_at") - timedelta(hours=24), expires_at=timezone.now() + timedelta(seconds=seconds)
    )


def eventually(page: Page, holds: Callable[[], bool], *, within: float = 2 * SOON / 1000) -> None:
    """Wait for an effect of the page's requests, which continue only while Playwright waits for the page."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until
        page.wait_for_timeout(50)


def open_chat(page: Page, chat: Conversation) -> None:
    page.goto(f"/chats/{chat.pk}/")
    expect(page.locator("#messages")).to_be_visible()


def bubble(page: Page, text: str) -> Locator:
    return page.locator("#messages .bubble", has_text=text)


# --- both windows together -------------------------------------------------------------------------------


def test_from_the_phone_to_the_desk_and_back_with_ticks(
    context: BrowserContext, desk: Page, channel: ApiChannel, worker: Worker
) -> None:
    phone = context.new_page()
    phone.goto(channel.phone_page_path)
    desk.goto("/chats/")

    phone.fill("#words", "Добрый день! *Где* заказ?")
    phone.keyboard.press("Enter")
    row = desk.locator(".row", has_text="Добрый день!")
    expect(row).to_be_visible(timeout=2 * SOON)
    row.click()
    expect(bubble(desk, "Добрый день!").locator("strong")).to_have_text("Где")
    desk.fill("#text", "Уже едет")
    desk.keyboard.press("Control+Enter")

    expect(phone.locator(".bub.theirs", has_text="Уже едет")).to_be_visible(timeout=2 * SOON)
    expect(desk.locator("#text")).to_have_value("")
    phone.bring_to_front()
    phone.locator("#log").click()
    desk.bring_to_front()
    expect(bubble(desk, "Уже едет").locator(".ticks.read")).to_be_attached(timeout=3 * SOON)


def test_after_25_hours_the_desk_shows_the_window_closed(
    context: BrowserContext, desk: Page, channel: ApiChannel, worker: Worker
) -> None:
    phone = context.new_page()
    phone.goto(channel.phone_page_path)
    phone.fill("#words", "Здравствуйте")
    phone.keyboard.press("Enter")
    expect(phone.locator("#skip-time")).to_be_enabled(timeout=2 * SOON)
    desk.goto("/chats/")
    desk.locator(".row", has_text="Здравствуйте").click()
    expect(desk.locator(".thread-head .pill [data-words]")).to_have_text(re.compile(r"2[34]:\d\d:\d\d"))

    phone.locator("#skip-time").click()

    expect(desk.locator("#composer_notices")).to_contain_text("only an approved template can be sent", timeout=3 * SOON)
    expect(desk.locator("#chat_header .pill.closed")).to_be_visible()
    now = timezone.now()
    with translation.override("en"):  # during the first hour of a day, it is not yesterday
        expect(desk.locator("#messages .day")).to_have_text([format_day(now - timedelta(hours=25), now=now)])
    expect(phone.locator("#window")).to_contain_text("The window is closed")


# --- reading ---------------------------------------------------------------------------------------------


def test_new_messages_appear_without_a_reload(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    open_chat(desk, chat)
    desk.evaluate("window.mark = 'the same page'")

    writes(channel, "Анна Соколова", "Ау, вы тут?")

    expect(bubble(desk, "Ау, вы тут?")).to_be_visible(timeout=SOON)
    assert desk.evaluate("window.mark") == "the same page"
    eventually(desk, lambda: Conversation.objects.get(pk=chat.pk).unread == 0)
    expect(desk.locator(".row .badge")).to_have_count(0, timeout=2 * SOON)


def test_messages_of_a_hidden_page_are_read_when_it_is_visible_again(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    open_chat(desk, chat)
    hide = "state => Object.defineProperty(document, 'hidden', {get: () => state, configurable: true})"
    desk.evaluate(hide, True)
    writes(channel, "Анна Соколова", "Ау, вы тут?")
    expect(desk.locator(".row .badge")).to_have_text("1", timeout=3 * SOON)
    assert Conversation.objects.get(pk=chat.pk).unread == 1

    desk.evaluate(hide, False)
    desk.evaluate("document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))")

    eventually(desk, lambda: Conversation.objects.get(pk=chat.pk).unread == 0)


def test_the_reading_position_does_not_move(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    for number in range(40):
        answers(chat, f"Сообщение {number}", status=Message.Status.READ)
    open_chat(desk, chat)
    desk.locator("#scroll").evaluate("scroll => { scroll.scrollTop = 300 }")
    before = bubble(desk, "Сообщение 8").bounding_box()

    writes(channel, "Анна Соколова", "Новое внизу")

    expect(bubble(desk, "Новое внизу")).to_be_attached(timeout=SOON)
    assert bubble(desk, "Сообщение 8").bounding_box() == before
    desk.locator("#newer").click()
    expect(bubble(desk, "Новое внизу")).to_be_in_viewport()
    expect(desk.locator("#newer")).to_be_hidden()


def test_earlier_messages_load_above_the_reading_position(desk: Page, chat: Conversation) -> None:
    for number in range(70):
        answers(chat, f"Сообщение {number}.", status=Message.Status.READ)
    open_chat(desk, chat)
    shown = bubble(desk, "Сообщение 20.")

    # Scrolling loads them too, and then the button may go before a click of the mouse.
    before = shown.evaluate(
        "bubble => { document.getElementById('scroll').scrollTop = 0; document.getElementById('earlier').click();"
        " return bubble.getBoundingClientRect().top }"
    )

    expect(bubble(desk, "Где мой заказ?")).to_be_attached()
    after = shown.evaluate("bubble => bubble.getBoundingClientRect().top")
    assert abs(after - before) < 60  # the button itself is gone
    expect(desk.locator("#messages .day")).to_have_count(1)
    expect(desk.locator("#earlier")).to_be_hidden()
    answers(chat, "Последнее", status=Message.Status.READ)
    expect(bubble(desk, "Последнее")).to_be_attached(timeout=SOON)
    expect(bubble(desk, "Где мой заказ?")).to_be_attached()
    expect(desk.locator("#messages .day")).to_have_count(1)


def test_an_open_trail_follows_the_delivery(desk: Page, chat: Conversation) -> None:
    message = answers(chat, "Едет")
    open_chat(desk, chat)
    why = desk.locator(f"#trail-{message.pk}")

    desk.locator(".out [data-trail]").click()
    expect(why).to_contain_text("The window was open until")
    Message.objects.filter(pk=message.pk).update(status=Message.Status.DELIVERED, status_at=timezone.now())

    expect(why).to_contain_text("Delivered", timeout=2 * SOON)
    desk.locator(".out [data-trail]").click()
    expect(why).to_be_empty()


def test_older_chats_are_appended(desk: Page, channel: ApiChannel) -> None:
    for number in range(45):
        writes(channel, f"Клиент {number}", "?")
    desk.goto("/chats/")

    desk.locator("#rows").evaluate("rows => { rows.scrollTop = rows.scrollHeight }")

    expect(desk.locator(".row")).to_have_count(46)
    writes(channel, "Клиент 1", "Снова я")
    expect(desk.locator(".row", has_text="Снова я")).to_have_count(1, timeout=SOON)
    expect(desk.locator(".row")).to_have_count(46)
    expect(desk.locator("[data-more]")).to_have_count(0)


def test_search_filters_while_typing_and_tabs_keep_it(desk: Page, channel: ApiChannel) -> None:
    writes(channel, "Игорь Панин", "Счёт?")
    desk.goto("/chats/")
    desk.keyboard.press("/")
    desk.keyboard.type("панин")

    expect(desk.locator(".row")).to_have_count(1)
    expect(desk.locator("#search-chats")).to_be_focused()
    desk.locator(".tabs a", has_text="Mine").click()
    expect(desk.locator(".row")).to_have_count(0)
    expect(desk.locator("#search-chats")).to_have_value("панин")


# --- writing ---------------------------------------------------------------------------------------------


def test_a_draft_survives_a_reload_and_another_chat(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    other = writes(channel, "Игорь Панин", "Счёт?")
    open_chat(desk, chat)
    desk.fill("#text", "Ещё не дописа")

    desk.locator(f'.row[data-chat="{other.pk}"]').click()
    expect(desk.locator("#chat_header h2")).to_have_text("Игорь Панин")
    expect(desk.locator("#text")).to_have_value("")
    desk.locator(f'.row[data-chat="{chat.pk}"]').click()
    expect(desk.locator("#text")).to_have_value("Ещё не дописа")
    desk.reload()
    expect(desk.locator("#text")).to_have_value("Ещё не дописа")


def test_new_messages_do_not_change_the_composer(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    open_chat(desk, chat)
    desk.locator("#text").press_sequentially("Пишу, пи")

    writes(channel, "Анна Соколова", "Вы тут?")
    expect(bubble(desk, "Вы тут?")).to_be_visible(timeout=SOON)
    desk.keyboard.type("шу")

    expect(desk.locator("#text")).to_have_value("Пишу, пишу")


def test_a_refused_reply_says_why_at_once(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    open_chat(desk, chat)
    end_windows_in(-60)
    desk.fill("#text", "Опоздал")
    desk.get_by_role("button", name="Send", exact=True).click()

    expect(desk.locator("#refusal")).to_contain_text("The 24-hour window is closed")
    expect(desk.locator("#text")).to_have_value("Опоздал")
    assert Draft.objects.get(conversation=chat).text == "Опоздал"

    writes(channel, "Анна Соколова", "Вы тут?")  # opens the window
    expect(bubble(desk, "Вы тут?")).to_be_visible(timeout=SOON)
    expect(desk.locator("#refusal")).to_be_hidden()
    desk.fill("#text", "я" * 5000)
    desk.get_by_role("button", name="Send", exact=True).click()
    expect(desk.locator("#refusal")).to_contain_text("4,096")
    writes(channel, "Анна Соколова", "Ау")  # shortens nothing
    expect(bubble(desk, "Ау")).to_be_visible(timeout=SOON)
    expect(desk.locator("#refusal")).to_be_visible()
    desk.fill("#text", "Да")
    expect(desk.locator("#refusal")).to_be_hidden()


def test_an_open_page_shows_the_window_closing(desk: Page, chat: Conversation) -> None:
    end_windows_in(4)
    open_chat(desk, chat)
    expect(desk.locator(".thread-head .pill.critical [data-words]")).to_have_text(re.compile(r"0:00:0\d"))

    expect(desk.locator("#composer_notices")).to_contain_text("only an approved template", timeout=4_000 + 2 * SOON)
    expect(desk.locator("#chat_header .pill.closed")).to_be_visible()
    expect(desk.locator("#announcer")).to_contain_text("The window is closed")


def test_text_sent_too_late_returns_to_the_composer(desk: Page, chat: Conversation) -> None:
    message = answers(chat, "Не успело")
    open_chat(desk, chat)

    Draft.objects.create(conversation=chat, user=boris(), text="Не успело", reason="window_closed_before_sending")
    Message.objects.filter(pk=message.pk).update(status=Message.Status.FAILED, reason="window_closed_before_sending")

    expect(desk.locator("#text")).to_have_value("Не успело", timeout=2 * SOON)
    expect(desk.locator("#refusal")).to_contain_text("before the message could be sent")


def test_an_unreachable_portal_loses_no_text(desk: Page, chat: Conversation) -> None:
    open_chat(desk, chat)
    desk.route("**/chats/**", lambda route: route.abort())
    desk.fill("#text", "Держитесь")
    desk.keyboard.press("Control+Enter")
    unsent = desk.locator("#sending > li", has_text="Держитесь")
    expect(unsent).to_contain_text("Not sent: no connection to the server.")
    expect(desk.locator("#offline")).to_be_visible(timeout=15_000)

    desk.unroute("**/chats/**")
    expect(desk.locator("#offline")).to_be_hidden(timeout=20_000)

    expect(bubble(desk, "Держитесь")).to_be_visible(timeout=2 * SOON)


# --- actions ---------------------------------------------------------------------------------------------


def test_a_chat_is_assigned_and_its_request_closed_without_a_reload(desk: Page, chat: Conversation) -> None:
    open_chat(desk, chat)

    desk.locator(".head-actions summary").first.click()
    desk.get_by_role("button", name="boris (you)").click()
    expect(desk.locator(".head-actions summary").first).to_contain_text("boris", timeout=SOON)
    desk.get_by_role("button", name="Close the request").click()

    expect(desk.locator("#messages .activity").last).to_contain_text("closed", timeout=SOON)
    assert Ticket.objects.get().status == Ticket.Status.CLOSED
    desk.get_by_role("button", name="Reopen the request").click()
    expect(desk.get_by_role("button", name="Close the request")).to_be_visible(timeout=SOON)


def test_a_dead_message_can_be_resent(desk: Page, chat: Conversation) -> None:
    answers(chat, "Не ушло", status=Message.Status.FAILED, reason="retries_exhausted")
    Delivery.objects.update(state=Delivery.State.DEAD)
    open_chat(desk, chat)

    desk.get_by_role("button", name="Resend").click()

    expect(desk.locator(".bubble.failed")).to_have_count(0, timeout=SOON)
    assert Delivery.objects.get().state != Delivery.State.DEAD


def test_reading_and_replying_work_without_scripts(
    context: BrowserContext, desk: Page, chat: Conversation, live_server: object
) -> None:
    browser = context.browser
    assert browser
    plain = browser.new_context(base_url=str(live_server), java_script_enabled=False)
    sign_in(plain, boris())
    page = plain.new_page()
    page.goto("/chats/")
    page.locator(".row").first.click()
    page.fill("#text", "Без скриптов")
    page.get_by_role("button", name="Send", exact=True).click()

    expect(bubble(page, "Без скриптов")).to_be_visible()
    page.get_by_role("button", name="Close the request").click()
    expect(page.locator("#messages .activity").last).to_contain_text("closed")
    plain.close()


def test_the_dark_theme_is_stored_in_the_browser(desk: Page) -> None:
    desk.goto("/requests/")
    desk.locator(".rail details summary").click()
    desk.get_by_role("button", name="Dark").click()

    desk.goto("/chats/")

    assert desk.evaluate("document.documentElement.dataset.theme") == "dark"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert desk.evaluate(ground) == "rgb(20, 22, 21)"


def test_client_names_never_run_as_scripts(desk: Page, channel: ApiChannel) -> None:
    evil = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    chat = writes(channel, evil, f"{evil} https://example.com/{evil} ```{evil}```")
    open_chat(desk, chat)
    writes(channel, evil, f"*{evil}*")

    expect(desk.locator("#messages .msg")).to_have_count(2, timeout=SOON)
    desk.goto("/requests/")
    assert desk.evaluate("window.hacked") is None


# --- small screens, screen readers -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/chats/", "/chats/{chat}/", "/requests/", "{phone}", "/login/"])
@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_no_page_is_wider_than_its_window(
    desk: Page, chat: Conversation, channel: ApiChannel, path: str, width: int
) -> None:
    writes(channel, "Екатерина Воскресенская-Преображенская" * 3, "длинное" * 60)
    answers(chat, "https://example.com/" + "a" * 300)
    desk.set_viewport_size({"width": width, "height": 800})

    desk.goto(path.format(chat=chat.pk, phone=channel.phone_page_path))

    assert desk.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_one_pane_at_a_time(desk: Page, chat: Conversation) -> None:
    desk.set_viewport_size({"width": 390, "height": 800})
    desk.goto("/chats/")
    expect(desk.locator("#list")).to_be_visible()

    desk.locator(".row").first.click()
    expect(desk.locator("#messages")).to_be_visible()
    expect(desk.locator("#list")).to_be_hidden()
    desk.locator(".to-client").click()
    expect(desk.locator("#client")).to_be_visible()
    desk.locator(".close-client").click()
    expect(desk.locator("#client")).to_be_hidden()
    desk.locator(".back").click()
    expect(desk.locator("#list")).to_be_visible()


def test_every_control_has_an_accessible_name(
    desk: Page, chat: Conversation, channel: ApiChannel, worker: Worker
) -> None:
    nameless: Callable[[], list[str]] = lambda: desk.evaluate(  # noqa: E731  # used thrice below
        """() => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
            .filter((e) => e.type !== "hidden" && e.offsetParent && !(e.getAttribute("aria-label") || e.labels?.length
                    || e.textContent.trim() || e.querySelector("img[alt]")))
            .map((e) => e.outerHTML)"""
    )
    for path in ("/chats/", f"/chats/{chat.pk}/", "/requests/", channel.phone_page_path):
        desk.goto(path)
        assert nameless() == []
        assert desk.locator("main").count() == 1
        assert (
            desk.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size")
            == desk.locator("[id]").count()
        )
