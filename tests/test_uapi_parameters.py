"""Every parameter of the public API is applied, returned, or refused; none is silently dropped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from bridge.models import Attachment, Contact, ContactNote, Conversation, Delivery, Message, Ticket, TicketField
from bridge.uapi.methods import METHODS
from tests.factories import ContactFactory, gleb, vera
from tests.scenarios.uapi_shop import UapiShop, parameters_of, shop
from tests.uapi_calls import ENCODINGS, post

__all__ = ["shop"]  # a fixture
pytestmark = pytest.mark.django_db


# Parameters that the helpdesk documents for each method, and those that public client libraries also send.
DOCUMENTED = {
    "create/ticket": "subject message client_name client_email client_id company_name private_comment additional_id "
    "type priority status tag assignee_id group_id client_phone channel_id files field_id field_value from user_id "
    "trigger_id client_country client_city client_address new_address phone_type lists cc bcc tags custom_fields",
    "update/ticket": "ticket_id subject client_id group_id assignee_id user_id tag priority status silent type "
    "field_id field_value lists list status_id",
    "create/comment": "ticket_id message cc bcc user_id type files from trigger_id private_comment",
    "create/client": "name emails messengers note is_new_note phone avatar status position merge_id client_country "
    "client_city client_address new_address phone_type social_networks addresses sites client_id",
    "update/client": "client_id name emails messengers note is_new_note phone avatar status position merge_id",
    "ticket": "ticket_id accessible_for_agent_id properties",
    "tickets": "fchannel fassigned fgroup fstatus ftype fpriority accessible_for_agent_id offset tag created_after "
    "created_before updated_after updated_before query client_id fields sort order properties",
    "clients": "created_after created_before offset query search_type",
    "client": "client_id",
    "users": "user_type group_id query user_id",
    "user": "user_id",
    "tags": "offset query",
    "channels": "channel_type",
    "chat/addMessage": "company_id channel_id chat_id message",
    "chat/sendMessage": "chat_id user_id text",
    "chat/changeAssignee": "chat_id user_id",
}


@pytest.mark.parametrize("method", DOCUMENTED)
def test_every_documented_parameter_has_a_decision(method: str) -> None:
    assert parameters_of(method).ignored(dict.fromkeys(DOCUMENTED[method].split(), "1")) == []


# --- properties of a request -----------------------------------------------------------------------------


def properties(shop: UapiShop) -> dict[str, Any]:
    return {
        "subject": "Возврат",
        "additional_id": "CRM-17",
        "priority": "urgent",
        "type": "problem",
        "tag": "возврат, vip",
        "field_id": f"{shop.order.pk};{shop.paid.pk}",
        "field_value": "А-17;true",
        "group_id": str(shop.chat_channel.pk),
    }


def which_request(shop: UapiShop, method: str) -> dict[str, Any]:
    """Return parameters that create a request of Anna's, or name her existing one."""
    is_new = method == "create/ticket"
    return {"client_id": shop.client_id, "message": "?"} if is_new else {"ticket_id": shop.ticket_id}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("method", ["create/ticket", "update/ticket"])
def test_properties_are_stored_and_returned(shop: UapiShop, method: str, encoding: str) -> None:
    which = which_request(shop, method)

    answer = shop(method, encoding=encoding, **which, **properties(shop))

    assert answer["status"] == "success", answer
    ticket, listed = shop.ticket(answer.get("ticket_id", shop.ticket_id))
    for row in (ticket["ticket"], listed):
        assert {name: row[name] for name in ("subject", "additional_id", "priority", "type", "group")} == {
            "subject": "Возврат",
            "additional_id": "CRM-17",
            "priority": "urgent",
            "type": "problem",
            "group": shop.chat_channel.pk,
        }
    assert ticket["tags"] == ["возврат", "vip"] and listed["tags"] == [{"name": "возврат"}, {"name": "vip"}]
    fields = {shop.order.pk: "А-17", shop.paid.pk: "true"}
    assert {field["ticket_field_id"]: field["value"] for field in ticket["custom_fields"]} == fields
    assert {field["id"]: field["value"] for field in listed["ticket_fields"]} == fields
    assert {tag["name"]: tag["ticket_count"] for tag in shop("tags")} == {"возврат": 1, "vip": 1}


