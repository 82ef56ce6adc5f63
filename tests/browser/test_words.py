"""Text that operators type, in Chromium: never lost, sent once, shown to nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from bridge.models import CannedResponse, ContactNote, Conversation, Delivery, Draft, Message
from channels_setup.models import ApiChannel
from tests.browser.holding import Held, fails
from tests.browser.test_desk import answers, bubble, end_windows_in, eventually, open_chat, sign_in, writes
from tests.factories import PASSWORD, TemplateFactory, boris, vera
from tests.scenarios.sending import outbound_texts

pytestmark = pytest.mark.django_db(transaction=True)

DRAFTS, POLLS, SENDS = "**/draft/", "**/chats/updates/*", "**/send/"
NOTE = "#add-note ~ form [name=note]"  # of the client


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return writes(channel, "Анна Соколова", "Где мой заказ?")


@pytest.fixture
def desk(context: BrowserContext, page: Page, chat: Conversation) -> Iterator[Page]:
    """Sign in as Boris and open the chat."""
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    boris(chat.chat_channel)
    vera()
    come_in(page, "boris")
    open_chat(page, chat)
    yield page
    assert errors == []


def come_in(page: Page, name: str) -> None:
    """Sign in through the form. The browser gets a new session and a new CSRF token."""
    page.context.add_cookies([{"name": "django_language", "value": "en", "url": f"http://{host(page)}"}])
    page.goto("/login/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/login/" not in url)


def host(page: Page) -> str:
    return page.evaluate("location.host") or "localhost"


def leave(page: Page) -> None:
    page.goto("/chats/")
    page.locator(".rail details summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login/**")


def type_in(page: Page, text: str) -> None:
    page.locator("#text").focus()
    page.keyboard.type(text)


def unsent(page: Page, text: str) -> Locator:
    return page.locator("#sending > li", has_text=text)


# --- a new session ---------------------------------------------------------------------------------------


def test_an_old_tab_works_after_its_user_signs_in_again(desk: Page, chat: Conversation) -> None:
    elsewhere = desk.context.new_page()
    type_in(desk, "До")
    leave(elsewhere)
    desk.bring_to_front()
    expect(desk.locator("#offline [data-session-ended]")).to_be_visible()
    desk.keyboard.type(" и после")
    desk.keyboard.press("Control+Enter")
    expect(unsent(desk, "До и после")).to_contain_text("you have been signed out")

    come_in(elsewhere, "boris")
    desk.bring_to_front()
    expect(desk.locator("#offline")).to_be_hidden()
    unsent(desk, "До и после").get_by_role("button", name="Try again").click()
    expect(bubble(desk, "До и после")).to_be_visible()
    desk.get_by_role("button", name="Close the request").click()  # a form that htmx sends

    expect(desk.locator("#messages .activity").last).to_contain_text("closed")
    assert outbound_texts() == ["До и после"]


@pytest.mark.parametrize("token", ["", "0" * 32], ids=["gone", "another"])
def test_a_tab_with_an_invalid_token_gets_a_new_one(desk: Page, chat: Conversation, token: str) -> None:
    desk.context.clear_cookies(name="csrftoken")
    if token:
        desk.context.add_cookies([{"name": "csrftoken", "value": token, "url": desk.url}])

    type_in(desk, "Едет")
    desk.keyboard.press("Control+Enter")
    expect(bubble(desk, "Едет")).to_be_visible()
    desk.context.clear_cookies(name="csrftoken")
    desk.get_by_role("button", name="Close the request").click()

    expect(desk.locator("#messages .activity").last).to_contain_text("closed")
    expect(desk.locator("#refusal")).to_be_hidden()


TOKENS = """() => Object.defineProperty(document, "cookie", {
    get: () => "a=b; csrftoken=of-before-https; __Host-csrftoken=right; c=d" })"""


def test_a_token_cookie_from_before_https_is_ignored(desk: Page, chat: Conversation) -> None:
    """The cookie stays in browsers for a year and comes first in document.cookie."""
    desk.evaluate(TOKENS)
    of_desk = desk.evaluate("() => okno.token()")
    desk.goto(desk.url.partition("/chats/")[0] + chat.api_channel.phone_page_path)
    desk.evaluate(TOKENS)
    desk.locator("#words").fill("Едет")
    with desk.expect_request(lambda request: request.method == "POST") as posted:
        desk.locator("#words").press("Enter")

    assert (of_desk, posted.value.headers["x-csrftoken"]) == ("right", "right")


@pytest.mark.parametrize("what", ["poll", "send", "open"])
def test_another_user_neither_sends_nor_sees_the_typed_text(
    desk: Page, chat: Conversation, channel: ApiChannel, what: str
) -> None:
    other = writes(channel, "Игорь Панин", "Счёт?")
    elsewhere = desk.context.new_page()
    expect(desk.locator(f'.row[data-chat="{other.pk}"]')).to_be_visible()
    polls = Held(desk, POLLS)
    polls.wait()
    drafts = Held(desk, DRAFTS)
    type_in(desk, "Только Борис")
    leave(elsewhere)
    come_in(elsewhere, "vera")
    desk.bring_to_front()

    if what == "send":
        desk.keyboard.press("Control+Enter")
    elif what == "open":
        desk.locator(f'.row[data-chat="{other.pk}"]').click()
    polls.end()
    drafts.end()
    if what == "send":  # a page that is reloaded before the answer sends again when its author is back
        stored = "() => Object.values(localStorage).join().includes('\"isSignedOut\":true')"
        eventually(desk, lambda: desk.evaluate(stored))

    expect(desk.locator("#other-user")).to_contain_text("You are now signed in as vera. Reload the page to continue.")
    expect(desk.locator("#text")).to_have_value("")
    desk.get_by_role("button", name="Reload").click()
    expect(desk.locator("#other-user")).to_be_hidden()
    open_chat(desk, chat)
    expect(desk.locator("#text")).to_have_value("")
    expect(desk.locator("body")).not_to_contain_text("Только Борис")
    assert not outbound_texts() and not Draft.objects.filter(user=vera()).exists()

    leave(elsewhere)
    come_in(elsewhere, "boris")
    open_chat(desk, chat)
    if what == "send":
        expect(unsent(desk, "Только Борис")).to_be_visible()
    else:
        expect(desk.locator("#text")).to_have_value("Только Борис")


# --- typed text survives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reload", "crash", "sign-out"])
def test_typed_text_survives_without_the_server(desk: Page, chat: Conversation, how: str) -> None:
    context = desk.context
    fails(desk, DRAFTS)
    type_in(desk, "Почти дописал")
    if how == "reload":
        desk.reload()
    else:
        desk.close()
        desk = context.new_page()
        if how == "sign-out":
            leave(desk)
            come_in(desk, "boris")
        open_chat(desk, chat)

    expect(desk.locator("#text")).to_have_value("Почти дописал")
    desk.unroute_all()
    eventually(desk, lambda: Draft.objects.filter(text="Почти дописал").exists())
    eventually(desk, lambda: desk.evaluate("Object.keys(localStorage).filter(k => k.includes('.draft.')).length") == 0)


def test_text_typed_offline_is_kept_after_reconnecting(desk: Page, chat: Conversation) -> None:
    desk.context.set_offline(True)
    type_in(desk, "Без связи")
    expect(desk.locator("#offline")).to_be_visible()

    desk.context.set_offline(False)

    eventually(desk, lambda: Draft.objects.filter(text="Без связи").exists())


def test_the_newer_of_two_drafts_is_shown(desk: Page, chat: Conversation) -> None:
    elsewhere = chat_of_another_browser(desk, chat)
    desk.context.set_offline(True)
    type_in(desk, "Старое отсюда")
    desk.evaluate(
        """for (const [name, kept] of Object.entries(localStorage).filter(([name]) => name.includes(".draft."))) {
            const draft = JSON.parse(kept);
            localStorage.setItem(name, JSON.stringify({ ...draft, at: draft.at - 60_000 }));
        }"""
    )
    desk.close()
    type_in(elsewhere, "Новое с телефона")
    eventually(elsewhere, lambda: Draft.objects.filter(text="Новое с телефона").exists())

    desk.context.set_offline(False)
    page = desk.context.new_page()
    open_chat(page, chat)

    expect(page.locator("#text")).to_have_value("Новое с телефона")
    elsewhere.context.close()


def chat_of_another_browser(desk: Page, chat: Conversation, user: Any = None) -> Page:
    assert desk.context.browser
    base = re.sub(r"/chats/.*", "", desk.url)
    context = desk.context.browser.new_context(base_url=base)
    context.set_default_timeout(30_000)
    sign_in(context, user or boris())
    page = context.new_page()
    open_chat(page, chat)
    return page


def test_a_note_survives_until_it_is_saved(desk: Page, chat: Conversation, channel: ApiChannel) -> None:
    other = writes(channel, "Игорь Панин", "Счёт?")
    desk.locator("#add-note").click()
    desk.locator(NOTE).fill("Звонить после шести")
    desk.reload()
    expect(desk.locator(NOTE)).to_have_value("Звонить после шести")
    desk.locator(f'.row[data-chat="{other.pk}"]').click()
    expect(desk.locator("#chat_header h2")).to_have_text("Игорь Панин")
    expect(desk.locator(NOTE)).to_be_hidden()
    desk.locator(f'.row[data-chat="{chat.pk}"]').click()
    note = desk.locator(NOTE)
    expect(note).to_have_value("Звонить после шести")

    fails(desk, "**/client/notes/")
    note.press("Control+Enter")
    expect(desk.locator("#refusal")).to_contain_text("reach the server")
    expect(note).to_have_value("Звонить после шести")
    desk.unroute("**/client/notes/")
    note.press("Control+Enter")

    expect(desk.locator(".note-of")).to_contain_text("Звонить после шести")
    desk.reload()
    expect(desk.locator(NOTE)).to_be_hidden()
    assert ContactNote.objects.count() == 1


# --- one draft, several tabs -----------------------------------------------------------------------------------


def test_a_draft_sent_from_another_tab_is_cleared_here(desk: Page, chat: Conversation) -> None:
    type_in(desk, "Общий *черновик*")
    eventually(desk, lambda: Draft.objects.exists())
    elsewhere = chat_of_another_browser(desk, chat)
    expect(elsewhere.locator("#text")).to_have_value("Общий *черновик*")

    elsewhere.locator("#text").press("Control+Enter")

    expect(desk.locator("#text")).to_have_value("")
    expect(bubble(desk, "Общий черновик")).to_have_count(1)
    elsewhere.context.close()


def test_a_tab_with_newer_text_says_that_the_draft_was_sent(desk: Page, chat: Conversation) -> None:
    type_in(desk, "Общий")
    eventually(desk, lambda: Draft.objects.exists())
    elsewhere = chat_of_another_browser(desk, chat)
    fails(desk, DRAFTS)
    desk.keyboard.type(" и дальше")

    elsewhere.locator("#text").press("Control+Enter")

    expect(desk.locator("#refusal")).to_contain_text("This draft was sent from another tab.")
    expect(desk.locator("#text")).to_have_value("Общий и дальше")
    desk.locator("#text").press("Control+Enter")  # now it is intended
    expect(bubble(desk, "Общий и дальше")).to_be_visible()
    assert outbound_texts() == ["Общий", "Общий и дальше"]
    elsewhere.context.close()


def test_tabs_of_a_browser_show_the_same_draft(desk: Page, chat: Conversation) -> None:
    type_in(desk, "Общий")
    eventually(desk, lambda: Draft.objects.exists())
    other = desk.context.new_page()
    open_chat(other, chat)
    expect(other.locator("#text")).to_have_value("Общий")

    other.locator("#text").press_sequentially(" текст")
    expect(desk.locator("#text")).to_have_value("Общий текст")
    desk.locator("#text").press("End")
    desk.keyboard.type(" вдвоём")
    expect(other.locator("#text")).to_have_value("Общий текст вдвоём")
    desk.keyboard.press("Control+Enter")
    expect(other.locator("#text")).to_have_value("")
    assert outbound_texts() == ["Общий текст вдвоём"]

    for page in (desk, other):
        page.locator("[data-compose=note]").click()
    desk.locator("#note-text").press_sequentially("Заметка")
    expect(other.locator("#note-text")).to_have_value("Заметка")
    other.locator("#note-text").press("Control+Enter")
    expect(desk.locator("#note-text")).to_have_value("")


@pytest.mark.parametrize("more", ["", " и дальше"], ids=["untouched", "touched"])
def test_a_tab_that_has_not_polled_yet_sends_nothing_twice(desk: Page, chat: Conversation, more: str) -> None:
    type_in(desk, "Общий")
    eventually(desk, lambda: Draft.objects.exists())
    elsewhere = chat_of_another_browser(desk, chat)
    polls, drafts = Held(desk, POLLS), Held(desk, DRAFTS)
    elsewhere.locator("#text").press("Control+Enter")
    expect(bubble(elsewhere, "Общий")).to_be_visible()

    desk.keyboard.type(more)
    drafts.end()
    with desk.expect_response(SENDS):
        desk.keyboard.press("Control+Enter")
    polls.end()

    expect(bubble(desk, "Общий")).to_have_count(1)
    expect(desk.locator("#text")).to_have_value(f"Общий{more}" if more else "")
    assert outbound_texts() == ["Общий"]
    elsewhere.context.close()


def test_two_operators_who_resend_a_failed_message_send_it_once(desk: Page, chat: Conversation) -> None:
    answers(chat, "Не ушло", status=Message.Status.FAILED, reason="wa_invalid_request")
    Delivery.objects.all().delete()
    elsewhere = chat_of_another_browser(desk, chat, vera())
    for page in (desk, elsewhere):
        page.get_by_role("button", name="Edit and resend").click()
        expect(page.locator("#text")).to_have_value("Не ушло")

    for page in (desk, elsewhere):
        with page.expect_response(SENDS):
            page.locator("#text").press("Control+Enter")

    expect(elsewhere.locator("#text")).to_have_value("")
    assert outbound_texts() == ["Не ушло", "Не ушло"]  # the failed message and its successor
    elsewhere.context.close()


# --- Ctrl+Enter ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("focus", "result"),
    [
        ("#text", ["Слова"]),
        ("#template_panel textarea", ["Заказ 17 готов."]),
        (NOTE, []),
        ("#search-chats", []),
        ("#scroll", []),
        ("#template_panel [data-close-panel]", []),
    ],
)
def test_ctrl_enter_sends_the_focused_part(
    desk: Page, chat: Conversation, channel: ApiChannel, focus: str, result: list[str]
) -> None:
    TemplateFactory(api_channel=channel, name="ready", body="Заказ {{1}} готов.", examples=("17",))
    desk.fill("#text", "Слова")
    desk.locator("#add-note").click()
    desk.fill(NOTE, "Заметка")
    desk.locator(".pick-template").click()
    desk.locator(".tp-pick", has_text="ready").click()
    desk.locator("#template_panel textarea").fill("17")
    expect(desk.locator("[data-go]")).to_be_enabled()

    desk.locator(focus).focus()
    desk.keyboard.press("Control+Enter")

    if result:
        expect(bubble(desk, result[0])).to_be_visible()
    elif focus == NOTE:
        expect(desk.locator(".note-of")).to_contain_text("Заметка")
    else:
        desk.wait_for_timeout(300)
    assert outbound_texts() == result
    if result != ["Слова"]:
        expect(desk.locator("#text")).to_have_value("Слова")


# --- sending -------------------------------------------------------------------------------------------------------


def test_a_sent_message_appears_at_once_and_the_order_is_kept(desk: Page, chat: Conversation) -> None:
    held = Held(desk, SENDS)
    type_in(desk, "Первое")
    desk.keyboard.press("Control+Enter")
    expect(unsent(desk, "Первое").locator(".ticks")).to_be_visible()
    expect(desk.locator("#text")).to_have_value("")
    expect(desk.locator("#text")).to_be_focused()
    desk.keyboard.type("Второе")
    desk.keyboard.press("Control+Enter")
    desk.keyboard.press("Control+Enter")
    desk.keyboard.type("Третье недопи")
    expect(desk.locator("#sending > li")).to_have_count(2)
    held.wait()
    assert len(held.routes) == 1

    held.end()

    expect(desk.locator("#messages .msg.out .text")).to_have_text(["Первое", "Второе"])
    expect(desk.locator("#sending > li")).to_have_count(0)
    expect(desk.locator("#text")).to_have_value("Третье недопи")
    eventually(desk, lambda: list(Draft.objects.values_list("text", flat=True)) == ["Третье недопи"])


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("reloads", [False, True], ids=["same page", "after F5"])
def test_a_retried_message_is_sent_once(desk: Page, chat: Conversation, lost: str, reloads: bool) -> None:
    polls, held = Held(desk, POLLS), Held(desk, SENDS)
    type_in(desk, "Важное")
    desk.keyboard.press("Control+Enter")
    held.wait()
    if lost == "answer":
        held.lose_answer()
    else:
        held.fail()
    expect(unsent(desk, "Важное").get_by_role("button", name="Try again")).to_be_visible()
    held.end()
    polls.end()
    if reloads:
        desk.reload()

    expect(bubble(desk, "Важное")).to_have_count(1)
    expect(desk.locator("#sending > li")).to_have_count(0)
    expect(desk.locator("#text")).to_have_value("")
    desk.reload()
    expect(desk.locator("#sending > li")).to_have_count(0)
    assert outbound_texts() == ["Важное"]


def test_try_again_after_a_lost_response_sends_nothing_twice(desk: Page, chat: Conversation) -> None:
    polls, held = Held(desk, POLLS), Held(desk, SENDS)
    type_in(desk, "Важное")
    desk.keyboard.press("Control+Enter")
    held.wait()
    held.lose_answer()
    again = unsent(desk, "Важное").get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    held.end()

    with desk.expect_response(SENDS):
        again.click()
    polls.end()

    expect(bubble(desk, "Важное")).to_have_count(1)
    expect(desk.locator("#sending > li")).to_have_count(0)
    assert outbound_texts() == ["Важное"]


def test_a_failed_message_can_be_edited(desk: Page, chat: Conversation) -> None:
    held = Held(desk, SENDS)
    type_in(desk, "Апечатка")
    desk.keyboard.press("Control+Enter")
    held.wait()
    held.fail()

    unsent(desk, "Апечатка").get_by_role("button", name="Edit").click()
    held.end()
    expect(desk.locator("#text")).to_have_value("Апечатка")
    desk.fill("#text", "Опечатка")
    desk.locator("#text").press("Control+Enter")

    expect(bubble(desk, "Опечатка")).to_be_visible()
    assert outbound_texts() == ["Опечатка"]


def test_a_failed_message_that_another_tab_edits_is_not_sent_by_itself(desk: Page, chat: Conversation) -> None:
    fails(desk, SENDS)
    type_in(desk, "Апечатка")
    desk.keyboard.press("Control+Enter")
    expect(unsent(desk, "Апечатка")).to_contain_text("It will be sent")
    other = desk.context.new_page()
    open_chat(other, chat)
    unsent(other, "Апечатка").get_by_role("button", name="Edit").click()
    expect(other.locator("#text")).to_have_value("Апечатка")

    expect(unsent(desk, "Апечатка")).to_have_count(0)
    desk.unroute(SENDS)
    other.locator("#text").fill("Опечатка")
    other.locator("#text").press("Control+Enter")
    expect(bubble(desk, "Опечатка")).to_be_visible()
    assert outbound_texts() == ["Опечатка"]


def test_text_refused_on_a_slow_connection_returns_before_newer_text(desk: Page, chat: Conversation) -> None:
    held = Held(desk, SENDS)
    type_in(desk, "Опоздало")
    desk.keyboard.press("Control+Enter")
    desk.keyboard.type("Новое")
    end_windows_in(-60)
    held.wait()
    held.end()

    expect(desk.locator("#text")).to_have_value("Опоздало\nНовое")
    expect(desk.locator("#sending > li")).to_have_count(0)
    expect(desk.locator("#refusal")).to_contain_text("24-hour window")


def test_text_refused_after_leaving_its_chat_stays_in_that_chat(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    other = writes(channel, "Игорь Панин", "Счёт?")
    held = Held(desk, SENDS)
    type_in(desk, "Опоздало")
    desk.keyboard.press("Control+Enter")
    held.wait()
    desk.locator(f'.row[data-chat="{other.pk}"]').click()
    expect(desk.locator("#chat_header h2")).to_have_text("Игорь Панин")
    expect(desk.locator("#sending > li")).to_have_count(0)
    end_windows_in(-60)
    with desk.expect_response(SENDS):
        held.end()

    expect(desk.locator("#text")).to_have_value("")
    desk.locator(f'.row[data-chat="{chat.pk}"]').click()
    expect(desk.locator("#text")).to_have_value("Опоздало")


def test_a_message_that_fails_after_leaving_its_chat_is_reported(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    other = writes(channel, "Игорь Панин", "Счёт?")
    held = Held(desk, SENDS)
    type_in(desk, "Важное")
    desk.keyboard.press("Control+Enter")
    held.wait()
    desk.locator(f'.row[data-chat="{other.pk}"]').click()
    expect(desk.locator("#chat_header h2")).to_have_text("Игорь Панин")

    held.fail()

    expect(desk.locator("#not-opened")).to_have_text(
        "A message to Анна Соколова was not sent. Open the chat to try again."
    )
    desk.locator(f'.row[data-chat="{chat.pk}"]').click()
    expect(unsent(desk, "Важное").get_by_role("button", name="Try again")).to_be_visible()


def test_an_overlong_text_is_counted_and_refused_without_losing_it(desk: Page, chat: Conversation) -> None:
    desk.fill("#text", "я" * 4000)
    expect(desk.locator("#count")).to_have_text("4,000 / 4,096")
    desk.fill("#text", "я" * 5000)
    expect(desk.locator("#count.over")).to_have_text("too long by 904")

    desk.locator("#text").press("Control+Enter")
    expect(desk.locator("#refusal")).to_contain_text("4,096")
    expect(desk.locator("#text")).to_have_value("я" * 5000)
    desk.fill("#text", "я")

    expect(desk.locator("#refusal")).to_be_hidden()
    expect(desk.locator("#count")).to_be_hidden()


def test_a_template_being_sent_is_shown_and_restored_after_a_failure(
    desk: Page, chat: Conversation, channel: ApiChannel
) -> None:
    template = TemplateFactory(api_channel=channel, name="ready", body="Заказ {{1}} готов.", examples=("17",))
    desk.fill("#text", "Своё")
    desk.locator(".pick-template").click()
    desk.locator(".tp-pick", has_text="ready").click()
    desk.locator("#template_panel textarea").fill("99")
    held = Held(desk, SENDS)
    desk.locator("#template_panel textarea").press("Control+Enter")
    expect(unsent(desk, "Заказ 99 готов.")).to_be_visible()
    type(template).objects.update(status="paused")
    held.wait()
    held.release()

    expect(desk.locator("#template_panel textarea")).to_have_value("99")
    expect(desk.locator("#refusal")).to_be_visible()
    type(template).objects.update(status="approved")
    desk.locator("#template_panel textarea").press("Control+Enter")
    held.wait()
    held.fail()
    unsent(desk, "Заказ 99 готов.").get_by_role("button", name="Try again").click()
    held.wait()
    held.end()

    expect(bubble(desk, "Заказ 99 готов.")).to_have_count(1)
    expect(desk.locator("#text")).to_have_value("Своё")
    assert outbound_texts() == ["Заказ 99 готов."]


# --- quick replies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        ("Добрый день!", "", "Добрый день! Вернуть можно."),
        ("Добрый день! ", "", "Добрый день! Вернуть можно."),
        ("Строка\n", "", "Строка\nВернуть можно."),
        ("", "", "Вернуть можно."),
        ("Да.", "Ждём", "Да. Вернуть можно. Ждём"),
        ("Да.", " Ждём", "Да. Вернуть можно. Ждём"),
    ],
)
def test_a_quick_reply_is_separated_and_can_be_undone(
    desk: Page, chat: Conversation, before: str, after: str, whole: str
) -> None:
    CannedResponse.objects.create(name="возврат", text="Вернуть можно.")
    desk.fill("#text", before + after)
    desk.evaluate("at => document.getElementById('text').setSelectionRange(at, at)", len(before))

    desk.locator("[data-canned-responses]").click()
    desk.locator(".tp-pick", has_text="возврат").click()
    expect(desk.locator("#text")).to_have_value(whole)
    desk.keyboard.press("Control+z")

    expect(desk.locator("#text")).to_have_value(before + after)
