"""Forms of a chat carry their chat, their user and the key of their draft; the server refuses what does not match."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone

from bridge.models import (
    CannedResponse,
    ContactNote,
    Conversation,
    Draft,
    HeldReply,
    IdempotencyKey,
    Message,
    ServiceWindow,
)
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from config.urls import urlpatterns
from templates_registry.models import Template
from tests.factories import TemplateFactory, boris, vera
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import client_writes, outbound_texts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

KEY, OTHER_KEY = "a1b2c3d4e5f6", "f6e5d4c3b2a1"
READ_ONLY = {
    *("chat", "chat-canned-responses", "chat-people", "chat-tags-suggested", "chat-templates", "chat-upload-file"),
    "message-trail",
}


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Анна Соколова", "Где мой заказ?")


@pytest.fixture
def other(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Игорь Панин", "Счёт?")


@pytest.fixture
def desk(chat: Conversation, client: Client) -> Client:
    return signed_in(client, boris(chat.chat_channel))


def of_chats() -> dict[str, str]:
    """The addresses below a chat by their names, with 1 for every number but the chat's."""
    found = {}
    for pattern in urlpatterns:
        if isinstance(pattern, URLPattern) and (route := str(pattern.pattern)).startswith("chats/<int:pk>/"):
            found[str(pattern.name)] = "/" + re.sub(r"<int:(?!pk)\w+>", "1", route)
    return found


def send(desk: Client, chat: Conversation, text: str, **more: Any) -> Any:
    return desk.post(f"/chats/{chat.pk}/send/", {"text": text, "once": KEY} | more, headers=SCRIPT)


def close_windows() -> None:
    ServiceWindow.objects.update(opened_at=timezone.now() - timedelta(hours=25), expires_at=timezone.now())


# --- for whom, and for which chat --------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(of_chats()) - READ_ONLY))
@pytest.mark.parametrize(
    ("headers", "wrong", "sentence"),
    [
        (SCRIPT, {"for_user": "vera"}, "You are now signed in as boris"),
        ({}, {"for_user": ""}, "You are now signed in as boris"),
        (SCRIPT, {"for_chat": "other"}, "This was written in another chat"),
        ({}, {"for_chat": "x"}, "This was written in another chat"),
    ],
    ids=["other user", "no user", "other chat", "no number"],
)
def test_a_form_of_another_user_or_chat_changes_nothing(
    desk: Client,
    chat: Conversation,
    other: Conversation,
    name: str,
    headers: dict[str, str],
    wrong: dict[str, str],
    sentence: str,
) -> None:
    get_user_model().objects.filter(pk=boris().pk).update(is_superuser=True)  # may erase people, too
    known = {"vera": vera().pk, "other": other.pk}
    form = {"for_user": boris().pk, "for_chat": chat.pk, "text": "Секрет", "note": "Секрет", "add": "секрет"}
    address = of_chats()[name].replace("<int:pk>", str(chat.pk))

    response = desk.post(
        address, form | {key: known.get(value, value) for key, value in wrong.items()}, headers=headers
    )

    assert response.status_code == 409
    page = response.json()["sentence"] if headers else response.content.decode()
    assert sentence in page and "Секрет" not in page
    assert not outbound_texts() and not Draft.objects.exists() and not ContactNote.objects.exists()


def test_every_form_contains_its_chat_and_user(desk: Client, chat: Conversation) -> None:
    ContactNote.objects.create(contact=chat.contact, author=boris(), text="Своя")
    page = desk.get(f"/chats/{chat.pk}/").content.decode()
    section = page[page.index('id="chat"') :]
    forms = re.findall(r'<form[^>]*method="post".*?</form>', section, re.DOTALL)

    assert len(forms) >= 6
    for form in forms:
        assert f'name="for_chat" value="{chat.pk}"' in form and f'name="for_user" value="{boris().pk}"' in form


@pytest.mark.parametrize("carried", [(), ("for_user",), ("for_chat",)], ids=["neither", "user", "chat"])
def test_a_form_of_an_outdated_page_changes_nothing_and_shows_its_text(
    desk: Client, chat: Conversation, carried: tuple[str, ...]
) -> None:
    get_user_model().objects.filter(pk=boris().pk).update(is_superuser=True)  # may erase people, too
    both = {"for_user": boris().pk, "for_chat": chat.pk}
    form = {"text": "Едет <b>", "note": "Едет", "add": "едет"} | {name: both[name] for name in carried}
    kind = "application/x-www-form-urlencoded"

    for name in sorted(set(of_chats()) - READ_ONLY):
        address = of_chats()[name].replace("<int:pk>", str(chat.pk))
        page = desk.generic("POST", address, urlencode(form), content_type=kind)
        response = desk.generic("POST", address, urlencode(form), content_type=kind, headers=SCRIPT)

        assert (name, page.status_code, response.status_code) == (name, 409, 409)
        assert "Едет &lt;b&gt;</textarea>" in page.content.decode() and response.json()["reason"] == "old_page"
    assert not outbound_texts() and not Draft.objects.exists() and not ContactNote.objects.exists()