@pytest.mark.parametrize("method", ["create/ticket", "update/ticket"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": "highest"},
        {"priority": 3},
        {"type": "bug"},
        {"type": True},
        {"status": 77},
        {"status": "closed"},
        {"status_id": 0},
        {"subject": "я" * 256},
        {"additional_id": "1" * 256},
        {"additional_id": ["1"]},
        {"tag": "я" * 256},
        {"tag": {"a": 1}},
        {"tag": ",".join(map(str, range(200)))},
        {"group_id": 999_999},
        {"group_id": "sales"},
        {"assignee_id": 999_999},
        {"assignee_id": "nobody"},
        {"assignee_id": -1},
        {"user_id": 999_999},
        {"field_value": "А-17"},
        {"field_id": "1;2", "field_value": "а"},
        {"field_id": 999_999, "field_value": "а"},
        {"custom_fields": "а"},
        {"custom_fields": {"Нет такого": "а"}},
        {"lists": [{"id": 1, "value": "2"}]},
        {"priority": "\0"},
        {"field_id": "²", "field_value": "1"},
    ],
    ids=str,
)
def test_an_unstorable_value_is_refused_and_nothing_is_written(
    shop: UapiShop, method: str, wrong: dict[str, Any]
) -> None:
    which = which_request(shop, method)
    before = Ticket.objects.values().get()

    answer = shop(method, **which, **wrong)

    assert answer["code"] in (400, 404) and answer["error"], answer
    assert Ticket.objects.values().get() == before


def test_a_value_of_a_field_must_match_its_kind(shop: UapiShop) -> None:
    def set_to(field: TicketField, value: Any) -> Any:
        shop("update/ticket", ticket_id=shop.ticket_id, field_id=field.pk, field_value=value)
        return Ticket.objects.get().custom_fields.get(str(field.pk))

    assert [set_to(shop.paid, value) for value in (True, "false", 1, "0")] == ["true", "false", "true", "false"]
    assert [set_to(shop.order, value) for value in ("a; b", 17, "", "x", None)] == ["a; b", "17", None, "x", None]
    assert shop("update/ticket", ticket_id=shop.ticket_id, field_id=shop.paid.pk, field_value="да")["code"] == 400
    assert shop("update/ticket", ticket_id=shop.ticket_id, field_id=shop.order.pk, field_value="я" * 256)["code"] == 400


@pytest.mark.parametrize(
    "parameters",
    [
        {"custom_fields": {"Номер заказа": "А-17"}},
        {"custom_fields": json.dumps({"Номер заказа": "А-17"})},
        {"custom_fields": [{"name": "Номер заказа", "value": "А-17"}]},
    ],
    ids=str,
)
def test_custom_fields_may_be_an_object_a_list_or_json_text(shop: UapiShop, parameters: dict[str, Any]) -> None:
    shop("update/ticket", ticket_id=shop.ticket_id, **parameters)

    assert Ticket.objects.get().custom_fields == {str(shop.order.pk): "А-17"}


def test_tag_adds_and_tags_replaces(shop: UapiShop) -> None:
    def tags(**parameters: Any) -> list[str]:
        assert shop("update/ticket", ticket_id=shop.ticket_id, **parameters) == {"status": "success"}
        return Ticket.objects.get().tags

    assert tags(tag="a, b") == ["a", "b"]
    assert tags(tag="B,  c") == ["a", "b", "c"]
    assert tags(tag="") == tags(tags="") == tags(tag=None) == ["a", "b", "c"]
    assert tags(tags='["d"]', tag="e") == ["d", "e"]
    assert tags(tags=[]) == []
    assert Contact.objects.get().tags == []  # those are the operators' tags of the person


# --- documented words in place of numbers --------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_new_client_creates_a_client(shop: UapiShop, encoding: str) -> None:
    parameters = {"client_id": "new_client", "client_name": "Ольга", "client_phone": "79995550011", "message": "?"}

    answer = shop("create/ticket", encoding=encoding, **parameters)

    contact = Ticket.objects.get(pk=answer["ticket_id"]).conversation.contact
    assert (contact.name, contact.phone, contact.pk != shop.client_id) == ("Ольга", "79995550011", True)


