"""Calls of public Usedesk programs, and the fields that they read. None of their code is used.

Each row lists what a program of that name on GitHub sends, in its encoding, and what it needs in the response.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from bridge.models import Contact, ContactNote, Conversation, Delivery, Message, Ticket, TicketField
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris
from tests.uapi_calls import call

pytestmark = pytest.mark.django_db


class World:
    """A channel with every box ticked, Anna's request, and what a row may put into its calls."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.chat_channel = ChatChannelFactory()
        self.channel: Any = ApiChannelFactory(
            kind="acebot", redirect_url="http://127.0.0.1:9/hook", watched=self.chat_channel, secret=True
        )
        ApiChannel.objects.update(**{f"track_{name}": True for name in ApiChannel.EVENT_KINDS})
        self.key = self.channel.current_secret().reveal()
        self.operator = boris(self.chat_channel)
        self.field = TicketField.objects.create(name="Ссылка на RSS")
        response = self.call("chat/addMessage", {"channel_id": self.chat_channel.pk, "message[text]": "Где мой заказ?"})
        self.chat_id, self.client_id = response["chat_id"], response["client_id"]
        Contact.objects.update(name="Анна", phone="77021234567", external_id="77021234567")
        self.ticket_id = Ticket.objects.get().pk

    def names(self) -> dict[str, Any]:
        return {
            "channel": self.chat_channel.pk,
            "company": self.chat_channel.company_id,
            "chat": self.chat_id,
            "client": self.client_id,
            "ticket": self.ticket_id,
            "user": self.operator.pk,
            "field": self.field.pk,
        }

    def call(self, method: str, flat: dict[str, Any], encoding: str = "json") -> Any:
        return call(self.client, method, {"api_token": self.key, **flat}, encoding)

    def ask(self, row: tuple[Any, ...]) -> Any:
        method, encoding, flat = row[:3]
        filled = {
            name: str(self.names()[value[1:-1]]) if isinstance(value, str) and value[1:-1] in self.names() else value
            for name, value in flat.items()
        }
        if encoding == "get":
            return self.client.get(f"/uapi/{method}", {"api_token": self.key, **filled}).json()
        return self.call(method, filled, encoding)

    def ticket(self, ticket_id: int | None = None) -> Any:
        return self.call("ticket", {"ticket_id": ticket_id or self.ticket_id})

    def events(self) -> list[Any]:
        return [delivery.payload["event"] for delivery in Delivery.objects.order_by("pk")]


@pytest.fixture
def world(client: Client) -> World:
    return World(client)


def new_ticket(world: World, answer: Any) -> Any:
    assert answer["status"] == "success" and answer["ticket_id"] != world.ticket_id, answer
    return world.ticket(answer["ticket_id"])


def panel(world: World, answer: Any) -> None:
    """Three clicks are three requests; the words are for the client."""
    assert new_ticket(world, answer)["tags"] == ["OscarSigma"]
    assert answer["message_status"] == "delivered"
    again = [world.ask(CALLS["usedesk-buttons: create a ticket"])["ticket_id"] for _ in range(2)]
    assert len({answer["ticket_id"], *again}) == 3
    assert Message.objects.filter(direction="outbound", ticket=answer["ticket_id"]).count() == 1


def sync(world: World, answer: Any) -> None:
    assert new_ticket(world, answer)["tags"] == ["OscarSigmaRegistration"]
    assert answer["message_status"] == "delivered"


def support_bot(world: World, answer: Any) -> None:
    shown = new_ticket(world, answer)
    assert (shown["ticket"]["priority"], shown["ticket"]["type"], shown["tags"]) == (
        "urgent",
        "incident",
        ["tg", "сбой"],
    )
    assert shown["ticket"]["additional_id"] == "tg-17"
    assert [field["value"] for field in shown["custom_fields"]] == ["https://a.example/rss"]


def has_field(world: World, answer: Any) -> None:
    assert answer["status"] == "success"
    [field] = world.ticket()["custom_fields"]
    assert (field["ticket_field_id"], field["value"]) == (world.field.pk, "https://a.example/rss")
    assert Ticket.objects.get().status == 8  # “silent”: the status stays


def handed_to_group(world: World, answer: Any) -> None:
    assert answer["status"] == "success"
    shown = world.ticket()["ticket"]
    assert (shown["group"], shown["assignee_id"]) == (world.chat_channel.pk, None)


def reads(shape: Callable[[Any], bool]) -> Callable[[World, Any], None]:
    def check(world: World, answer: Any) -> None:
        assert shape(answer), answer

    return check


def said(direction: str) -> Callable[[World, Any], None]:
    def check(world: World, answer: Any) -> None:
        assert answer["status"] == "success"
        message = Message.objects.get(pk=answer["comment_id"])
        assert (message.direction, message.ticket_id) == (direction, world.ticket_id)

    return check


def status_is(status: int) -> Callable[[World, Any], None]:
    def check(world: World, answer: Any) -> None:
        assert answer["status"] == "success" and Ticket.objects.get().status == status

    return check


