"""The desk without a connection, behind a failing proxy, and on a slow network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from bridge.desk.bulk import changes
from bridge.models import Conversation, SavedView, Ticket
from channels_setup.models import ApiChannel
from tests.browser.test_desk import open_chat, sign_in, writes
from tests.factories import ApiChannelFactory, TemplateFactory, boris, operator

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ["Анна Соколова", "Борис Ким", "Вера Лис", "Глеб Орлов", "Дина Юн"]
BAD_GATEWAY = {"status": 502, "content_type": "text/html", "body": "<h1>502 Bad Gateway</h1>"}


@pytest.fixture
def channel() -> ApiChannel:
    channel = ApiChannelFactory(name="Магазин")
    TemplateFactory(api_channel=channel, name="order_ready", body="Заказ {{1}} готов.", examples=("42",))
    return channel


@pytest.fixture
def chats(channel: ApiChannel) -> list[Conversation]:
    return [writes(channel, name, f"Это {name}") for name in NAMES]


@pytest.fixture
def desk(context: BrowserContext, page: Page, chats: list[Conversation]) -> Iterator[Page]:
    """Sign in as Boris. No script may end with an error."""
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    sign_in(context, boris(chats[0].chat_channel))
    yield page
    assert errors == []


def test_a_bulk_action_that_stops_keeps_its_undo(desk: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "PART", 2)
    other = operator("olga", Conversation.objects.all()[0].chat_channel)
    desk.goto("/chats/")
    bar, toast, sent = desk.locator("#chat-bulk"), desk.locator("#toast-bulk"), []

    def assign_all() -> None:
        bar.locator("summary", has_text="Assign to…").click()
        bar.get_by_role("button", name=re.compile("olga", re.IGNORECASE)).click()

    def answer(route: Route) -> None:
        sent.append(route.request.post_data)
        refusal = {"reason": "old_page", "sentence": "This page is out of date."}
        if len(sent) == 2:
            route.abort()
        elif len(sent) == 4:
            route.fulfill(status=409, content_type="application/json", body=json.dumps(refusal))
        else:
            route.continue_()

    desk.route("**/chats/bulk/", answer)
    desk.locator("#rows > li .pick").first.click(force=True)
    bar.locator("[data-pick-all]").check()
    assign_all()
    expect(toast).to_contain_text("2 of 5 chats done. No answer from the server.")
    expect(bar).to_contain_text("Selected: 3")

    # A repeat goes on with the rest; its second part is refused. The page says what is done, with one undo for all.
    assign_all()
    expect(toast).to_contain_text("4 of 5 chats done. This page is out of date.")
    expect(bar).to_contain_text("Selected: 1")
    assert Conversation.objects.filter(assignee=other).count() == 4
    assign_all()
    expect(toast).to_contain_text("5 chats assigned.")
    expect(bar).to_be_hidden()
    toast.get_by_role("button", name="Undo").click()
    expect(toast).to_contain_text("5 chats restored.")
    assert not Conversation.objects.filter(assignee=other).exists()

    # An undo that stops can go on.
    sent.clear()
    desk.locator("#rows > li .pick").first.click(force=True)
    bar.locator("[data-pick-all]").check()
    desk.unroute("**/chats/bulk/")
    assign_all()
    expect(toast).to_contain_text("5 chats assigned.")
    undone: list[str | None] = []

    def answer_undo(route: Route) -> None:
        undone.append(route.request.post_data)
        if len(undone) == 2:
            route.fulfill(**BAD_GATEWAY)  # type: ignore[arg-type]
        else:
            route.continue_()

    desk.route("**/chats/bulk/undo/", answer_undo)
    toast.get_by_role("button", name="Undo").click()
    expect(toast).to_contain_text("2 of 5 chats done. No answer from the server.")
    toast.get_by_role("button", name="Undo").click()
    expect(toast).to_contain_text("restored")
    assert not Conversation.objects.filter(assignee=other).exists()


def test_lists_and_menus_say_that_they_got_no_answer(desk: Page, chats: list[Conversation]) -> None:
    open_chat(desk, chats[0])
    rows, problem = desk.locator("#rows a.row"), desk.locator("#list .list-problem")
    expect(rows).to_have_count(5)

    # A search behind a failing proxy: the list stays, says so, and is loaded when the server answers again.
    failing: list[str] = []

    def fail(route: Route) -> None:
        failing.append(route.request.url)
        route.fulfill(**BAD_GATEWAY)  # type: ignore[arg-type]

    desk.route("**/chats/**", fail)
    desk.locator("#search-chats").fill("Вера")
    expect(problem).to_contain_text("The list could not be loaded.")
    expect(rows).to_have_count(5)
    expect(desk.locator("#search-chats")).to_have_value("Вера")
    # A panel of the composer, the menus of selected chats, and a key.
    desk.locator("#composer .pick-template").click()
    expect(desk.locator("#refusal")).to_contain_text("Couldn’t reach the server.")
    desk.locator("#rows > li .pick").first.click(force=True)
    menu = desk.locator("#chat-bulk [data-bulk-menu=assign]")
    menu.locator("summary").click()
    expect(menu).to_contain_text("Not loaded.")
    desk.locator("#chat-bulk [data-clear-selection]").click()
    desk.locator("#scroll").focus()
    desk.keyboard.press("n")
    expect(desk.locator("#toast-next-waiting")).to_contain_text("Couldn’t reach the server.")

    # A refusal is shown where it can be seen: above the composer, or in a toast while a note is written.
    desk.locator("[data-compose=note]").click()
    desk.locator("#chat_header button[name=status][value='3']").click()
    expect(desk.locator("#toast-refused")).to_contain_text("Couldn’t reach the server.")
    desk.locator("[data-compose=reply]").click()
    desk.keyboard.press("Control+k")
    desk.keyboard.type("Вера")
    expect(desk.locator("#palette [data-no-answer]")).to_be_visible()
    desk.keyboard.press("Escape")

    desk.unroute("**/chats/**")
    expect(rows).to_have_count(1)
    expect(problem).to_have_count(0)
    desk.locator("#composer .pick-template").click()
    expect(desk.locator("#template_panel .tp-pick")).to_have_count(1)
    desk.locator("#rows > li .pick").first.click(force=True)
    menu.locator("summary").click()
    expect(menu.locator("button[name]").first).to_be_visible()
    desk.locator("#chat-bulk [data-clear-selection]").click()

    # On a slow network a list that is loaded is marked as busy, and a second click does nothing twice.
    cdp = desk.context.new_cdp_session(desk)
    slow = {"offline": False, "latency": 400, "downloadThroughput": 40_000, "uploadThroughput": 40_000}
    cdp.send("Network.enable")
    cdp.send("Network.emulateNetworkConditions", slow)
    desk.locator("#views-button").click()
    desk.locator("#views-menu [name=name]").fill("Вера")
    desk.locator("#views-menu .main").dblclick()
    expect(desk.locator("#list[aria-busy=true]")).to_have_count(1)
    expect(desk.locator(".filter-chips .chip.ok")).to_contain_text("Вера")
    expect(desk.locator("#list[aria-busy=true]")).to_have_count(0)
    assert SavedView.objects.count() == 1
    posted: list[str] = []
    desk.on("request", lambda request: posted.append(request.url) if request.url.endswith("/request/") else None)
    desk.locator("#chat_header button[name=status][value='3']").dblclick()
    expect(desk.locator("#chat_header .head-actions")).to_contain_text("Reopen")
    expect(desk.locator("#refusal")).to_be_hidden()
    expect(desk.locator("#toast-refused")).to_have_count(0)
    assert len(posted) == 1 and Ticket.objects.get(conversation=chats[0]).status == Ticket.Status.CLOSED


def test_forms_keep_their_entries_without_a_connection(desk: Page, channel: ApiChannel) -> None:
    desk.goto("/contacts/new-chat/")
    desk.locator("#new-phone").fill("8 921 555-01-04")
    desk.locator("#new-name").fill("Ева")
    desk.locator("[name=template]").select_option(index=1)
    desk.locator("[name=consent][value=website]").check()
    note = desk.locator("[data-form-note]")
    desk.context.set_offline(True)
    desk.locator("[name=fill]").click()
    expect(note).to_contain_text("Not sent: no connection to the server.")
    expect(desk.locator("#new-name")).to_have_value("Ева")
    desk.context.set_offline(False)
    desk.route("**/session/", lambda route: route.fulfill(**BAD_GATEWAY))  # type: ignore[arg-type]
    desk.locator("[name=fill]").click()
    expect(note).to_contain_text("Not sent: no connection to the server.")
    desk.unroute("**/session/")

    # Signed out meanwhile: the words stay here, too.
    cookies = desk.context.cookies()
    desk.context.clear_cookies(name="sessionid")
    desk.locator("[name=fill]").click()
    expect(note).to_contain_text("you have been signed out")
    expect(desk.locator("#new-phone")).to_have_value("8 921 555-01-04")
    desk.context.add_cookies(cookies)
    posts: list[str] = []
    desk.on("request", lambda request: posts.append(request.url) if request.is_navigation_request() else None)
    desk.locator("[name=fill]").dblclick()
    expect(desk.locator('textarea[name^="v."]')).to_be_visible()
    assert len(posts) == 1