def test_new_client_with_a_known_phone_is_that_client(shop: UapiShop) -> None:
    parameters = {"client_id": "new_client", "client_phone": "79995550011", "message": "?"}

    numbers = {shop("create/ticket", **parameters)["ticket_id"] for _ in range(2)}

    assert len(numbers) == 2 and Contact.objects.filter(phone="79995550011").count() == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("nobody", ["null", "NULL", "0"])
def test_null_removes_the_assignee(shop: UapiShop, nobody: str, encoding: str) -> None:
    shop("update/ticket", ticket_id=shop.ticket_id, assignee_id=shop.operator.pk)

    assert shop("update/ticket", ticket_id=shop.ticket_id, assignee_id=nobody, encoding=encoding)["status"] == "success"

    assert Ticket.objects.get().assignee is None and Conversation.objects.get().assignee is None


@pytest.mark.parametrize(
    ("parameters", "is_kept"),
    [({"assignee_id": None}, False), ({"assignee_id": 0}, False), ({"assignee_id": ""}, True)],
)
def test_json_null_removes_the_assignee_and_an_empty_field_does_not(
    shop: UapiShop, parameters: dict[str, Any], is_kept: bool
) -> None:
    shop("update/ticket", ticket_id=shop.ticket_id, assignee_id=str(shop.operator.pk))

    shop("update/ticket", ticket_id=shop.ticket_id, **parameters)

    assert bool(Ticket.objects.get().assignee) is is_kept


def test_a_group_is_the_operators_of_the_chat_channel(shop: UapiShop) -> None:
    own = shop.chat_channel.pk
    shop("update/ticket", ticket_id=shop.ticket_id, assignee_id=shop.operator.pk)

    shop("update/ticket", ticket_id=shop.ticket_id, group_id=own)
    handed_over = shop.ticket(shop.ticket_id)[1]
    shop("update/ticket", ticket_id=shop.ticket_id, group_id=own, assignee_id=shop.operator.pk)
    inside = shop.ticket(shop.ticket_id)[1]
    shop("update/ticket", ticket_id=shop.ticket_id, group_id="null", assignee_id="null")
    nobodys = shop.ticket(shop.ticket_id)[1]

    assignments = [(row["group"], row["assignee_id"]) for row in (handed_over, inside, nobodys)]
    assert assignments == [(own, None), (own, shop.operator.pk), (None, None)]
    [group] = shop("groups")
    assert (group["id"], [user["id"] for user in group["users"]]) == (own, [shop.operator.pk])
    assert [user["id"] for user in shop("users", group_id=own)] == [shop.operator.pk]


@pytest.mark.parametrize("name", ["status", "status_id"])
def test_a_status_is_accepted_under_both_names(shop: UapiShop, name: str) -> None:
    shop("update/ticket", ticket_id=shop.ticket_id, **{name: "6"})

    assert Ticket.objects.get().status == 6


# --- unsupported, undocumented or empty parameters -----------------------------------------------------------

REFUSED = [(method, name) for method in METHODS for name in parameters_of(method).refused]


@pytest.mark.parametrize(("method", "name"), REFUSED)
def test_an_unsupported_documented_parameter_is_refused_by_name(shop: UapiShop, method: str, name: str) -> None:
    answer = shop(method, ticket_id=shop.ticket_id, message="?", **{"name": "Ольга", name: "1"})

    assert answer["code"] == 400 and name in answer["error"]


@pytest.mark.parametrize("empty", ["", None, "null", "false", [], {}])
def test_an_empty_unsupported_parameter_is_ignored(shop: UapiShop, empty: Any) -> None:
    parameters = dict.fromkeys(("cc", "bcc", "lists", "company_name", "tag", "priority", "type", "field_id"), empty)

    assert shop("create/ticket", client_id=shop.client_id, message="?", **parameters)["status"] == "success"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_unknown_parameter_is_reported_and_breaks_nothing(shop: UapiShop, encoding: str) -> None:
    parameters = {"api_token": shop.key, "ticket_id": shop.ticket_id, "message": "?", "category_lid": "5", "цвет": "1"}

    response = post(shop.client, "create/comment", parameters, encoding)

    assert response.json()["status"] == "success"
    assert response.json()["ignored"] == ["category_lid", "цвет"]
    assert response.headers["Okno-Ignored"].startswith("category_lid, %")


def test_a_list_reports_unknown_filters_in_a_header(shop: UapiShop) -> None:
    response = post(shop.client, "tickets", {"api_token": shop.key, "fstatuss": "1"})

    assert isinstance(response.json(), list)
    assert response.headers["Okno-Ignored"] == "fstatuss"


