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
from playwright.sync_api import Browser, BrowserContext, Page

from bridge.conversations import consents, tickets
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
from bridge.models.consents import OptOut, OptOutSource
from channels_setup.models import ApiChannel, Team
from templates_registry.models import Template
from tests.browser import place_states as states
from tests.browser.conftest import wait_for_quiet
from tests.browser.place_states import LONG_FILE, LONG_NAME
from tests.browser.test_desk import answers, sign_in, writes
from tests.browser.test_media import pdf, receive_file
from tests.factories import ApiChannelFactory, TemplateFactory, boris, gleb, vera

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
    opted_out: Conversation
    media: Conversation
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
    names = ("Олег", "Ирина", "Стёрта", LONG_NAME[::-1])
    expiring, closed, erased, opted_out = (writes(channel, name, "Есть 38-й размер?") for name in names)
    _set_window(expiring, timedelta(minutes=18))
    _set_window(closed, timedelta(hours=-2))
    _set_window(opted_out, timedelta(hours=-3))
    consents.set_opt_out(opted_out.contact_id, OptOut.ALL, source=OptOutSource.OPERATOR, by=user, reason=LONG_NAME)
    erasure.erase_person(erased.contact_id, by=vera())
    media_chat = _receive_media(channel)
    for number in range(4):
        writes(channel, f"Клиент {number}", "Здравствуйте! Сапоги «Нева» в наличии? " * 3)
    given = uploads.save_upload(chat, SimpleUploadedFile(LONG_FILE, b"%PDF-1"), author=user)
    shared = "/shared/" + uploads.build_share_link(given).rstrip("/").rsplit("/", 1)[-1] + "/"
    return World(
        channel=channel,
        open=chat,
        expiring=expiring,
        closed=closed,
        erased=erased,
        opted_out=opted_out,
        media=media_chat,
        template=template,
        shared=shared,
    )


def _receive_media(channel: ApiChannel) -> Conversation:
    """Receive a chat with an album, a video, a voice message and a PDF."""
    for number in (1, 2, 3, 1, 2):
        receive_file(channel, f"photo{number}.jpg", "image/jpeg", who="Медиа")
    receive_file(channel, "photo2.jpg", "image/jpeg", text="С подписью", who="Медиа")
    receive_file(channel, "clip.webm", "video/webm", who="Медиа")
    receive_file(channel, "voice.amr", "audio/amr", content=b"#!AMR\n" + bytes(60), who="Медиа")
    receive_file(channel, LONG_FILE, "application/pdf", content=pdf(2), who="Медиа")
    return receive_file(channel, "voice.ogg", "audio/ogg; codecs=opus", who="Медиа").message.conversation


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


def chat(attribute: str) -> Callable[[World], str]:
    return lambda world: f"/chats/{getattr(world, attribute).pk}/"


