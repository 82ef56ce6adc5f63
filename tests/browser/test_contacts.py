"""Contacts in Chromium: write first, see an opt-out, and import a file."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from bridge.models import Contact, Conversation, Message
from channels_setup.models import ApiChannel
from tests.browser.test_desk import sign_in
from tests.factories import ApiChannelFactory, TemplateFactory, boris, vera

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def channel() -> ApiChannel:
    channel = ApiChannelFactory(name="Магазин")
    ApiChannelFactory(name="Acebot", kind="acebot", watched=channel.default_chat_channel)
    TemplateFactory(api_channel=channel, name="order_ready", body="Заказ {{1}} готов.", examples=("42",))
    return channel


def test_an_operator_writes_first_and_records_an_opt_out(
    context: BrowserContext, page: Page, channel: ApiChannel
) -> None:
    sign_in(context, boris(channel.default_chat_channel))  # type: ignore[arg-type]
    page.goto("/contacts/")
    page.locator(".contact-actions .main").click()
    expect(page.locator(".choice.off")).to_contain_text("Acebot")
    page.locator("#new-phone").fill("12")
    page.locator("[name=fill]").click()
    expect(page.locator("#new-phone-wrong")).to_be_visible()
    page.locator("#new-phone").fill("8 921 555-01-04")
    page.locator("[name=template]").select_option(index=1)
    page.locator("[name=consent][value=website]").check()
    page.locator("[name=fill]").press("Enter")
    page.locator('textarea[name^="v."]').fill("42")
    expect(page.locator("[data-part=bubble]")).to_contain_text("Заказ 42 готов.")
    page.locator("[data-go]").dblclick()
    expect(page.locator("#messages")).to_contain_text("Заказ 42 готов.")
    assert Message.objects.filter(direction="outbound").count() == 1 and Conversation.objects.count() == 1

    page.goto("/contacts/new-chat/")
    page.locator("#new-phone").press_sequentially("+79215550104")
    expect(page.locator("#new-phone-known a")).to_have_attribute("href", f"/chats/{Conversation.objects.get().pk}/")
    page.locator("#new-phone-known a").click()
    page.locator("#opt-out").click()
    page.locator("#client .consent-form [name=note]").first.fill("попросил по телефону")
    page.locator("#client .consent-form button").first.click()
    expect(page.locator(".opt-out-chip")).to_be_visible()
    expect(page.locator("#client .opted-out")).to_contain_text("попросил по телефону")


def test_a_file_is_checked_and_imported(context: BrowserContext, page: Page, channel: ApiChannel) -> None:
    sign_in(context, vera())
    page.goto("/contacts/import/")
    page.locator("[name=channel]").select_option(label="Магазин")
    table = "Телефон;Имя\n" + "".join(f"+7921{number:07d};Анна {number}\n" for number in range(450)) + "12;Борис\n"
    page.locator("[name=file]").set_input_files({"name": "база.csv", "mimeType": "text/csv", "buffer": table.encode()})
    page.locator(".contact-form .main").click()
    expect(page.locator(".import-counts")).to_contain_text("450")
    expect(page.locator(".import-list")).to_contain_text("451")
    page.locator("[name=consent]").select_option("contract")
    page.locator("[name=apply]").click()
    expect(page.locator("a[href$='refused.csv']")).to_be_visible()
    assert Contact.objects.count() == 450
    page.goto("/contacts/?q=Анна")
    expect(page.locator("tbody tr")).to_have_count(50)
