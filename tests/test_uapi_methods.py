"""The other methods of the helpdesk's public API: comments, clients, requests, operators, in the documented format."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from bridge.conversations import contacts
from bridge.models import (
    Attachment,
    Contact,
    Conversation,
    Delivery,
    Message,
    ServiceWindow,
    Ticket,
    TicketField,
    WebhookEvent,
)
from bridge.uapi.methods import METHODS
from channels_setup.models import ApiChannel, ChatChannel
from tests.cloud_accounts import cloud_channel
from tests.factories import ApiChannelFactory, ChatChannelFactory, ContactFactory, boris, vera
from tests.scenarios.uapi_key import api_channel, chat_channel, key
from tests.uapi_calls import call_with_key, nested

__all__ = ["api_channel", "chat_channel", "key"]  # fixtures

pytestmark = pytest.mark.django_db


@pytest.fixture
def first_message(client: Client, key: str, chat_channel: ChatChannel) -> dict[str, Any]:
    """Send Anna's first message, which creates a chat with a request and an open window."""
    sender = {"client_id": "79211234567", "name": "Анна"}
    body = {"channel_id": chat_channel.pk, "message": {"text": "Здравствуйте!", "from": sender}}
    answer = call_with_key(client, "chat/addMessage", key, **body)
    return answer | {"ticket_id": Ticket.objects.get().pk}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_refuses_a_wrong_token_in_the_helpdesks_format(client: Client, method: str) -> None:
    answer = call_with_key(client, method, "0" * 40, ticket_id=1, client_id=1, message="?")

    assert answer["code"] == 401 and answer["error"]
    assert not WebhookEvent.objects.exists()


# --- comments --------------------------------------------------------------------------------------------


def test_a_comment_is_private_by_default_and_is_not_sent(
    client: Client, key: str, first_message: dict[str, Any]
) -> None:
    before = Delivery.objects.count()

    answer = call_with_key(
        client, "create/comment", key, ticket_id=first_message["ticket_id"], message="<p>Анна &amp; <b>Ко</b></p>"
    )

    note = Message.objects.get(pk=answer["comment_id"])
    assert answer == {"status": "success", "comment_id": note.pk}
    assert (note.direction, note.text, note.ticket_id) == ("notice", "Анна & *Ко*", first_message["ticket_id"])
    assert "Анна & *Ко*" in note.sentence
    assert Delivery.objects.count() == before


def test_a_private_comment_is_shown_in_the_chat(client: Client, key: str, first_message: dict[str, Any]) -> None:
    call_with_key(client, "create/comment", key, ticket_id=first_message["ticket_id"], message="Позвонить до шести")

    client.force_login(boris(ChatChannel.objects.get()))

    assert "Позвонить до шести" in client.get(f"/chats/{first_message['chat_id']}/").content.decode()


def test_a_public_comment_from_an_operator_goes_to_the_client(
    client: Client, key: str, first_message: dict[str, Any]
) -> None:
    operator = boris(ChatChannel.objects.get())

    answer = call_with_key(
        client,
        "create/comment",
        key,
        ticket_id=str(first_message["ticket_id"]),
        message="<div>Да</div><div>Приезжайте</div>",
        type="public",
        user_id=operator.pk,
    )

    message = Message.objects.get(pk=answer["comment_id"])
    assert (message.direction, message.text, message.author) == ("outbound", "Да\nПриезжайте", operator)
    assert Delivery.objects.get(message=message, kind="message")


def test_a_public_comment_obeys_the_window(client: Client, key: str, first_message: dict[str, Any]) -> None:
    ServiceWindow.objects.update(opened_at=timezone.now() - timezone.timedelta(hours=30), expires_at=timezone.now())

    answer = call_with_key(
        client, "create/comment", key, ticket_id=first_message["ticket_id"], message="Поздно", type="public"
    )

    assert (answer["code"], answer["reason"]) == (422, "window_closed")
    assert not Message.objects.filter(direction="outbound").exists()


