"""/api/v1/: what programs see, who sees it, and what they may do."""

from __future__ import annotations

import json
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from bridge import service_window
from bridge.models import Attachment, Attempt, Conversation, Delivery, Draft, Message, Ticket, WebhookEvent
from bridge.notices import create_notice
from channels_setup.models import ChannelState
from tests.api_client import API, Api
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    ServiceWindowFactory,
    TicketFactory,
    UserFactory,
    boris,
    gleb,
    token_of,
    vera,
)
from tests.receiver import Receiver
from tests.worker import Worker

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat() -> Conversation:
    """Create Anna's chat with an open window, a request, her message, and a message on its way to her."""
    chat = ConversationFactory()
    ticket = TicketFactory(conversation=chat)
    MessageFactory(conversation=chat, ticket=ticket)
    answer = MessageFactory(conversation=chat, ticket=ticket, outbound=True, text="Есть!")
    DeliveryFactory(message=answer)
    ServiceWindowFactory(conversation=chat)
    return chat


@pytest.fixture
def event(chat: Conversation) -> WebhookEvent:
    return WebhookEvent.objects.create(
        api_channel=chat.api_channel,
        endpoint="webhook",
        body='{"text": "Привет"}'.encode(),
        headers={"user-agent": "x"},
    )


# --- who sees what ---------------------------------------------------------------------------------------

LISTS = ("conversations", "messages", "deliveries", "channels", "chat-channels")


@pytest.mark.parametrize("path", [*LISTS, "webhook-events"])
def test_an_anonymous_caller_is_refused_without_details(chat: Conversation, path: str) -> None:
    answer = Api().get(path)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Token"
    assert answer.json()["reason"] == "not_authenticated" and answer.json()["error"]


@pytest.mark.parametrize("path", LISTS)
def test_a_user_without_channels_sees_empty_lists_and_no_row_by_id(chat: Conversation, path: str) -> None:
    one = Api(vera()).ids(path)[0]

    assert Api(gleb()).rows(path) == []
    assert Api(gleb()).get(f"{path}/{one}").status_code == 404


@pytest.mark.parametrize("path", LISTS)
def test_an_operator_sees_only_rows_of_their_own_channels(chat: Conversation, path: str) -> None:
    foreign = DeliveryFactory().conversation
    api = Api(boris(chat.chat_channel))

    mine, all_ids = set(api.ids(path)), set(Api(vera()).ids(path))

    assert mine and mine < all_ids
    assert {api.get(f"{path}/{pk}").status_code for pk in mine} == {200}
    assert {api.get(f"{path}/{pk}").status_code for pk in all_ids - mine} == {404}
    assert all(row.get("chat_id") != foreign.pk for row in api.rows(path))


@pytest.mark.parametrize(("who", "status"), [(gleb, 403), (boris, 403), (vera, 200)])
def test_raw_events_are_visible_only_to_admins(event: WebhookEvent, who: Any, status: int) -> None:
    assert Api(who()).get("webhook-events").status_code == status
    assert Api(who()).get(f"webhook-events/{event.pk}").status_code == status


@pytest.mark.parametrize(
    "call", ["conversations/{chat}/messages", "conversations/{chat}/assign", "deliveries/{delivery}/retry"]
)
@pytest.mark.parametrize(("who", "status"), [(None, 401), (gleb, 404)])
def test_a_user_who_cannot_see_a_chat_cannot_write_to_it(chat: Conversation, call: str, who: Any, status: int) -> None:
    delivery = Delivery.objects.get()
    Delivery.objects.update(state="dead")
    path = call.format(chat=chat.pk, delivery=delivery.pk)

    answer = Api(who and who()).post(path, {"text": "Я Глеб", "user_id": None})

    assert answer.status_code == status
    delivery.refresh_from_db()
    assert delivery.state == "dead" and Message.objects.count() == 2


def test_a_session_can_read_but_needs_its_csrf_token_to_write(chat: Conversation) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(vera())

    assert client.get(f"{API}/conversations").status_code == 200
    answer = client.post(f"{API}/conversations/{chat.pk}/messages", {"text": "x"}, content_type="application/json")
    assert answer.status_code == 403 and answer.json()["reason"] == "permission_denied"


