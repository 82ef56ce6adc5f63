"""What makes the desk quick in Chromium: keys that send, an offline queue, chats that open at once, kept positions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from bridge.models import Conversation, Draft, Message, Ticket
from channels_setup.models import ApiChannel
from tests.browser.holding import Held
from tests.browser.test_desk import SOON, bubble, eventually, open_chat, sign_in, writes
from tests.factories import boris

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ["Анна Соколова", "Борис Ким", "Вера Лис"]
FETCHED = """() => performance.getEntriesByType("resource")
    .map(({ name }) => Number(name.match(/chats[/](\\d+)[/]$/)?.[1]))"""
PICK = """(picker, day) => {
    picker.value = day;
    picker.dispatchEvent(new Event("change", { bubbles: true }));
}"""
COMPOSED_ENTER = """box => box.dispatchEvent(
    new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true, cancelable: true }))"""
TOP = "() => document.getElementById('scroll').scrollTop"


@pytest.fixture
def chats(channel: ApiChannel) -> list[Conversation]:
    return [writes(channel, name, f"Это {name}") for name in NAMES]


@pytest.fixture
def desk(context: BrowserContext, page: Page, chats: list[Conversation]) -> Iterator[Page]:
    """Sign in as Boris and open the first chat."""
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    sign_in(context, boris(chats[0].chat_channel))
    open_chat(page, chats[0])
    yield page
    assert errors == []


def sent() -> list[str]:
    return list(Message.objects.filter(direction="outbound").order_by("pk").values_list("text", flat=True))


def row(chat: Conversation) -> str:
    return f'.row[data-chat="{chat.pk}"]'


def expect_open(page: Page, chat: Conversation) -> None:
    expect(page.locator("#chat_header h2")).to_have_text(chat.contact.name)
    expect(page.locator("#composer [name=for_chat]")).to_have_value(str(chat.pk))


def test_enter_sends_unless_the_operator_wants_a_new_line(desk: Page, chats: list[Conversation]) -> None:
    text = desk.locator("#text")
    expect(desk.locator(".send-key")).to_have_text("Enter")
    text.press("Enter")
    expect(desk.locator("#refusal")).to_be_hidden()
    desk.keyboard.type("Раз")
    desk.keyboard.press("Shift+Enter")
    desk.keyboard.type("два")
    text.evaluate(COMPOSED_ENTER)
    expect(text).to_have_value("Раз\nдва")
    desk.keyboard.press("Enter")
    expect(bubble(desk, "два")).to_be_visible()
    expect(text).to_have_value("")

    desk.goto("/desk/settings/")
    desk.locator("[name=enter_sends]").uncheck()
    with desk.expect_navigation():
        desk.locator("form:has([name=enter_sends]) button.main").click()
    expect(desk.locator("[name=enter_sends]")).not_to_be_checked()
    open_chat(desk, chats[0])
    expect(desk.locator(".send-key")).to_have_text("Ctrl Enter")
    text.focus()
    desk.keyboard.type("т")
    desk.keyboard.press("Enter")
    desk.keyboard.type("ри")
    expect(text).to_have_value("т\nри")
    desk.keyboard.press("Control+Enter")

    expect(bubble(desk, "ри")).to_be_visible()
    assert sent() == ["Раз\nдва", "т\nри"]


def test_messages_written_offline_are_sent_in_order_later(desk: Page, chats: list[Conversation]) -> None:
    desk.context.set_offline(True)
    for text in ("Первое", "Второе", "Третье"):
        desk.fill("#text", text)
        desk.keyboard.press("Enter")
    waiting = desk.locator("#sending > li")
    expect(waiting).to_have_count(3)
    expect(waiting.first).to_contain_text("It will be sent when the connection is back.")
    desk.locator(row(chats[1])).focus()

    desk.context.set_offline(False)

    expect(desk.locator("#messages .msg.out .text")).to_have_text(["Первое", "Второе", "Третье"], timeout=2 * SOON)
    expect(waiting).to_have_count(0)
    assert sent() == ["Первое", "Второе", "Третье"]


def test_visited_and_likely_chats_open_at_once(desk: Page, chats: list[Conversation]) -> None:
    anna, kim, lis = chats
    desk.fill("#text", "Анне")
    desk.locator(row(kim)).hover()
    eventually(desk, lambda: desk.evaluate(FETCHED).count(kim.pk) == 1)
    kim.refresh_from_db()
    assert kim.unread == 1
    held = [Held(desk, f"**/chats/{chat.pk}/") for chat in (anna, kim)]

    desk.locator(row(kim)).click()
    expect_open(desk, kim)
    expect(desk.locator(".unread-line")).to_have_text("1 new message")
    expect(desk.locator(f"{row(anna)} .draft")).to_have_text("Draft: Анне")
    eventually(desk, lambda: not Conversation.objects.get(pk=kim.pk).unread)
    desk.keyboard.type("Киму")
    desk.keyboard.press("Enter")
    expect(bubble(desk, "Киму")).to_be_visible()
    expect(desk.locator(".unread-line")).to_have_count(0)
    desk.go_back()
    expect_open(desk, anna)
    expect(desk.locator("#text")).to_have_value("Анне")
    desk.locator("#text").press("Enter")
    expect(bubble(desk, "Анне")).to_be_visible()
    desk.go_forward()
    expect_open(desk, kim)
    expect(bubble(desk, "Киму")).to_be_visible()
    expect(desk.locator("#text")).to_have_value("")

    assert [len(one.routes) for one in held] == [0, 0]
    assert {message.text: message.conversation_id for message in Message.objects.filter(direction="outbound")} == {
        "Киму": kim.pk,
        "Анне": anna.pk,
    }
    assert not Draft.objects.exists()
    assert Conversation.objects.get(pk=lis.pk).unread == 1


def test_a_thread_loads_as_one_scrolls_and_keeps_its_place(desk: Page, chats: list[Conversation]) -> None:
    anna, kim, _lis = chats
    now = timezone.now()
    Message.objects.filter(conversation=anna).update(created_at=now - timedelta(days=13))
    for number in range(120):
        message = Message.objects.create(
            conversation=anna, api_channel=anna.api_channel, direction="inbound", text=f"Строка {number}\n" * 3
        )
        Message.objects.filter(pk=message.pk).update(created_at=now - timedelta(days=(120 - number) // 10))
    open_chat(desk, anna)
    items = desk.locator("#messages > .msg")
    expect(items).to_have_count(50)
    expect(desk.locator("#day-button")).to_contain_text("today")

    desk.locator("#scroll").hover()
    for _ in range(200):
        desk.mouse.wheel(0, -700)
        desk.wait_for_timeout(20)
        if items.count() > 100:
            break
    expect(items).to_have_count(121)
    top = desk.evaluate(TOP)
    desk.locator(row(kim)).click()
    expect_open(desk, kim)
    desk.go_back()
    expect_open(desk, anna)
    expect(items).to_have_count(121)
    assert abs(desk.evaluate(TOP) - top) < 5

    day = timezone.localdate() - timedelta(days=5)
    desk.locator("#day-picker").evaluate(PICK, str(day))
    expect(desk.locator(f"#messages .day[data-key^='day-{day}']")).to_be_in_viewport()
    early = timezone.localdate() - timedelta(days=9)
    desk.reload()
    desk.locator("#day-picker").evaluate(PICK, str(early))
    expect(desk.locator(f"#messages .day[data-key^='day-{early}']")).to_be_in_viewport()


def test_requests_refresh_without_losing_selection_or_focus(
    desk: Page, chats: list[Conversation], channel: ApiChannel
) -> None:
    desk.goto("/requests/")
    expect(desk.locator("#rail-count")).to_have_text("3")
    ticket = Ticket.objects.get(conversation=chats[1])
    box = desk.locator(f'[name=ticket][value="{ticket.pk}"]')
    box.check()
    box.focus()

    Ticket.objects.filter(pk=ticket.pk).update(subject="Новая тема")
    writes(channel, "Глеб Цой", "Добрый день")

    expect(desk.locator("#rail-count")).to_have_text("4", timeout=2 * SOON)
    expect(desk.locator("table.requests")).to_contain_text("Новая тема", timeout=4 * SOON)
    expect(desk.locator("table.requests tbody tr")).to_have_count(4)
    expect(box).to_be_checked()
    expect(box).to_be_focused()
    expect(desk.locator("#chosen")).to_have_text("1")