DESK = (
    Place(name="list", path="/chats/"),
    Place(name="nothing found", path="/chats/?q=никогда"),
    Place(
        name="filters set", path="/chats/?tab=mine&sort=new&assignee=me&tag=оченьдлиннаяметкабезпробеловвсорокзнаков"
    ),
    Place(name="saved views", path="/chats/?tag=нет&channel=999&view=999", do=states.open_menu("#views-button")),
    Place(name="filters", path="/chats/", do=states.open_menu("#filters-button")),
    Place(name="chats selected", path="/chats/", do=states.select_chats),
    Place(name="menu of a row", path="/chats/", do=states.open_row_menu),
    Place(name="own menu", path="/chats/", do=states.open_menu(".rail .menu > summary")),
    Place(name="palette", path="/chats/", do=states.open_palette),
    Place(name="keys", path="/chats/", do=states.open_keys),
    Place(name="open chat", path=chat("open")),
    Place(name="everything open", path=chat("open"), do=states.open_everything),
    Place(name="quick replies", path=chat("open"), do=states.open_answers),
    Place(name="template in an open chat", path=chat("open"), do=states.open_template),
    Place(name="too long", path=chat("open"), do=states.type_too_much),
    Place(name="quoting", path=chat("open"), do=states.show_quote),
    Place(name="file", path=chat("open"), do=states.attach_file),
    Place(name="note", path=chat("open"), do=states.write_note),
    Place(name="toasts", path=chat("open"), do=states.show_toasts),
    Place(name="offline", path=chat("open"), do=states.show_offline),
    Place(name="assignee menu", path=chat("open"), do=states.open_menu("#who-answers")),
    Place(name="request menu", path=chat("open"), do=states.open_menu("#request-more")),
    Place(name="snooze menu", path=chat("open"), do=states.open_menu("#snooze-menu")),
    Place(name="emoji", path=chat("open"), do=states.open_menu("#emoji summary")),
    Place(name="client pane", path=chat("open"), do=states.open_client),
    Place(name="expiring chat", path=chat("expiring")),
    Place(name="closed chat", path=chat("closed")),
    Place(name="template picker", path=chat("closed"), do=states.open_picker),
    Place(name="template picked", path=chat("closed"), do=states.open_template),
    Place(name="near miss", path=chat("closed"), do=states.type_near_miss),
    Place(name="opted-out client", path=chat("opted_out")),
    Place(name="erased client", path=chat("erased")),
    Place(name="players", path=chat("media"), shown="voice-player"),
    Place(name="lightbox", path=chat("media"), do=states.open_lightbox),
)
PAGES = (
    Place(name="start", path="/"),
    Place(name="requests", path="/requests/"),
    Place(name="requests selected", path="/requests/", do=states.select_requests),
    Place(
        name="filtered requests",
        path="/requests/?tag=нет&team=999&period=week",
        do=states.open_menu("#more-filters summary"),
    ),
    Place(name="views of requests", path="/requests/?status=live", do=states.open_menu("#views-button")),
    Place(name="all saved views", path="/desk/views/"),
    Place(name="new saved view", path="/desk/views/add/"),
    Place(name="missed windows", path="/windows/"),
    Place(name="reply times", path="/windows/replies/"),
    Place(name="account", path="/account/"),
    Place(name="sessions", path="/account/sessions/"),
    Place(name="API tokens", path="/account/tokens/"),
    Place(name="settings", path="/desk/settings/"),
    Place(name="own replies", path="/desk/replies/"),
    Place(name="contacts", path="/contacts/"),
    Place(name="import contacts", path="/contacts/import/"),
    Place(name="checked import", path="/contacts/import/", do=states.check_import),
    Place(name="new chat", path="/contacts/new-chat/"),
    Place(name="first message", path="/contacts/new-chat/", do=states.choose_first_message),
    Place(name="templates", path="/templates/"),
    Place(name="template", path=lambda world: f"/templates/{world.template.pk}/"),
    Place(name="send a template", path=lambda world: f"/templates/{world.template.pk}/send/"),
    Place(name="erase client", path=lambda world: f"/chats/{world.open.pk}/client/erase/"),
    Place(name="export client", path=lambda world: f"/chats/{world.open.pk}/client/export/"),
    Place(name="edit client", path=lambda world: f"/chats/{world.open.pk}/client/edit/"),
    Place(name="merge client", path=lambda world: f"/chats/{world.open.pk}/client/merge/"),
    Place(name="training phone", path=lambda world: world.channel.phone_page_path),
    Place(name="not found", path="/chats/999999/", status=404),
    Place(name="no access", path="/no-access/", status=403),
    Place(name="server error", path="/server-error/", status=500),
    Place(name="admin", path="/admin/"),
)
EMPTY = (
    Place(name="no chats", path="/chats/"),
    Place(name="no requests", path="/requests/"),
    Place(name="no contacts", path="/contacts/"),
    Place(name="no channel to write first", path="/contacts/new-chat/"),
    Place(name="no windows", path="/windows/"),
    Place(name="no replies", path="/desk/replies/"),
)
SIGNED_OUT = (
    Place(name="sign in", path="/login/"),
    Place(name="reset password", path="/account/password/reset/"),
    Place(name="shared file", path=lambda world: world.shared),
    Place(name="offline page", path="/offline/"),
)
GROUPS = {
    "desk": (DESK, boris),
    "pages": (PAGES, vera),
    "empty": (EMPTY, gleb),
    "signed out": (SIGNED_OUT, lambda: None),
}