def test_a_deactivated_users_token_is_refused(chat: Conversation) -> None:
    user = boris(chat.chat_channel)
    api = Api(user)
    user.is_active = False
    user.save()

    assert api.get("conversations").status_code == 401


@pytest.mark.parametrize("path", ["channels", "chat-channels", "conversations", "messages", "deliveries"])
@pytest.mark.parametrize("who", [boris, vera])
def test_no_list_contains_a_secret(chat: Conversation, path: str, who: Any) -> None:
    key = chat.api_channel.issue_secret().reveal()
    user = who(chat.chat_channel) if who is boris else who()

    answers = [Api(user).get(path), Api(user).get(f"{path}/{Api(user).ids(path)[0]}")]
    body = "".join(answer.content.decode() for answer in answers)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert key not in body and chat.api_channel.path_token not in body


def test_only_admins_see_the_redirect_url(chat: Conversation) -> None:
    chat.api_channel.redirect_url = "https://hook.example/?key=tayna"
    chat.api_channel.save()

    assert Api(vera()).rows("channels")[0]["redirect_url"].endswith("tayna")
    assert "tayna" not in Api(boris(chat.chat_channel)).get("channels").content.decode()


# --- what a row says -------------------------------------------------------------------------------------


def test_a_conversation_has_its_contact_channel_and_window_expiry(chat: Conversation) -> None:
    row = Api(vera()).get(f"conversations/{chat.pk}").json()

    window = chat.windows.get()
    ticket = chat.tickets.get()
    assert row["id"] == row["chat_id"] == chat.pk
    assert (row["api_channel"], row["chat_channel"]) == (chat.api_channel_id, chat.chat_channel_id)
    assert row["contact"] == {
        "id": chat.contact_id,
        "name": "Анна Петрова",
        "phone": chat.contact.phone,
        "external_id": chat.contact.external_id,
        "user_id": "",
        "username": "",
        "caller_id": "",
    }
    assert (row["ticket_id"], row["status"]) == (ticket.pk, Ticket.Status.NEW)
    assert row["window"]["state"] == "open"
    assert row["window"]["expires_at"] == timezone.localtime(window.expires_at).isoformat()
    assert (row["assignee"], row["unread"]) == (None, 0)


def test_a_closed_request_is_not_the_current_one(chat: Conversation) -> None:
    chat.tickets.update(status=Ticket.Status.CLOSED)

    row = Api(vera()).get(f"conversations/{chat.pk}").json()

    assert (row["ticket_id"], row["status"]) == (None, None)


@pytest.mark.parametrize(
    ("left", "state"),
    [(timedelta(hours=1), "open"), (timedelta(seconds=-1), "closed"), (None, "none")],
)
def test_the_window_state_and_its_filter_follow_the_clock(left: timedelta | None, state: str) -> None:
    chat = ConversationFactory()
    if left is not None:
        ServiceWindowFactory(conversation=chat, left=left)  # housekeeping has not run yet: the row still says open
    api = Api(vera())

    assert api.rows("conversations")[0]["window"]["state"] == state
    assert service_window.get_window_state(chat).state == state
    for other in ("open", "closed", "none", "unrestricted"):
        assert api.ids("conversations", window=other) == ([chat.pk] if other == state else [])
    assert api.ids("conversations", window="open,closed,none") == [chat.pk]


def test_a_provider_without_the_24_hour_rule_has_an_unrestricted_window(chat: Conversation, monkeypatch: Any) -> None:
    monkeypatch.setattr(type(chat.api_channel.provider), "service_window", False)
    api = Api(vera())

    assert api.rows("conversations", window="unrestricted")[0]["window"] == {
        "state": "unrestricted",
        "expires_at": None,
    }
    assert api.ids("conversations", window="open,closed,none") == []


