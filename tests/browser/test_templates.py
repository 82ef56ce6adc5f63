"""Templates in Chromium: the live preview, and pasted text that is recognized and sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from playwright.sync_api import BrowserContext, Page, expect

from bridge.conversations import receiving
from bridge.models import Conversation, Draft, HeldReply, Message
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from templates_registry.models import Template
from tests.browser.holding import Held
from tests.factories import ApiChannelFactory, TemplateFactory, boris
from tests.scenarios.sending import move_windows_back

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory()


@pytest.fixture
def template(channel: ApiChannel) -> Template:
    template: Template = TemplateFactory(
        api_channel=channel,
        name="order_ready",
        body="Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче.",
        buttons=[{"type": "QUICK_REPLY", "text": "Как добраться"}],
        variables=[{"key": "1", "label": "Имя клиента"}, {"key": "2", "label": "Номер заказа"}],
    )
    return template


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    """Create Anna's chat with a closed window."""
    fact = MessageReceived(contact=ContactInfo(external_id="anna", name="Анна Соколова"), text="Где заказ?")
    made = receiving.receive_messages(
        channel, [receiving.IncomingMessage(fact=fact, chat_channel=channel.default_chat_channel)]
    )
    move_windows_back(timedelta(hours=25))
    return made[0].conversation


@pytest.fixture
def page(context: BrowserContext, channel: ApiChannel, live_server: object) -> Iterator[Page]:
    """Sign in as Boris. The page must not log errors."""
    client = Client()
    client.force_login(boris(*channel.watched.all()))
    context.add_cookies(
        [
            {"name": settings.SESSION_COOKIE_NAME, "value": client.cookies["sessionid"].value, "url": str(live_server)},
            {"name": settings.LANGUAGE_COOKIE_NAME, "value": "en", "url": str(live_server)},
        ]
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda problem: complaints.append(str(problem)))
    yield page
    # The browser also logs intended refusals of the server.
    assert [one for one in complaints if "422" not in one] == []


def paste(page: Page, text: str) -> None:
    page.locator("#text").fill(text)


def test_the_preview_follows_the_typing(page: Page, template: Template) -> None:
    page.goto("/templates/")
    page.locator("#search-templates").fill("выдаче")
    page.get_by_role("link", name="order_ready").click()

    page.get_by_label("Имя клиента").fill("[2] *Анна*")
    page.get_by_label("Номер заказа").fill("№ 42\tсрочно")

    bubble = page.locator(".wa-bubble")
    expect(bubble).to_contain_text("Здравствуйте, [2] Анна! Ваш заказ № 42")
    expect(bubble.locator("strong")).to_have_text("Анна")
    expect(page.locator(".wa-button")).to_have_text("Как добраться")
    expect(page.locator(".wrong")).to_contain_text("tab")
    page.get_by_label("Номер заказа").fill("№ 42")
    expect(page.locator(".wrong")).to_have_count(0)
    page.locator(".star").click()
    expect(page.locator(".starred")).to_have_count(1)


def test_from_the_template_to_a_chat(page: Page, template: Template, chat: Conversation) -> None:
    page.goto(f"/templates/{template.pk}/")
    page.get_by_label("Номер заказа").fill("№ 42")
    page.locator(".template-fill-actions .button.main").click()

    page.locator("[name=find]").fill("Соколова")
    page.locator("#chat-picks button").click()
    expect(page.locator(".wa-bubble")).to_contain_text("Здравствуйте, Анна! Ваш заказ № 42 готов")
    page.locator("[data-go]").click()

    expect(page.locator("#messages .msg.out .text")).to_have_text("Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче.")


def test_pasted_text_is_recognized_changed_in_a_field_and_sent(
    page: Page, template: Template, chat: Conversation
) -> None:
    page.goto(f"/chats/{chat.pk}/")
    paste(page, "Здравствуйте, Анна! Ваш заказ № 41 готов к выдаче.")
    expect(page.locator(".tp.good")).to_contain_text("order_ready")

    page.locator("#template_panel").get_by_label("Номер заказа").fill("№ 42")
    expect(page.locator("#text")).to_have_value("Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче.")
    expect(page.locator(".sheet-bubble mark").last).to_have_text("№ 42")
    page.keyboard.press("Control+Enter")

    expect(page.locator("#messages .msg.out .text")).to_have_text("Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче.")
    expect(page.locator("#text")).to_have_value("")
    expect(page.locator(".tp")).to_have_count(0)
    message = Message.objects.get(direction="outbound")
    assert message.template and message.template["parameters"] == ["Анна", "№ 42"]
    assert not Draft.objects.filter(conversation=chat).exists()


def recognized_in(page: Page, chat: Conversation) -> None:
    """Open the chat with a recognized template text in its composer."""
    page.goto(f"/chats/{chat.pk}/")
    paste(page, "Здравствуйте, Анна! Ваш заказ 55 готов к выдаче.")
    expect(page.locator('.tp[data-kind="recognized"]')).to_be_visible()


def test_sending_right_after_typing_sends_the_composers_text(
    page: Page, template: Template, chat: Conversation
) -> None:
    recognized_in(page, chat)

    paste(page, "Здравствуйте, Анна! Ваш заказ 56 готов к выдаче.")
    page.keyboard.press("Control+Enter")

    expect(page.locator("#messages .msg.out .text")).to_have_text("Здравствуйте, Анна! Ваш заказ 56 готов к выдаче.")


def test_text_that_no_longer_matches_is_not_sent_as_the_template(
    page: Page, template: Template, chat: Conversation
) -> None:
    recognized_in(page, chat)

    paste(page, "Заказ можно и обменять.")
    page.keyboard.press("Control+Enter")

    # The panel with its buttons replaces the notice.
    expect(page.locator('.tp[data-kind="notice"]')).to_contain_text("Choose one, or hold the text.")
    expect(page.locator("#text")).to_have_value("Заказ можно и обменять.")
    assert not Message.objects.filter(direction=Message.Direction.OUTBOUND).exists()


