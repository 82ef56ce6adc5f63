"""Opening chats in Chromium: text goes to the displayed chat, over slow connections and in any order of responses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from bridge.models import Conversation, Message
from channels_setup.models import ApiChannel
from tests.browser.holding import Held, fails, slow_down
from tests.browser.test_desk import answers, bubble, eventually, open_chat, sign_in, writes
from tests.factories import boris

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ["Анна Соколова", "Борис Ким", "Вера Лис", "Глеб Цой", "Дарья Мей"]


@pytest.fixture
def chats(channel: ApiChannel) -> list[Conversation]:
    return [writes(channel, name, f"Это {name}") for name in NAMES]


@pytest.fixture
def desk(context: BrowserContext, page: Page, chats: list[Conversation]) -> Iterator[Page]:
    """Sign in as Boris and open the first chat. Nothing is fetched ahead, so that each test decides what is slow."""
    context.add_init_script('Object.defineProperty(navigator, "connection", { value: { saveData: true } })')
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    sign_in(context, boris(chats[0].chat_channel))
    open_chat(page, chats[0])
    yield page
    assert errors == []


def row(page: Page, chat: Conversation) -> Locator:
    return page.locator(f'.row[data-chat="{chat.pk}"]')


def expect_shown(page: Page, chat: Conversation, *, text: str = "") -> None:
    """Expect this chat's highlight, URL, header, thread and composer."""
    expect(page.locator("#opening")).to_have_count(0)
    expect(page.locator("#chat_header h2")).to_have_text(chat.contact.name)
    expect(page.locator("#composer [name=for_chat]")).to_have_value(str(chat.pk))
    expect(page.locator(".row[aria-current]")).to_have_count(1)
    expect(page.locator(".row[aria-current] b")).to_have_text(chat.contact.name)
    expect(bubble(page, f"Это {chat.contact.name}")).to_be_visible()
    expect(page.locator("#text")).to_have_value(text)
    assert f"/chats/{chat.pk}/" in page.url and chat.contact.name in page.title()
    assert not page.locator("#composer").evaluate("form => Boolean(form.closest('[inert]'))")


def expect_opening(page: Page, name: str, *, over: Conversation) -> None:
    """Expect the new chat's name and an inert composer; everything else still belongs to the old chat."""
    expect(page.locator("#opening h2")).to_have_text(name)
    assert page.locator("#composer").evaluate("form => form.inert && Boolean(form.closest('#chat[inert]'))")
    expect(page.locator(".row[aria-current] b")).to_have_text(over.contact.name)


def sent() -> list[str]:
    return list(Message.objects.filter(direction="outbound").values_list("text", flat=True))


def test_a_loading_chat_accepts_no_text(desk: Page, chats: list[Conversation]) -> None:
    anna, kim, *_ = chats
    desk.fill("#text", "Анне: ")
    held = Held(desk, f"**/chats/{kim.pk}/*")

    row(desk, kim).click()
    expect_opening(desk, kim.contact.name, over=anna)
    assert f"/chats/{anna.pk}/" in desk.url
    desk.keyboard.type("тайна")
    desk.keyboard.press("Control+Enter")
    desk.evaluate("document.getElementById('composer').requestSubmit()")
    held.wait()
    held.release()

    expect_shown(desk, kim)
    desk.keyboard.type("Борису")
    desk.keyboard.press("Control+Enter")
    expect(bubble(desk, "Борису")).to_be_visible()
    assert sent() == ["Борису"] and Message.objects.get(text="Борису").conversation == kim
    held.end()
    row(desk, anna).click()
    expect_shown(desk, anna, text="Анне: ")