def test_a_message_has_its_delivery_status_and_reason(chat: Conversation) -> None:
    message = chat.messages.get(direction="outbound")
    message.status, message.reason = "failed", "rejected"
    message.author = boris()
    message.save()
    Attachment.objects.create(message=message, url="https://files.example/a.pdf", name="a.pdf", mime="application/pdf")

    row = Api(vera()).get(f"messages/{message.pk}").json()

    assert (row["chat_id"], row["ticket_id"]) == (chat.pk, message.ticket_id)
    assert (row["direction"], row["kind"], row["text"], row["status"]) == ("outbound", "text", "Есть!", "failed")
    assert (row["reason"], row["author"]) == ("rejected", message.author_id)
    assert row["sentence"]
    assert [(file["name"], file["url"]) for file in row["files"]] == [("a.pdf", "https://files.example/a.pdf")]


def test_a_notice_is_shown_in_the_readers_language(chat: Conversation) -> None:
    create_notice(chat, "not_delivered", why_code="retries_exhausted")

    english = Api(vera()).client.get(
        f"{API}/messages", {"direction": "notice"}, headers=token_of(vera()) | {"accept-language": "en"}
    )

    assert "was not delivered. All attempts failed" in english.json()["results"][0]["text"]


def test_a_delivery_lists_its_attempts(chat: Conversation) -> None:
    delivery = Delivery.objects.get()
    Attempt.objects.create(
        delivery=delivery,
        number=1,
        started_at=timezone.now(),
        duration_ms=40,
        http_status=503,
        verdict="retry",
        reason="destination_error",
        answer="busy",
    )

    listed, whole = Api(vera()).rows("deliveries")[0], Api(vera()).get(f"deliveries/{delivery.pk}").json()

    assert "tries" not in listed and "payload" not in whole
    assert (whole["key"], whole["chat_id"], whole["message_id"]) == (delivery.key, chat.pk, delivery.message_id)
    assert whole["next_attempt_at"] is not None
    tried = whole["tries"][0]
    assert (tried["number"], tried["duration_ms"], tried["http_status"]) == (1, 40, 503)
    assert (tried["verdict"], tried["reason"], tried["answer"]) == ("retry", "destination_error", "busy")


def test_a_raw_event_is_shortened_in_the_list_and_complete_on_its_own(event: WebhookEvent) -> None:
    WebhookEvent.objects.filter(pk=event.pk).update(body=b"\xff\0" + "я".encode() * 5_000)

    listed, whole = Api(vera()).rows("webhook-events")[0], Api(vera()).get(f"webhook-events/{event.pk}").json()

    assert listed["size"] == 10_002 and "body_base64" not in listed
    assert listed["preview"].startswith("��яяя") and len(listed["preview"]) < 2_000
    assert whole["body_base64"] == b64encode(b"\xff\0" + "я".encode() * 5_000).decode()
    assert whole["headers"] == {"user-agent": "x"}


def test_an_operator_sees_only_their_own_chat_channels_of_a_channel() -> None:
    mine, other = ChatChannelFactory(), ChatChannelFactory()
    channel = ApiChannelFactory(watched=[mine, other], state=ChannelState.FAILING)

    row = Api(boris(mine)).get(f"channels/{channel.pk}").json()

    assert (row["state"], row["kind"], row["app_id"]) == ("failing", "sandbox", channel.app_id)
    assert row["tracked"] == ["new_chat", "message", "resumed"]
    assert [chat_channel["id"] for chat_channel in row["chat_channels"]] == [mine.pk]
    assert len(Api(vera()).rows("channels")[0]["chat_channels"]) == 2


# --- filters and pages -----------------------------------------------------------------------------------