@pytest.mark.parametrize("method", ["chat/sendMessage", "update/ticket", "create/client", "tickets"])
def test_a_method_without_files_refuses_them(shop: UapiShop, method: str) -> None:
    body = {"api_token": shop.key, "ticket_id": shop.ticket_id, "name": "?", "files[0]": SimpleUploadedFile("a", b"a")}

    assert shop.client.post(f"/uapi/{method}", body).json()["code"] == 400


def test_files_of_a_new_request_are_stored_with_its_message(shop: UapiShop) -> None:
    body = {"api_token": shop.key, "client_id": shop.client_id, "message": "Вот чек"}

    answer = shop.client.post(
        "/uapi/create/ticket", {**body, "files[0]": SimpleUploadedFile("check.png", b"\x89PNG", "image/png")}
    ).json()

    [comment] = shop.ticket(answer["ticket_id"])[0]["comments"]
    assert [file["name"] for file in comment["files"]] == ["check.png"]
    assert Attachment.objects.get().message_id == answer["comment_id"]


def test_a_request_stays_with_its_client(shop: UapiShop) -> None:
    other = ContactFactory(api_channel=shop.channel)

    own = shop("update/ticket", ticket_id=shop.ticket_id, client_id=str(shop.client_id))
    others = shop("update/ticket", ticket_id=shop.ticket_id, client_id=other.pk)

    assert own == {"status": "success"} and others["code"] == 400


def test_an_operator_who_may_not_see_the_chat_changes_nothing(shop: UapiShop) -> None:
    stranger = gleb()

    assert shop("update/ticket", ticket_id=shop.ticket_id, user_id=stranger.pk, priority="low")["code"] == 404
    assert shop("update/ticket", ticket_id=shop.ticket_id, assignee_id=stranger.pk)["code"] == 404


# --- authors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", [None, "client"])
@pytest.mark.parametrize("is_private", [False, True])
def test_a_request_from_the_client_is_a_note_and_opens_no_window(
    shop: UapiShop, sender: str | None, is_private: bool
) -> None:
    answer = shop(
        "create/ticket", client_name="Ольга", message="Не работает", **{"from": sender, "private_comment": is_private}
    )

    [comment] = shop.ticket(answer["ticket_id"])[0]["comments"]
    assert (comment["from"], comment["type"]) == ("client", "private" if is_private else "public")
    assert answer["message_status"] == "delivered"
    assert not Message.objects.filter(ticket=answer["ticket_id"]).exclude(direction="notice").exists()


@pytest.mark.parametrize("sender", ["user", "trigger"])
def test_a_request_from_an_operator_or_a_rule_writes_to_the_client(shop: UapiShop, sender: str) -> None:
    parameters = {"client_id": shop.client_id, "message": "<p>Ваш заказ готов</p>", "from": sender, "trigger_id": 5}

    answer = shop("create/ticket", **parameters, user_id=shop.operator.pk)

    message = Message.objects.get(direction="outbound")
    assert answer["message_status"] == "delivered"
    assert (message.text, message.ticket_id, message.author) == (
        "Ваш заказ готов",
        answer["ticket_id"],
        shop.operator,
    )
    assert Delivery.objects.get(message=message, kind="message").payload["text"] == "Ваш заказ готов"
    [comment] = shop.ticket(answer["ticket_id"])[0]["comments"]
    assert (comment["from"], comment["type"]) == (sender, "public")


def test_an_undeliverable_message_is_reported_and_shown_to_operators(shop: UapiShop) -> None:
    answer = shop("create/ticket", client_phone="79995550011", message="Заказ готов", **{"from": "user"})

    assert (answer["status"], answer["message_status"]) == ("success", "not delivered")
    assert answer["reason"] == "contact_never_wrote" and answer["message_error"]
    [notice] = Message.objects.filter(conversation__contact__phone="79995550011")
    assert "Заказ готов" in notice.sentence and answer["message_error"] in notice.sentence


def test_a_private_comment_of_an_operator_is_not_sent(shop: UapiShop) -> None:
    before = Delivery.objects.count()

    answer = shop("create/ticket", client_id=shop.client_id, message="?", **{"from": "user", "private_comment": "true"})

    assert answer["message_status"] == "delivered" and Delivery.objects.count() == before
    assert shop.ticket(answer["ticket_id"])[0]["comments"][0]["type"] == "private"


