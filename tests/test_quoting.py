"""Replies that quote a message, for providers with quotes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from bridge.models import Conversation, Delivery, Draft, HeldReply, Message, Upload
from bridge.relay import held_replies, reply_submission
from channels_setup.models import ApiChannel
from tests.api_client import Api
from tests.factories import ApiChannelFactory, TemplateFactory, boris, vera
from tests.pages import SCRIPT, page_html
from tests.scenarios.sending import client_writes, move_windows_back

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def api(channel: ApiChannel) -> Api:
    return Api(boris(*channel.watched.all()))


@pytest.fixture
def question(channel: ApiChannel) -> Message:
    """The first of Anna's two questions; the provider knows it."""
    chat = client_writes(channel, "Анна", "Сколько стоят сапоги?")
    message = Message.objects.get(conversation=chat)
    Message.objects.filter(pk=message.pk).update(external_id="wamid.1")
    client_writes(channel, "Анна", "И когда привезёте?")
    message.refresh_from_db()
    return message


def a_day_later() -> None:
    move_windows_back(timedelta(hours=25))


def send_reply(desk: Client, chat: Conversation, text: str, **more: Any) -> dict[str, Any]:
    return dict(desk.post(f"/chats/{chat.pk}/send/", {"text": text, **more}, headers=SCRIPT).json())


def test_a_reply_quotes_the_chosen_message(desk: Client, question: Message) -> None:
    response = send_reply(desk, question.conversation, "4 500 рублей", replies_to=question.pk)

    answer = Message.objects.get(direction="outbound")
    assert response["sent"]
    assert answer.quoted == question
    assert Delivery.objects.get(message=answer, kind="message").payload["quoted_id"] == "wamid.1"
    assert f'data-at="m{question.pk}"' in desk.get(f"/chats/{question.conversation_id}/").content.decode()


def test_only_quotable_messages_have_the_button(desk: Client, question: Message) -> None:
    page = desk.get(f"/chats/{question.conversation_id}/").content.decode()

    assert re.findall(r'data-reply="(\d+)"', page) == [str(question.pk)]
    Message.objects.filter(pk=question.pk).update(shown={"revoked_at": "2026-11-23T10:00:00+00:00"})
    assert "data-reply=" not in page_html(desk, f"/chats/{question.conversation_id}/")


def test_without_javascript_the_url_keeps_the_quote(desk: Client, question: Message) -> None:
    address = f"/chats/{question.conversation_id}/"
    field = f'name="replies_to" value="{question.pk}"'

    assert field in desk.get(f"{address}?replies_to={question.pk}").content.decode()
    assert 'name="replies_to" value=""' in desk.get(address).content.decode()
    refused = desk.post(f"{address}send/", {"text": "", "replies_to": question.pk})
    assert (refused.status_code, field in refused.content.decode()) == (422, True)
    assert desk.post(f"{address}send/", {"text": "4 500", "replies_to": question.pk}).status_code == 302
    assert Message.objects.get(direction="outbound").quoted == question


@pytest.mark.parametrize(
    "how", ["another chat's", "unknown to the provider", "no support for quotes", "no such message"]
)
def test_a_reply_with_an_impossible_quote_is_refused(desk: Client, question: Message, how: str) -> None:
    chat, replies_to = question.conversation, question.pk
    if how == "another chat's":
        other = client_writes(chat.api_channel, "Игорь", "Чужое")
        Message.objects.filter(conversation=other).update(external_id="wamid.2")
        replies_to = Message.objects.get(conversation=other).pk
    elif how == "unknown to the provider":
        replies_to = Message.objects.get(text="И когда привезёте?").pk
    elif how == "no support for quotes":
        ApiChannel.objects.update(kind="acebot")
    else:
        replies_to = 2**62

    response = send_reply(desk, chat, "4 500 рублей", replies_to=replies_to)

    assert not response["sent"] and "cannot be quoted" in response["sentence"]
    assert not Message.objects.filter(direction="outbound").exists()
    assert Draft.objects.get().text == "4 500 рублей"