def test_each_filter_returns_only_matching_rows(chat: Conversation) -> None:
    DeliveryFactory(event=True, state="dead")
    api = Api(vera())
    delivery = Delivery.objects.get(kind="message")
    inbound = chat.messages.get(direction="inbound")

    assert api.ids("messages", chat_id=chat.pk, direction="inbound") == [inbound.pk]
    assert api.ids("messages", external_id=inbound.external_id) == [inbound.pk]
    assert len(api.ids("messages", api_channel=chat.api_channel_id)) == 2
    assert len(api.ids("messages", chat_channel=chat.chat_channel_id, kind="text")) == 2
    assert api.ids("messages", status="received", chat_id=chat.pk) == [inbound.pk]
    assert api.ids("messages", status="read,delivered") == []
    assert api.ids("deliveries", kind="message") == api.ids("deliveries", key=delivery.key) == [delivery.pk]
    assert api.ids("deliveries", state="dead,unknown") != [delivery.pk]
    assert api.ids("deliveries", message_id=delivery.message_id) == [delivery.pk]
    for phone in (chat.contact.phone, chat.contact.phone.replace("+", " "), chat.contact.phone[1:]):
        assert api.ids("conversations", phone=phone) == [chat.pk]
    assert api.ids("conversations", external_id=chat.contact.external_id) == [chat.pk]
    assert api.ids("channels", chat_channel=chat.chat_channel_id) == [chat.api_channel_id]
    assert api.ids("conversations", chat_id=99999) == []


def test_since_and_until_accept_iso_times_and_unix_seconds(chat: Conversation) -> None:
    api = Api(vera())
    old = chat.messages.earliest("id")
    Message.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=3))
    border = timezone.now() - timedelta(days=1)

    for value in (border.isoformat(), str(int(border.timestamp())), border.date().isoformat()):
        assert api.ids("messages", until=value) == [old.pk]
        assert old.pk not in api.ids("messages", since=value)
    # A plus sign in a query string is a space.
    unescaped = Client().get(f"{API}/messages?until={border.isoformat()}", headers=token_of(vera()))
    assert [row["id"] for row in unescaped.json()["results"]] == [old.pk]


@pytest.mark.parametrize(
    "query",
    [
        *({"chat_id": value} for value in ("x", "-1", "1.5", "9" * 400, "٣", "\0")),
        *(
            {"since": value}
            for value in ("yesterday", "9" * 30, "0001-01-01T00:00:00+14:00", "2026-13-45", "nan", "\0")
        ),
        *({"direction": value} for value in ("sideways", "inbound,", "\0")),
        *({"external_id": value} for value in ("\0", "x" * 500)),
        *({"cursor": value} for value in ("x", "cD1hYmM=", "я", "cD0xJTI3", b64encode(b"p=" + b"9" * 30).decode())),
        *({"page_size": value} for value in ("0", "-5", "ten", "\0", "201", "9" * 30, "")),
        *({"ordering": value} for value in ("text", "")),
        *({name: ""} for name in ("chat_id", "since", "until", "direction", "external_id")),
        {"chat_id": "0"},
    ],
)
def test_an_unreadable_filter_value_is_a_400_with_an_explanation(query: dict[str, str]) -> None:
    answer = Api(vera()).get("messages", **query)

    assert answer.status_code == 400, answer.content
    assert list(answer.json()["fields"]) == list(query)
    assert answer.json()["reason"] == "invalid"
    assert next(iter(query)) in answer.json()["error"]


def test_pages_are_newest_first_and_complete_while_rows_are_added() -> None:
    chat = ConversationFactory()
    messages = MessageFactory.create_batch(7, conversation=chat)
    api = Api(vera())

    first = api.get("messages", page_size=3).json()
    MessageFactory(conversation=chat)
    second = Client().get(first["next"], headers=token_of(vera())).json()
    third = Client().get(second["next"], headers=token_of(vera())).json()

    assert set(first) == {"next", "results"}
    ids = [row["id"] for page in (first, second, third) for row in page["results"]]
    assert ids == [message.pk for message in reversed(messages)]
    assert third["next"] is None


def test_pages_can_run_from_the_oldest_with_a_count() -> None:
    messages = MessageFactory.create_batch(3)

    page = Api(vera()).get("messages", ordering="id", count=1, page_size=2).json()

    assert page["count"] == 3
    assert [row["id"] for row in page["results"]] == [message.pk for message in messages[:2]]


def test_a_page_has_at_most_200_rows() -> None:
    chat = ConversationFactory()
    Message.objects.bulk_create(MessageFactory.build_batch(205, conversation=chat, api_channel=chat.api_channel))

    assert len(Api(vera()).rows("messages", page_size=200)) == 200
    assert Api(vera()).get("messages", page_size=201).status_code == 400


