"""Channel setup in Chromium, from the empty start page to the provider's confirmation."""

import re
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from bridge.models import WebhookEvent
from channels_setup.models import ApiChannel, ChatChannel, Handover
from tests.factories import ApiChannelFactory, ConversationFactory, DeliveryFactory, MessageFactory, vera

pytestmark = pytest.mark.django_db(transaction=True)


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


@pytest.fixture
def vera_page(context: BrowserContext, live_server: object) -> Page:
    client = Client()
    client.force_login(vera())
    session = {"name": settings.SESSION_COOKIE_NAME, "value": client.cookies[settings.SESSION_COOKIE_NAME].value}
    context.add_cookies([{**session, "url": str(live_server)}])  # type: ignore[list-item]  # a plain cookie
    return context.new_page()


def press_button(page: Page, action: str) -> None:
    page.locator(f'form[action$="/{action}/"] button').click()


def test_an_admin_sets_up_a_channel_as_the_guide_says(vera_page: Page, browser: Browser, live_server: object) -> None:
    page = vera_page

    # 1. a chat channel, and its number
    page.goto("/")
    page.locator(".checklist li.now a").click()
    page.locator("[name=name]").fill("Магазин на Лиговском")
    page.locator("[name=_save]").click()
    page.locator("[data-copy]").first.wait_for()
    shop = ChatChannel.objects.get()
    assert page.locator("[data-copy]").first.get_attribute("data-copy") == str(shop.pk)

    # 2.-4. the API channel in four blocks; the watched channel is moved to the right by hand
    page.goto("/")
    page.locator(".checklist li.now a").click()
    page.locator("[name=name]").fill("WhatsApp")
    page.locator("[name=kind]").select_option("acebot")
    page.locator("[name=redirect_url]").fill("http://127.0.0.1:8080/hook")
    page.locator("#id_watched_remove_all").click()
    page.locator("[name=_save]").click()
    expect(page.locator(".errorlist, .field-watched").first).to_be_visible()
    assert not ApiChannel.objects.exists()
    page.locator("#id_watched_from option").first.dblclick()
    page.locator("[name=_save]").click()

    # the key is shown in full, once
    fresh = page.locator("#fresh-key")
    expect(fresh).to_be_visible()
    channel = ApiChannel.objects.get()
    key = channel.current_secret().reveal()  # type: ignore[union-attr]  # issued on save
    expect(fresh).to_contain_text(key)
    assert list(channel.watched.all()) == [shop]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    fresh.locator(f'[data-copy="{key}"]').click()
    assert page.evaluate("navigator.clipboard.readText()") == key
    page.reload()
    expect(page.locator("#fresh-key")).to_have_count(0)
    assert key not in page.content()

    # 5. the handover page, opened by the provider in another browser
    press_button(page, "hand-over")
    link = page.locator(".shown-once code").inner_text()
    stranger = browser.new_context(base_url=str(live_server), locale="en-GB")
    theirs = stranger.new_page()
    theirs.goto(re.sub(r"^https?://[^/]+", "", link))
    assert key not in theirs.content()
    theirs.locator("button[value=open]").click()
    expect(theirs.locator("main")).to_contain_text(key)
    theirs.locator("button[value=confirm]").click()
    theirs.locator("#confirm .notice").wait_for()
    stranger.close()
    assert Handover.objects.get().stage == "confirmed"

    # the page shows the progress
    page.goto(f"/admin/channels_setup/apichannel/{channel.pk}/change/")
    expect(page.locator(".steps li.now")).to_have_count(1)
    expect(page.locator(".pill.waiting")).to_be_visible()


def test_a_dead_delivery_is_resent_with_a_button(vera_page: Page) -> None:
    delivery = DeliveryFactory(state="dead", reason="rejected")

    vera_page.goto(f"/admin/bridge/delivery/{delivery.pk}/change/")
    press_button(vera_page, "resend")

    expect(vera_page.locator(".pill.pending")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1440, "dark")])
def test_no_page_is_wider_than_the_screen(vera_page: Page, width: int, scheme: str) -> None:
    channel = ApiChannelFactory(
        kind="acebot",
        redirect_url=f"http://127.0.0.1:8080/{'long/' * 20}",
        secret=True,
        name="WhatsApp, " + "магазин " * 8,
    )
    chat = ConversationFactory(api_channel=channel)
    dead = DeliveryFactory(
        message=MessageFactory(conversation=chat, outbound=True), state="dead", reason="retries_exhausted"
    )
    event = WebhookEvent.objects.create(
        api_channel=channel, endpoint="webhook", body=b"x" * 3000, state="failed", error="Unknown " * 30
    )
    vera_page.set_viewport_size({"width": width, "height": 900})
    vera_page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two
    addresses = [
        "/",
        "/admin/channels_setup/apichannel/",
        "/admin/channels_setup/apichannel/add/",
        f"/admin/channels_setup/apichannel/{channel.pk}/change/",
        f"/admin/channels_setup/chatchannel/{chat.chat_channel_id}/change/",
        "/admin/bridge/delivery/",
        f"/admin/bridge/delivery/{dead.pk}/change/",
        f"/admin/bridge/webhookevent/{event.pk}/change/",
        f"/admin/bridge/conversation/{chat.pk}/change/",
    ]

    wide = []
    for address in addresses:
        vera_page.goto(address)
        if vera_page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(address)

    assert wide == []
