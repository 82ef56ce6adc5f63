"""Snooze menu, macros and quick replies of one's own in Chromium: by mouse, by keyboard, and from the palette."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from bridge.automation import runs
from bridge.desk.live import presence
from bridge.models import Conversation, Macro, Message, Ticket
from channels_setup.models import ApiChannel
from tests.browser.test_desk import sign_in
from tests.factories import boris
from tests.scenarios.sending import client_writes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Анна", "Где мой заказ?")


@pytest.fixture
def desk(context: BrowserContext, page: Page, chat: Conversation) -> Page:
    presence.store.client.flushdb()
    sign_in(context, boris(chat.chat_channel))
    page.goto(f"/chats/{chat.pk}/?tab=waiting")
    return page


def test_a_chat_is_snoozed_and_woken_from_its_menu_and_the_palette(desk: Page, channel: ApiChannel) -> None:
    row = desk.locator("#list").get_by_role("link", name=re.compile("Анна"))
    expect(row).to_be_visible()
    desk.evaluate("document.activeElement.blur()")  # keys do not fire in the composer
    desk.keyboard.press("z")
    expect(desk.get_by_role("button", name="In 3 hours")).to_be_focused()
    desk.get_by_role("button", name="Until the client writes").click()

    expect(desk.locator("#snooze-menu")).to_contain_text("Snoozed")
    expect(desk.locator("#messages")).to_contain_text("Snoozed until")
    expect(row).to_have_count(0)
    client_writes(channel, "Анна", "Ау?")
    runs.run_automation()
    expect(row).to_be_visible()
    expect(desk.locator("#messages")).to_contain_text("The client wrote, so the snooze ended")

    desk.keyboard.press("Control+k")
    desk.keyboard.type("snooze in 3")
    desk.get_by_role("option", name="Snooze: In 3 hours").click()
    expect(desk.locator("#snooze-menu")).to_contain_text("Snoozed")
    desk.locator("#snooze-menu").click()
    desk.get_by_role("button", name="Wake now").click()
    expect(desk.locator("#snooze-menu")).not_to_contain_text("Snoozed")


def test_a_macro_is_made_and_run_from_the_list_of_quick_replies(desk: Page, chat: Conversation) -> None:
    desk.goto("/desk/replies/macro/")
    desk.get_by_label("name", exact=False).first.fill("Shipped")
    desk.locator("[name=reply_text]").fill("{first name}, it is on its way.")
    desk.locator("[name=add_tags]").fill("delivery")
    desk.locator("[name=status]").select_option(label="pending")
    desk.get_by_role("button", name="Save").click()
    expect(desk.get_by_text("Add tags: delivery")).to_be_visible()

    desk.goto(f"/chats/{chat.pk}/")
    desk.locator("#text").press("/")
    desk.locator("#template_panel").get_by_role("button", name="Shipped").click()
    expect(desk.locator("#messages")).to_contain_text("Анна, it is on its way.")
    expect(desk.locator("#messages")).to_contain_text("Macro “Shipped”")
    expect(desk.locator("#template_panel .tp")).to_have_count(0)
    assert Ticket.objects.get().tags == ["delivery"]

    Macro.objects.update(reply_text="", add_tags=[str(number) for number in range(200)])
    desk.reload()
    desk.evaluate("document.activeElement.blur()")
    desk.keyboard.press("x")
    desk.get_by_role("button", name="Shipped").click()
    expect(desk.locator("#refusal")).to_contain_text("tags")
    assert Message.objects.filter(direction="outbound").count() == 1