@pytest.mark.parametrize(
    ("who", "path"), [*((who, path) for who in (boris, vera) for path in LISTS), (vera, "webhook-events")]
)
def test_a_page_runs_the_same_number_of_queries_for_any_length(
    django_assert_max_num_queries: Any, path: str, who: Any
) -> None:
    def more(number: int) -> None:
        for _ in range(number):
            chat = DeliveryFactory().conversation
            ServiceWindowFactory(conversation=chat)
            Attachment.objects.create(message=chat.messages.get(), url="https://files.example/1")
            WebhookEvent.objects.create(api_channel=chat.api_channel, endpoint="webhook", body=b"{}")
            user.chat_channels.add(chat.chat_channel)

    user = who()
    api = Api(user)
    more(1)
    with django_assert_max_num_queries(100) as one:
        assert len(api.rows(path)) == 1
    more(9)
    with django_assert_max_num_queries(len(one)):
        assert len(api.rows(path)) == 10


def test_urls_work_with_and_without_a_trailing_slash(chat: Conversation) -> None:
    api = Api(vera())

    assert api.get("conversations").json() == api.get("conversations/").json()
    assert api.get(f"conversations/{chat.pk}/").status_code == 200
    assert api.get("conversations/99999999999999999999").status_code == 404
    assert api.get("conversations/9999999999999999999").status_code == 404


# --- writing ---------------------------------------------------------------------------------------------


def test_a_reply_is_sent_in_the_name_of_the_tokens_owner(chat: Conversation) -> None:
    user = boris(chat.chat_channel)

    answer = Api(user).post(f"conversations/{chat.pk}/messages", {"text": "Есть 38-й 👢"})

    message = chat.messages.latest("id")
    assert answer.status_code == 201
    assert answer.json() == Api(user).get(f"messages/{message.pk}").json()
    assert (message.text, message.author, message.status) == ("Есть 38-й 👢", user, "pending")
    assert Delivery.objects.filter(message=message).count() == 1


def test_a_reply_repeated_under_its_key_is_sent_once(chat: Conversation) -> None:
    api = Api(boris(chat.chat_channel))
    path = f"conversations/{chat.pk}/messages"

    first, second = (api.post(path, {"text": "Есть!"}, key="k1") for _ in range(2))
    other = api.post(path, {"text": "Нет!"}, key="k1")
    elses = Api(vera()).post(path, {"text": "Есть!"}, key="k1")

    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert (other.status_code, other.json()["reason"]) == (409, "key_reused")
    assert elses.status_code == 201 and elses.json()["id"] != first.json()["id"]


@pytest.mark.parametrize(
    ("left", "text", "status", "reason"),
    [
        (timedelta(seconds=-1), "Есть!", 409, "window_closed"),
        (None, "Есть!", 409, "contact_never_wrote"),
        (timedelta(hours=1), " \n", 422, "empty"),
        (timedelta(hours=1), "я" * 4_097, 422, "too_long"),
    ],
)
def test_a_refused_reply_has_a_reason_and_sends_nothing(
    left: timedelta | None, text: str, status: int, reason: str
) -> None:
    chat = ConversationFactory()
    if left:
        ServiceWindowFactory(conversation=chat, left=left)

    answer = Api(boris(chat.chat_channel)).post(f"conversations/{chat.pk}/messages", {"text": text}, key="k")

    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert len(answer.json()["error"]) > 10
    assert not Message.objects.exists() and not Delivery.objects.exists()
    assert list(Draft.objects.values_list("text", flat=True)) == ([text] if text.strip() else [])


