"""Work together in Chromium: notes with mentions, a reply that crosses a colleague's, handing a chat over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from bridge.models import Conversation, ConversationNote, Message, NoteMention
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from channels_setup.roles import Role, assign_role
from tests.browser.holding import Held
from tests.browser.test_desk import open_chat, sign_in, writes
from tests.factories import MessageFactory, TemplateFactory, UserFactory, boris
from tests.scenarios.sending import move_windows_back, outbound_texts

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return writes(channel, "Анна Соколова", "Где мой заказ?")


@pytest.fixture
def desk(context: BrowserContext, page: Page, chat: Conversation) -> Page:
    olga = UserFactory(username="olga", first_name="Ольга", last_name="Иванова")
    assign_role(olga, role=Role.OPERATOR, chat_channels=[chat.chat_channel])
    sign_in(context, boris(chat.chat_channel))
    open_chat(page, chat)
    return page


def test_notes_mentions_and_handing_over(desk: Page, chat: Conversation) -> None:
    reply, note = desk.locator("#text"), desk.locator("#note-text")
    expect(note).to_be_hidden()
    reply.fill("Черновик ответа")
    desk.locator("[data-compose=note]").click()
    expect(note).to_be_focused()
    expect(reply).to_be_hidden()
    expect(desk.locator("#note-sign")).to_contain_text("The client never sees it")

    note.press_sequentially("Спроси @оль")
    expect(desk.locator("#mention-menu [aria-selected=true]")).to_have_text("Ольга Иванова")
    note.press("Enter")
    expect(note).to_have_value("Спроси @Ольга Иванова ")
    expect(desk.locator("#mention-menu")).to_be_hidden()
    desk.reload()  # the draft of the note stays in this browser, in its own mode
    expect(desk.locator("#text")).to_have_value("Черновик ответа")
    expect(desk.locator(".draft-dot")).to_be_visible()
    desk.locator("[data-compose=note]").click()
    expect(note).to_have_value("Спроси @Ольга Иванова ")
    note.press("Control+Enter")

    shown = desk.locator(".thread-note")
    expect(shown).to_contain_text("Internal note")
    expect(shown.locator(".mention")).to_have_text("@Ольга Иванова")
    expect(note).to_have_value("")
    assert not outbound_texts() and NoteMention.objects.get().user.username == "olga"
    shown.locator("summary", has_text="Edit").click()
    shown.locator("textarea").fill("Спросил сам")
    shown.get_by_role("button", name="Save note").click()
    expect(shown).to_contain_text("Спросил сам")
    expect(shown).to_contain_text("1 earlier version")

    desk.locator("#who-answers").click()
    desk.locator(".transfer-note").fill("Вернуть деньги")
    desk.locator(".assign-menu button", has_text="Ольга Иванова").click()
    expect(desk.locator(".activity")).to_contain_text("Assigned to Ольга Иванова")
    expect(desk.locator(".thread-note").last).to_contain_text("@Ольга Иванова Вернуть деньги")
    desk.on("dialog", lambda dialog: dialog.accept())
    desk.locator(".thread-note").first.get_by_role("button", name="Delete").click()
    expect(desk.locator("#messages")).to_contain_text("Note deleted")
    assert ConversationNote.objects.exclude(deleted_at=None).get().text == ""


def test_a_reply_that_crosses_a_colleagues_asks_first(desk: Page, chat: Conversation) -> None:
    box, question = desk.locator("#text"), desk.locator("#meanwhile")
    box.press_sequentially("Ваш заказ едет")
    olga = type(boris()).objects.get(username="olga")
    reply_submission.submit_reply(conversation_id=chat.pk, text="Будет завтра", author=olga)

    box.press("Control+Enter")

    expect(question).to_contain_text("Ольга Иванова answered meanwhile")
    expect(question.locator("blockquote")).to_have_text("Будет завтра")
    expect(box).to_have_value("Ваш заказ едет")
    question.get_by_role("button", name="Keep as draft").click()
    expect(question).to_be_hidden()
    expect(box).to_be_focused()
    box.press("Control+Enter")  # the colleague's words have been read
    expect(desk.locator("#messages")).to_contain_text("Ваш заказ едет")
    assert sorted(Message.objects.filter(direction="outbound").values_list("text", flat=True)) == [
        "Будет завтра",
        "Ваш заказ едет",
    ]


def test_a_question_about_a_crossing_reply_takes_no_keys_of_the_typing(desk: Page, chat: Conversation) -> None:
    box, question = desk.locator("#text"), desk.locator("#meanwhile")
    box.press_sequentially("Едет")
    olga = type(boris()).objects.get(username="olga")
    reply_submission.submit_reply(conversation_id=chat.pk, text="Будет завтра", author=olga)
    sends = Held(desk, "**/send/")
    box.press("Control+Enter")
    sends.wait()
    desk.keyboard.type("И")
    sends.end()
    expect(question).to_be_visible()
    desk.keyboard.type(" ещё")

    expect(box).to_have_value("Едет\nИ ещё")
    expect(question).to_be_visible()
    assert Message.objects.filter(direction="outbound").get().text == "Будет завтра"


def test_a_stopped_template_is_sent_from_its_own_panel_only(desk: Page, chat: Conversation) -> None:
    for name in ("first", "second"):
        TemplateFactory(api_channel=chat.api_channel, name=name, body=f"Words of the {name}")
    move_windows_back(timedelta(hours=30))
    open_chat(desk, chat)
    question, send = desk.locator("#meanwhile"), desk.locator("#template_panel [data-go]")
    desk.locator(".offer", has_text="first").click()
    expect(send).to_be_enabled()
    olga = type(boris()).objects.get(username="olga")
    MessageFactory(conversation=chat, outbound=True, author=olga, text="Будет завтра")
    address = f"**{desk.locator('[data-panel]').get_attribute('data-panel')}"
    desk.route(address, lambda route: route.abort())  # the stopped template cannot be shown again

    send.click()
    expect(question).to_contain_text("Ольга Иванова answered meanwhile")
    question.get_by_role("button", name="Send anyway").click()
    expect(desk.locator("#refusal")).to_contain_text("Couldn’t reach the server")
    desk.locator(".offer", has_text="second").click()
    expect(desk.locator("#template_panel .sheet-bubble")).to_contain_text("Words of the second")
    expect(send).to_be_enabled()
    assert outbound_texts() == ["Будет завтра"]


def test_a_note_saved_after_leaving_its_chat_is_not_shown_as_a_draft(desk: Page, chat: Conversation) -> None:
    other = writes(chat.api_channel, "Вера Лис", "Алло")
    saves = Held(desk, "**/notes/")
    desk.locator("[data-compose=note]").click()
    desk.locator("#note-text").fill("Позвонить")
    desk.locator("#note-text").press("Control+Enter")
    saves.wait()
    desk.locator(f'.row[data-chat="{other.pk}"]').click()
    expect(desk.locator("#note-form [name=for_chat]")).to_have_value(str(other.pk))
    with desk.expect_response("**/notes/"):
        saves.end()
    desk.go_back()

    expect(desk.locator("#note-form [name=for_chat]")).to_have_value(str(chat.pk))
    expect(desk.locator("#note-text")).to_have_value("")
    assert ConversationNote.objects.get().text == "Позвонить"
