"""Client card in Chromium: edited in the client pane, with errors under their fields."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from playwright.sync_api import BrowserContext, Page, expect

from bridge.desk.live import presence
from bridge.models import Contact, ContactMerge, Conversation
from channels_setup.models import ApiChannel
from tests.browser.test_desk import sign_in
from tests.factories import boris
from tests.scenarios.merging import ANNA, ANYA, writes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    writes(channel, ANYA, "Hallo, wo ist meine Bestellung?", hours=2)
    return writes(channel, ANNA, "Здравствуйте, где мой заказ?", hours=1).conversation


@pytest.fixture
def desk(context: BrowserContext, page: Page, chat: Conversation) -> Page:
    presence.store.client.flushdb()
    user = boris(chat.chat_channel)
    user.user_permissions.add(Permission.objects.get(codename="merge_contact"))
    sign_in(context, user)
    page.goto(f"/chats/{chat.pk}/")
    return page


def test_a_client_card_is_edited_merged_and_unmerged(desk: Page, chat: Conversation) -> None:
    desk.locator("#edit-client").click()
    card = desk.locator("#client .card-form").first
    card.locator("[name=name]").fill("Анна Соколова")
    card.locator("[name=phone]").fill("12")
    card.get_by_role("button", name="Save").click()
    expect(card.locator("#wrong-phone")).to_contain_text("country code")
    expect(card.locator("[name=name]")).to_have_value("Анна Соколова")
    card.locator("[name=phone]").fill("+7 999 888-77-66")
    card.locator("[name=phone]").press("Enter")

    expect(desk.locator("#client h2")).to_have_text("Анна Соколова")
    expect(desk.locator("#client")).to_contain_text("Writes to")
    assert Contact.objects.get(pk=chat.contact_id).phone == "+79998887766"

    desk.get_by_role("link", name="Merge with another client…").click()
    desk.get_by_label("Find a client by name or phone").fill("4915112")
    desk.get_by_role("button", name="Find").click()
    desk.get_by_role("link", name="Anna S.").click()
    desk.get_by_label("Yes, these two clients are the same person").check()
    desk.get_by_role("button", name="Merge", exact=True).click()
    expect(desk.locator("#messages")).to_contain_text("From +49 1511 2345678")
    expect(desk.locator("#composer_notices")).to_contain_text("Replies go to +7 921 555-01-04")
    assert Conversation.objects.count() == 1

    desk.get_by_role("button", name="Undo the merge").click()
    expect(desk.locator("#messages")).not_to_contain_text("Hallo")
    assert ContactMerge.objects.get().undone_at and Conversation.objects.count() == 2
