"""Accessibility of the narrow desk and the admin, light and dark: axe-core finds nothing serious.

``test_layout.py`` runs axe on all other pages and states.

``axe.min.js`` is axe-core 4.12.1 by Deque Systems under MPL 2.0, unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page

from bridge.conversations import tickets
from bridge.models import CannedResponse, Contact, ContactNote, Conversation, Message, Ticket
from tests.browser.test_desk import answers, sign_in, writes
from tests.factories import ApiChannelFactory, TemplateFactory, boris, vera

pytestmark = pytest.mark.django_db(transaction=True)

AXE = (Path(__file__).parent / "axe.min.js").read_text()
SERIOUS = ("serious", "critical")
COLORS = "() => getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color"


@pytest.fixture
def chat(tmp_path: Path, settings: Any) -> Conversation:
    """Create a chat with everything that a chat can show."""
    settings.MEDIA_ROOT = tmp_path
    channel = ApiChannelFactory(name="Магазин")
    chat = writes(channel, "Анна Соколова", "Где мой заказ?")
    boris(chat.chat_channel)
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED)
    writes(channel, "Анна Соколова", "И *ещё* вопрос: https://example.com/a")
    asked = Message.objects.latest("pk")
    answer = answers(chat, "Едет", status=Message.Status.READ)
    Message.objects.filter(pk=answer.pk).update(quoted=asked, reactions=[{"by": "client", "emoji": "👍"}])
    failed = answers(chat, "Не ушло", status=Message.Status.FAILED, reason="rejected")
    Message.objects.filter(pk=failed.pk).update(shown={"edited_at": timezone.now().isoformat(), "former": ["Было"]})
    asked.attachments.create(name="чек.pdf", url="https://example.com/a.pdf")
    asked.attachments.create(name="голос.ogg", state="waiting")
    ContactNote.objects.create(contact=chat.contact, author=boris(), text="Забирает сама")
    Contact.objects.update(tags=["постоянный"])
    CannedResponse.objects.create(name="адрес", text="Лиговский, 50")
    TemplateFactory(api_channel=channel, name="order_ready")
    return chat


def findings(page: Page, *, only: str = "") -> list[str]:
    """List the serious violations on the current page. ``only``: check a single rule."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE)
    # ``.selector`` is Django's filter_horizontal widget; its help icons have a name where none is allowed.
    found = page.evaluate(
        """(only) => axe.run({ exclude: ['.selector'] },
                             { resultTypes: ['violations'], ...(only && { runOnly: only }) })""",
        only,
    )
    return [
        f"{rule['id']}: {node['html'][:160]}"
        for rule in found["violations"]
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


def look(page: Page, path: str, *, do: Callable[[Page], None] | None = None) -> None:
    """Check the page as it opens, and after ``do``, in both themes. In the dark theme, only colors differ."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(path)
    _look_at_both(page, path)
    if do:
        do(page)
        _look_at_both(page, f"{path}, opened")


def _look_at_both(page: Page, what: str) -> None:
    """Check both themes. The desk follows a change of the system's theme; the admin reads it when a page loads."""
    assert findings(page) == [], f"{what}, light"
    light = page.evaluate(COLORS)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    if what.startswith("/admin/"):
        page.goto(what)
    page.wait_for_function(f"(light) => ({COLORS})() !== light", arg=light)
    assert findings(page, only="color-contrast") == [], f"{what}, dark"
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    if not what.startswith("/admin/"):
        page.wait_for_function(f"(light) => ({COLORS})() === light", arg=light)


def test_a_narrow_desk_has_no_serious_finding(page: Page, context: BrowserContext, chat: Conversation) -> None:
    sign_in(context, boris())
    page.set_viewport_size({"width": 390, "height": 800})
    look(page, "/chats/")
    look(page, f"/chats/{chat.pk}/", do=lambda page: page.locator(".to-client").click())


def test_a_page_with_an_error_is_detected(page: Page, live_server: object) -> None:
    page.goto("/login/")
    page.evaluate("() => { const button = document.createElement('button'); document.body.append(button); }")

    assert any(found.startswith("button-name") for found in findings(page))


ADMIN = ("", "channels_setup/apichannel/", "channels_setup/apichannel/add/", "channels_setup/chatchannel/add/")
ADMIN += ("templates_registry/template/", "bridge/message/", "bridge/delivery/", "bridge/deadletter/")
ADMIN += ("accounts/user/", "accounts/user/add/", "accounts/serviceaccount/add/", "accounts/apitoken/add/")
ADMIN += ("channels_setup/team/add/", "audit/auditrecord/", "bridge/erasure/")


@pytest.mark.parametrize("path", ADMIN)
def test_the_admin_has_no_serious_finding(page: Page, context: BrowserContext, chat: Conversation, path: str) -> None:
    sign_in(context, vera())
    look(page, f"/admin/{path}")