def test_an_operators_file_goes_to_the_client_if_the_route_supports_files(
    client: Client, key: str, chat_channel: ChatChannel, first_message: dict[str, Any]
) -> None:
    chat = Conversation.objects.get()
    form = {"api_token": key, "ticket_id": first_message["ticket_id"], "message": "Вот счёт", "type": "public"}

    def answered(name: str, content: bytes) -> Any:
        upload = SimpleUploadedFile(name, content)
        return client.post("/uapi/create/comment", {**form, "files[0]": upload}).json()

    assert answered("счёт.pdf", b"%PDF-1.7")["reason"] == "files_not_supported"
    cloud = cloud_channel(watched=chat_channel)
    Conversation.objects.filter(pk=chat.pk).update(api_channel=cloud)
    assert answered("счёт.exe", b"MZ")["code"] == 400
    message = Message.objects.get(pk=answered("счёт.pdf", b"%PDF-1.7")["comment_id"])

    assert (message.direction, message.text) == ("outbound", "Вот счёт")
    assert Delivery.objects.get(message=message, kind="message").payload["files"][0]["name"] == "счёт.pdf"


def test_a_clients_public_comment_is_a_client_message_with_its_files(
    client: Client, key: str, first_message: dict[str, Any]
) -> None:
    form = {
        "api_token": key,
        "ticket_id": first_message["ticket_id"],
        "message": "Вот чек",
        "type": "public",
        "from": "client",
    }
    upload = SimpleUploadedFile("check.png", b"\x89PNG", "image/png")

    answer = client.post("/uapi/create/comment", {**form, "files[0]": upload}).json()

    message = Message.objects.get(pk=answer["comment_id"])
    assert (message.direction, message.text) == ("inbound", "Вот чек")
    assert Attachment.objects.get(message=message).name == "check.png"


def test_a_comment_in_another_channels_request_is_refused(
    client: Client, key: str, first_message: dict[str, Any]
) -> None:
    other = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/x", secret=True)

    answer = call_with_key(
        client, "create/comment", other.current_secret().reveal(), ticket_id=first_message["ticket_id"], message="?"
    )

    assert answer["code"] == 404


@pytest.mark.parametrize(
    "wrong", [{"type": "secret"}, {"from": "cat"}, {"message": ""}, {"message": "я" * 40_000}, {"ticket_id": "x"}]
)
def test_a_comment_with_a_wrong_field_is_refused_with_an_explanation(
    client: Client, key: str, first_message: dict[str, Any], wrong: dict[str, Any]
) -> None:
    answer = call_with_key(
        client, "create/comment", key, **({"ticket_id": first_message["ticket_id"], "message": "Да"} | wrong)
    )

    assert answer["code"] == 400 and answer["error"]


# --- clients and users -----------------------------------------------------------------------------------


def test_a_client_is_created_once_with_phone_and_messenger(
    client: Client, key: str, chat_channel: ChatChannel, api_channel: ApiChannel
) -> None:
    body = {
        "name": "Анна",
        "phone": "79211234567",
        "emails": ["a@shop.example"],
        "messengers": [{"type": "whatsapp", "identity": "79211234567"}],
    }

    first, again = (call_with_key(client, "create/client", key, **body) for _ in range(2))
    message = {"text": "?", "from": {"client_id": first["client_id"]}}
    response = call_with_key(client, "chat/addMessage", key, channel_id=chat_channel.pk, message=message)

    contact = Contact.objects.get()
    assert first == again == {"client_id": contact.pk, "status": True}
    assert (contact.phone, contact.external_id, contact.email) == ("79211234567", "79211234567", "a@shop.example")
    assert response["client_id"] == contact.pk


@pytest.mark.parametrize("phone", ["+7 921 123-45-67", "12345", "7" * 16, "phone"])
def test_a_phone_has_ten_to_fifteen_digits(client: Client, key: str, phone: str) -> None:
    assert call_with_key(client, "create/client", key, name="Анна", phone=phone)["code"] == 400


