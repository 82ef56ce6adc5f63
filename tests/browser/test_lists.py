"""Lists and reports in Chromium: search, filters, endless scrolling, warnings, bulk actions."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import APIResponse, BrowserContext, ConsoleMessage, Page, Route, expect

from bridge.conversations import closing_reminders
from bridge.maintenance import housekeeping
from bridge.models import Conversation, NotificationSettings, Ticket
from channels_setup.models import ApiChannel
from channels_setup.roles import Role, assign_role
from tests.browser.test_desk import SOON, bubble, end_windows_in, open_chat, sign_in, writes
from tests.factories import boris
from tests.scenarios.sending import move_windows_back

pytestmark = pytest.mark.django_db(transaction=True)

# The page's requests to the server, each with its time by the page's clock.
NEWS = """(() => performance.getEntriesByType("resource")
    .filter((one) => one.name.includes("/chats/updates/") && one.responseEnd))"""


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return writes(channel, "Анна Соколова", "Где мой заказ?")


@pytest.fixture
def desk(context: BrowserContext, page: Page, chat: Conversation) -> Iterator[Page]:
    """Sign in as Boris. The pages must not log errors."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    sign_in(context, boris(chat.chat_channel))
    yield page
    assert complaints == []


def test_a_found_message_opens_at_its_position(desk: Page, channel: ApiChannel) -> None:
    other = writes(channel, "Игорь Панин", "Пришлите счёт за сапоги")
    for number in range(60):
        writes(channel, "Игорь Панин", f"Слово {number}")
    desk.goto("/chats/")
    desk.keyboard.press("/")
    desk.keyboard.type("счета")

    expect(desk.locator(".row")).to_have_count(1)
    expect(desk.locator(".row mark")).to_have_text("счёт")
    desk.locator(".row").click()

    expect(bubble(desk, "Пришлите счёт")).to_be_in_viewport()
    expect(desk).to_have_url(re.compile(f"/chats/{other.pk}/"))


