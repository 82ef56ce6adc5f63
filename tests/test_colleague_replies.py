"""Two operators in one chat: a reply that crosses a colleague's is stopped once; the first answerer takes the chat."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from bridge.desk.thread import messages as thread_messages
from bridge.models import Conversation, ConversationActivity, Draft, HeldReply, Macro, Message
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import TemplateFactory, boris, operator
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import client_writes, move_windows_back

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Анна", "Где мой заказ?")


def send(desk: Client, chat: Conversation, text: str, **values: Any) -> Any:
    return desk.post(f"/chats/{chat.pk}/send/", {"text": text, **values}, headers=SCRIPT).json()


def test_a_reply_after_a_colleagues_reply_is_stopped_once(chat: Conversation) -> None:
    mine, hers = signed_in(Client(), boris(chat.chat_channel)), signed_in(Client(), operator("olga", chat.chat_channel))
    assert send(hers, chat, "Заказ едет", seen="0", once="key-of-olga-1")["sent"]
    first = Message.objects.get(text="Заказ едет")

    stopped = send(mine, chat, "Заказ уже едет", seen="0", once="key-of-boris-1")

    assert not stopped["sent"] and stopped["reason"] == "answered_meanwhile"
    assert (stopped["title"], stopped["words"], stopped["message"]) == (
        "olga answered meanwhile",
        "Заказ едет",
        first.pk,
    )
    assert not Message.objects.filter(text="Заказ уже едет").exists()
    assert send(mine, chat, "Заказ уже едет", seen=stopped["message"], once="key-of-boris-1")["sent"]
    # One's own second tab, programs, and pages without the field are not asked.
    assert send(mine, chat, "И ещё", seen=first.pk)["sent"]
    assert send(mine, chat, "Без поля")["sent"]
    reply_submission.submit_reply(conversation_id=chat.pk, text="Программа", author=None)
    newest = Message.objects.filter(author=boris()).latest("pk").pk
    assert send(hers, chat, "Да", seen=newest)["sent"]


def test_a_reply_before_the_page_is_not_new(chat: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_messages, "PAGE", 2)
    mine, hers = signed_in(Client(), boris(chat.chat_channel)), signed_in(Client(), operator("olga", chat.chat_channel))
    assert send(hers, chat, "Заказ едет")["sent"]
    for text in ("Ау", "Алло", "Где?"):
        client_writes(chat.api_channel, "Анна", text)

    seen = Message.objects.get(text="Алло").pk
    assert f'name="seen" value="{seen}"' in page_html(mine, f"/chats/{chat.pk}/")
    assert send(mine, chat, "Завтра", seen=seen)["sent"]


def test_without_a_script_the_page_shows_the_colleagues_words(chat: Conversation) -> None:
    mine, hers = signed_in(Client(), boris(chat.chat_channel)), signed_in(Client(), operator("olga", chat.chat_channel))
    assert send(hers, chat, "Заказ едет")["sent"]

    answer = mine.post(f"/chats/{chat.pk}/send/", {"text": "Моё", "seen": "0"})

    html = answer.content.decode()
    newest = Message.objects.get(text="Заказ едет").pk
    assert answer.status_code == 422 and "olga answered meanwhile: “Заказ едет”" in html and ">Моё</textarea>" in html
    assert f'name="seen" value="{newest}"' in html
    assert mine.post(f"/chats/{chat.pk}/send/", {"text": "Моё", "seen": newest}).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_of_two_replies_in_the_same_moment_one_goes_through(channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна", "Где мой заказ?")
    desks = [signed_in(Client(), boris(chat.chat_channel)), signed_in(Client(), operator("olga", chat.chat_channel))]
    start, results = threading.Barrier(2), []

    def run(desk: Client, number: int) -> None:
        start.wait(10)
        try:
            results.append(send(desk, chat, f"Ответ {number}", seen="0")["sent"])
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(desk, number)) for number, desk in enumerate(desks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(results) == [False, True]
    assert Message.objects.filter(direction="outbound").count() == 1


def test_answering_an_unassigned_chat_takes_it(chat: Conversation) -> None:
    mine, olga = signed_in(Client(), boris(chat.chat_channel)), operator("olga", chat.chat_channel)
    assert send(mine, chat, "Едет")["sent"] and send(signed_in(Client(), olga), chat, "Да")["sent"]

    chat.refresh_from_db()
    assert chat.assignee == boris() and chat.tickets.get().assignee == boris()
    assert [line.kind for line in ConversationActivity.objects.all()] == ["answered"]
    assert "boris answered first and took the chat" in page_html(mine, f"/chats/{chat.pk}/")


@pytest.mark.parametrize("way", ["send", "hold", "page"])
def test_a_template_in_an_unassigned_chat_takes_it(chat: Conversation, channel: ApiChannel, way: str) -> None:
    template = TemplateFactory(api_channel=channel, body="Здравствуйте!")
    mine = signed_in(Client(), boris(chat.chat_channel))
    if way == "page":
        form = {"chat": chat.pk, "go": "1", "for_user": boris().pk}
        assert mine.post(f"/templates/{template.pk}/send/", form).status_code == 302
    else:
        if way == "hold":
            move_windows_back(timedelta(hours=30))
        form = {"text": "Подробности позже"}
        assert mine.post(f"/chats/{chat.pk}/templates/{template.pk}/{way}/", form, headers=SCRIPT).json()["sent"]
    chat.refresh_from_db()
    assert chat.assignee == boris()


def test_a_channel_can_leave_answered_chats_unassigned(chat: Conversation, channel: ApiChannel) -> None:
    type(chat.chat_channel).objects.update(assigns_answerer=False)
    assert send(signed_in(Client(), boris(chat.chat_channel)), chat, "Едет")["sent"]
    chat.refresh_from_db()
    assert chat.assignee is None and not Draft.objects.exists()


def test_a_chat_is_handed_over_with_a_note(chat: Conversation) -> None:
    mine, olga = signed_in(Client(), boris(chat.chat_channel)), operator("olga", chat.chat_channel)

    answer = mine.post(f"/chats/{chat.pk}/assign/", {"user": olga.pk, "note": "Вернуть деньги"}, headers=SCRIPT)

    assert answer.status_code == 204
    note = chat.notes.get()
    assert note.text == f"@[{olga.pk}] Вернуть деньги" and note.author == boris()
    assert [row.user for row in note.mentions.all()] == [olga]
    assert [line.kind for line in ConversationActivity.objects.all()] == ["assigned"]
    assert olga.notification_set.count() if hasattr(olga, "notification_set") else True
    refused = signed_in(Client(), operator("lena", chat.chat_channel)).post(
        f"/chats/{chat.pk}/assign/", {"user": boris().pk, "note": "?"}, headers=SCRIPT
    )
    assert refused.status_code == 422 and chat.notes.count() == 1  # no note without the transfer


def test_a_template_a_held_text_and_a_macro_are_stopped_too(chat: Conversation) -> None:
    template = TemplateFactory(api_channel=chat.api_channel, name="we_answered", body="Мы ответили")
    mine, hers = signed_in(Client(), boris(chat.chat_channel)), signed_in(Client(), operator("olga", chat.chat_channel))
    macro = Macro.objects.create(name="Shipped", reply_text="Заказ едет")
    quiet = Macro.objects.create(name="Tag", add_tags=["delivery"])
    assert send(hers, chat, "Завтра")["sent"]
    newest = Message.objects.get(text="Завтра").pk
    path = f"/chats/{chat.pk}/templates/{template.pk}/send/"
    macro_path = f"/chats/{chat.pk}/macros/{macro.pk}/"

    stopped = mine.post(path, {"seen": "0", "kind": "picked"}, headers=SCRIPT).json()
    assert (stopped["sent"], stopped["reason"], stopped["words"]) == (False, "answered_meanwhile", "Завтра")
    refused = mine.post(macro_path, {"macro_key": "key-of-macro-1", "seen": "0"}, headers=SCRIPT)
    assert refused.status_code == 422 and refused.json()["title"] == "olga answered meanwhile"
    page = mine.post(macro_path, {"macro_key": "key-of-macro-2", "seen": "0"})
    html = page.content.decode()
    assert page.status_code == 422 and "olga answered meanwhile: “Завтра”" in html
    assert html.count(f'name="seen" value="{newest}"') == 2  # of the composer and of the macros
    page = mine.post(path, {"seen": "0", "kind": "picked"})
    assert page.status_code == 422 and "olga answered meanwhile: “Завтра”" in page.content.decode()
    assert Message.objects.filter(direction="outbound").count() == 1

    # A macro that sends nothing is not asked about, and what was read is sent.
    assert (
        mine.post(f"/chats/{chat.pk}/macros/{quiet.pk}/", {"macro_key": "key-quiet-1", "seen": "0"}).status_code == 302
    )
    assert mine.post(macro_path, {"macro_key": "key-of-macro-1", "seen": newest}, headers=SCRIPT).status_code == 204
    assert mine.post(path, {"seen": newest, "kind": "picked"}, headers=SCRIPT).json()["sent"]

    move_windows_back(timedelta(days=2))
    hold = f"/chats/{chat.pk}/templates/{template.pk}/hold/"
    assert hers.post(path, {"kind": "picked"}, headers=SCRIPT).json()["sent"]
    stopped = mine.post(hold, {"text": "Держим", "seen": newest}, headers=SCRIPT).json()
    assert stopped["reason"] == "answered_meanwhile" and not HeldReply.objects.exists()
    seen = Message.objects.latest("pk").pk
    assert mine.post(hold, {"text": "Держим", "seen": seen}, headers=SCRIPT).json()["sent"]
    assert HeldReply.objects.get().text == "Держим"