def test_an_update_changes_only_given_fields_of_a_client(
    client: Client, key: str, first_message: dict[str, Any]
) -> None:
    answer = call_with_key(client, "update/client", key, client_id=str(first_message["client_id"]), phone="79990000000")

    contact = Contact.objects.get()
    assert answer == {"client_id": contact.pk, "status": True}
    assert (contact.name, contact.phone, contact.external_id) == ("Анна", "79990000000", "79211234567")


def test_a_search_finds_only_clients_of_the_channel(client: Client, key: str, first_message: dict[str, Any]) -> None:
    ContactFactory(name="Анна Чужая")

    found = call_with_key(client, "clients", key, query="анн")
    exactly = call_with_key(client, "clients", key, query="анн", search_type="full_match")

    assert found == [
        {
            "id": first_message["client_id"],
            "name": "Анна",
            "emails": None,
            "phone": None,
            "tickets": [first_message["ticket_id"]],
        }
    ]
    assert exactly == []


def test_requests_in_unwatched_channels_are_never_named(
    client: Client, key: str, first_message: dict[str, Any], api_channel: ApiChannel
) -> None:
    elsewhere = Conversation.objects.create(
        contact_id=first_message["client_id"], api_channel=api_channel, chat_channel=ChatChannelFactory()
    )
    Ticket.objects.create(conversation=elsewhere)

    (listed,) = call_with_key(client, "clients", key, query="анн")
    response = call_with_key(client, "client", key, client_id=first_message["client_id"])

    assert listed["tickets"] == response["client"]["tickets"] == [first_message["ticket_id"]]


def test_users_are_the_operators_of_the_channel_and_admins(client: Client, key: str, chat_channel: ChatChannel) -> None:
    operator, admin = boris(chat_channel), vera()

    users = call_with_key(client, "users", key)
    alone = call_with_key(client, "users", key, user_id=operator.pk)

    assert {(user["id"], user["role"]) for user in users} == {(operator.pk, "employee"), (admin.pk, "admin")}
    assert [user["name"] for user in alone] == ["boris"]


# --- requests --------------------------------------------------------------------------------------------


def test_a_ticket_is_shown_with_its_comments(client: Client, key: str, first_message: dict[str, Any]) -> None:
    call_with_key(client, "create/comment", key, ticket_id=first_message["ticket_id"], message="Между нами")
    call_with_key(client, "create/comment", key, ticket_id=first_message["ticket_id"], message="Да", type="public")

    ticket = call_with_key(client, "ticket", key, ticket_id=first_message["ticket_id"])

    assert {key: ticket["ticket"][key] for key in ("id", "status_id", "client_id", "assignee_id")} == {
        "id": first_message["ticket_id"],
        "status_id": 1,
        "client_id": first_message["client_id"],
        "assignee_id": None,
    }
    comments = [(comment["from"], comment["type"], comment["message"]) for comment in ticket["comments"]]
    assert comments == [
        ("client", "public", "<p>Здравствуйте!</p>"),
        ("user", "private", "<p>Между нами</p>"),
        ("user", "public", "<p>Да</p>"),
    ]


def test_tickets_are_filtered_and_sorted_newest_first(client: Client, key: str, first_message: dict[str, Any]) -> None:
    other = call_with_key(
        client, "create/ticket", key, subject="Возврат", message="Позвонил", client_name="Ольга", status=6
    )

    every = call_with_key(client, "tickets", key)
    waiting = call_with_key(client, "tickets", key, fstatus="6,5")

    assert [ticket["id"] for ticket in every] == [other["ticket_id"], first_message["ticket_id"]]
    assert [(ticket["id"], ticket["last_comment"]) for ticket in waiting] == [(other["ticket_id"], "Позвонил")]


def test_a_ticket_created_by_a_script_opens_no_window_and_sends_nothing(client: Client, key: str) -> None:
    answer = call_with_key(
        client, "create/ticket", key, subject="Возврат", message="Позвонил", client_phone="79990000000"
    )

    ticket = Ticket.objects.get(pk=answer["ticket_id"])
    assert answer["status"] == "success"
    assert (ticket.subject, ticket.first_text, ticket.conversation.contact.phone) == (
        "Возврат",
        "Позвонил",
        "79990000000",
    )
    assert not ServiceWindow.objects.exists() and not Delivery.objects.exists()