@pytest.mark.parametrize("how", ["error", "offline", "not there"])
def test_a_chat_that_fails_to_load_changes_nothing(desk: Page, chats: list[Conversation], how: str) -> None:
    anna, kim, *_ = chats
    desk.fill("#text", "Анне")
    if how == "error":
        fails(desk, f"**/chats/{kim.pk}/*")
    elif how == "offline":
        desk.context.set_offline(True)
    else:
        desk.route(f"**/chats/{kim.pk}/*", lambda route: route.fulfill(status=404))

    row(desk, kim).click()

    expect(desk.locator("#not-opened")).to_contain_text(f"The chat with {kim.contact.name} did not open")
    expect_shown(desk, anna, text="Анне")
    desk.context.set_offline(False)
    desk.unroute(f"**/chats/{kim.pk}/*")
    row(desk, kim).click()
    expect_shown(desk, kim)
    expect(desk.locator("#not-opened")).to_be_hidden()


@pytest.mark.parametrize("first", [0, 1], ids=["in order", "out of order"])
def test_the_last_of_two_clicks_wins(desk: Page, chats: list[Conversation], first: int) -> None:
    anna, kim, lis, *_ = chats
    one, two = Held(desk, f"**/chats/{kim.pk}/*"), Held(desk, f"**/chats/{lis.pk}/*")

    row(desk, kim).click()
    one.wait()
    row(desk, lis).click()
    two.wait()
    expect_opening(desk, lis.contact.name, over=anna)
    for held in ([one, two], [two, one])[first]:
        held.release()

    expect_shown(desk, lis)
    desk.wait_for_timeout(200)
    expect_shown(desk, lis)
    kim.refresh_from_db()
    assert kim.unread == 1  # not marked as seen
    eventually(desk, lambda: Conversation.objects.get(pk=lis.pk).unread == 0)


def test_a_click_on_the_displayed_chat_cancels_the_opening(desk: Page, chats: list[Conversation]) -> None:
    anna, kim, *_ = chats
    desk.fill("#text", "Анне")
    held = Held(desk, f"**/chats/{kim.pk}/*")
    row(desk, kim).click()
    held.wait()

    row(desk, anna).click()
    held.release()

    desk.wait_for_timeout(200)
    expect_shown(desk, anna, text="Анне")


def test_five_quickly_opened_chats_keep_their_own_text(desk: Page, chats: list[Conversation]) -> None:
    for chat in [*chats[1:], chats[0]]:
        desk.keyboard.type(f"Для {desk.locator('#chat_header h2').inner_text()}")
        row(desk, chat).click()
        expect(desk.locator("#chat_header h2")).to_have_text(chat.contact.name)
    for chat in chats[1:]:
        row(desk, chat).click(no_wait_after=True)
    expect_shown(desk, chats[-1], text=f"Для {NAMES[-1]}")

    for chat in chats:
        row(desk, chat).click()
        expect_shown(desk, chat, text=f"Для {chat.contact.name}")


def test_a_connection_with_four_seconds_of_delay(desk: Page, chats: list[Conversation]) -> None:
    anna, kim, *_ = chats
    slow_down(desk, latency=4000)

    row(desk, kim).click()
    expect_opening(desk, kim.contact.name, over=anna)
    desk.keyboard.type("тайна")
    desk.keyboard.press("Control+Enter")

    expect_shown(desk, kim)
    desk.keyboard.type("Борису")
    desk.keyboard.press("Control+Enter")
    expect(desk.locator("#sending > li", has_text="Борису").locator(".ticks")).to_be_visible()
    expect(bubble(desk, "Борису")).to_be_visible()
    expect(desk.locator("#sending > li")).to_have_count(0)
    assert sent() == ["Борису"]


@pytest.mark.parametrize("how", ["Control", "Shift", "middle"])
def test_a_click_for_a_new_tab_does_not_change_this_one(desk: Page, chats: list[Conversation], how: str) -> None:
    anna, kim, *_ = chats
    desk.fill("#text", "Анне")

    with desk.context.expect_page():
        if how == "middle":
            row(desk, kim).click(button="middle")
        else:
            row(desk, kim).click(modifiers=[how])  # type: ignore[list-item]

    expect_shown(desk, anna, text="Анне")