def test_a_refusal_is_not_stored_under_the_idempotency_key(chat: Conversation) -> None:
    api = Api(boris(chat.chat_channel))
    chat.windows.update(expires_at=timezone.now() - timedelta(minutes=1))
    refused = api.post(f"conversations/{chat.pk}/messages", {"text": "Есть!"}, key="k")
    chat.windows.update(expires_at=timezone.now() + timedelta(hours=1))

    again = api.post(f"conversations/{chat.pk}/messages", {"text": "Есть!"}, key="k")

    assert (refused.status_code, again.status_code) == (409, 201)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b'"x"', b"{", b"\xff\xfe", b'{"text": ' + b"9" * 5_000 + b"}"),
        *(b'{"text": null}', b'{"text": {}}', b'{"text": ["x"]}', b'{"text": true}', b'{"text": NaN}'),
        b"[" * 100_000 + b"]" * 100_000,
        b'{"text": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
    ],
)
def test_a_hostile_body_is_a_400_with_an_explanation(chat: Conversation, body: bytes) -> None:
    answer = Api(vera()).post(f"conversations/{chat.pk}/messages", body)

    assert answer.status_code == 400, answer.content
    assert answer.json()["error"]
    assert Message.objects.count() == 2


def test_characters_that_the_database_cannot_store_are_replaced(chat: Conversation) -> None:
    answer = Api(vera()).post(f"conversations/{chat.pk}/messages", rb'{"text": "a\u0000b\ud800c"}')

    assert (answer.status_code, answer.json()["text"]) == (201, "a�b�c")


def test_an_oversized_body_is_a_413(chat: Conversation) -> None:
    body = json.dumps({"text": "x" * 5_000_000}).encode()

    assert Api(vera()).post(f"conversations/{chat.pk}/messages", body).status_code == 413


def test_a_content_type_other_than_json_is_a_415_with_an_explanation(chat: Conversation) -> None:
    answer = Client().post(f"{API}/conversations/{chat.pk}/messages", {"text": "x"}, headers=token_of(vera()))

    assert answer.status_code == 415 and "Content-Type: application/json" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/api/v1/", "/api/v1/nonsense", "/api/v1/messages/abc", "/api/v2/messages"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_unknown_url_is_a_json_404(client: Client, path: str, method: str) -> None:
    answer = getattr(client, method)(path)

    assert answer.status_code == 404
    assert answer.json()["reason"] == "not_found" and "/api/docs/" in answer.json()["error"]


def test_a_missing_row_is_a_404_in_plain_language(chat: Conversation) -> None:
    answer = Api(vera()).get("messages/999999999").json()

    assert answer["reason"] == "not_found" and "Message" not in answer["error"]


def test_an_overlong_idempotency_key_is_a_400(chat: Conversation) -> None:
    answer = Api(vera()).post(f"conversations/{chat.pk}/messages", {"text": "Да"}, key="k" * 201)

    assert (answer.status_code, answer.json()["reason"]) == (400, "invalid")
    assert "Idempotency-Key" in answer.json()["error"]


def test_an_error_of_the_whole_body_names_no_field(chat: Conversation) -> None:
    body = {"text": "Да", "template": {"id": 1}}

    answer = Api(vera()).post(f"conversations/{chat.pk}/messages", body, **{"accept-language": "en"})

    assert answer.json()["error"] == "Give a text or a template, not both."


def test_a_chat_can_be_assigned_and_unassigned(chat: Conversation) -> None:
    user = boris(chat.chat_channel)
    api = Api(vera())

    assigned = api.post(f"conversations/{chat.pk}/assign", {"user_id": user.pk}, key="k")
    unassigned = api.post(f"conversations/{chat.pk}/assign", {"user_id": None})

    assert assigned.json()["assignee"] == user.pk and assigned.json()["window"]["state"] == "open"
    assert unassigned.json()["assignee"] is None


@pytest.mark.parametrize("who", ["stranger", "sleeper", 10**30, "x", True, {}, None])
def test_a_chat_is_not_assigned_to_a_user_who_cannot_see_it(chat: Conversation, who: Any) -> None:
    people = {"stranger": gleb().pk, "sleeper": UserFactory(is_active=False).pk}
    body = {"user_id": people.get(who, who) if isinstance(who, str) else who} if who is not None else {}

    answer = Api(vera()).post(f"conversations/{chat.pk}/assign", body)

    assert answer.status_code == 400, answer.content
    assert list(answer.json()["fields"]) == ["user_id"]
    assert Conversation.objects.get().assignee is None


