"""Every page of the portal and every state of a chat, for the tests of layout and accessibility.

To add a page or a state, add a line to ``DESK``, ``PAGES`` or ``SIGNED_OUT``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bridge.conversations import tickets
from bridge.files import uploads
from bridge.maintenance import erasure
from bridge.models import (
    CannedResponse,
    Contact,
    ContactNote,
    Conversation,
    Message,
    SavedView,
    ServiceWindow,
    Ticket,
)
from channels_setup.models import ApiChannel, Team
from templates_registry.models import Template
from tests.browser.conftest import wait_for_quiet
from tests.browser.test_desk import answers, sign_in, writes
from tests.factories import ApiChannelFactory, TemplateFactory, boris, vera

LONG_NAME = "Александра Константинопольская-Преображенская Всеволодовна"
LONG_FILE = "договор_поставки_обуви_и_аксессуаров_редакция_от_28_ноября_2026_года_с_подписями_сторон_итог.pdf"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True, kw_only=True)
class World:
    """A shop with a chat in each state."""

    channel: ApiChannel
    open: Conversation
    expiring: Conversation
    closed: Conversation
    erased: Conversation
    template: Template
    shared: str  # path of a shared file


@dataclass(frozen=True, kw_only=True)
class Place:
    """A page, and what to do there before looking."""

    name: str
    path: Callable[[World], str] | str
    do: Callable[[Page], None] | None = None
    shown: str = "h1, h2"  # a selector that the page shows when it is ready
    status: int = 200

    def address(self, world: World) -> str:
        return self.path if isinstance(self.path, str) else self.path(world)


def build_world(media: Path, settings: Any) -> World:
    settings.MEDIA_ROOT = media
    channel = ApiChannelFactory(name="Магазин обуви на Лиговском, телефон для тренировки")
    chat = writes(channel, LONG_NAME, "Где мой заказ?")
    first = Message.objects.latest("pk")
    first.attachments.create(name="фото.png", mime="image/png", file=ContentFile(PIXEL, "фото.png"))
    user = boris(chat.chat_channel)
    team = Team.objects.create(name="Отдел по работе с возвратами и рекламациями")
    team.chat_channels.add(chat.chat_channel)
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED)
    writes(channel, LONG_NAME, "И *ещё* вопрос: https://example.com/" + "a" * 90)
    asked = Message.objects.latest("pk")
    writes(channel, LONG_NAME, "Коротко")
    answer = answers(chat, "Едет", status=Message.Status.READ)
    Message.objects.filter(pk=answer.pk).update(quoted=asked, reactions=[{"by": "client", "emoji": "👍"}])
    answers(chat, "Второй ответ подряд, подлиннее первого: курьер позвонит за час до доставки и всё расскажет.")
    failed = answers(chat, "Не ушло", status=Message.Status.FAILED, reason="rejected")
    Message.objects.filter(pk=failed.pk).update(shown={"edited_at": timezone.now().isoformat(), "former": ["Было"]})
    answers(chat, "Неизвестно, дошло ли", status=Message.Status.UNKNOWN, reason="timeout")
    asked.attachments.create(name=LONG_FILE, url="https://example.com/a.pdf")
    asked.attachments.create(name="голос.ogg", state="waiting")
    ContactNote.objects.create(contact=chat.contact, author=user, text="Забирает сама, звонить после шести")
    Contact.objects.update(tags=["постоянный", "оченьдлиннаяметкабезпробеловвсорокзнаков"])
    Conversation.objects.filter(pk=chat.pk).update(assignee=user)
    SavedView.objects.create(name="Моя подборка с довольно длинным названием", page="chats", owner=user)
    for page in ("chats", "requests"):
        SavedView.objects.create(name="ОбщаяПодборкаБезПробеловВНазвании", page=page, team=team, filters={"tag": "нет"})
        SavedView.objects.create(name="Закрыты", page=page, filters={"status": "3", "assignee": "me"})
    CannedResponse.objects.create(name="адрес", text="Лиговский, 50, вход со двора, домофон 12")
    template = TemplateFactory(
        api_channel=channel,
        name="delivery_address_is_needed_again",
        body="По заказу {{1}} нам не хватает адреса. Напишите, пожалуйста, {{2}}.",
    )
    TemplateFactory(api_channel=channel, name="order_ready", body="Заказ готов к выдаче.")
    expiring, closed, erased = (writes(channel, name, "Есть 38-й размер?") for name in ("Олег", "Ирина", "Стёрта"))
    _set_window(expiring, timedelta(minutes=18))
    _set_window(closed, timedelta(hours=-2))
    erasure.erase_person(erased.contact_id, by=vera())
    for number in range(4):
        writes(channel, f"Клиент {number}", "Здравствуйте! Сапоги «Нева» в наличии? " * 3)
    given = uploads.save_upload(chat, SimpleUploadedFile(LONG_FILE, b"%PDF-1"), author=user)
    shared = "/shared/" + uploads.build_share_link(given).rstrip("/").rsplit("/", 1)[-1] + "/"
    return World(
        channel=channel, open=chat, expiring=expiring, closed=closed, erased=erased, template=template, shared=shared
    )


def _set_window(chat: Conversation, left: timedelta) -> None:
    end = timezone.now() + left
    ServiceWindow.objects.filter(conversation=chat).update(opened_at=end - timedelta(hours=24), expires_at=end)


@contextmanager
def open_profile(
    browser: Browser, live_server: object, *, user: Any, language: str, dark: bool
) -> Iterator[BrowserContext]:
    """Yield a browser profile, signed in unless ``user`` is None."""
    context = browser.new_context(
        base_url=str(live_server),
        locale="ru-RU" if language == "ru" else "en-US",
        timezone_id="Europe/Moscow",
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(30_000)
    if user is not None:
        sign_in(context, user)
    context.clear_cookies(name="django_language")
    context.add_cookies([{"name": "django_language", "value": language, "url": str(live_server)}])
    try:
        yield context
    finally:
        context.close()
        wait_for_quiet()


# --- states of a chat ---------------------------------------------------------------------------------------


def open_everything(page: Page) -> None:
    page.locator("[data-fold]").click()
    page.locator(".out [data-trail]").first.click()
    expect(page.locator(".trail .path").first).to_be_visible()
    for summary in page.locator(".client details.adds > summary").all():
        if summary.is_visible():
            summary.click()


def open_answers(page: Page) -> None:
    page.locator("[data-canned-responses]").click()
    expect(page.locator(".tp-pick").first).to_be_visible()


def open_picker(page: Page) -> None:
    page.locator("[data-pick]:not([data-canned-responses]):visible").first.click()
    expect(page.locator(".tp-pick").first).to_be_visible()


def open_template(page: Page) -> None:
    open_picker(page)
    page.locator(".tp-pick", has_text="delivery_address").first.click()
    expect(page.locator(".tp textarea").first).to_be_visible()


def type_near_miss(page: Page) -> None:
    page.fill("#text", "По заказу 4417 нам не хватает адреса. Напишите нам, пожалуйста, улицу.")
    expect(page.locator(".tp").first).to_be_visible()


def type_too_much(page: Page) -> None:
    page.fill("#text", "Слово " * 900)


def show_quote(page: Page) -> None:
    page.evaluate(
        """(words) => { const place = document.getElementById("replying");
            place.hidden = false; place.querySelector("b").textContent = words;
            place.querySelector(".quoted span").textContent = words; }""",
        LONG_NAME * 3,
    )


def attach_file(page: Page) -> None:
    page.set_input_files(
        ".attach input", files=[{"name": LONG_FILE, "mimeType": "application/pdf", "buffer": b"%PDF-1"}]
    )
    expect(page.locator("#uploads .upload").first).to_be_visible()


def show_toasts(page: Page) -> None:
    page.evaluate(
        """() => { for (let i = 0; i < 5; i++) {
            const toast = document.getElementById("toast").content.cloneNode(true);
            toast.querySelector("b").textContent = "Окно закроется через 18 минут: Константинопольская";
            toast.querySelector("a span").textContent = "Где мой заказ?";
            document.getElementById("toasts").append(toast); } }"""
    )


def show_offline(page: Page) -> None:
    page.evaluate("() => { document.getElementById('offline').hidden = false; }")


def open_menu(page: Page) -> None:
    page.locator("#who-answers").click()


def open_views(page: Page) -> None:
    page.locator("#views-button").click()


def open_more_filters(page: Page) -> None:
    page.locator("#more-filters summary").click()


def open_client(page: Page) -> None:
    if page.locator(".to-client").is_visible():
        page.locator(".to-client").click()


def chat(attribute: str) -> Callable[[World], str]:
    return lambda world: f"/chats/{getattr(world, attribute).pk}/"


DESK = (
    Place(name="list", path="/chats/"),
    Place(name="nothing found", path="/chats/?q=никогда"),
    Place(name="saved views", path="/chats/?tag=нет&channel=999&period=week&view=999", do=open_views),
    Place(name="open chat", path=chat("open")),
    Place(name="everything open", path=chat("open"), do=open_everything),
    Place(name="quick replies", path=chat("open"), do=open_answers),
    Place(name="template in an open chat", path=chat("open"), do=open_template),
    Place(name="too long", path=chat("open"), do=type_too_much),
    Place(name="quoting", path=chat("open"), do=show_quote),
    Place(name="file", path=chat("open"), do=attach_file),
    Place(name="toasts", path=chat("open"), do=show_toasts),
    Place(name="offline", path=chat("open"), do=show_offline),
    Place(name="assignee menu", path=chat("open"), do=open_menu),
    Place(name="client pane", path=chat("open"), do=open_client),
    Place(name="expiring chat", path=chat("expiring")),
    Place(name="closed chat", path=chat("closed")),
    Place(name="template picker", path=chat("closed"), do=open_picker),
    Place(name="template picked", path=chat("closed"), do=open_template),
    Place(name="near miss", path=chat("closed"), do=type_near_miss),
    Place(name="erased client", path=chat("erased")),
)
PAGES = (
    Place(name="start", path="/"),
    Place(name="requests", path="/requests/"),
    Place(name="filtered requests", path="/requests/?tag=нет&team=999&period=week", do=open_more_filters),
    Place(name="views of requests", path="/requests/?status=live", do=open_views),
    Place(name="all saved views", path="/desk/views/"),
    Place(name="new saved view", path="/desk/views/add/"),
    Place(name="missed windows", path="/windows/"),
    Place(name="account", path="/account/"),
    Place(name="sessions", path="/account/sessions/"),
    Place(name="API tokens", path="/account/tokens/"),
    Place(name="settings", path="/desk/settings/"),
    Place(name="own replies", path="/desk/replies/"),
    Place(name="contacts", path="/contacts/"),
    Place(name="import contacts", path="/contacts/import/"),
    Place(name="new chat", path="/contacts/new-chat/"),
    Place(name="templates", path="/templates/"),
    Place(name="template", path=lambda world: f"/templates/{world.template.pk}/"),
    Place(name="send a template", path=lambda world: f"/templates/{world.template.pk}/send/"),
    Place(name="erase client", path=lambda world: f"/chats/{world.open.pk}/client/erase/"),
    Place(name="export client", path=lambda world: f"/chats/{world.open.pk}/client/export/"),
    Place(name="edit client", path=lambda world: f"/chats/{world.open.pk}/client/edit/"),
    Place(name="merge client", path=lambda world: f"/chats/{world.open.pk}/client/merge/"),
    Place(name="training phone", path=lambda world: world.channel.phone_page_path),
    Place(name="not found", path="/chats/999999/", status=404),
)
SIGNED_OUT = (
    Place(name="sign in", path="/login/"),
    Place(name="reset password", path="/account/password/reset/"),
    Place(name="shared file", path=lambda world: world.shared),
)
GROUPS = {
    "desk": (DESK, boris),
    "pages": (PAGES, vera),
    "signed out": (SIGNED_OUT, lambda: None),
}
