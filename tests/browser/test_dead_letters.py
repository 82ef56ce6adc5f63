"""Dead letters in Chromium: the admin's list and preview, the operator's two buttons."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from bridge.models import Delivery, Message
from tests.browser.holding import Held
from tests.factories import (
    ApiChannelFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    ServiceWindowFactory,
    boris,
    vera,
)

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/bridge/deadletter/"


@pytest.fixture(autouse=True)
def complaints(context: BrowserContext) -> Iterator[list[str]]:
    """Yield script and policy errors of the pages."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: found.append(str(error.error)))
    yield found
    assert found == []


def page_of(context: BrowserContext, live_server: object, user: Any) -> Page:
    client = Client()
    client.force_login(user)
    session = {"name": settings.SESSION_COOKIE_NAME, "value": client.cookies[settings.SESSION_COOKIE_NAME].value}
    context.add_cookies([{**session, "url": str(live_server)}])  # type: ignore[list-item]  # a plain cookie
    return context.new_page()


def dead(*, is_open: bool = True, **more: Any) -> Delivery:
    conversation = ConversationFactory(api_channel=more.pop("api_channel", None) or ApiChannelFactory())
    if is_open:
        ServiceWindowFactory(conversation=conversation)
    status = more.pop("status", "failed")
    reason = more.pop("reason", "retries_exhausted")
    message = MessageFactory(conversation=conversation, outbound=True, status=status, reason=reason)
    return DeliveryFactory(message=message, **{"state": "dead", "reason": reason} | more)


def test_an_admin_previews_and_confirms_a_bulk_resend(context: BrowserContext, live_server: object) -> None:
    goes, stays, other = dead(), dead(is_open=False), dead()
    page = page_of(context, live_server, vera())

    page.goto(LIST)
    for letter in (goes, stays):
        page.locator(f"#result_list input[name=_selected_action][value='{letter.pk}']").check()
    page.locator("select[name=action]").select_option("resend")
    page.locator("button[name=index], button[type=submit][title], .actions button").first.click()

    expect(page.locator(".preview-counts li")).to_have_count(2)
    expect(page.locator(".preview-counts .good b")).to_have_text("1")
    assert set(Delivery.objects.values_list("state", flat=True)) == {"dead"}
    page.locator("form.button-row button.main").click()
    expect(page.locator(".preview-counts .good b")).to_have_text("1")
    expect(page.locator(".preview-counts .back b")).to_have_text("1")
    found = dict(Delivery.objects.values_list("pk", "state"))
    assert (found[goes.pk], found[stays.pk], found[other.pk]) == ("pending", "dead", "dead")

    page.locator(".button-row a.btn").click()
    expect(page.locator("#result_list .data-row")).to_have_count(2)


def test_an_admin_resends_all_deliveries_of_one_reason(context: BrowserContext, live_server: object) -> None:
    channel = ApiChannelFactory()
    for _ in range(3):
        dead(api_channel=channel)
    dead(api_channel=channel, reason="rejected")
    page = page_of(context, live_server, vera())

    page.goto(LIST)
    page.locator(".dead-groups a.btn").first.click()
    page.locator("form.button-row button.main").click()

    expect(page.locator(".preview-counts .good b")).to_have_text("3")
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["dead", "pending", "pending", "pending"]


def test_an_operator_decides_about_an_unknown_outcome(context: BrowserContext, live_server: object) -> None:
    letter = dead(state="unknown", reason="outcome_unknown", status="unknown")
    chat = letter.conversation
    page = page_of(context, live_server, boris(chat.chat_channel))

    page.goto(f"/chats/{chat.pk}/")
    buttons = page.locator(".trouble .button")
    expect(buttons).to_have_count(2)
    buttons.nth(1).click()

    expect(buttons).to_have_count(1)  # the thread is redrawn
    letter.refresh_from_db()
    assert (letter.state, letter.reason) == ("cancelled", "left_as_is")


def test_a_refusal_is_seen_if_the_message_changes_meanwhile(
    context: BrowserContext, live_server: object, complaints: list[str]
) -> None:
    letter = dead(state="unknown", reason="outcome_unknown", status="unknown")
    chat = letter.conversation
    page = page_of(context, live_server, boris(chat.chat_channel))
    page.goto(f"/chats/{chat.pk}/")
    held = Held(page, "**/accept-unknown/")
    page.locator(".trouble .button").nth(1).click()
    held.wait()

    Message.objects.filter(pk=letter.message_id).update(status="sent", reason="")
    MessageFactory(conversation=chat, text="Ау?")
    expect(page.locator("#messages")).to_contain_text("Ау?")
    held.routes.pop().fulfill(status=422, json={"sentence": "Already resolved.", "until": "action"})

    expect(page.locator("#refusal")).to_contain_text("Already resolved.")
    expect(page.locator(".trouble")).to_have_count(0)
    assert all("422" in complaint for complaint in complaints)
    complaints.clear()


def test_a_failed_message_leads_to_the_composers_templates(context: BrowserContext, live_server: object) -> None:
    letter = dead(is_open=False, state="cancelled", reason="window_closed_before_sending")
    page = page_of(context, live_server, boris(letter.conversation.chat_channel))

    page.goto(f"/chats/{letter.conversation_id}/")
    page.locator(".trouble [data-choose-template]").click()

    expect(page.locator("#template_panel > *").first).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(
    context: BrowserContext, live_server: object, width: int, scheme: str
) -> None:
    dead(api_channel=ApiChannelFactory(name="WhatsApp, " + "магазин " * 8))
    dead(is_open=False, reason="redirected")
    page = page_of(context, live_server, vera())
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two

    for address in (LIST, f"{LIST}bulk/resend/", f"{LIST}bulk/discard/", "/admin/bridge/mismatch/"):
        page.goto(address)
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), address
