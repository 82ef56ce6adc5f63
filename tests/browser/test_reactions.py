"""Reactions in Chromium: by mouse and keyboard, shown at once, changed, removed, refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from bridge.conversations import reactions
from bridge.models import Message
from bridge.outbox import dispatcher
from channels_setup.models import ApiChannel
from tests.browser.holding import Held
from tests.browser.test_desk import open_chat, sign_in
from tests.factories import boris
from tests.scenarios.sending import move_windows_back, receive_text

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def question(channel: ApiChannel) -> Message:
    return receive_text(channel, "Где мой заказ?", name="Анна Соколова", external_id="m1").message


@pytest.fixture
def desk(context: BrowserContext, page: Page, question: Message) -> Page:
    sign_in(context, boris(question.conversation.chat_channel))
    open_chat(page, question.conversation)
    return page


def test_a_reaction_is_set_changed_and_removed(desk: Page, question: Message) -> None:
    bubble, picker = desk.locator(f"#m{question.pk}"), desk.locator("#reaction-picker")
    own = bubble.locator(".reactions .ours")
    bubble.hover()
    posts = Held(desk, "**/reaction/")
    bubble.locator("[data-react]").click()
    expect(picker).to_be_visible()
    expect(picker.get_by_role("button", name="Thumbs up")).to_be_focused()
    desk.keyboard.press("ArrowRight")
    desk.keyboard.press("ArrowLeft")
    desk.keyboard.press("Enter")
    expect(picker).to_be_hidden()
    expect(own).to_have_text("👍")  # before the server has it
    expect(bubble.locator("[data-react]")).to_be_focused()
    posts.wait()
    posts.end()
    expect(own).to_contain_text("being sent")
    dispatcher.send_due_deliveries()
    expect(own).not_to_contain_text("being sent")
    expect(own.locator(".reactor")).to_have_text("boris")

    bubble.locator("[data-react]").press("Enter")  # by keyboard: another one, found by its name
    expect(picker.get_by_role("button", name="Thumbs up")).to_have_attribute("aria-pressed", "true")
    picker.get_by_role("button", name="All emoji").press("Enter")
    expect(picker.locator("input")).to_be_focused()
    desk.set_viewport_size({"width": 390, "height": 420})  # as the keyboard of a phone does
    expect(picker.locator("input")).to_be_in_viewport()
    desk.set_viewport_size({"width": 1280, "height": 720})
    desk.keyboard.type("подарок")
    expect(picker.locator(".emoji-grid button")).to_have_count(1)
    with desk.expect_response("**/reaction/"):
        desk.keyboard.press("Enter")
    expect(own).to_contain_text("🎁")
    dispatcher.send_due_deliveries()
    expect(own).not_to_contain_text("being sent")

    own.click()  # a click on one's own chip opens the picker, too
    with desk.expect_response("**/reaction/"):
        picker.get_by_role("button", name="Remove the reaction").click()
    expect(bubble.locator(".reactions")).to_have_count(0)
    dispatcher.send_due_deliveries()
    question.refresh_from_db()
    assert question.reactions == []
    found = reactions.OurReaction.of_message(question)
    assert found and found.state == "sent" and found.emoji == ""
    bubble.locator("[data-react]").press("Enter")
    desk.keyboard.press("Escape")
    expect(picker).to_be_hidden()
    expect(bubble.locator("[data-react]")).to_be_focused()
    assert desk.locator("#text").input_value() == ""


def test_a_refused_reaction_is_taken_back_and_told(desk: Page, question: Message) -> None:
    bubble = desk.locator(f"#m{question.pk}")
    posts = Held(desk, "**/reaction/")
    bubble.hover()
    bubble.locator("[data-react]").click()
    desk.locator("#reaction-picker [data-sign='❤️']").first.click()
    posts.wait()
    posts.fail()
    expect(desk.locator("#refusal")).to_contain_text("Couldn’t reach the server")
    expect(bubble.locator(".reactions")).to_have_count(0)

    bubble.locator("[data-react]").click()
    desk.locator("#reaction-picker [data-sign='❤️']").first.click()
    posts.wait()
    move_windows_back(timedelta(days=2))
    posts.end()
    expect(desk.locator("#refusal")).to_contain_text("You can react again after the client writes")
    expect(bubble.locator("[data-react]")).to_be_hidden()  # with the closed window
    assert Message.objects.get(pk=question.pk).reactions == []