@pytest.mark.parametrize(("kind", "direction"), [("public", "outbound"), ("private", "notice")])
def test_a_rules_comment_has_the_rule_as_author(shop: UapiShop, kind: str, direction: str) -> None:
    parameters = {"ticket_id": shop.ticket_id, "message": "Мы ответим утром", "type": kind, "trigger_id": 5}

    answer = shop("create/comment", **parameters, **{"from": "trigger"})

    message = Message.objects.get(pk=answer["comment_id"])
    assert (message.direction, message.details["from"], message.details["trigger_id"]) == (direction, "trigger", 5)
    comment = shop.ticket(shop.ticket_id)[0]["comments"][-1]
    assert (comment["from"], comment["type"]) == ("trigger", kind)


def test_private_comment_outranks_a_public_type(shop: UapiShop) -> None:
    answer = shop("create/comment", ticket_id=shop.ticket_id, message="?", type="public", private_comment=True)

    assert answer["status"] == "success", answer
    assert not Message.objects.filter(direction="outbound").exists()


# --- several live requests of one chat -------------------------------------------------------------------


def test_the_newest_live_request_is_the_current_one(shop: UapiShop) -> None:
    made = [shop("create/ticket", client_id=shop.client_id, message=text)["ticket_id"] for text in ("раз", "два")]
    message = {"text": "Ещё", "from": {"client_id": "79211234567"}}

    def lands_in() -> int:
        return int(shop("chat/addMessage", channel_id=shop.chat_channel.pk, message=message)["ticket_id"])

    landed = [lands_in()]
    for ticket_id in reversed(made):
        shop("update/ticket", ticket_id=ticket_id, status=3)
        landed.append(lands_in())
    shop("update/ticket", ticket_id=shop.ticket_id, status=3)
    landed.append(lands_in())

    assert landed[:3] == [made[1], made[0], shop.ticket_id]
    assert landed[3] > max(made)
    assert Conversation.objects.get().request_status == Ticket.objects.get(pk=landed[3]).status


def test_a_comment_belongs_to_the_named_request(shop: UapiShop) -> None:
    newer = shop("create/ticket", client_id=shop.client_id, message="?", status=6)["ticket_id"]

    for sender in ("user", "client"):
        shop("create/comment", ticket_id=shop.ticket_id, message="Да", type="public", **{"from": sender})

    assert Message.objects.filter(ticket=shop.ticket_id, text="Да").count() == 2
    assert not Message.objects.filter(ticket=newer, text="Да").exists()
    assert Conversation.objects.get().request_status == 6  # the current one's


def test_the_assignee_of_another_request_is_not_the_chats(shop: UapiShop) -> None:
    newer = shop("create/ticket", client_id=shop.client_id, message="?")["ticket_id"]

    shop("update/ticket", ticket_id=shop.ticket_id, assignee_id=shop.operator.pk)
    assert Conversation.objects.get().assignee is None
    shop("update/ticket", ticket_id=newer, assignee_id=shop.operator.pk)

    assert Conversation.objects.get().assignee == shop.operator


def test_all_live_requests_are_shown(shop: UapiShop) -> None:
    newer = shop("create/ticket", client_id=shop.client_id, subject="Возврат", message="?")["ticket_id"]
    shop("create/comment", ticket_id=shop.ticket_id, message="Первый", type="public")
    shop("create/comment", ticket_id=newer, message="Второй", type="public")
    shop("create/comment", ticket_id=shop.ticket_id, message="Третий", type="public")
    shop.client.force_login(shop.operator)

    page = shop.client.get(f"/chats/{shop.chat_id}/").content.decode()

    assert f"№ {newer}" in page and f"№ {shop.ticket_id}" in page
    keys = [part.split('"')[0] for part in page.split('data-key="')[1:]]
    assert len(keys) == len(set(keys))


# --- filters ---------------------------------------------------------------------------------------------