def client_has(**wanted: str) -> Callable[[World, Any], None]:
    def check(world: World, answer: Any) -> None:
        card = world.call("client", {"client_id": answer["client_id"]})["client"]
        assert {name: card[name] for name in wanted} == wanted

    return check


def refused(code: int) -> Callable[[World, Any], None]:
    return reads(lambda answer: answer["code"] == code and bool(answer["error"]))


SIGMA = {"message": "new registration", "subject": "Oscar", "channel_id": "{channel}", "client_id": "{client}"}
PANEL = {"subject": "Тема", "message": "Здравствуйте", "channel_id": "{channel}", "from": "user", "tag": "OscarSigma"}
BOT = {
    **{"subject": "Сбой", "message": "Не работает", "client_name": "Ольга", "type": "incident", "priority": "urgent"},
    **{"status": "8", "tags": '["tg","сбой"]', "custom_fields": '{"Ссылка на RSS":"https://a.example/rss"}'},
    **{"from": "client", "additional_id": "tg-17"},
}
RSS = {"ticket_id": "{ticket}", "field_id": "{field}", "field_value": "https://a.example/rss", "silent": "true"}
OWN = {"ticket_id": "{ticket}", "message": "Да"}

# program: what it does -> (method, encoding, body, what it needs)
CALLS: dict[str, tuple[str, str, dict[str, Any], Callable[[World, Any], None]]] = {
    "usedesk-buttons: create a ticket": (
        *("create/ticket", "json"), PANEL | {"client_phone": "77021234567", "status": 2}, panel,
    ),
    "usedesk-buttons: update a client": (
        *("update/client", "json"),
        {"client_id": "{client}", "name": "Анна", "position": "директор", "note": "!", "is_new_note": "true"},
        client_has(position="директор", note="!"),
    ),
    "usedesk-buttons: search a client": (
        *("clients", "json"), {"query": "77021234567", "search_type": "partial_match"},
        reads(lambda rows: [row["name"] for row in rows] == ["Анна"] and isinstance(rows[0]["tickets"], list)),
    ),
    "usedesk-sync: new registration": ("create/ticket", "json", SIGMA | {"tag": "OscarSigmaRegistration"}, sync),
    "usedesk-sync: delete a ticket": ("update/ticket", "json", {"ticket_id": "{ticket}", "status": 4}, status_is(4)),
    "usedesk-sync: client": (
        *("create/client", "json"), {"phone": "77020000001", "name": "ИИН 1", "position": "Иван"},
        client_has(position="Иван", name="ИИН 1"),
    ),
    "usedesk-sync: words of the client": (
        "create/comment", "json", OWN | {"type": "public", "from": "client"}, said("inbound"),
    ),
    "usedesktest: a new client": (
        *("create/ticket", "json"),
        {"client_id": "new_client", "subject": "?", "message": "?", "channel_id": "{channel}"},
        lambda world, answer: new_ticket(world, answer)["ticket"]["client_id"] != world.client_id,
    ),
    "usedesk bot: status as status_id": (
        *("update/ticket", "json"), {"ticket_id": "{ticket}", "status_id": 6}, status_is(6),
    ),
    "usedesk bot: private comment": (
        *("create/comment", "json"), OWN | {"private_comment": True, "private": "private"}, said("notice"),
    ),
    "usedesk-support-bot: form": ("create/ticket", "form", BOT, support_bot),
    "telegram bot: everything in the query": (
        *("create/ticket", "query"),
        {"subject": "Обращение", "message": "?", "client_name": "Ольга", "client_email": "o@shop.example",
         "tag": "telegram", "from": "client"},
        lambda world, answer: new_ticket(world, answer)["tags"] == ["telegram"],
    ),
    "RSS function: an additional field": ("update/ticket", "json", RSS, has_field),
    "field script: form": ("update/ticket", "form", RSS, has_field),
    "jaicp-usedesk-integration: to people": (
        *("update/ticket", "multipart"), {"ticket_id": "{ticket}", "group_id": "{channel}", "user_id": "{user}"},
        handed_to_group,
    ),
    "jaicp-usedesk-integration: operator": (
        *("chat/changeAssignee", "multipart"), {"chat_id": "{chat}", "user_id": "{user}"},
        reads(lambda answer: set(answer) >= {"chat_id", "user_id", "url"}),
    ),
    "jaicp-usedesk-integration: answer": (
        *("create/comment", "multipart"), OWN | {"user_id": "{user}", "type": "public", "from": "user"},
        said("outbound"),
    ),
    "usedesk-client: unassign": (
        *("update/ticket", "json"), {"ticket_id": "{ticket}", "assignee_id": "null", "group_id": "null"}, status_is(8),
    ),
    "usedesk-client: update by create/client": (
        *("create/client", "json"), {"client_id": "{client}", "position": "бухгалтер"},
        client_has(position="бухгалтер", name="Анна"),
    ),
    "usedesk-client: tags": ("tags", "json", {}, reads(lambda rows: rows == [])),
    "usedesk-client: fields": (
        *("ticket/fields", "json"), {}, reads(lambda rows: rows[0]["custom_field"]["ticket_field_type_id"] == 1),
    ),
    "usedesk-client: groups": ("groups", "json", {}, reads(lambda rows: rows[0]["users"][0]["name"] == "boris")),
    "usedesk-client: user": ("users", "json", {"user_id": "{user}"}, reads(lambda rows: rows[0]["role"] == "employee")),
    "usedesk-client: create a user": ("create/user", "json", {"name": "П", "email": "p@a.example"}, refused(403)),
    "usedesk-client: ticket": (
        *("ticket", "json"), {"ticket_id": "{ticket}"},
        reads(lambda answer: {"ticket", "comments", "tags", "changes", "custom_fields"} <= answer.keys()),
    ),
    "node-usedesk: async": (
        "create/ticket/async", "json", SIGMA, lambda world, answer: bool(new_ticket(world, answer)),
    ),
    "node-usedesk: delete a user": ("delete/user", "json", {"user_id": "{user}"}, refused(403)),
    "node-usedesk: channels": (
        *("channels", "get"), {"channel_type": "chat"}, reads(lambda rows: rows[0]["channel_type"] == "chat"),
    ),
    "node-usedesk: client": (
        "client", "get", {"client_id": "{client}"}, reads(lambda answer: answer["client"]["name"] == "Анна"),
    ),
    "usedesk-go: strings": (
        *("create/ticket", "form"), {"subject": "?", "message": "?", "client_id": "{client}", "status": "1"},
        lambda world, answer: new_ticket(world, answer)["ticket"]["status_id"] == 1,
    ),
    "usedesk-search: words of a request": (
        *("tickets", "get"), {"query": "мой заказ"},
        reads(lambda rows: [row["subject"] for row in rows] == ["Где мой заказ?"]),
    ),
    "telegram-usedesk-bridge: next message": (
        *("chat/addMessage", "json"),
        {"company_id": "{company}", "channel_id": "{channel}", "chat_id": "{chat}", "message[text]": "Ещё",
         "message[from][client_id]": "{client}"},
        lambda world, answer: (answer["chat_id"], answer["ticket_id"]) == (world.chat_id, world.ticket_id),
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", CALLS)
def test_a_public_program_gets_what_it_needs(world: World, program: str) -> None:
    row = CALLS[program]

    outcome = row[3](world, world.ask(row))  # type: ignore[func-returns-value]

    assert outcome is None or outcome


# --- what they read in events ----------------------------------------------------------------------------


def test_a_bot_that_reads_ticket_message_answers_the_current_words(world: World) -> None:
    """Two JAICP bots: the words are ``ticket.message``, unless ``ticket.files`` has something."""

    def words(event: Any) -> str:
        ticket = event["ticket"]
        for_bot = event["from"] == "client" and not ticket["assignee_id"] and not ticket["group"]
        return "" if ticket["files"] or not for_bot else str(ticket["message"])

    for text in ("Размер 38", "Размер 39"):
        world.call(
            "chat/addMessage", {"channel_id": world.chat_channel.pk, "chat_id": world.chat_id, "message[text]": text}
        )

    chats = [event for event in world.events() if "chat_id" in event]
    assert [words(event) for event in chats] == ["Где мой заказ?", "Размер 38", "Размер 39"]


def test_a_bridge_that_folds_equal_events_delivers_two_equal_replies(world: World) -> None:
    for _ in range(2):
        reply_submission.submit_reply(conversation_id=world.chat_id, text="да", author=world.operator)

    keys = {
        json.dumps(
            [event[name] for name in ("chat_id", "from", "text", "state")]
            + [event.get("files") or event["ticket"]["files"], event["ticket"]["last_updated_at"]]
        )
        for event in world.events()
        if event.get("from") == "user"
    }
    assert len(keys) == 2


def test_a_typed_receiver_finds_numbers_where_it_expects_them(world: World) -> None:
    """A Go receiver: comment.ticket_id and trigger.ticket_id are numbers, trigger.new_status is one, too."""
    world.call("update/ticket", {"ticket_id": str(world.ticket_id), "status": "2"})

    events = world.events()
    parts = [event[part] for event in events for part in ("comment", "trigger") if part in event]
    statuses = [event["trigger"]["new_status"] for event in events if "trigger" in event]
    assert {type(part["ticket_id"]) for part in parts} == {int}
    assert {type(status) for status in statuses} == {int}


def test_a_script_finds_a_field_of_a_new_request_by_its_number(world: World) -> None:
    world.call(
        "create/ticket", {"client_id": world.client_id, "message": "?", "field_id": world.field.pk, "field_value": "7"}
    )

    event = next(event for event in reversed(world.events()) if "ticket" in event and "chat_id" not in event)
    assert [field["value"] for field in event["custom_fields"] if field["ticket_field_id"] == world.field.pk] == ["7"]


def test_a_note_of_a_panel_is_a_note_of_the_client(world: World) -> None:
    world.ask(CALLS["usedesk-buttons: update a client"])

    assert ContactNote.objects.get().text == "!"
    assert Conversation.objects.count() == 1