def test_every_call_creates_another_ticket_in_the_same_chat(
    client: Client, key: str, first_message: dict[str, Any]
) -> None:
    responses = [
        call_with_key(client, "create/ticket", key, message=text, client_id=first_message["client_id"])
        for text in ("раз", "два", "три")
    ]

    numbers = [answer["ticket_id"] for answer in responses]
    assert len({*numbers, first_message["ticket_id"]}) == 4
    assert Conversation.objects.count() == 1
    assert {answer["message_status"] for answer in responses} == {"delivered"}


def test_a_ticket_is_closed_and_assigned(client: Client, key: str, first_message: dict[str, Any]) -> None:
    operator = boris(ChatChannel.objects.get())

    answer = call_with_key(
        client, "update/ticket", key, ticket_id=first_message["ticket_id"], status="3", assignee_id=operator.pk
    )
    nobody = call_with_key(client, "update/ticket", key, ticket_id=first_message["ticket_id"], status=77)

    ticket = Ticket.objects.get()
    assert answer == {"status": "success"}
    assert ticket.status == 3 and ticket.closed_at
    assert Conversation.objects.get().assignee == operator
    assert nobody["code"] == 400


def test_a_new_ticket_is_sent_to_subscribers(client: Client, key: str, api_channel: ApiChannel) -> None:
    ApiChannel.objects.update(track_new_ticket=True)

    answer = call_with_key(client, "create/ticket", key, subject="Возврат", client_phone="79990000000")

    event = Delivery.objects.get()
    assert (event.track, event.payload["event"]["ticket"]["id"]) == ("new_ticket", answer["ticket_id"])


# --- every method, in every encoding, in the documented format -------------------------------------------

STRINGS, SUCCESS = {"chat_id": str, "user_id": str, "url": str}, {"status": "success"}
TICKET_ROW = {"id": int, "status_id": int, "subject": str, "client_id": int, "channel_id": int, "status": int}
COMMENT = {"id": int, "message": str, "from": "client", "type": "public", "ticket_id": int, "files": list}
CREATED = {**SUCCESS, "ticket_id": int, "message_status": "delivered"}
REFUSED = {"error": str, "code": 403}
MESSENGERS = {"messengers[0][type]": "whatsapp", "messengers[0][identity]": "79995550011"}

# Parameters, flat as in a form, and the format of the response: a type, a value, a part, or a list of one.
CALLS: dict[str, tuple[dict[str, Any], Any]] = {
    "chat/addMessage": (
        {"channel_id": "{channel}", "company_id": "{company}", "message[text]": "Да", "message[from][name]": "Ольга"},
        {"chat_id": int, "company_id": int, "ticket_id": None, "channel_id": int, "client_id": int},
    ),
    "chat/sendMessage": ({"chat_id": "{chat}", "user_id": "{user}", "text": "Да"}, SUCCESS),
    "chat/changeAssignee": ({"chat_id": "{chat}", "user_id": "{user}"}, STRINGS),
    "create/comment": ({"ticket_id": "{ticket}", "message": "<p>Да</p>"}, {**SUCCESS, "comment_id": int}),
    "create/client": ({"name": "Ольга", "phone": "79995550011", **MESSENGERS}, {"client_id": int, "status": True}),
    "update/client": ({"client_id": "{client}", "name": "Анна Б."}, {"client_id": int, "status": True}),
    "create/ticket": ({"subject": "Возврат", "client_name": "Ольга"}, CREATED),
    "create/ticket/async": ({"subject": "Возврат", "client_name": "Ольга"}, CREATED),
    "create/user": ({"name": "Пётр", "email": "p@shop.example"}, REFUSED),
    "update/user": ({"user_id": "{user}", "name": "Пётр"}, REFUSED),
    "delete/user": ({"user_id": "{user}"}, REFUSED),
    "update/ticket": ({"ticket_id": "{ticket}", "status": "2"}, SUCCESS),
    "ticket": ({"ticket_id": "{ticket}"}, {"ticket": {"id": int, "status_id": int}, "comments": [COMMENT]}),
    "ticket/fields": ({}, [{"custom_field": {"id": int, "name": str, "ticket_field_type_id": int}}]),
    "tickets": ({"fstatus": "1,8"}, [TICKET_ROW]),
    "tags": ({}, [{"ticket_tag_id": int, "tag_company_id": int, "name": "возврат", "ticket_count": 1}]),
    "groups": ({}, [{"id": int, "name": str, "users": list}]),
    "client": ({"client_id": "{client}"}, {"client": {"id": int, "name": "Анна", "phones": list, "tickets": [int]}}),
    "clients": ({"query": "Анна"}, [{"id": int, "name": "Анна", "tickets": [int]}]),
    "user": ({"user_id": "{user}"}, {"user": {"id": int, "name": "boris", "role": "employee"}}),
    "users": ({"query": "boris"}, [{"id": int, "name": "boris", "role": "employee", "groups": list}]),
    "channels": ({"channel_type": "chat"}, [{"channel_id": int, "channel_name": str, "channel_type": "chat"}]),
}
READING = [method for method in CALLS if "/" not in method or method == "ticket/fields"]