def test_back_and_forward_change_everything_together(desk: Page, chats: list[Conversation]) -> None:
    anna, kim, lis, *_ = chats
    for chat in (kim, lis):
        row(desk, chat).click()
        expect_shown(desk, chat)
    held = Held(desk, f"**/chats/{kim.pk}/*")
    desk.evaluate("okno.chatCache.clear()")
    desk.evaluate("history.back()")
    expect_opening(desk, kim.contact.name, over=lis)
    held.wait()
    held.release()
    expect_shown(desk, kim)
    desk.evaluate("history.back()")
    expect_shown(desk, anna)
    desk.evaluate("history.go(2)")
    expect_shown(desk, lis)

    desk.fill("#text", "Вере")
    desk.evaluate("okno.chatCache.clear()")
    desk.evaluate("history.back()")
    held.wait()
    held.fail()
    expect(desk.locator("#not-opened")).to_be_visible()
    desk.wait_for_url(f"**/chats/{lis.pk}/*")
    expect_shown(desk, lis, text="Вере")
    held.end()
    desk.evaluate("history.back()")
    expect_shown(desk, kim)


def test_back_to_the_desk_without_a_chat(desk: Page, chats: list[Conversation]) -> None:
    desk.goto("/chats/")
    row(desk, chats[1]).click()
    expect_shown(desk, chats[1])

    desk.evaluate("history.back()")

    expect(desk.locator("#chat.no-chat")).to_be_visible()
    expect(desk.locator(".row[aria-current]")).to_have_count(0)
    assert desk.url.endswith("/chats/") and not desk.locator(".desk.has-chat").count()
    desk.evaluate("history.forward()")
    expect_shown(desk, chats[1])


def test_a_poll_of_the_previous_chat_does_not_move_the_highlight(desk: Page, chats: list[Conversation]) -> None:
    _anna, kim, *_, mey = chats
    held = Held(desk, "**/chats/updates/*")
    held.wait()
    writes(mey.api_channel, mey.contact.name, "Ау!")

    row(desk, kim).click()
    expect_shown(desk, kim)
    held.end()

    expect(row(desk, mey)).to_contain_text("Ау!")
    expect_shown(desk, kim)


def test_on_a_phone_back_returns_to_the_list(desk: Page, chats: list[Conversation]) -> None:
    desk.set_viewport_size({"width": 390, "height": 844})
    desk.goto("/chats/")
    fails(desk, f"**/chats/{chats[1].pk}/*")
    row(desk, chats[1]).click()
    expect(desk.locator("#not-opened")).to_be_visible()
    expect(row(desk, chats[1])).to_be_visible()
    desk.unroute(f"**/chats/{chats[1].pk}/*")
    held = Held(desk, f"**/chats/{chats[1].pk}/*")

    row(desk, chats[1]).click()
    expect(desk.locator("#opening h2")).to_be_visible()
    expect(row(desk, chats[1])).to_be_hidden()
    desk.get_by_role("button", name="Back to the list").click()
    expect(row(desk, chats[1])).to_be_visible()
    held.end()


def test_earlier_messages_that_load_late_stay_out_of_another_chat(desk: Page, chats: list[Conversation]) -> None:
    anna, kim, *_ = chats
    for number in range(60):
        answers(anna, f"Сообщение {number}.", status=Message.Status.READ)
    open_chat(desk, anna)
    held = Held(desk, f"**/chats/{anna.pk}/?before=*")
    desk.locator("#earlier").click()
    held.wait()

    row(desk, kim).click()
    expect_shown(desk, kim)
    with desk.expect_response(f"**/chats/{anna.pk}/?before=*") as answered:
        held.release()
    answered.value.finished()
    desk.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    assert desk.locator("#messages").get_by_text("Это Анна Соколова").count() == 0
    held.end()
