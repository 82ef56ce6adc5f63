"""Template form in Chromium: the preview, the problems and the rows follow the typing."""

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import BrowserContext, Page, expect

from templates_registry.models import Template
from tests.factories import ApiChannelFactory, vera

pytestmark = pytest.mark.django_db(transaction=True)


def come_in(context: BrowserContext, live_server: object) -> None:
    client = Client()
    client.force_login(vera())
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    english = {"name": "django_language", "value": "en", "url": str(live_server)}
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": str(live_server)}, english])


def test_preview_problems_and_rows_follow_the_typing(page: Page, context: BrowserContext, live_server: object) -> None:
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    ApiChannelFactory()
    come_in(context, live_server)

    page.goto("/admin/templates_registry/template/add/")
    page.fill("[name=name]", "order_ready")
    page.locator("[name=body]").press_sequentially("Ваш *заказ* {{1}} готов <b>")

    expect(page.locator(".bubble .body strong")).to_have_text("заказ")
    expect(page.locator(".bubble .body")).to_contain_text("{{1}} готов <b>")

    page.fill("[name=variables-0-example]", "№ 42")
    expect(page.locator(".bubble .body")).to_contain_text("№ 42")

    page.select_option("[name=buttons-0-kind]", "QUICK_REPLY")
    page.locator("[name=buttons-0-text]").press_sequentially("Отложить до завтра", delay=20)
    expect(page.locator(".bubble-button")).to_have_text("Отложить до завтра")
    expect(page.locator("[name=buttons-0-text]")).to_be_focused()
    expect(page.locator("[name=buttons-1-kind]")).to_be_visible()

    page.locator("[name=body]").press_sequentially(" и {{3}} ещё")
    expect(page.locator("[data-region=at-body]")).to_contain_text("{{2}}")
    page.fill("[name=body]", "Ваш заказ {{1}} готов к выдаче.")
    expect(page.locator("[data-region=at-body]")).to_be_empty()

    page.locator("[name=_save]").click()
    expect(page.locator(".template-head .pill")).to_have_text("draft")
    assert Template.objects.get().definition.buttons[0].text == "Отложить до завтра"
    assert trouble == []