def test_every_method_has_its_format_listed_here() -> None:
    assert CALLS.keys() == METHODS.keys()


def fits(answer: Any, shape: Any) -> bool:
    if isinstance(shape, type):
        return type(answer) is shape
    if isinstance(shape, list):
        return isinstance(answer, list) and bool(answer) and all(fits(item, shape[0]) for item in answer)
    if isinstance(shape, dict):
        return isinstance(answer, dict) and all(name in answer and fits(answer[name], shape[name]) for name in shape)
    return bool(answer == shape and type(answer) is type(shape))


@pytest.mark.parametrize("encoding", ["json", "multipart", "form", "query", "get"])
@pytest.mark.parametrize("method", CALLS)
def test_every_method_accepts_every_encoding_and_answers_in_its_format(
    client: Client, key: str, chat_channel: ChatChannel, first_message: dict[str, Any], method: str, encoding: str
) -> None:
    if encoding == "get" and method not in READING:
        pytest.skip("only reading methods take a GET")
    names = {
        "channel": first_message["channel_id"],
        "company": chat_channel.company_id,
        "chat": first_message["chat_id"],
    }
    TicketField.objects.create(name="Номер заказа")
    call_with_key(client, "update/ticket", key, ticket_id=first_message["ticket_id"], tag="возврат")
    names |= {
        "user": boris(chat_channel).pk,
        "ticket": first_message["ticket_id"],
        "client": first_message["client_id"],
    }
    flat, shape = CALLS[method]
    sent = {"api_token": key} | {name: str(value).format(**names) for name, value in flat.items()}
    url = f"/uapi/{method}"

    if encoding == "json":
        response = client.post(url, json.dumps(nested(sent)), content_type="application/json")
    elif encoding == "form":
        response = client.post(url, urlencode(sent), content_type="application/x-www-form-urlencoded")
    elif encoding == "multipart":
        response = client.post(url, sent)
    else:
        response = client.post(f"{url}?{urlencode(sent)}") if encoding == "query" else client.get(url, sent)

    assert response.status_code == 200
    assert fits(response.json(), shape), response.json()


def test_a_client_is_shown_completely_and_alone(client: Client, key: str, first_message: dict[str, Any]) -> None:
    Contact.objects.update(email="a@shop.example", phone="79211234567")
    other = ContactFactory(name="Анна Чужая")

    response = call_with_key(client, "client", key, client_id=str(first_message["client_id"]))
    refused = call_with_key(client, "client", key, client_id=other.pk)

    assert response == {
        "client": {
            "id": first_message["client_id"],
            "name": "Анна",
            "emails": ["a@shop.example"],
            "phones": [{"phone": "79211234567", "type": "mobile"}],
            "messengers": [{"type": "whatsapp", "identity": "79211234567"}],
            "tickets": [first_message["ticket_id"]],
            "note": "",
            "position": "",
            "company_name": "",
            "status": "usual",
            "social_networks": [],
            "addresses": [],
            "sites": [],
        }
    }
    assert refused["code"] == 404