def test_filters_are_chosen_by_keyboard_and_kept(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    closed = writes(channel, "Закрытая", "Спасибо")
    Ticket.objects.filter(conversation=closed).update(status=Ticket.Status.CLOSED)
    Conversation.objects.filter(pk=closed.pk).update(request_status=Ticket.Status.CLOSED)
    desk.goto("/chats/")
    expect(desk.locator(".row")).to_have_count(2)

    desk.locator("#filters-button").focus()
    desk.keyboard.press("Enter")
    desk.locator("select[name=status]").select_option("live")

    expect(desk.locator(".row")).to_have_count(1)
    expect(desk.locator("#filters-button .badge")).to_have_text("1")
    desk.locator(".tabs a", has_text="Unassigned").click()
    expect(desk.locator("#filters-button .badge")).to_have_text("1")
    writes(channel, "Новая", "Добрый день")
    expect(desk.locator(".row", has_text="Новая")).to_be_visible(timeout=2 * SOON)
    expect(desk.locator(".row", has_text="Закрытая")).to_have_count(0)


def test_a_click_counts_if_an_update_comes_while_the_button_is_down(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    other = writes(channel, "Игорь Панин", "Счёт?")
    open_chat(desk, chat)
    row = desk.locator(f'.row[data-chat="{other.pk}"]')
    row.hover()

    desk.mouse.down()
    with desk.expect_response(lambda response: "/chats/updates/" in response.url and response.status == 200):
        writes(channel, "Игорь Панин", "И акт?")
    desk.wait_for_timeout(300)  # enough for the row to be redrawn
    desk.mouse.up()

    expect(desk.locator("#chat_header h2")).to_have_text("Игорь Панин")
    expect(row).to_contain_text("И акт?")


def test_the_list_belongs_to_its_tab_in_any_order_of_responses(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    closed = writes(channel, "Закрытая", "Спасибо")
    Ticket.objects.filter(conversation=closed).update(status=Ticket.Status.CLOSED)
    Conversation.objects.filter(pk=closed.pk).update(request_status=Ticket.Status.CLOSED)
    desk.goto("/chats/")
    row, tab = desk.locator(f'.row[data-chat="{chat.pk}"]'), desk.locator("#tab-waiting")
    held: list[Route] = []
    desk.route(re.compile(r"/chats/\?tab="), lambda route: held.append(route))

    # An update that is drawn while the tab is loading does not touch what htmx reads of the tab's link afterwards.
    with desk.expect_request(re.compile(r"/chats/\?tab=waiting")):
        tab.click()
    writes(channel, "Анна Соколова", "Ещё вопрос")
    expect(row.locator(".badge")).to_have_text("2")
    held.pop().continue_()
    expect(tab).to_have_attribute("aria-current", "true")
    expect(desk.locator("#list")).to_have_count(1)
    expect(desk.locator("#list")).to_have_attribute("data-query", "?tab=waiting")
    expect(desk).to_have_url(re.compile(r"/chats/$"))
    expect(desk.locator(".row")).to_have_count(1)

    # If no list comes, the numbers that came meanwhile are drawn.
    with desk.expect_request(re.compile(r"/chats/\?tab=mine")):
        desk.locator("#tab-mine").click()
    writes(channel, "Игорь Панин", "Счёт?")
    expect(desk.locator(".row")).to_have_count(2)
    expect(tab.locator(".number")).to_have_text("1")
    held.pop().fulfill(status=204)
    expect(tab.locator(".number")).to_have_text("2")
    expect(tab).to_have_attribute("aria-current", "true")


def test_an_older_update_is_not_drawn_over_the_rows_of_an_action(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    desk.goto("/chats/")
    row, held = desk.locator(f'.row[data-chat="{chat.pk}"]'), list[tuple[Route, APIResponse]]()

    def hold(route: Route) -> None:
        answer = route.fetch()
        if answer.status == 200 and not held:
            held.append((route, answer))
        else:
            route.fulfill(response=answer)

    desk.route("**/chats/updates/*", hold)
    while not held:
        writes(channel, "Игорь Панин", "Счёт?")
        desk.wait_for_timeout(100)
    row.hover()
    desk.locator(f'[data-key="chat-{chat.pk}"] .row-more').click()
    desk.locator("#row-menu").get_by_role("button", name="Mark as read").click()
    expect(row.locator(".badge")).to_have_count(0)
    desk.evaluate(
        """(badge) => new MutationObserver(() => { window.cameBack ||= Boolean(document.querySelector(badge)); })
            .observe(document.getElementById("rows"), { childList: true })""",
        f'.row[data-chat="{chat.pk}"] .badge',
    )
    route, older = held[0]
    route.fulfill(response=older)
    writes(channel, "Глеб Орлов", "Здравствуйте")
    expect(desk.locator(".row", has_text="Глеб Орлов")).to_be_visible()
    assert not desk.evaluate("window.cameBack")
    expect(row.locator(".badge")).to_have_count(0)


def test_updates_continue_if_a_context_menu_swallows_the_release(desk: Page, chat: Conversation) -> None:
    desk.goto("/chats/")
    row = desk.locator(f'.row[data-chat="{chat.pk}"]')
    row.hover()
    desk.mouse.down(button="right")

    writes(chat.api_channel, "Анна Соколова", "Ещё вопрос")

    expect(row).to_contain_text("Ещё вопрос", timeout=SOON)


def test_the_list_loads_more_while_scrolling(desk: Page, channel: ApiChannel) -> None:
    for number in range(95):
        writes(channel, f"Клиент {number}", "?")
    desk.goto("/chats/")
    expect(desk.locator(".row")).to_have_count(40)

    for count in (80, 96):
        desk.locator("#rows").evaluate("rows => { rows.scrollTop = rows.scrollHeight }")
        expect(desk.locator(".row")).to_have_count(count)

    expect(desk.locator("[data-more]")).to_have_count(0)


# The operator works in another window; what the browser would show is recorded.
RECORD_NOTICES = """window.shown = [];
    Document.prototype.hasFocus = () => false;
    window.Notification = class extends EventTarget {
        static permission = "granted";
        constructor(title, options) { super(); window.shown.push([title, options.body, options.tag]); }
        close() {}
    };
    Object.assign(window.ServiceWorkerRegistration?.prototype || {}, { // not defined on about:blank
        getNotifications: () => Promise.resolve([]),
        showNotification: (title, options) => {
            window.shown.push([title, options.body, options.tag]);
            return Promise.resolve();
        },
    });"""


# What another tab has stored has not arrived yet, as happens between processes of the browser.
HIDE_CLAIMS = """const getItem = Storage.prototype.getItem;
    Storage.prototype.getItem = function (name) {
        return name.startsWith("okno-notified-") ? null : getItem.call(this, name);
    };
    0"""


def test_a_new_message_is_heard_and_shown_once(
    context: BrowserContext, desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    context.add_init_script(RECORD_NOTICES)
    tabs = (desk, context.new_page())
    for page, path in zip(tabs, ("/chats/", "/requests/"), strict=True):
        with page.expect_response(lambda answer: "/chats/updates/" in answer.url):
            page.goto(path)
        page.evaluate("window.heard = []; okno.sounds.play = (...sound) => Boolean(heard.push(sound)); 0")

    def collect(name: str) -> list[list[str]]:
        return [one for page in tabs for one in page.evaluate(f"window.{name}")]

    for page in tabs:
        page.evaluate(HIDE_CLAIMS)
    writes(channel, "Игорь Панин", "Есть кто?")
    for page in tabs:
        expect(page).to_have_title(re.compile(r"^\(1 new\) "), timeout=2 * SOON)
        assert page.evaluate("document.querySelector('link[rel=icon]').href").startswith("data:image/svg+xml")
    (shown,) = collect("shown")
    assert shown[:2] == ["Игорь Панин", "Есть кто?"]
    assert collect("heard") == [["chime", 60]]

    NotificationSettings.objects.create(user=boris(), sound="off", muted_kinds=["message"])
    writes(channel, "Игорь Панин", "Ау")
    expect(desk.locator(".row", has_text="Ау")).to_be_visible(timeout=2 * SOON)
    with tabs[1].expect_response(lambda answer: "/chats/updates/" in answer.url):
        pass
    assert (len(collect("shown")), len(collect("heard"))) == (1, 1)
    desk.evaluate("Document.prototype.hasFocus = () => true; dispatchEvent(new Event('focus'))")
    expect(desk).not_to_have_title(re.compile("new"))


def test_a_closing_window_shows_a_toast_and_a_notification(
    context: BrowserContext, desk: Page, chat: Conversation
) -> None:
    context.add_init_script(RECORD_NOTICES)
    end_windows_in(50 * 60)
    other_tab = context.new_page()
    with other_tab.expect_response(lambda answer: "/chats/updates/" in answer.url):  # it knows the reminders so far
        other_tab.goto("/requests/")
    desk.goto("/chats/")
    expect(desk.locator("#allow-notices")).to_be_hidden()

    def list_shown() -> list[list[str]]:
        return [shown for page in (desk, other_tab) for shown in page.evaluate("window.shown")]

    closing_reminders.send_reminders()

    toast = desk.locator(".toast")
    expect(toast).to_contain_text("Анна Соколова: the window closes in", timeout=2 * SOON)
    expect(desk.locator(".row .icon.tiny")).to_be_visible()
    expect(other_tab.locator(".toast")).to_contain_text("Анна Соколова", timeout=2 * SOON)
    expect(desk).to_have_title(re.compile(r"^\(1 new\) "), timeout=2 * SOON)
    (shown,) = list_shown()
    assert shown[1:] == ["Где мой заказ?", f"okno-window-{chat.pk}"]
    closing_reminders.send_reminders()
    for _ in range(3):  # the first may have been sent before, and the third is sent when the second is done
        with desk.expect_response(lambda answer: "/chats/updates/" in answer.url):
            pass
    assert len(list_shown()) == 1  # one of two tabs
    toast.locator("a").click()
    expect(bubble(desk, "Где мой заказ?")).to_be_visible()
    desk.reload()
    expect(desk.locator("#messages")).to_be_visible()
    expect(desk.locator(".toast")).to_have_count(0)


def test_many_requests_are_closed_by_keyboard_and_restored(desk: Page, channel: ApiChannel) -> None:
    for number in range(4):
        writes(channel, f"Клиент {number}", f"Вопрос {number}")
    desk.goto("/requests/?status=live")
    expect(desk.locator("#bulk-bar")).to_be_hidden()

    boxes = desk.locator("[name=ticket]")
    boxes.nth(0).focus()
    desk.keyboard.press("Space")
    boxes.nth(2).click(modifiers=["Shift"])
    expect(desk.locator("#chosen")).to_have_text("3")
    desk.locator("#pick-all").check()
    expect(desk.locator("#chosen")).to_have_text("5")
    desk.get_by_role("button", name="Close", exact=True).click()

    expect(desk.locator(".done")).to_contain_text("5 requests changed.")
    expect(desk.locator(".table.requests")).to_have_count(0)
    desk.get_by_role("button", name="Undo").click()
    expect(desk.locator("[name=ticket]")).to_have_count(5)
    assert set(Ticket.objects.values_list("status", flat=True)) == {Ticket.Status.NEW}


def test_escape_closes_the_menu_and_keeps_the_selection(desk: Page, chat: Conversation) -> None:
    desk.goto("/requests/")
    desk.locator("[name=ticket]").check()
    desk.locator("#bulk-bar summary").click()
    expect(desk.get_by_role("button", name="Put on hold")).to_be_visible()

    desk.keyboard.press("Escape")

    expect(desk.get_by_role("button", name="Put on hold")).to_be_hidden()
    expect(desk.locator("#chosen")).to_have_text("1")
    desk.keyboard.press("Escape")
    expect(desk.locator("#bulk-bar")).to_be_hidden()


def test_a_request_opens_from_the_table_at_its_position(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    Ticket.objects.update(status=Ticket.Status.CLOSED)
    for number in range(60):
        writes(channel, "Анна Соколова", f"Второе {number}.")
    desk.goto("/requests/")

    desk.locator(".subject a", has_text="Где мой заказ?").click()

    expect(bubble(desk, "Где мой заказ?")).to_be_in_viewport()


def test_table_filters_apply_without_a_button(desk: Page, chat: Conversation) -> None:
    desk.goto("/requests/")

    desk.get_by_label("Assignee").select_option("me")

    expect(desk).to_have_url(re.compile("assignee=me"))
    expect(desk.locator(".empty")).to_contain_text("No requests match")


def test_missed_windows_are_charted_listed_and_downloaded(desk: Page, chat: Conversation) -> None:
    assign_role(boris(), role=Role.SUPERVISOR)  # more permissions do not end the session
    end_windows_in(-60)
    housekeeping.expire_windows()
    desk.goto("/windows/")

    expect(desk.locator(".figure b").first).to_have_text("1")
    expect(desk.locator(".chart rect")).to_have_count(1)
    desk.get_by_text("As a table").click()
    expect(desk.locator("details .table.slim td")).to_have_text(["1"])
    with desk.expect_download() as download:
        desk.get_by_role("link", name="CSV").click()
    assert "Анна Соколова" in download.value.path().read_text("utf-8-sig")


@pytest.mark.parametrize("path", ["/chats/?q=заказ", "/requests/", "/windows/"])
@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_no_list_is_wider_than_its_window(desk: Page, channel: ApiChannel, path: str, width: int) -> None:
    writes(channel, "Екатерина Воскресенская-Преображенская" * 3, "заказ " + "длинное" * 60)
    move_windows_back(timedelta(hours=30))
    housekeeping.expire_windows()
    desk.set_viewport_size({"width": width, "height": 800})

    desk.goto(path)

    assert desk.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1024, 1440])
def test_the_table_shows_its_windows_without_scrolling(desk: Page, channel: ApiChannel, width: int) -> None:
    writes(channel, "Екатерина Воскресенская-Преображенская", "Здравствуйте! Подскажите, пожалуйста, где мой заказ?")
    desk.set_viewport_size({"width": width, "height": 800})

    desk.goto("/requests/")

    table = desk.locator(".table-wrap")
    assert table.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_an_idle_desk_polls_rarely_and_gets_empty_responses(desk: Page, chat: Conversation) -> None:
    desk.goto(f"/chats/{chat.pk}/")
    desk.wait_for_function(f"() => {NEWS}().length >= 5", timeout=60_000)

    # By the page's clock, so that delays of the test do not matter. The first answer may contain updates.
    asked = desk.evaluate(f"() => {NEWS}().slice(1).map((one) => [one.startTime, one.responseStatus])")
    at, statuses = [one[0] for one in asked], [one[1] for one in asked]
    assert at[-1] - at[0] > 1_000 * (len(at) - 1)
    assert set(statuses) <= {200, 204}
    assert statuses.count(204) >= len(statuses) - 1  # another minute may have begun