def test_the_poll_of_another_users_page_is_refused(desk: Client, chat: Conversation) -> None:
    response = desk.get(f"/chats/updates/?for_user={vera().pk}&chat={chat.pk}", headers=SCRIPT)

    assert response.status_code == 409
    assert response.json() == {
        "reason": "other_user",
        "sentence": "You are now signed in as boris. Reload the page to continue.",
    }
    assert desk.get(f"/chats/updates/?for_user={boris().pk}", headers=SCRIPT).status_code == 200


def test_an_old_page_gets_a_valid_token(chat: Conversation) -> None:
    strict = Client(enforce_csrf_checks=True)
    signed_in(strict, boris(chat.chat_channel))
    form = {"text": "Едет", "csrfmiddlewaretoken": "x" * 64}
    assert strict.post(f"/chats/{chat.pk}/send/", form, headers=SCRIPT).status_code == 403

    session = strict.get("/chats/session/", headers=SCRIPT).json()

    assert (session["user"], session["name"]) == (boris().pk, "boris")
    form["csrfmiddlewaretoken"] = session["token"]
    assert strict.post(f"/chats/{chat.pk}/send/", form, headers=SCRIPT).json()["sent"]


# --- a chat that a script asks for may be overtaken by the next click -------------------------------------------


def test_a_fetched_chat_is_unread_until_it_is_shown(desk: Client, chat: Conversation) -> None:
    part = desk.get(f"/chats/{chat.pk}/", headers=SCRIPT | {"HX-Target": "chat"}).content.decode()

    chat.refresh_from_db()
    assert chat.unread == 1 and 'data-unread="1"' in part
    desk.post(f"/chats/{chat.pk}/seen/", headers=SCRIPT)
    chat.refresh_from_db()
    assert chat.unread == 0


# --- one draft is one message -----------------------------------------------------------------------------------------


def test_a_draft_sent_from_two_tabs_is_one_message(desk: Client, chat: Conversation) -> None:
    first, second = send(desk, chat, "Едет").json(), send(desk, chat, "Едет").json()

    assert first == second == {"sent": True, "sentence": ""}
    assert outbound_texts() == ["Едет"] and Message.objects.get(text="Едет").form_key == KEY


def test_a_sent_draft_is_not_sent_again_with_different_text(desk: Client, chat: Conversation) -> None:
    send(desk, chat, "Едет")

    result = send(desk, chat, "Едет к вам").json()

    assert result == {
        "sent": False,
        "reason": "draft_sent",
        "sentence": "This draft was sent from another tab.",
        "until": "text",
    }
    assert outbound_texts() == ["Едет"]


