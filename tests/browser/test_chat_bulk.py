"""Row menu, pins, unread marks and bulk actions of the chat list in Chromium: by mouse, by keyboard and by touch."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from bridge.conversations import tickets
from bridge.desk.bulk import changes
from bridge.models import ChatPin, Conversation, Ticket
from channels_setup.models import ApiChannel
from tests.browser.test_desk import complaints, open_chat, sign_in, writes  # noqa: F401
from tests.factories import boris, operator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("complaints")]
NAMES = ["Анна Соколова", "Борис Ким", "Вера Лис", "Глеб Орлов", "Дина Юн"]


@pytest.fixture
def chats(channel: ApiChannel) -> list[Conversation]:
    return [writes(channel, name, f"Это {name}") for name in NAMES]


def row(page: Page, chat: Conversation) -> Locator:
    return page.locator(f'#rows a.row[data-chat="{chat.pk}"]')


def item(page: Page, chat: Conversation) -> Locator:
    return page.locator(f'#rows > li[data-key="chat-{chat.pk}"]')


def assignees() -> set[int | None]:
    return set(Conversation.objects.values_list("assignee", flat=True))


def test_rows_are_marked_pinned_and_changed_by_mouse(
    context: BrowserContext,
    page: Page,
    chats: list[Conversation],
    channel: ApiChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "PART", 3)  # two requests for more chats, with one result
    sign_in(context, boris(channel.default_chat_channel))
    olga = operator("olga", channel.default_chat_channel)
    other = context.new_page()
    other.goto("/chats/")
    open_chat(page, chats[0])
    expect(row(page, chats[0])).not_to_have_class(re.compile("unread"))
    menu, toast = page.locator("#row-menu"), page.locator("#toast-bulk")

    # Mark the open chat as unread: it stays so here and in the other tab, until it is opened again.
    item(page, chats[0]).hover()
    item(page, chats[0]).locator(".row-more").click()
    menu.get_by_role("button", name="Mark as unread").click()
    expect(menu).to_be_hidden()
    expect(toast).to_contain_text("1 chat marked as unread.")
    expect(row(page, chats[0]).locator(".badge")).to_have_text("1")
    expect(row(other, chats[0]).locator(".badge")).to_have_text("1")
    toast.get_by_role("button", name="Undo").click()
    expect(row(page, chats[0]).locator(".badge")).to_have_count(0)
    page.locator("#request-more").click()
    page.locator("#chat_header").get_by_role("button", name="Mark as unread").click()
    expect(row(page, chats[0]).locator(".badge")).to_have_text("1")
    writes(channel, NAMES[0], "Ещё")
    expect(row(page, chats[0]).locator(".badge")).to_have_text("2")
    row(page, chats[0]).click()
    expect(row(page, chats[0]).locator(".badge")).to_have_count(0)

    # Pin: the row moves to the top, in the other tab too.
    item(page, chats[4]).hover()
    item(page, chats[4]).locator(".row-more").click()
    menu.get_by_role("button", name="Pin").click()
    expect(page.locator("#rows .group").first).to_contain_text("Pinned")
    expect(page.locator("#rows a.row").first).to_have_attribute("data-chat", str(chats[4].pk))
    expect(other.locator("#rows a.row").first).to_have_attribute("data-chat", str(chats[4].pk))
    expect(row(page, chats[4]).locator(".pinned")).to_be_visible()

    # Select with the boxes and Shift; a redraw keeps the selection, and a chat that a colleague took stays theirs.
    item(page, chats[0]).hover()
    item(page, chats[0]).locator(".pick").click()
    item(page, chats[3]).locator(".pick").click(modifiers=["Shift"])
    bar = page.locator("#chat-bulk")
    expect(bar).to_contain_text("Selected: 4")
    writes(channel, NAMES[1], "Ещё раз")
    expect(row(page, chats[1]).locator(".badge")).to_have_text("2")
    expect(item(page, chats[1]).locator("input")).to_be_checked()
    expect(page.locator("#rows li.picked")).to_have_count(4)
    bar.locator("summary", has_text="Assign to…").click()
    bar.get_by_role("button", name=re.compile("olga", re.IGNORECASE)).click()
    expect(toast).to_contain_text("4 chats assigned.")
    expect(bar).to_be_hidden()
    assert assignees() == {olga.pk, None}
    toast.get_by_role("button", name="Undo").click()
    expect(toast).to_contain_text("4 chats restored.")
    assert assignees() == {None}

    # All loaded ones, from "Needs reply": closed chats leave the tab; another tab clears the selection.
    page.locator("#tab-waiting").click()
    expect(page.locator("#tab-waiting")).to_have_attribute("aria-current", "true")
    item(page, chats[2]).hover()
    item(page, chats[2]).locator(".pick").click()
    bar.locator("[data-pick-all]").check()
    expect(bar).to_contain_text("Selected: 5")
    tickets.set_ticket_status(Ticket.objects.get(conversation=chats[3]).pk, status=Ticket.Status.CLOSED)
    expect(bar).to_contain_text("(1 not shown)")
    bar.get_by_role("button", name="Close the requests").click()
    expect(toast).to_contain_text("4 requests closed. 1 was already closed.")
    expect(page.locator("#rows a.row")).to_have_count(0)
    toast.get_by_role("button", name="Undo").click()
    expect(page.locator("#rows a.row")).to_have_count(4)
    item(page, chats[2]).hover()
    item(page, chats[2]).locator(".pick").click()
    page.locator("#tab-all").click()
    expect(bar).to_be_hidden()

    # A failed request says so, and keeps the selection.
    expect(page.locator("#tab-all")).to_have_attribute("aria-current", "true")
    item(page, chats[2]).hover()
    item(page, chats[2]).locator(".pick").click()
    page.route("**/chats/bulk/*", lambda route: route.abort())
    page.route("**/chats/bulk/", lambda route: route.abort())
    bar.get_by_role("button", name="Close the requests").click()
    expect(toast).to_contain_text("No answer from the server")
    expect(bar).to_contain_text("Selected: 1")


def test_rows_are_marked_pinned_and_changed_by_keyboard(
    context: BrowserContext, page: Page, chats: list[Conversation], channel: ApiChannel
) -> None:
    sign_in(context, boris(channel.default_chat_channel))
    page.goto("/chats/")
    menu, toast, bar = page.locator("#row-menu"), page.locator("#toast-bulk"), page.locator("#chat-bulk")
    row(page, chats[1]).focus()

    # The menu by its key: arrows, Escape, and the focus returns to the row.
    page.keyboard.press("ContextMenu")
    expect(menu.get_by_role("link", name="Open in a new tab")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(menu.get_by_role("button", name="Select")).to_be_focused()
    shown = page.locator("#list").get_attribute("data-version") or ""
    writes(channel, NAMES[0], "Ещё")
    expect(page.locator("#list")).not_to_have_attribute("data-version", shown)
    expect(row(page, chats[0]).locator(".badge")).to_have_text("1")  # the rows wait until the menu closes
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(row(page, chats[0]).locator(".badge")).to_have_text("2")
    expect(row(page, chats[1])).to_be_focused()
    page.keyboard.press("Tab")
    expect(item(page, chats[1]).locator(".row-more")).to_be_focused()
    page.keyboard.press("Enter")
    menu.locator("summary", has_text="Add a tag").press("Enter")
    expect(menu.locator("input")).to_be_focused()
    page.keyboard.type("vip")
    page.keyboard.press("Enter")
    expect(toast).to_contain_text("Tag added to 1 request.")
    expect(item(page, chats[1]).locator(".row-more")).to_be_focused()
    assert Ticket.objects.get(conversation=chats[1]).tags == ["vip"]

    # Keys for the row in focus, with undo.
    row(page, chats[1]).focus()
    page.keyboard.press("p")
    expect(page.locator("#rows a.row").first).to_have_attribute("data-chat", str(chats[1].pk))
    expect(row(page, chats[1])).to_be_focused()
    page.keyboard.press("u")
    expect(row(page, chats[1]).locator(".badge")).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(row(page, chats[1]).locator(".badge")).to_have_text("1")

    # Select three, snooze and close them; Escape clears the selection.
    for _ in range(3):
        page.keyboard.press("x")
        page.keyboard.press("j")
    expect(bar).to_contain_text("Selected: 3")
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    page.keyboard.press("x")
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(bar).to_contain_text("Selected: 2")
    page.keyboard.press("z")
    expect(bar.get_by_role("button", name="In 3 hours")).to_be_focused()
    page.keyboard.press("e")  # no key of the selection while its menu is open
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(toast).to_contain_text("2 chats snoozed.")
    expect(page.locator("#rows .row:focus")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(toast).to_contain_text("2 chats restored.")
    page.keyboard.press("x")
    page.keyboard.press("m")
    expect(toast).to_contain_text("1 chat assigned.")
    assert assignees() == {boris().pk, None}

    # The list of keys has them, and X runs a macro where no row has the focus.
    page.keyboard.press("?")
    expect(page.locator("#keys-help")).to_contain_text("Select the chat in focus")
    expect(page.locator("#keys-help")).to_contain_text("Pin or unpin the chat")
    page.keyboard.press("Escape")
    assert ChatPin.objects.get().conversation_id == chats[1].pk

    # A macro without an answer keeps its key for these chats; other chats and other macros get another one.
    keys: list[str] = []

    def fail(route: Route) -> None:
        keys.append(parse_qs(route.request.post_data or "")["macro_key"][0])
        route.abort()

    page.route("**/chats/bulk/**", fail)
    for macro, picked in ((1, chats[:2]), (1, chats[:2]), (1, chats[1:2]), (1, chats[:3]), (2, chats[:3])):
        states = [[str(chat.pk), ""] for chat in picked]
        page.evaluate("([macro, states]) => okno.chatBulk.run('macro', { macro }, states)", [str(macro), states])
    assert [keys.index(key) for key in keys] == [0, 0, 0, 3, 4]


def test_rows_are_selected_by_touch(browser: Browser, live_server: object, chats: list[Conversation]) -> None:
    context = browser.new_context(
        base_url=str(live_server), viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    sign_in(context, boris(chats[0].chat_channel))
    page.goto("/chats/")
    more, bar = item(page, chats[0]).locator(".row-more"), page.locator("#chat-bulk")

    box = more.bounding_box()
    assert box is not None and box["width"] >= 44 and box["height"] >= 44
    more.tap()
    for one in page.locator("#row-menu").locator("button, a, summary").all():
        size = one.bounding_box()
        assert size is None or size["height"] >= 44
    page.locator("#row-menu").get_by_role("button", name="Select").tap()
    expect(bar).to_contain_text("Selected: 1")
    row(page, chats[1]).tap()
    expect(bar).to_contain_text("Selected: 2")
    expect(page).to_have_url(re.compile(r"/chats/$"))
    bar.locator("summary", has_text="More").tap()
    bar.get_by_role("button", name="Mark as read").tap()
    expect(page.locator("#toast-bulk")).to_contain_text("2 chats marked as read.")
    row(page, chats[1]).tap()
    expect(page.locator("#messages")).to_be_visible()
    context.close()