def test_a_near_miss_is_fixed_by_one_click(page: Page, template: Template, chat: Conversation) -> None:
    page.goto(f"/chats/{chat.pk}/")
    paste(page, "Здравствуйте, Анна! Ваш заказ № 42 готово к выдаче.")

    expect(page.locator(".diff ins")).to_have_text("готов")
    expect(page.locator(".diff del")).to_have_text("готово")
    page.locator("[data-take]").click()

    expect(page.locator(".tp.good")).to_be_visible()
    expect(page.locator("#text")).to_have_value("Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче.")
    page.locator("[data-go]").click()
    expect(page.locator("#messages .msg.out .text")).to_have_count(1)


def test_a_template_is_picked_by_keyboard_and_the_draft_stays(
    page: Page, template: Template, chat: Conversation
) -> None:
    page.goto(f"/chats/{chat.pk}/")
    paste(page, "Это потом")
    page.locator(".bar .pick-template").press("Enter")
    page.locator("[data-find]").fill("order")
    page.keyboard.press("Enter")

    expect(page.locator("#template_panel").get_by_label("Имя клиента")).to_have_value("Анна")
    expect(page.locator("#template_panel").get_by_label("Номер заказа")).to_be_focused()
    page.keyboard.type("№ 42")
    expect(page.locator("[data-go]")).to_be_enabled()
    page.keyboard.press("Control+Enter")

    expect(page.locator("#messages .msg.out .text")).to_have_count(1)
    expect(page.locator("#text")).to_have_value("Это потом")


def test_a_text_is_held_and_unheld(page: Page, chat: Conversation, channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, name="we_answered", body="Мы ответили. Напишите нам.")
    page.goto(f"/chats/{chat.pk}/")
    paste(page, "Поменяем завтра, курьер уже едет")
    page.keyboard.press("Control+Enter")
    page.locator('.tp [data-pick][href*="hold"]').click()
    page.locator(".tp-pick").click()
    page.locator("[data-go]").click()

    expect(page.locator(".msg.held .text")).to_have_text("Поменяем завтра, курьер уже едет")
    expect(page.locator("#text")).to_have_value("")
    page.locator(".msg.held button").click()

    expect(page.locator(".msg.held")).to_have_count(0)
    expect(page.locator("#text")).to_have_value("Поменяем завтра, курьер уже едет")
    assert HeldReply.objects.get().state == "dropped"


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_overflows_the_screen(page: Page, template: Template, chat: Conversation, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    for address in ("/templates/", f"/templates/{template.pk}/", f"/chats/{chat.pk}/templates/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


# --- a response that arrives when another chat is open ------------------------------------------------------


@pytest.fixture
def other(channel: ApiChannel, chat: Conversation) -> Conversation:
    """Create Boris Kim's chat with an open window."""
    fact = MessageReceived(contact=ContactInfo(external_id="kim", name="Борис Ким"), text="Добрый день")
    made = receiving.receive_messages(
        channel, [receiving.IncomingMessage(fact=fact, chat_channel=channel.default_chat_channel)]
    )
    return made[0].conversation


def move_to(page: Page, chat: Conversation) -> None:
    page.locator(f'.row[data-chat="{chat.pk}"]').click()
    expect(page.locator("#composer [name=for_chat]")).to_have_value(str(chat.pk))


FOR_ANNA = "Здравствуйте, Анна! Ваш заказ № 7 готов к выдаче."
FOR_KIM = "Здравствуйте, Борис! Ваш заказ № 8 готов к выдаче."


def test_a_late_field_response_does_not_change_another_chat(
    page: Page, template: Template, chat: Conversation, other: Conversation
) -> None:
    move_windows_back(timedelta(hours=25), conversation=other)
    Draft.objects.create(conversation=other, user=get_user_model().objects.get(), text=FOR_KIM)
    page.goto(f"/chats/{chat.pk}/")
    paste(page, FOR_ANNA)
    field = page.locator("#template_panel textarea").nth(1)
    expect(field).to_have_value("№ 7")
    held = Held(page, f"**/chats/{chat.pk}/templates/*/")
    field.fill("№ 777")
    held.wait()

    move_to(page, other)
    expect(page.locator("#template_panel textarea").nth(1)).to_have_value("№ 8")
    with page.expect_response(f"**/chats/{chat.pk}/templates/*/"):
        held.release()
    page.evaluate("() => new Promise((done) => setTimeout(done, 50))")

    expect(page.locator("#text")).to_have_value(FOR_KIM)
    held.end()


def test_a_shortcut_in_one_chat_never_sends_another_chats_text(
    page: Page, template: Template, chat: Conversation, other: Conversation
) -> None:
    Draft.objects.create(conversation=other, user=get_user_model().objects.get(), text="Ещё не дописа")
    page.goto(f"/chats/{chat.pk}/")
    paste(page, FOR_ANNA)
    expect(page.locator("#template_panel textarea").nth(1)).to_have_value("№ 7")
    held = Held(page, f"**/chats/{chat.pk}/templates/recognize/")
    page.locator("#text").press_sequentially(" Ждём")
    page.locator("#text").press("Control+Enter")
    held.wait()

    move_to(page, other)
    expect(page.locator("#text")).to_have_value("Ещё не дописа")
    while held.routes:
        held.release()
    page.evaluate("() => new Promise((done) => setTimeout(done, 200))")

    expect(page.locator("#text")).to_have_value("Ещё не дописа")
    assert not Message.objects.filter(direction="outbound").exists()
    held.end()
