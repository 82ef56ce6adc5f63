"""Contacts in Chromium: write first, see an opt-out, and import a file."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from bridge.models import Contact, ContactField, Conversation, Message
from channels_setup.models import ApiChannel
from tests.browser.test_desk import sign_in, writes
from tests.factories import ApiChannelFactory, ContactFactory, TemplateFactory, boris, vera

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
    expect(page.locator('textarea[name^="v."]')).to_be_focused()
    page.keyboard.type("42")
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
    page.locator("#client .consent-form [name=note]").first.press("Enter")
    expect(page.locator(".opt-out-chip")).to_be_visible()
    expect(page.locator("#give-consent")).to_be_focused()
    expect(page.locator("#client .opted-out")).to_contain_text("попросил по телефону")


def test_a_file_is_checked_and_imported(context: BrowserContext, page: Page, channel: ApiChannel) -> None:
    sign_in(context, vera())
    page.goto("/contacts/import/")
    page.locator("[name=channel]").select_option(label="Магазин")
    table = "Телефон;Имя\n" + "".join(f"+7921{number:07d};Анна {number}\n" for number in range(450)) + "12;Борис\n"
    expect(page.locator(".file-field")).to_contain_text("Choose a fileNo file chosen")  # not in the browser's language
    page.locator("[name=file]").set_input_files({"name": "база.csv", "mimeType": "text/csv", "buffer": table.encode()})
    page.locator(".contact-form .main").click()
    expect(page.locator(".import-counts")).to_contain_text("450")
    expect(page.locator(".import-list")).to_contain_text("451")
    page.locator("[name=apply]").click()
    expect(page.locator("[name=consent]")).to_be_focused()
    expect(page.locator("#import-wrong")).to_be_in_viewport()
    page.locator("[name=consent]").select_option("contract")
    page.locator("[name=apply]").click()
    expect(page.locator("a[href$='refused.csv']")).to_be_visible()
    assert Contact.objects.count() == 450
    page.goto("/contacts/")
    page.locator("[name=q]").fill("Анна")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(50)
    expect(page).to_have_url(re.compile("q="))
    expect(page.locator("[name=q]")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("tbody tr").first.locator("button")).to_be_focused()
    page.go_back()
    page.go_back()
    page.locator("#undo-import").click()
    page.locator("[name=undo]").click()
    expect(page.locator(".contact-form .notice[role=status]")).to_contain_text("450")
    assert not Contact.objects.exists()
    page.goto("/contacts/import/")
    expect(page.locator(".import-list")).to_contain_text("база.csv")


def test_contacts_are_live_and_keep_their_place(context: BrowserContext, page: Page, channel: ApiChannel) -> None:
    contacts = ContactFactory.create_batch(60, api_channel=channel)
    sign_in(context, boris(channel.default_chat_channel))  # type: ignore[arg-type]
    page.clock.install()
    page.goto("/contacts/")
    expect(page.locator("tbody tr")).to_have_count(50)
    row = page.locator(f"tr[data-contact='{contacts[-1].pk}']")
    page.clock.run_for(4_000)  # the first poll has answered
    writes(channel, "Новая Анна", "Здравствуйте")
    Contact.objects.filter(pk=contacts[-1].pk).update(name="Другое имя")
    # As erased and merged ones, they are no longer listed. An older contact moves up instead.
    Contact.objects.filter(pk__in=[contacts[-3].pk, contacts[-4].pk]).delete()

    for _second in range(40):
        page.clock.run_for(1_000)
        if row.inner_text().startswith("Другое имя"):
            break

    expect(row).to_contain_text("Другое имя")
    expect(page.locator("#new-contacts b")).to_have_text("1")
    expect(page.locator("tbody tr")).to_have_count(48)
    expect(page.locator(f"tr[data-contact='{contacts[-3].pk}']")).to_have_count(0)
    expect(page.locator("tbody")).not_to_contain_text("Новая Анна")
    page.locator("#new-contacts button").click()
    expect(page.locator("tbody tr").first).to_contain_text("Новая Анна")


def test_an_operator_fills_in_own_fields(context: BrowserContext, page: Page, channel: ApiChannel) -> None:
    size, plan = ContactField.objects.create(name="Shoe size"), ContactField(name="Plan", kind="choice", choices="A\nB")
    plan.save()
    chat = writes(channel, "Анна", "Здравствуйте")
    sign_in(context, boris(channel.default_chat_channel))  # type: ignore[arg-type]
    page.goto(f"/chats/{chat.pk}/")
    page.locator("#edit-client").click()
    page.locator(f"#client [name=field_{size.pk}]").fill("38")
    page.locator(f"#client [name=field_{plan.pk}]").select_option("B")
    page.locator(f"#client [name=field_{size.pk}]").press("Enter")
    expect(page.locator("#client dl").first).to_contain_text("38")
    expect(page.locator("#client .history")).to_contain_text("Plan: B")


def test_what_is_written_on_an_earlier_page_is_shown(context: BrowserContext, page: Page, channel: ApiChannel) -> None:
    chat = writes(channel, "Анна", "Самое начало")
    for number in range(80):
        writes(channel, "Анна", f"Вопрос {number}.")
    first = Message.objects.earliest("pk")
    sign_in(context, boris(channel.default_chat_channel))  # type: ignore[arg-type]

    page.goto(f"/chats/{chat.pk}/?at={first.pk}")
    expect(page.locator("#messages")).to_have_attribute("data-not-newest", "")
    page.locator("#text").fill("Ответ со старой страницы")
    page.locator("#text").press("Control+Enter")
    expect(page.locator("#messages")).to_contain_text("Ответ со старой страницы")
    expect(page.locator("#messages .bubble").last).to_be_in_viewport()

    page.goto(f"/chats/{chat.pk}/?at={first.pk}&mode=note")
    page.locator("#note-text").fill("Заметка со старой страницы")
    page.locator("#note-text").press("Control+Enter")
    expect(page.locator("#messages")).to_contain_text("Заметка со старой страницы")