@pytest.fixture
def three_requests(shop: UapiShop) -> tuple[UapiShop, dict[int, str]]:
    """Create two more requests with properties, besides Anna's."""
    shop("update/ticket", ticket_id=shop.ticket_id, assignee_id=shop.operator.pk)
    own = {"client_name": "Ольга", "message": "?"}
    urgent = shop("create/ticket", **own, subject="a", priority="urgent", tag="vip, долг", status=6, type="task")
    grouped = shop(
        *("create/ticket",), **own, subject="b", tag="vip", group_id=shop.chat_channel.pk, field_id=shop.order.pk,
        field_value="А-17",
    )  # fmt: skip
    names = {shop.ticket_id: "anna", urgent["ticket_id"]: "urgent", grouped["ticket_id"]: "grouped"}
    return shop, names


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "grouped urgent anna"),
        ({"fpriority": "urgent"}, "urgent"),
        ({"fpriority": "low,medium"}, "grouped anna"),
        ({"ftype": "task"}, "urgent"),
        ({"ftype": ["question", "task"]}, "grouped urgent anna"),
        ({"fstatus": "6"}, "urgent"),
        ({"fstatus": ["6", 8]}, "grouped urgent anna"),
        ({"tag": "vip"}, "grouped urgent"),
        ({"tag": "vip, долг"}, "urgent"),
        ({"tag": "нет"}, ""),
        ({"fgroup": "{group}"}, "grouped"),
        ({"fassigned": "unassigned"}, "grouped urgent"),
        ({"fassigned": "{user}"}, "anna"),
        ({"fassigned": {"assignee_id": "{user}"}}, "anna"),
        ({"fassigned": {"group_id": "{group}"}}, "grouped"),
        ({"fassigned": {"assignee_id": "unassinged", "group_id": "unassigned"}}, "urgent"),
        ({"fassigned": "{group}_{user}"}, ""),
        ({"fassigned": [{"assignee_id": "{user}"}, {"group_id": "{group}"}]}, "grouped anna"),
        ({"fields": [{"id": "{order}", "value": "А-17"}]}, "grouped"),
        ({"fields": [{"id": "{order}", "value": "not_empty"}]}, "grouped"),
        ({"fields": '[{"id": "{order}", "value": "empty"}]'}, "urgent anna"),
        ({"client_id": "{client}"}, "anna"),
        ({"accessible_for_agent_id": "{user}"}, "grouped urgent anna"),
        ({"query": "a"}, "urgent"),
        ({"query": "где заказы"}, "anna"),
        ({"sort": "id", "order": "asc"}, "anna urgent grouped"),
        ({"sort": "status_id"}, "grouped anna urgent"),
        ({"created_before": "2020-01-01"}, ""),
        ({"updated_after": "2020-01-01 00:00"}, "grouped urgent anna"),
        ({"fgroup": "", "fpriority": "", "tag": "", "fields": "", "sort": "", "fassigned": ""}, "grouped urgent anna"),
    ],
    ids=str,
)
def test_requests_are_filtered(
    three_requests: tuple[UapiShop, dict[int, str]], filters: dict[str, Any], found: str
) -> None:
    shop, names = three_requests
    values = {"{user}": shop.operator.pk, "{group}": shop.chat_channel.pk}
    values |= {"{order}": shop.order.pk, "{client}": shop.client_id}
    text = json.dumps(filters)
    for name, value in values.items():
        text = text.replace(name, str(value))

    assert " ".join(names[row["id"]] for row in shop("tickets", **json.loads(text))) == found


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("tickets", {"fpriority": "high"}),
        ("tickets", {"ftype": "bug"}),
        ("tickets", {"fstatus": "open"}),
        ("tickets", {"fassigned": "me"}),
        ("tickets", {"fassigned": {"x": 1}}),
        ("tickets", {"fgroup": "sales"}),
        ("tickets", {"sort": "price"}),
        ("tickets", {"order": "down"}),
        ("tickets", {"fields": "x"}),
        ("tickets", {"fields": [{"value": "1"}]}),
        ("tickets", {"offset": "-1"}),
        ("tickets", {"created_after": "yesterday"}),
        ("tickets", {"accessible_for_agent_id": "999999"}),
        ("ticket", {"accessible_for_agent_id": "999999"}),
        ("clients", {"search_type": "fuzzy"}),
        ("users", {"user_type": "boss"}),
        ("users", {"group_id": "x"}),
        ("tags", {"offset": "x"}),
    ],
    ids=str,
)
def test_an_unreadable_filter_is_refused(shop: UapiShop, method: str, wrong: dict[str, Any]) -> None:
    answer = shop(method, ticket_id=shop.ticket_id, **wrong)

    assert isinstance(answer, dict) and answer["code"] in (400, 404), answer


