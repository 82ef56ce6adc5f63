"""Template link page from a helpdesk note, on a phone and a computer: choose, fill in, check, send once."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from bridge.fanout import template_links
from bridge.models import Message
from channels_setup.models import ChatChannel
from tests.factories import ApiChannelFactory, ConversationFactory
from tests.scenarios.shape_templates import store_template
from tests.template_shapes import SHAPES

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("width", [320, 1280])
def test_a_carousel_is_filled_in_and_sent_without_signing_in(page: Page, width: int) -> None:
    outside = ChatChannel.objects.create(name="Юздеск", kind="usedesk", options={"language": "en"})
    chat = ConversationFactory(api_channel=ApiChannelFactory(kind="whatsapp_cloud", watched=outside))
    for name in ("media carousel", "text"):
        store_template(chat.api_channel, name)
    link = template_links.create_template_link(chat)
    page.context.clear_cookies()
    page.set_viewport_size({"width": width, "height": 800})

    page.goto("/send/" + template_links.build_link_url(link).partition("/send/")[2])
    page.get_by_role("link", name="media_carousel").click()
    for key, value in SHAPES["media carousel"].values.items():
        page.locator(f'textarea[name="v.{key}"]').fill(value)

    expect(page.locator(".wa-card").first).to_contain_text("Сапоги 38.")
    expect(page.locator(".wa-bubble")).to_contain_text("Заказ 42 готов.")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.locator("[data-go]").click()
    expect(page.get_by_role("status")).to_contain_text("Заказ 42 готов.")
    page.reload()
    assert Message.objects.filter(direction="outbound").count() == 1
