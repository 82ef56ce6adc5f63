"""Every parameter of the public API with every wrong kind of value: none is silently dropped or changed."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.conversations import receiving
from bridge.models import Contact, ContactNote, Message, Ticket
from bridge.uapi.methods import METHODS
from tests.scenarios.uapi_shop import UapiShop, parameters_of, shop

__all__ = ["shop"]

pytestmark = pytest.mark.django_db

FLAGS = {"private_comment", "is_new_note", "new_address"}
OBJECT, NESTED = {"x": {"y": [1]}}, [[["x"]]]
WRONG = {"true": True, "an object": OBJECT, "a nested list": NESTED}
OTHER_WORDS = {"custom_fields": ["поля"], "field_id": ["поля"], "files": ["файлу"]}


def sufficient_parameters(method: str, shop: UapiShop) -> dict[str, Any]:
    """Return parameters with which the method succeeds."""
    sender = {"client_id": "79211234567"}
    found: dict[str, dict[str, Any]] = {
        "chat/addMessage": {"channel_id": shop.chat_channel.pk, "message": {"text": "?", "from": sender}},
        "chat/sendMessage": {"chat_id": shop.chat_id, "user_id": shop.operator.pk, "text": "?"},
        "chat/changeAssignee": {"chat_id": shop.chat_id, "user_id": shop.operator.pk},
        "create/comment": {"ticket_id": shop.ticket_id, "message": "?"},
        "create/ticket": {"message": "?", "client_id": shop.client_id},
        "create/ticket/async": {"message": "?", "client_id": shop.client_id},
        "create/client": {"name": "Ольга"},
        "update/client": {"client_id": shop.client_id},
        "update/ticket": {"ticket_id": shop.ticket_id},
        "ticket": {"ticket_id": shop.ticket_id},
        "client": {"client_id": shop.client_id},
        "user": {"user_id": shop.operator.pk},
    }
    return found.get(method, {})


def required_parameter(name: str, shop: UapiShop) -> dict[str, Any]:
    """Return a parameter that the named one requires."""
    return {"field_value": {"field_id": shop.order.pk}, "field_id": {"field_value": "1"}}.get(name, {})


# One method of each group that shares its parameters.
CALLED = {id(parameters_of(method)): method for method in METHODS if parameters_of(method).used}


@pytest.mark.parametrize("method", CALLED.values())
def test_a_value_of_another_kind_is_refused_by_name(shop: UapiShop, method: str) -> None:
    passed = []
    for name in sorted(parameters_of(method).used):
        for kind, value in WRONG.items():
            if name in FLAGS and value is True:
                continue
            answer = shop(
                method, **sufficient_parameters(method, shop) | required_parameter(name, shop) | {name: value}
            )
            if not isinstance(answer, dict) or "error" not in answer:
                passed.append(f"{name}: {kind}")
            elif not any(word in answer["error"] for word in (name, *OTHER_WORDS.get(name, ()))):
                passed.append(f"{name}: {kind}: {answer['error']}")

    assert not passed, passed
    assert not ContactNote.objects.exists() and Ticket.objects.count() == 1 and Contact.objects.count() == 1
    answer = shop(method, **sufficient_parameters(method, shop))
    assert isinstance(answer, list) or "error" not in answer, answer


FROM = {"client_id": "79211234567"}


REFUSED: list[tuple[str, dict[str, Any]]] = [
    *[("update/ticket", {name: 0}) for name in ("priority", "type", "status", "client_id", "field_id")],
    *[("create/ticket", {name: "x" * 201}) for name in ("client_name", "client_email")],
    ("create/ticket", {"client_name": "\u3164"}),
    *[("create/client", {"name": name}) for name in ("я" * 201, "\u200b", ["Ольга"])],
    *[("create/client", {"emails": emails}) for emails in ({"a": "b@c"}, [["b@c"]], [{"email": "b@c"}], "x" * 201)],
    *[("update/client", {"sites": sites}) for sites in ([True], [{"url": "x"}])],
    ("create/client", {"messengers": "79990001122"}),
    ("create/client", {"messengers": ["79990001122"]}),
    ("create/client", {"messengers": [{"type": "whatsapp"}]}),
    ("create/client", {"messengers": [{"type": ["whatsapp"], "identity": "79990001122"}]}),
    ("create/client", {"messengers": [{"type": "whatsapp", "identity": ["79990001122"]}]}),
    ("create/client", {"messengers": [{"type": "whatsapp", "identity": "7" * 191}]}),
    ("create/client", {"social_networks": [{"x": [1]}]}),
    ("create/client", {"addresses": [[1]]}),
    ("tickets", {"fields": 0}),
    ("tickets", {"fields": [{"id": 1, "value": ["x"]}]}),
    ("tickets", {"fstatus": [[1]]}),
    *[
        ("chat/addMessage", {"message": {"text": "?", "from": FROM | wrong}})
        for wrong in (
            {"client_id": ["1"]},
            {"client_id": "7" * 191},
            {"name": {"a": 1}},
            {"email": [1]},
            {"phone": ["79211234567"]},
            {"okno_client_id": [1]},
        )
    ],
    *[
        ("chat/addMessage", {"message": {"text": "?", "from": FROM} | wrong})
        for wrong in (
            {"text": True, "files": ["http://127.0.0.1:9/a"]},
            {"id": ["1"]},
            {"id": "1" * 191},
            {"from": 7},
            {"timestamp": [1]},
        )
    ],
]


def test_an_unstorable_value_is_refused(shop: UapiShop) -> None:
    messages, people = Message.objects.count(), list(Contact.objects.values())

    for method, parameters in REFUSED:
        answer = shop(method, **sufficient_parameters(method, shop) | parameters)

        assert isinstance(answer, dict) and answer.get("code") in (400, 404), (method, parameters, answer)
    assert Message.objects.count() == messages and list(Contact.objects.values()) == people


def test_two_long_message_ids_with_the_same_beginning_are_two_messages(shop: UapiShop) -> None:
    for end in "ab":
        shop(
            "chat/addMessage",
            channel_id=shop.chat_channel.pk,
            message={"text": end, "id": "1" * 189 + end, "from": FROM},
        )

    assert Message.objects.filter(direction="inbound").count() == 3


def test_a_senders_invalid_phone_is_reported_and_the_message_stored(shop: UapiShop) -> None:
    for number, phone in enumerate(["не указан", "8 921 123-45-67 доб. 12345", "٧٩٢١"]):
        message = {"text": phone, "from": {"client_id": f"crm-{number}", "phone": phone}}

        answer = shop("chat/addMessage", channel_id=shop.chat_channel.pk, message=message)

        assert answer["ignored"] == ["message.from.phone"]
        assert Contact.objects.get(pk=answer["client_id"]).phone == "" and Message.objects.filter(text=phone).exists()


def test_a_senders_overlong_name_or_email_is_reported(shop: UapiShop) -> None:
    sender = {"client_id": "crm-1", "name": "я" * 201, "email": "x" * 201}

    answer = shop("chat/addMessage", channel_id=shop.chat_channel.pk, message={"text": "Добрый день", "from": sender})

    assert sorted(answer["ignored"]) == ["message.from.email", "message.from.name"]
    contact = Contact.objects.get(pk=answer["client_id"])
    assert (contact.name, contact.email) == ("я" * 200, "")


def test_create_client_without_any_identity_creates_a_client(shop: UapiShop) -> None:
    nobody = (0, "0", None, "null", "", False)
    answers = [shop("create/client", client_id=number, name="Ольга") for number in nobody]

    assert len({shop.client_id, *(answer["client_id"] for answer in answers)}) == len(nobody) + 1


@pytest.mark.parametrize("nobody", [None, "", " ", "null", "false", False, [], {}])
def test_an_empty_sender_counts_as_no_sender(shop: UapiShop, nobody: Any) -> None:
    answer = shop("chat/addMessage", channel_id=shop.chat_channel.pk, message={"text": "?", "from": nobody})

    assert answer.get("message_id") and "ignored" not in answer, answer


def test_a_file_may_come_with_an_empty_text(shop: UapiShop) -> None:
    for text in ("", None, False):
        message = {"text": text, "from": FROM, "files": [{"url": "http://127.0.0.1:9/a.png"}]}

        assert shop("chat/addMessage", channel_id=shop.chat_channel.pk, message=message).get("message_id"), text


@pytest.mark.parametrize("empty", ["", " ", None, False])
def test_messengers_without_an_identity_are_ignored(shop: UapiShop, empty: Any) -> None:
    rows = [{"type": "telegram", "identity": empty}, {"type": "whatsapp", "identity": "79990001122"}]

    answer = shop("create/client", name="Ольга", messengers=rows)

    assert shop("client", client_id=answer["client_id"])["client"]["messengers"] == rows[1:]


def test_a_text_that_looks_like_another_kind_is_stored(shop: UapiShop) -> None:
    shop("update/client", client_id=shop.client_id, company_name="Null", position=0, note="false", sites=["0"])

    card = shop("client", client_id=shop.client_id)["client"]
    assert {name: card[name] for name in ("company_name", "position", "note", "sites")} == {
        "company_name": "Null",
        "position": "0",
        "note": "false",
        "sites": ["0"],
    }


def test_one_messenger_and_lists_in_json_text_are_accepted(shop: UapiShop) -> None:
    answer = shop(
        "create/client",
        encoding="form",
        emails='["o@shop.example"]',
        messengers='{"type": "whatsapp", "identity": "79990001122"}',
    )

    contact = Contact.objects.get(pk=answer["client_id"])
    assert (contact.email, contact.external_id) == ("o@shop.example", "79990001122")


@pytest.mark.parametrize("encoding", ["json", "form"])
def test_a_php_array_with_gaps_is_a_list(shop: UapiShop, encoding: str) -> None:
    emails = {"emails[1]": "o@shop.example", "emails[3]": "p@shop.example"}

    answer = shop("create/client", encoding=encoding, name="Ольга", **emails)

    card = shop("client", client_id=answer["client_id"])["client"]
    assert card["emails"] == ["o@shop.example", "p@shop.example"]


def test_an_unused_name_is_reported(shop: UapiShop) -> None:
    client = {"phone": "79995550011"}
    shop("create/client", **client, name="Ольга")
    Contact.objects.filter(phone="79995550011").update(external_id="79995550011")

    answer = shop("create/client", **client, name="+7 999 555-00-11", messengers=[{"identity": "79995550011"}])

    assert answer["ignored"] == ["name"] and Contact.objects.get(pk=answer["client_id"]).name == "Ольга"


def test_removing_the_group_keeps_a_concurrently_set_assignee(shop: UapiShop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop("update/ticket", ticket_id=shop.ticket_id, group_id=shop.chat_channel.pk)
    lock = receiving.lock_conversation

    def wait(chat_id: int) -> Any:
        """Assign the request while the call waits for the lock."""
        Ticket.objects.update(assignee=shop.operator)
        return lock(chat_id)

    monkeypatch.setattr(receiving, "lock_conversation", wait)
    shop("update/ticket", ticket_id=shop.ticket_id, group_id="null")

    assert Ticket.objects.get().assignee == shop.operator