@pytest.mark.parametrize("method", ["channels", "tickets", "clients", "users"])
def test_read_methods_accept_the_token_in_the_query(client: Client, key: str, method: str) -> None:
    assert isinstance(client.get(f"/uapi/{method}", {"api_token": key}).json(), list)


# --- concurrent changes between reading and writing --------------------------------------------------------


def _change_after_reading(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    known = contacts.find_contact

    def slow(*args: Any) -> Contact | None:
        found = known(*args)
        if found is not None:
            Contact.objects.filter(pk=found.pk).update(**changes)
        return found

    monkeypatch.setattr(contacts, "find_contact", slow)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("create/client", {"phone": "79215550104", "email": "a@example.com", "company_name": "Okno"}),
        ("create/ticket", {"client_phone": "79215550104", "company_name": "Okno", "message": "?"}),
    ],
)
def test_a_concurrent_merge_is_kept_and_the_card_goes_to_the_owner(
    monkeypatch: pytest.MonkeyPatch, client: Client, key: str, api_channel: ApiChannel, method: str, body: Any
) -> None:
    merged = ContactFactory(api_channel=api_channel, external_id="79215550104", phone="79215550104")
    owner = ContactFactory(api_channel=api_channel, external_id="79215550105", phone="79215550105")
    _change_after_reading(monkeypatch, merged_into=owner)

    call_with_key(client, method, key, **body)

    merged.refresh_from_db()
    owner.refresh_from_db()
    assert merged.merged_into_id == owner.pk and merged.card == {}
    assert (owner.card["company_name"], owner.phone) == ("Okno", "79215550105")


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("create/client", {"phone": "79215550104", "name": "Анна"}),
        ("create/ticket", {"client_phone": "79215550104", "company_name": "Okno", "message": "?"}),
    ],
)
def test_a_concurrent_erasure_refuses_the_call(
    monkeypatch: pytest.MonkeyPatch, client: Client, key: str, api_channel: ApiChannel, method: str, body: Any
) -> None:
    ContactFactory(api_channel=api_channel, external_id="79215550104", phone="79215550104")
    _change_after_reading(monkeypatch, erased_at=timezone.now(), name="", phone="", external_id="")

    assert call_with_key(client, method, key, **body)["code"] == 410


def test_a_phone_on_another_numbers_card_does_not_identify_the_client(
    client: Client, chat_channel: ChatChannel
) -> None:
    api_channel = ApiChannelFactory(kind="whatsapp_cloud", watched=chat_channel, secret=True)
    other = ContactFactory(api_channel=api_channel, external_id="79215550105", phone="79215550104")

    secret = api_channel.current_secret().reveal()
    answer = call_with_key(client, "create/ticket", secret, message="?", client_phone="79215550104")

    contact = Ticket.objects.get(pk=answer["ticket_id"]).conversation.contact
    assert contact != other and contact.phone == "79215550104"


def test_create_client_records_its_changes_and_keeps_a_persons_name(
    client: Client, key: str, api_channel: ApiChannel
) -> None:
    contact = ContactFactory(
        api_channel=api_channel, external_id="79215550104", phone="79215550104", name="Анна", name_source="person"
    )
    messenger = {"type": "whatsapp", "identity": "79215550104"}

    call_with_key(client, "create/client", key, name="Борис", emails=["b@example.com"], messengers=[messenger])

    contact.refresh_from_db()
    assert (contact.name, contact.email) == ("Анна", "b@example.com")
    assert [(one.field, one.new) for one in contact.changes.all()] == [("email", "b@example.com")]
