"""Usedesk-compatible events: kinds, fields and encodings, as public receivers parse them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from bridge.conversations import receiving, tickets
from bridge.fanout import subscribers
from bridge.models import Conversation, Delivery, Ticket, TicketField
from channels_setup.codecs.bodies import decode_body, encode_event
from channels_setup.codecs.helpdesk_facts import CommentAdded, EventSeen, MessageSent, TicketChanged
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, FileInfo, MessageReceived
from channels_setup.providers.usedesk.webhook_events import has_converted_characters, read_facts, restore_characters
from tests.factories import ApiChannelFactory, boris
from tests.scenarios.database_clock import set_database_clock
from tests.scenarios.sending import boris_answers, receive_text
from tests.uapi_calls import call

pytestmark = pytest.mark.django_db

ALL = {f"track_{name}": True for name in ApiChannel.EVENT_KINDS}
LINK = "https://files.example/a.png"

# The keys by which a public client library tells events apart.
GUARDS = {
    "new_ticket": lambda body: "chat_id" not in body and "ticket" in body,
    "comment": lambda body: "comment" in body,
    "change": lambda body: "trigger" in body,
    "rating": lambda body: "csi" in body,
    "chat": lambda body: "chat_id" in body,
}
CLIENT = {"id", "name", "avatar", "note", "emails", "phones", "additional_ids"}
TICKET = {
    *("id", "status_id", "subject", "client_id", "assignee_id", "group", "last_updated_at", "published_at"),
    *("channel_id", "email", "company_id", "additional_id", "message", "files"),
}
FIELDS = {
    "chat": {
        *("chat_id", "text", "client_id", "client", "from", "platform", "secret", "ticket", "state"),
    },
    "new_ticket": {"secret", "ticket", "client", "custom_fields", "custom_blocks"},
    "comment": {"secret", "comment", "client", "assignee_id", "custom_fields"},
    "change": {"secret", "trigger", "client", "assignee_id", "custom_fields", "custom_blocks"},
}
COMMENT = {
    *("id", "message", "from", "type", "user_id", "client_id", "ticket_id", "is_first", "delivered", "readed"),
    *("published_at", "file", "files"),
}
TRIGGER = {
    *("id", "trigger_id", "user_id", "ticket_id", "data", "changed_at", "old_status", "new_status", "company_id"),
}


@pytest.fixture
def channel() -> ApiChannel:
    made = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/hook", secret=True)
    ApiChannel.objects.update(**ALL)
    made.refresh_from_db()
    return made


def anna_writes(channel: ApiChannel, text: str = "Где заказ?", *, files: tuple[FileInfo, ...] = ()) -> Conversation:
    return receive_text(channel, text, phone="+79211234567", files=files).conversation


def events(*, of: str | None = None) -> list[Any]:
    bodies = [delivery.payload["event"] for delivery in Delivery.objects.order_by("pk")]
    return [body for body in bodies if of is None or GUARDS[of](body)]


def produce_every_event(client: Client, channel: ApiChannel) -> None:
    """One event of each kind, and more than one of some."""
    chat = anna_writes(channel, files=(FileInfo(url=LINK),))
    boris_answers(chat)
    ticket = Ticket.objects.get()
    field = TicketField.objects.create(name="Номер заказа")
    key = channel.current_secret().reveal()
    own = {"api_token": key, "ticket_id": ticket.pk}
    call(client, "create/comment", own | {"message": "Между нами"})
    call(client, "update/ticket", own | {"priority": "urgent", "tag": "vip", "field_id": field.pk, "field_value": "А"})
    call(client, "update/ticket", own | {"status": 2, "assignee_id": boris(chat.chat_channel).pk})
    call(client, "create/ticket", {"api_token": key, "client_id": chat.contact_id, "message": "Второй запрос"})


def test_each_event_has_one_kind_and_its_fields(client: Client, channel: ApiChannel) -> None:
    produce_every_event(client, channel)

    received = events()
    for body in received:
        kinds = [kind for kind, is_it in GUARDS.items() if is_it(body)]
        assert len(kinds) == 1, body
        assert FIELDS[kinds[0]] <= body.keys()
        assert body["client"].keys() == CLIENT
        assert body.get("ticket", dict.fromkeys(TICKET)).keys() >= TICKET
        assert body.get("comment", dict.fromkeys(COMMENT)).keys() == COMMENT
        assert body.get("trigger", dict.fromkeys(TRIGGER)).keys() == TRIGGER
    assert {kind for body in received for kind, is_it in GUARDS.items() if is_it(body)} == GUARDS.keys() - {"rating"}


def test_comments_are_client_messages_replies_and_notes(client: Client, channel: ApiChannel) -> None:
    produce_every_event(client, channel)

    received = [body["comment"] for body in events(of="comment")]
    operator = boris(channel.default_chat_channel)
    contact = Conversation.objects.get().contact_id
    assert [
        (each["from"], each["type"], each["user_id"], each["client_id"], each["is_first"]) for each in received
    ] == [
        ("client", "public", None, contact, 1),
        ("user", "public", operator.pk, None, 0),
        ("user", "private", None, None, 0),
        ("client", "public", None, contact, 1),
    ]
    assert [each["message"] for each in received[:3]] == ["<p>Где заказ?</p>", "<p>Да</p>", "<p>Между нами</p>"]
    assert [each["files"] for each in received[:2]] == [[LINK], []]
    assert all(each["published_at"] and each["file"] is None for each in received)


def test_an_event_of_a_note_lists_its_files(client: Client, channel: ApiChannel) -> None:
    anna_writes(channel)
    own = {"api_token": channel.current_secret().reveal(), "ticket_id": Ticket.objects.get().pk, "message": "Чек"}

    client.post("/uapi/create/comment", {**own, "files[0]": SimpleUploadedFile("a.png", b"\x89PNG", "image/png")})

    [link] = events(of="comment")[-1]["comment"]["files"]
    assert link.startswith("http")


def test_a_change_event_lists_all_changes_of_one_call(client: Client, channel: ApiChannel) -> None:
    produce_every_event(client, channel)

    properties, assigned, solved = (body["trigger"] for body in events(of="change"))
    field = TicketField.objects.get()
    assert properties["data"] == [
        {"target": "priority", "value": "urgent", "old_value": "medium"},
        {"target": "new_tags", "value": "vip", "old_value": None},
        {"target": "ticket_field", "id": field.pk, "value": "А", "old_value": None},
    ]
    assert [(each["old_status"], each["new_status"]) for each in (properties, assigned, solved)] == [
        (1, 1),
        (1, 1),
        (1, 2),
    ]
    assert assigned["data"][0]["target"] == "assignee_id"
    assert solved["company_id"] == channel.default_chat_channel.company_id and solved["changed_at"]
    assert events(of="change")[-1]["custom_fields"] == [
        {"id": field.pk, "ticket_field_id": field.pk, "name": "Номер заказа", "value": "А"}
    ]


def test_an_unchanged_request_creates_no_event(client: Client, channel: ApiChannel) -> None:
    anna_writes(channel)
    own = {"api_token": channel.current_secret().reveal(), "ticket_id": Ticket.objects.get().pk}

    call(client, "update/ticket", own | {"priority": "medium", "type": "question", "assignee_id": "null"})

    assert events(of="change") == []


def test_a_new_request_has_its_fields_in_both_places(client: Client, channel: ApiChannel) -> None:
    field = TicketField.objects.create(name="Номер заказа")
    own = {"api_token": channel.current_secret().reveal(), "client_phone": "79210000001", "message": "?"}

    call(client, "create/ticket", own | {"field_id": field.pk, "field_value": "А", "additional_id": "CRM-1"})

    [body] = events(of="new_ticket")
    fields = [{"id": field.pk, "ticket_field_id": field.pk, "name": "Номер заказа", "value": "А"}]
    assert body["custom_fields"] == body["ticket"]["custom_fields"] == fields
    assert body["ticket"]["additional_id"] == "CRM-1"
    assert body["client"]["phones"][0]["phone"] == "79210000001"


def test_phones_are_digits(channel: ApiChannel) -> None:
    anna_writes(channel)

    assert {body["client"]["phones"][0]["phone"] for body in events()} == {"79211234567"}


# --- ticket.message and last_updated_at ------------------------------------------------------------------


@pytest.mark.parametrize("is_first", [False, True])
def test_ticket_message_is_current_or_first_by_channel_setting(channel: ApiChannel, is_first: bool) -> None:
    ApiChannel.objects.update(first_message_in_ticket=is_first)
    chat = anna_writes(channel, "раз")
    anna_writes(channel, "два", files=(FileInfo(url=LINK),))
    boris_answers(chat, "три")

    held = [(body["ticket"]["message"], body["ticket"]["files"]) for body in events(of="chat")]
    current = [("раз", []), ("два", [LINK]), ("три", [])]
    assert held == ([("раз", [])] * 3 if is_first else current)


def key_of(body: Any) -> tuple[Any, ...]:
    """Return the fields by which a public bridge identifies an event."""
    names = ("chat_id", "from", "text", "state")
    return (*(body[name] for name in names), tuple(body["ticket"]["files"]), body["ticket"]["last_updated_at"])


@pytest.mark.parametrize("is_exact", [False, True])
def test_equal_messages_in_one_second_have_distinct_timestamps(
    channel: ApiChannel, monkeypatch: pytest.MonkeyPatch, is_exact: bool
) -> None:
    ApiChannel.objects.update(exact_updated_at=is_exact)
    at = timezone.now().replace(microsecond=0)
    monkeypatch.setattr(timezone, "now", lambda: at)  # ``updated_at`` of a request
    set_database_clock(monkeypatch, lambda: at)
    chat = anna_writes(channel, "?")
    for _ in range(3):
        boris_answers(chat, "да")
    anna_writes(channel, "да"), anna_writes(channel, "да")

    keys = [key_of(body) for body in events(of="chat")]
    assert len(set(keys)) == (3 if is_exact else len(keys))
    stamps = [body["ticket"]["last_updated_at"] for body in events(of="chat")]
    assert stamps == sorted(stamps)


def test_messages_of_one_batch_have_distinct_timestamps(channel: ApiChannel) -> None:
    contact = ContactInfo(external_id="anna")
    batch = [
        receiving.IncomingMessage(
            fact=MessageReceived(contact=contact, text="да"), chat_channel=channel.default_chat_channel
        )
        for _ in range(4)
    ]

    receiving.receive_messages(channel, batch)

    stamps = [body["ticket"]["last_updated_at"] for body in events(of="chat")]
    assert len(set(stamps)) == 4 and stamps == sorted(stamps)
    assert subscribers.chat_events.format_time(Conversation.objects.get().event_stamp) == stamps[-1]


def test_timestamps_return_to_the_clock_after_a_burst() -> None:
    chat = Conversation(event_stamp=datetime(2026, 11, 28, 12, 0, 9, tzinfo=UTC))
    rush, later = datetime(2026, 11, 28, 12, 0, 3, 5, tzinfo=UTC), datetime(2026, 11, 28, 12, 1, 0, 7, tzinfo=UTC)

    received = [subscribers.advance_event_stamp(chat, now=now) for now in (rush, rush, later)]

    assert [stamp.strftime("%M:%S.%f") for stamp in received] == ["00:10.000000", "00:11.000000", "01:00.000000"]


# --- encodings -------------------------------------------------------------------------------------------

EVENT = {
    "chat_id": 70001,
    "text": "Ёлка & «🙌»\n2",
    "client": {"emails": [], "phones": [{"phone": "7921"}]},
    "ticket": {"assignee_id": None, "files": ["https://a.example/1"]},
    "template": True,
}


def test_multipart_event_has_exact_bytes() -> None:
    content_type, body = encode_event(EVENT, as_json=False, utf8=True, multipart=True)

    boundary = re.fullmatch(r"multipart/form-data; boundary=(okno-[0-9a-f]{40})", content_type)
    assert boundary
    pairs = {
        "chat_id": "70001",
        "text": "Ёлка & «🙌»\n2",
        "client[phones][0][phone]": "7921",
        "ticket[assignee_id]": "",
        "ticket[files][0]": "https://a.example/1",
        "template": "1",
    }
    wanted = "".join(
        f'--{boundary[1]}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in pairs.items()
    )
    assert body == f"{wanted}--{boundary[1]}--\r\n".encode()
    assert encode_event(EVENT, as_json=False, utf8=True, multipart=True) == (content_type, body)


@pytest.mark.parametrize("utf8", [True, False])
@pytest.mark.parametrize("multipart", [True, False])
def test_another_portal_decodes_a_form_event(multipart: bool, utf8: bool) -> None:
    content_type, body = encode_event(EVENT, as_json=False, utf8=utf8, multipart=multipart)
    read = decode_body(body=body, content_type=content_type).values
    read = restore_characters(read) if has_converted_characters(content_type) else read

    assert body.isascii() is (not utf8 or not multipart)
    assert ("us-ascii" in content_type) is (multipart and not utf8)
    assert (read["text"], read["ticket"]["files"]) == (EVENT["text"], EVENT["ticket"]["files"])


@pytest.mark.parametrize("text", ["", "--okno", "\r\n--x--\r\n", '"; name="b', "a\0b", "я" * 5000])
def test_no_text_breaks_out_of_its_multipart_part(text: str) -> None:
    content_type, body = encode_event({"text": text, "b": "2"}, as_json=False, utf8=True, multipart=True)

    read = decode_body(body=body, content_type=content_type).values
    assert (read["text"], read["b"]) == (text.replace("\0", "\ufffd"), "2")


def test_json_takes_precedence_over_multipart() -> None:
    assert encode_event(EVENT, as_json=True, utf8=True, multipart=True)[0] == "application/json; charset=utf-8"


# --- parsing by the Usedesk provider ----------------------------------------------------------------------


def test_usedesk_provider_parses_every_event(client: Client, channel: ApiChannel) -> None:
    produce_every_event(client, channel)
    chat_channel = channel.default_chat_channel

    facts = [fact for body in events() for fact in read_facts(body, channel_id=chat_channel.pk)]

    assert {fact.track for fact in facts if isinstance(fact, EventSeen)} == {
        "new_chat",
        "message",
        "new_ticket",
        "comment",
        "change",
    }
    assert [fact.text for fact in facts if isinstance(fact, MessageSent)] == ["Где заказ?", "Да"]
    assert [fact.text for fact in facts if isinstance(fact, CommentAdded)] == ["Да"]
    moved = [fact.ticket for fact in facts if isinstance(fact, TicketChanged)]
    assert [(each.status, each.assignee) for each in moved if each.includes_assignee][-1:] != []
    assert 2 in [each.status for each in moved]


def test_a_comment_of_a_rule_is_parsed_as_such(client: Client, channel: ApiChannel) -> None:
    anna_writes(channel)
    own = {"api_token": channel.current_secret().reveal(), "ticket_id": Ticket.objects.get().pk}

    call(client, "create/comment", own | {"message": "Утром", "type": "public", "from": "trigger"})

    [rule] = [
        fact
        for body in events(of="comment")
        for fact in read_facts(body, channel_id=1)
        if isinstance(fact, CommentAdded)
    ]
    assert (rule.by_rule, rule.text) == (True, "Утром")


def test_an_event_of_a_closed_request_has_its_former_status(channel: ApiChannel) -> None:
    anna_writes(channel)
    tickets.set_ticket_status(Ticket.objects.get().pk, status=3)

    [body] = events(of="change")
    assert (body["trigger"]["old_status"], body["trigger"]["new_status"]) == (8, 3)