def test_templates_and_held_replies_quote_when_sent(desk: Client, question: Message) -> None:
    chat = question.conversation
    a_day_later()
    opener = TemplateFactory(api_channel=chat.api_channel, name="we_answered", body="Мы ответили. Напишите нам.")

    desk.post(f"/chats/{chat.pk}/templates/{opener.pk}/send/", {"replies_to": question.pk}, headers=SCRIPT)
    assert Message.objects.get(direction="outbound").quoted == question

    desk.post(
        f"/chats/{chat.pk}/templates/{opener.pk}/hold/",
        {"text": "4 500 рублей", "replies_to": question.pk},
        headers=SCRIPT,
    )
    assert HeldReply.objects.get().opening_template != HeldReply.objects.get().message
    client_writes(chat.api_channel, "Анна", "Да?")
    held_replies.release_held_replies([chat.pk])
    assert Message.objects.get(text="4 500 рублей").quoted == question


def test_a_reply_with_an_impossible_quote_is_not_held(question: Message) -> None:
    chat = question.conversation
    a_day_later()
    opener = TemplateFactory(api_channel=chat.api_channel, name="we_answered", body="Мы ответили. Напишите нам.")

    reply, handed = held_replies.hold_reply(
        conversation_id=chat.pk,
        text="4 500 рублей",
        author=boris(),
        template_id=opener.pk,
        parameters=[],
        replies_to=2**62,
    )

    assert (reply, handed.message, handed.decision.reason) == (None, None, "nothing_to_quote")


def test_the_first_of_several_files_has_the_quote(question: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(question.conversation.api_channel.provider), "sends_files", True)
    uploads = [
        Upload.objects.create(
            conversation=question.conversation,
            file=f"{number}.pdf",
            name=f"{number}.pdf",
            mime="application/pdf",
            size=1,
            expires_at="2027-01-01T00:00:00+00:00",
        )
        for number in (1, 2)
    ]

    reply_submission.submit_reply(
        conversation_id=question.conversation_id, text="Счёт", author=boris(), uploads=uploads, replies_to=question.pk
    )

    assert list(Message.objects.filter(direction="outbound").order_by("pk").values_list("quoted", flat=True)) == [
        question.pk,
        None,
    ]


def test_api_clients_quote_by_message_id(api: Api, question: Message) -> None:
    path = f"conversations/{question.conversation_id}/messages"

    answer = api.post(path, {"text": "4 500 рублей", "replies_to": question.pk})

    assert (answer.status_code, answer.json()["replies_to"]) == (201, question.pk)
    assert api.post(path, {"text": "?", "replies_to": 2**62}).json()["reason"] == "nothing_to_quote"
    assert api.post(path, {"text": "?", "replies_to": "первое"}).status_code == 400


def test_the_simulated_phone_shows_the_quoted_message(client: Client, question: Message) -> None:
    answer = reply_submission.submit_reply(
        conversation_id=question.conversation_id, text="4 500", author=boris(), replies_to=question.pk
    ).message
    assert answer
    Message.objects.filter(pk=answer.pk).update(status="sent")
    channel = question.conversation.api_channel
    client.force_login(vera())

    shown = client.get(f"{channel.phone_page_path}messages", {"from": question.conversation.contact.external_id}).json()

    assert [(one["text"], one["quoted"]) for one in shown["messages"]][-1] == ("4 500", "Сколько стоят сапоги?")


def test_a_provider_without_quotes_shows_no_button(client: Client) -> None:
    channel = ApiChannelFactory(kind="acebot")
    chat = client_writes(channel, "Анна", "Где?")
    Message.objects.update(external_id="a-1")
    client.force_login(boris(chat.chat_channel))

    assert "data-reply=" not in page_html(client, f"/chats/{chat.pk}/")
