"""API documentation page in Chromium, under the content security policy."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.factories import ConversationFactory, token_of, vera


@pytest.mark.django_db(transaction=True)
def test_the_api_viewer_makes_a_call_without_external_requests(page: Page) -> None:
    chat = ConversationFactory()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: complaints.append(request.url))

    page.goto("/api/docs/")
    page.locator(".btn.authorize").first.click()
    token = page.locator(".auth-container", has_text="tokenAuth")
    token.locator("input").fill(token_of(vera())["authorization"])
    token.locator(".btn.authorize").click()
    page.locator(".btn-done").first.click()
    call = page.locator("#operations-conversations-conversations_list")
    call.locator(".opblock-summary-control").click()
    call.locator(".try-out__btn").click()
    call.locator(".execute").click()

    expect(call.locator(".live-responses-table")).to_contain_text(chat.contact.phone)
    assert complaints == []
