"""The helpdesk's public API: four encodings, its own error format, nothing stored twice."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone

from bridge.models import Attachment, Contact, Conversation, Delivery, Message, ServiceWindow, Ticket, WebhookEvent
from bridge.raw_requests import MAX_BYTES_WITH_FILES
from channels_setup.models import ApiChannel, ChannelState, ChatChannel
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris, gleb
from tests.scenarios.uapi_key import api_channel, chat_channel, key

__all__ = ["api_channel", "chat_channel", "key"]  # fixtures

pytestmark = pytest.mark.django_db


def call(client: Client, method: str, body: dict[str, Any], **headers: str) -> Any:
    response = client.post(f"/uapi/{method}", json.dumps(body), content_type="application/json", headers=headers)
    assert response.status_code == 200, response.content
    return response.json()


def message(key: str, chat_channel: ChatChannel, text: str = "Здравствуйте!", **more: Any) -> dict[str, Any]:
    sender = {"client_id": "79211234567", "name": "Анна"} | more.pop("sender", {})
    return {
        "api_token": key,
        "company_id": chat_channel.company_id,
        "channel_id": chat_channel.pk,
        "message": {"text": text, "from": sender, **more},
    }


# --- addMessage ------------------------------------------------------------------------------------------


def test_the_first_message_opens_a_chat_with_a_request_and_a_window(
    client: Client, key: str, chat_channel: ChatChannel
) -> None:
    answer = call(client, "chat/addMessage", message(key, chat_channel))

    conversation = Conversation.objects.get()
    assert answer == {
        "chat_id": conversation.pk,
        "company_id": chat_channel.company_id,
        "ticket_id": None,
        "channel_id": chat_channel.pk,
        "client_id": conversation.contact.pk,
        "message_id": Message.objects.get().pk,
    }
    assert conversation.contact.name == "Анна"
    assert Ticket.objects.get().first_text == "Здравствуйте!"
    assert ServiceWindow.objects.get().state == "open"
    assert conversation.unread == 1


def test_the_second_message_joins_the_same_chat_and_request(
    client: Client, key: str, chat_channel: ChatChannel
) -> None:
    first = call(client, "chat/addMessage", message(key, chat_channel))
    second = call(client, "chat/addMessage", message(key, chat_channel, "Ещё вопрос"))
    third = call(client, "chat/addMessage", message(key, chat_channel, "И ещё") | {"chat_id": str(first["chat_id"])})

    assert first["chat_id"] == second["chat_id"] == third["chat_id"]
    assert second["ticket_id"] == third["ticket_id"] == Ticket.objects.get().pk
    assert [row.text for row in Message.objects.order_by("pk")] == ["Здравствуйте!", "Ещё вопрос", "И ещё"]


ENCODINGS = ["json", "form", "multipart", "query"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_accepted(client: Client, key: str, chat_channel: ChatChannel, encoding: str) -> None:
    flat = {
        "api_token": key,
        "company_id": str(chat_channel.company_id),
        "channel_id": str(chat_channel.pk),
        "message[text]": "Привет 🙌 & <b>",
        "message[from][client_id]": "42",
        "message[from][name]": "Анна",
        "message[id]": "wamid.1",
    }
    url = "/uapi/chat/addMessage"
    if encoding == "json":
        body = message(key, chat_channel, "Привет 🙌 & <b>", id="wamid.1", sender={"client_id": 42})
        response = client.post(url, json.dumps(body), content_type="application/json")
    elif encoding == "form":
        response = client.post(url, urlencode(flat), content_type="application/x-www-form-urlencoded")
    elif encoding == "multipart":
        response = client.post(url, flat)
    else:
        response = client.post(f"{url}?{urlencode(flat)}")

    assert response.json()["chat_id"] == Conversation.objects.get().pk
    stored = Message.objects.get()
    assert (stored.text, stored.external_id) == ("Привет 🙌 & <b>", "wamid.1")
    assert stored.conversation.contact.external_id == "42"


def test_the_same_message_id_is_one_message_with_one_response(
    client: Client, key: str, chat_channel: ChatChannel
) -> None:
    answers = [call(client, "chat/addMessage", message(key, chat_channel, id="wamid.7")) for _ in range(10)]

    assert Message.objects.count() == 1
    assert all(answer == answers[0] for answer in answers)
    assert Conversation.objects.get().unread == 1
    assert Delivery.objects.count() == 1


def test_without_a_message_id_two_equal_texts_are_two_messages(
    client: Client, key: str, chat_channel: ChatChannel
) -> None:
    for _ in range(2):
        call(client, "chat/addMessage", message(key, chat_channel, "да"))

    assert Message.objects.count() == 2


def test_an_idempotency_key_makes_a_call_safe_to_repeat(client: Client, key: str, chat_channel: ChatChannel) -> None:
    body = message(key, chat_channel, "да")

    first = call(client, "chat/addMessage", body, **{"idempotency-key": "a1"})
    again = call(client, "chat/addMessage", body, **{"idempotency-key": "a1"})
    other = call(client, "chat/addMessage", message(key, chat_channel, "нет"), **{"idempotency-key": "a1"})

    assert first == again
    assert Message.objects.count() == 1
    assert other["code"] == 409


def test_the_window_follows_the_senders_clock(client: Client, key: str, chat_channel: ChatChannel) -> None:
    written = timezone.now() - timedelta(hours=5)

    call(client, "chat/addMessage", message(key, chat_channel, timestamp=str(int(written.timestamp()))))

    window = ServiceWindow.objects.get()
    assert abs(window.expires_at - (written + timedelta(hours=24))) < timedelta(seconds=2)


def test_a_contact_is_found_by_our_id_by_the_callers_id_and_by_phone(
    client: Client, key: str, chat_channel: ChatChannel
) -> None:
    first = call(
        client, "chat/addMessage", message(key, chat_channel, sender={"client_id": "", "phone": "+7 921 123-45-67"})
    )
    by_phone = call(
        client, "chat/addMessage", message(key, chat_channel, sender={"client_id": "", "phone": "+79211234567"})
    )
    by_ours = call(client, "chat/addMessage", message(key, chat_channel, sender={"client_id": first["client_id"]}))
    new = call(client, "chat/addMessage", message(key, chat_channel, sender={"client_id": ""}))

    assert first["client_id"] == by_phone["client_id"] == by_ours["client_id"]
    assert new["client_id"] != first["client_id"]


def test_files_by_link_and_by_upload_are_stored(client: Client, key: str, chat_channel: ChatChannel) -> None:
    link = {"url": "https://files.example/receipt.pdf", "name": "receipt.pdf", "mime": "application/pdf"}
    call(client, "chat/addMessage", message(key, chat_channel, "", files=[link]))
    flat = {"api_token": key, "channel_id": chat_channel.pk, "message[text]": "", "message[from][client_id]": "1"}
    client.post("/uapi/chat/addMessage", flat | {"file": SimpleUploadedFile("a.png", b"\x89PNG", "image/png")})

    by_link, uploaded = Attachment.objects.order_by("pk")
    assert (by_link.url, by_link.name) == ("https://files.example/receipt.pdf", "receipt.pdf")
    assert uploaded.file.read() == b"\x89PNG"
    assert [row.kind for row in Message.objects.order_by("pk")] == ["file", "file"]
    files = Delivery.objects.order_by("pk").last().payload["event"]["files"]
    assert client.get(files[0].removeprefix("http://127.0.0.1:8000")).getvalue() == b"\x89PNG"


def test_a_link_that_is_no_web_link_is_refused(client: Client, key: str, chat_channel: ChatChannel) -> None:
    answer = call(client, "chat/addMessage", message(key, chat_channel, files=[{"url": "javascript:alert(1)"}]))

    assert answer["code"] == 400
    assert not Message.objects.exists()


def test_the_raw_request_is_stored_without_the_key(client: Client, key: str, chat_channel: ChatChannel) -> None:
    call(client, "chat/addMessage", message(key, chat_channel))
    client.post(f"/uapi/chat/addMessage?api_token={key}&channel_id={chat_channel.pk}&message[text]=hi")

    by_body, by_query = WebhookEvent.objects.order_by("pk")
    assert by_body.state == by_query.state == "processed"
    assert key not in bytes(by_body.body).decode() + by_query.query_string
    assert "Здравствуйте" in json.loads(bytes(by_body.body))["message"]["text"]


@pytest.mark.parametrize("token", ["", "0" * 40, "é", None, 5, ["x"], "\ud800"])
def test_a_wrong_token_stores_no_row(client: Client, chat_channel: ChatChannel, token: Any) -> None:
    answer = call(client, "chat/addMessage", message("", chat_channel) | {"api_token": token})

    assert answer["code"] == 401
    assert answer["error"].endswith(".")
    assert not WebhookEvent.objects.exists()


def test_an_unknown_chat_channel_returns_status_false(client: Client, key: str, chat_channel: ChatChannel) -> None:
    answer = call(client, "chat/addMessage", message(key, chat_channel) | {"channel_id": 999_999})

    assert answer["status"] is False
    assert answer["code"] == 404


def test_company_id_may_be_missing_but_not_wrong(client: Client, key: str, chat_channel: ChatChannel) -> None:
    body = message(key, chat_channel)

    assert call(client, "chat/addMessage", body | {"company_id": 77})["code"] == 403
    del body["company_id"]
    assert "chat_id" in call(client, "chat/addMessage", body)


def test_an_unwatched_channel_is_refused(client: Client, key: str) -> None:
    other = ChatChannelFactory()

    assert call(client, "chat/addMessage", message(key, other))["code"] == 403


def test_another_channels_chat_id_is_refused(client: Client, key: str, chat_channel: ChatChannel) -> None:
    stranger = ApiChannelFactory(kind="acebot", watched=chat_channel, secret=True)
    theirs = call(client, "chat/addMessage", message(stranger.current_secret().reveal(), chat_channel))

    answer = call(client, "chat/addMessage", message(key, chat_channel) | {"chat_id": theirs["chat_id"]})

    assert answer["code"] == 404


BAD = [
    {"message": None},
    {"message": []},
    {"message": {"text": ""}},
    {"message": {"text": {"a": 1}}},
    {"message": {"text": "a", "from": 5}},
    {"message": {"text": "a", "timestamp": "yesterday"}},
    {"message": {"text": "a", "timestamp": 1e300}},
    {"message": {"text": "a", "files": 5}},
    {"channel_id": None},
    {"channel_id": "1' OR 1=1"},
    {"channel_id": 10**30},
    {"channel_id": True},
    {"chat_id": "abc"},
    {"chat_id": 2**70},
    {"company_id": "x"},
]


@pytest.mark.parametrize("wrong", BAD, ids=[json.dumps(row)[:40] for row in BAD])
def test_an_authentic_but_invalid_call_is_explained_and_shown_to_the_admin(
    client: Client, key: str, chat_channel: ChatChannel, wrong: dict[str, Any]
) -> None:
    answer = call(client, "chat/addMessage", message(key, chat_channel) | wrong)

    assert answer["code"] in (400, 404)
    assert answer["error"]
    event = WebhookEvent.objects.get()
    assert (event.state, event.error) == ("failed", answer["error"])
    assert not Message.objects.exists()


def test_nul_and_long_texts_are_stored(client: Client, key: str, chat_channel: ChatChannel) -> None:
    body = message(key, chat_channel, "a\0b" + "ы" * 100_000, sender={"name": "\0" + "n" * 500})

    call(client, "chat/addMessage", body)

    assert Message.objects.get().text.startswith("a\ufffdb")
    assert len(Contact.objects.get().name) == 200


def test_a_body_over_the_limit_is_413(client: Client, key: str) -> None:
    response = client.post("/uapi/chat/addMessage", b"x" * (MAX_BYTES_WITH_FILES + 1), content_type="application/json")

    assert response.status_code == 413
    assert response.json()["code"] == 413


def test_a_get_is_refused_in_the_callers_format(client: Client) -> None:
    response = client.get("/uapi/chat/addMessage")

    assert response.status_code == 405
    assert response.json()["error"]


def test_a_failing_commit_is_a_503(
    client: Client, key: str, chat_channel: ChatChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    from bridge.conversations import receiving

    def broken(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(receiving, "receive_messages", broken)

    response = client.post(
        "/uapi/chat/addMessage", json.dumps(message(key, chat_channel)), content_type="application/json"
    )

    assert response.status_code == 503
    assert response["Retry-After"]


def test_the_first_call_makes_a_waiting_channel_live(
    client: Client, key: str, chat_channel: ChatChannel, api_channel: ApiChannel
) -> None:
    ApiChannel.objects.update(state=ChannelState.WAITING)

    call(client, "chat/addMessage", message(key, chat_channel))

    api_channel.refresh_from_db()
    assert api_channel.state == ChannelState.LIVE
    assert api_channel.first_inbound_at


def test_both_keys_work_during_a_rotation_and_the_old_one_never_again(
    client: Client, key: str, chat_channel: ChatChannel, api_channel: ApiChannel
) -> None:
    new = api_channel.issue_secret(overlap=timedelta(hours=24)).reveal()
    assert "chat_id" in call(client, "chat/addMessage", message(key, chat_channel))
    assert "chat_id" in call(client, "chat/addMessage", message(new, chat_channel))

    api_channel.secrets.exclude(expires_at=None).update(expires_at=timezone.now())

    assert call(client, "chat/addMessage", message(key, chat_channel))["code"] == 401
    assert "chat_id" in call(client, "chat/addMessage", message(new, chat_channel))


def test_the_key_is_encrypted_in_the_database(key: str) -> None:
    assert len(key) == 40
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(t::text, '') FROM channels_setup_secret t")
        dump = cursor.fetchone()[0]

    assert key not in dump
    assert key.encode().hex() not in dump


# --- sendMessage, changeAssignee, channels ---------------------------------------------------------------


@pytest.fixture
def chat(client: Client, key: str, chat_channel: ChatChannel) -> Conversation:
    return Conversation.objects.get(pk=call(client, "chat/addMessage", message(key, chat_channel))["chat_id"])


def test_an_operators_reply_is_queued_as_text(client: Client, key: str, chat: Conversation) -> None:
    body = {"api_token": key, "chat_id": chat.pk, "user_id": boris(chat.chat_channel).pk, "text": "Да, приехал"}

    answer = call(client, "chat/sendMessage", body)

    reply = Message.objects.get(direction="outbound")
    assert answer == {
        "status": "success",
        "chat_id": chat.pk,
        "ticket_id": reply.ticket_id,
        "message_id": reply.pk,
    }
    assert (reply.status, reply.text) == ("pending", "Да, приехал")
    delivery = Delivery.objects.get(kind="message")
    assert delivery.payload["event"]["from"] == "user"
    assert delivery.free_text


def test_after_the_window_the_caller_gets_the_reason(client: Client, key: str, chat: Conversation) -> None:
    ServiceWindow.objects.update(opened_at=timezone.now() - timedelta(hours=25), expires_at=timezone.now())
    body = {"api_token": key, "chat_id": chat.pk, "user_id": boris(chat.chat_channel).pk, "text": "Да"}

    answer = call(client, "chat/sendMessage", body, **{"accept-language": "en"})

    assert (answer["code"], answer["reason"]) == (422, "window_closed")
    assert "24-hour window is closed" in answer["error"]
    assert not Message.objects.filter(direction="outbound").exists()


def test_a_repeated_send_message_with_one_key_sends_once(client: Client, key: str, chat: Conversation) -> None:
    body = {"api_token": key, "chat_id": chat.pk, "user_id": boris(chat.chat_channel).pk, "text": "Да"}

    answers = [call(client, "chat/sendMessage", body, **{"idempotency-key": "k"}) for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    assert Message.objects.filter(direction="outbound").count() == 1


def test_only_an_operator_of_the_channel_may_be_named(client: Client, key: str, chat: Conversation) -> None:
    body = {"api_token": key, "chat_id": chat.pk, "user_id": gleb().pk, "text": "Да"}

    assert call(client, "chat/sendMessage", body)["code"] == 404
    assert call(client, "chat/sendMessage", body | {"user_id": None})["code"] == 400
    assert call(client, "chat/sendMessage", body | {"chat_id": 1})["code"] == 404


@pytest.mark.parametrize(("text", "reason"), [("", "empty"), ("  \n", "empty"), ("ы" * 4097, "too_long")])
def test_an_unsendable_text_is_refused_with_the_reason(
    client: Client, key: str, chat: Conversation, text: str, reason: str
) -> None:
    body = {"api_token": key, "chat_id": chat.pk, "user_id": boris(chat.chat_channel).pk, "text": text}

    assert call(client, "chat/sendMessage", body)["reason"] == reason


def test_the_response_to_assigning_a_chat_uses_strings(client: Client, key: str, chat: Conversation) -> None:
    user = boris(chat.chat_channel)

    answer = call(client, "chat/changeAssignee", {"api_token": key, "chat_id": str(chat.pk), "user_id": user.pk})

    assert answer == {
        "chat_id": str(chat.pk),
        "user_id": str(user.pk),
        "url": f"http://127.0.0.1:8000/chats/{chat.pk}/",
    }
    chat.refresh_from_db()
    assert chat.assignee_id == Ticket.objects.get().assignee_id == user.pk


def test_channels_lists_the_watched_chat_channels(client: Client, key: str, chat_channel: ChatChannel) -> None:
    ChatChannelFactory(name="Not ours")

    answer = client.get(f"/uapi/channels?api_token={key}&channel_type=chat").json()

    assert answer == [{"channel_id": chat_channel.pk, "channel_name": chat_channel.name, "channel_type": "chat"}]
    assert client.get("/uapi/channels?api_token=nonsense").json()["code"] == 401


def test_an_unknown_method_is_refused_in_the_callers_format(client: Client) -> None:
    answer = call(client, "create/tag", {"api_token": "x"}, **{"accept-language": "en"})

    assert answer == {"error": "Method “create/tag” does not exist.", "code": 404}