def test_a_dead_delivery_is_resent_but_a_pending_one_is_not(chat: Conversation) -> None:
    delivery = Delivery.objects.get()
    api = Api(boris(chat.chat_channel))

    under_way = api.post(f"deliveries/{delivery.pk}/retry")
    Delivery.objects.update(state="dead", reason="retries_exhausted", attempts=9)
    again = api.post(f"deliveries/{delivery.pk}/retry", key="k")
    repeated = api.post(f"deliveries/{delivery.pk}/retry", key="k")

    assert (under_way.status_code, under_way.json()["reason"]) == (409, "not_to_be_sent_again")
    assert (again.status_code, again.json()["state"]) == (200, "pending")
    assert again.json()["key"] == delivery.key
    assert repeated.json() == again.json()


@pytest.mark.django_db(transaction=True)
def test_a_reply_by_the_api_reaches_the_provider_and_can_be_followed(worker: Worker, receiver: Receiver) -> None:
    channel = ApiChannelFactory(kind="acebot", redirect_url=receiver.url("/hook"))
    chat = ConversationFactory(api_channel=channel)
    ServiceWindowFactory(conversation=chat)
    api = Api(boris(chat.chat_channel))

    reply = api.post(f"conversations/{chat.pk}/messages", {"text": "Есть 38-й 👢"}).json()

    sent = receiver.wait_for(1)[0]
    worker.settle()
    delivery = api.rows("deliveries", message_id=reply["id"])[0]
    tries = api.get(f"deliveries/{delivery['id']}").json()["tries"]
    assert sent.json["text"] == "Есть 38-й 👢" and sent.headers["webhook-id"] == delivery["key"]
    assert (delivery["state"], delivery["attempts"], delivery["next_attempt_at"]) == ("delivered", 1, None)
    assert [(row["number"], row["http_status"], row["verdict"]) for row in tries] == [(1, 200, "accepted")]
    assert api.get(f"messages/{reply['id']}").json()["status"] == "sent"


@pytest.mark.django_db(transaction=True)
def test_two_concurrent_calls_with_one_key_send_one_reply(chat: Conversation) -> None:
    user = boris(chat.chat_channel)

    def call(_: int) -> Any:
        try:
            return Api(user).post(f"conversations/{chat.pk}/messages", {"text": "Есть!"}, key="k")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(4)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert chat.messages.filter(direction="outbound").count() == 2  # one existed before


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("path", LISTS)
def test_history_is_read_only(chat: Conversation, path: str, method: str) -> None:
    pk = Api(vera()).ids(path)[0]

    answer = getattr(Client(), method)(f"{API}/{path}/{pk}", headers=token_of(vera()))

    assert answer.status_code == 405 and answer.json()["reason"] == "method_not_allowed"


# --- the schema ------------------------------------------------------------------------------------------


def test_the_schema_is_generated_without_warnings(capsys: Any) -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)

    validate_schema(schema)
    output = capsys.readouterr()
    assert "Warning" not in output.err + output.out and "Error" not in output.err + output.out
    assert len(schema["paths"]) == 30
    assert schema["components"]["schemas"]["PaginatedMessageList"]["required"] == ["next", "results"]


def test_the_schema_lists_every_refusal_and_every_number_range() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)

    assert schema["paths"]
    for path, calls in schema["paths"].items():
        for method, call in calls.items():
            expected = {"401"} | ({"400"} if method == "get" else set()) | ({"404"} if "{" in path else set())
            assert expected <= call["responses"].keys() | ({"404"} if method != "get" else set()), (method, path)
            for parameter in call.get("parameters", []):
                if parameter["schema"].get("type") == "integer":
                    assert "minimum" in parameter["schema"] or "enum" in parameter["schema"], (path, parameter)


def test_the_schema_reveals_no_implementation_details() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    described = [call["description"] for path in schema["paths"].values() for call in path.values()]

    assert not [text for text in described if "``" in text]


def test_the_schema_and_its_viewer_are_served_locally(client: Client) -> None:
    assert client.get("/api/schema/").status_code == 200

    page = client.get("/api/docs/").content.decode()

    assert "/static/drf_spectacular_sidecar/" in page
    assert "<style" not in page and "<script>" not in page and "//cdn" not in page and "https://" not in page