def test_a_role_without_users_lists_no_users(shop: UapiShop) -> None:
    vera()

    assert shop("users", user_type="support") == []
    assert [user["role"] for user in shop("users", user_type="admin")] == ["admin"]


# --- clients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_client_field_is_returned(shop: UapiShop, encoding: str) -> None:
    values = {
        "name": "Ольга",
        "phone": "79995550011",
        "position": "директор",
        "note": "Звонить утром",
        "company_name": "Ромашка",
        "status": "vip",
        "emails[0]": "o@shop.example",
        "sites[0]": "https://shop.example",
        "client_city": "Тверь",
    }

    answer = shop("create/client", encoding=encoding, **values)

    card = shop("client", client_id=answer["client_id"])["client"]
    assert {name: card[name] for name in ("name", "position", "note", "company_name", "status", "emails", "sites")} == {
        "name": "Ольга",
        "position": "директор",
        "note": "Звонить утром",
        "company_name": "Ромашка",
        "status": "vip",
        "emails": ["o@shop.example"],
        "sites": ["https://shop.example"],
    }
    assert card["addresses"] == [{"city": "Тверь"}]


def test_a_second_email_is_stored(shop: UapiShop) -> None:
    answer = shop("create/client", name="Ольга", emails=["a@shop.example", "b@shop.example"])

    assert shop("client", client_id=answer["client_id"])["client"]["emails"] == ["a@shop.example", "b@shop.example"]


def test_a_note_is_replaced_or_added(shop: UapiShop) -> None:
    parameters = {"client_id": shop.client_id}
    ContactNote.objects.create(contact_id=shop.client_id, author=shop.operator, text="от Бориса")

    for note, is_new in (("раз", ""), ("два", "false"), ("три", "true")):
        shop("update/client", **parameters, note=note, is_new_note=is_new)

    assert list(ContactNote.objects.order_by("pk").values_list("text", flat=True)) == ["от Бориса", "два", "три"]


def test_create_client_with_a_known_number_updates_that_client(shop: UapiShop) -> None:
    answer = shop("create/client", client_id=shop.client_id, position="директор")

    assert answer == {"client_id": shop.client_id, "status": True}
    assert Contact.objects.get().card["position"] == "директор"


def test_operators_see_values_set_by_a_program(shop: UapiShop) -> None:
    shop("update/ticket", ticket_id=shop.ticket_id, priority="urgent", type="problem", tag="<b>vip")
    shop.client.force_login(shop.operator)

    page = shop.client.get(f"/chats/{shop.chat_id}/", headers={"accept-language": "en"}).content.decode()

    marks = page.split('<p class="marks">')[1].split("</p>")[0]
    assert [part.split("</span>")[0] for part in marks.split('<span class="chip">')[1:]] == [
        "urgent",
        "problem",
        "&lt;b&gt;vip",
    ]


def test_values_for_a_known_client_are_stored_or_reported(shop: UapiShop) -> None:
    first = shop("create/ticket", subject="1", message="x", client_phone="79215550177")
    filled = shop(
        "create/ticket",
        subject="2",
        message="x",
        client_phone="79215550177",
        client_name="Ольга",
        client_email="o@x.ru",
    )
    other = shop(
        "create/ticket", subject="3", message="x", client_phone="79215550177", client_name="Пётр", client_email="o@x.ru"
    )

    contact = Contact.objects.get(phone="79215550177")
    assert "ignored" not in first | filled
    assert other["ignored"] == ["client_name"]
    assert (contact.name, contact.email) == ("Ольга", "o@x.ru")


@pytest.mark.parametrize("name", ["message", "subject", "client_name", "client_email", "client_phone"])
@pytest.mark.parametrize("value", [["79215550177"], {"a": 1}, True])
def test_a_text_of_another_kind_is_refused(shop: UapiShop, name: str, value: Any) -> None:
    parameters = {"subject": "s", "message": "m", "client_phone": "79215550177", name: value}

    answer = shop("create/ticket", **parameters)

    assert (answer["code"], name in answer["error"]) == (400, True)
    assert not Contact.objects.filter(phone="79215550177").exists()