def test_a_sent_draft_is_known_as_long_as_its_message_exists(desk: Client, chat: Conversation) -> None:
    send(desk, chat, "Едет")
    IdempotencyKey.objects.all().delete()  # housekeeping

    assert send(desk, chat, "Едет").json()["reason"] == "draft_sent"
    assert outbound_texts() == ["Едет"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("texts", [("Едет", "Едет"), ("Едет", "Едет к вам")], ids=["untouched", "touched"])
def test_two_tabs_that_send_at_the_same_time_send_once(desk: Client, chat: Conversation, texts: Any) -> None:
    together = Barrier(2)
    clients = [signed_in(Client(), boris()), signed_in(Client(), boris())]

    def press(number: int) -> Any:
        try:
            together.wait()
            return send(clients[number], chat, texts[number]).json()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as tabs:
        results = list(tabs.map(press, range(2)))

    assert len(outbound_texts()) == 1
    assert [one["sent"] for one in results].count(True) == (2 if texts[0] == texts[1] else 1)


def test_two_operators_who_edit_one_failed_message_send_it_once(desk: Client, chat: Conversation) -> None:
    other_desk = signed_in(Client(), vera())

    assert send(desk, chat, "Ещё раз", once="message-17").json()["sent"]
    assert send(other_desk, chat, "Ещё раз", once="message-17").json()["sent"]

    assert outbound_texts() == ["Ещё раз"]


def test_refused_text_keeps_its_key_until_it_is_sent(desk: Client, chat: Conversation) -> None:
    opened, expires = ServiceWindow.objects.values_list("opened_at", "expires_at").get()
    close_windows()
    assert send(desk, chat, "Едет").json()["sent"] is False
    assert Draft.objects.get().form_key == KEY
    ServiceWindow.objects.update(opened_at=opened, expires_at=expires, state="open")

    assert send(desk, chat, "Едет").json()["sent"]
    assert outbound_texts() == ["Едет"] and not Draft.objects.exists()


def test_text_typed_during_sending_stays(desk: Client, chat: Conversation) -> None:
    desk.post(f"/chats/{chat.pk}/draft/", {"text": "И ещё", "once": OTHER_KEY})

    send(desk, chat, "Едет")

    assert Draft.objects.get().text == "И ещё"


def test_refused_text_returns_before_newer_text(desk: Client, chat: Conversation) -> None:
    close_windows()
    desk.post(f"/chats/{chat.pk}/draft/", {"text": "И ещё", "once": OTHER_KEY})

    send(desk, chat, "Едет")

    assert Draft.objects.get().text == "Едет\nИ ещё"


@pytest.mark.parametrize("way", ["recognized", "hold"])
def test_templates_and_held_replies_use_draft_keys(
    desk: Client, chat: Conversation, channel: ApiChannel, way: str
) -> None:
    template: Template = TemplateFactory(api_channel=channel, name="we_answered", body="Мы ответили. Напишите нам.")
    close_windows()
    address = f"/chats/{chat.pk}/templates/{template.pk}/{'hold' if way == 'hold' else 'send'}/"
    form = {"text": "Поменяем завтра", "kind": way, "once": KEY}

    sent = [desk.post(address, form, headers=SCRIPT).json()["sent"] for _ in range(2)]

    assert sent == [True, True] and Message.objects.filter(form_key=KEY).count() == 1
    assert HeldReply.objects.count() == (way == "hold")
    assert send(desk, chat, "Поменяем").json()["reason"] == "draft_sent"


def test_a_picked_template_does_not_change_the_text_and_its_key(
    desk: Client, chat: Conversation, channel: ApiChannel
) -> None:
    template = TemplateFactory(api_channel=channel, name="news", body="Есть новости.", examples=())
    desk.post(f"/chats/{chat.pk}/draft/", {"text": "Своё", "once": KEY})

    form = {"kind": "picked", "once": OTHER_KEY}
    assert desk.post(f"/chats/{chat.pk}/templates/{template.pk}/send/", form, headers=SCRIPT).json()["sent"]

    assert Draft.objects.get().text == "Своё" and Draft.objects.get().form_key == KEY


# --- drafts: the newer one counts ----------------------------------------------------------------------


def keep(desk: Client, chat: Conversation, text: str, *, at: float, key: str = KEY) -> int:
    form = {"text": text, "once": key, "written_at": int(at * 1000)}
    return desk.post(f"/chats/{chat.pk}/draft/", form, headers=SCRIPT).status_code


def test_a_late_copy_does_not_undo_a_newer_draft(desk: Client, chat: Conversation) -> None:
    now = time.time()
    keep(desk, chat, "Новое", at=now - 5)

    keep(desk, chat, "Старое", at=now - 50)
    keep(desk, chat, "", at=now - 50)
    keep(desk, chat, "", at=now, key=OTHER_KEY)

    assert Draft.objects.get().text == "Новое"
    keep(desk, chat, "", at=now)
    assert not Draft.objects.exists()


@pytest.mark.parametrize("at", ["", "x", "-5", "9" * 30, "99999999999999"])
def test_any_posted_draft_time_is_accepted(desk: Client, chat: Conversation, at: str) -> None:
    response = desk.post(f"/chats/{chat.pk}/draft/", {"text": "Да", "written_at": at, "once": "x"})

    assert response.status_code == 204 and Draft.objects.get().text == "Да"
    assert Draft.objects.get().written_ms <= time.time() * 1000 + 1000


def test_a_sent_draft_is_not_saved_again(desk: Client, chat: Conversation) -> None:
    send(desk, chat, "Едет")

    response = desk.post(f"/chats/{chat.pk}/draft/", {"text": "Едет", "once": KEY}, headers=SCRIPT)

    assert response.status_code == 409 and response.json()["reason"] == "draft_sent"
    Draft.objects.create(conversation=chat, user=boris(), text="Едет", key=KEY)  # stored in the same instant
    assert "Едет</textarea>" not in page_html(desk, f"/chats/{chat.pk}/")


def test_page_and_poll_contain_the_keys_of_draft_and_sent_message(desk: Client, chat: Conversation) -> None:
    keep(desk, chat, "Недописа", at=time.time())
    page = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert f'name="key" value="{KEY}" data-at="{Draft.objects.get().written_ms}"' in page

    send(desk, chat, "Недописа")

    news = desk.get(f"/chats/updates/?chat={chat.pk}").json()["thread"]
    assert f'data-draft-key="{KEY}"' in news["messages"] and news["draft"] == "" and news["draft_key"] != KEY


def test_a_quick_reply_without_scripts_keeps_the_draft(desk: Client, chat: Conversation) -> None:
    answer = CannedResponse.objects.create(name="часы", text="Работаем с 9 до 21.")
    reply_submission.save_draft(chat.pk, author=boris(), text="Добрый день!")

    page = desk.get(f"/chats/{chat.pk}/canned-responses/?take={answer.pk}").content.decode()

    assert "Добрый день! Работаем с 9 до 21.</textarea>" in page
