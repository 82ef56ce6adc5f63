"""Templates and held replies in /api/v1/: listing, preview, recognition, sending."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bridge.models import Conversation, Draft, HeldReply, Message
from bridge.relay import held_replies
from channels_setup.models import ApiChannel
from templates_registry.models import Status, Template, TemplateTags
from tests.api_client import API, Api
from tests.factories import ApiChannelFactory, TemplateFactory, boris, gleb, vera
from tests.scenarios.sending import move_windows_back, receive_text

pytestmark = pytest.mark.django_db

READY = "Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче."


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="WhatsApp на Лиговском")


@pytest.fixture
def template(channel: ApiChannel) -> Template:
    return TemplateFactory(api_channel=channel, name="order_ready")


def anna_writes(channel: ApiChannel, message_id: str = "") -> Conversation:
    received = receive_text(channel, "Здравствуйте", who="79211234567", name="Анна", external_id=message_id)
    return received.conversation


@pytest.fixture
def closed_chat(channel: ApiChannel) -> Conversation:
    """A chat whose window is closed."""
    chat = anna_writes(channel)
    move_windows_back(timedelta(hours=25))
    return chat


@pytest.fixture
def api(channel: ApiChannel) -> Api:
    return Api(boris(*channel.watched.all()))


# --- listing ---------------------------------------------------------------------------------------------


def test_an_operator_sees_templates_of_their_channels_and_tags(api: Api, template: Template) -> None:
    TemplateFactory(name="elsewhere")
    tagged = TemplateFactory(api_channel=template.api_channel, name="for_the_warehouse", tags=["склад"])

    assert {row["name"] for row in api.rows("templates/")} == {"order_ready", "for_the_warehouse"}
    assert api.get(f"templates/{template.pk}").json()["variables"][0]["key"] == "1"

    TemplateTags.objects.create(user=boris(), tags=["витрина"])
    assert [row["id"] for row in api.rows("templates/")] == [template.pk]
    assert api.get(f"templates/{tagged.pk}/").status_code == 404


def test_users_without_channels_see_no_template_and_admins_see_all(template: Template) -> None:
    assert Api(gleb()).rows("templates/") == []
    assert Api(gleb()).get(f"templates/{template.pk}/").status_code == 404
    assert Api(vera()).ids("templates/") == [template.pk]
    assert Api().get("templates/").status_code == 401


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"status": "paused"}, {"sale"}),
        ({"status": "approved,paused"}, {"sale", "order_ready"}),
        ({"status": "deleted"}, {"gone"}),
        ({"language": "en"}, {"sale"}),
        ({"category": "MARKETING"}, {"sale"}),
        ({"search": "заказ выдаче"}, {"order_ready"}),
        ({"search": "order"}, {"order_ready"}),
        ({"search": "нет такого"}, set()),
    ],
)
def test_templates_are_filtered(api: Api, template: Template, query: dict[str, str], names: set[str]) -> None:
    channel = template.api_channel
    TemplateFactory(
        api_channel=channel, name="sale", language="en", category="MARKETING", status=Status.PAUSED, body="Sale, {{1}}!"
    )
    TemplateFactory(api_channel=channel, name="gone", status=Status.DELETED)

    assert {row["name"] for row in api.rows("templates/", channel=channel.pk, **query)} == names


# --- preview ---------------------------------------------------------------------------------------------


def preview(api: Api, template: Template, parameters: Any) -> dict[str, Any]:
    answer = api.post(f"templates/{template.pk}/preview", {"parameters": parameters})
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def test_a_preview_is_the_message_as_it_would_be_sent(api: Api, channel: ApiChannel) -> None:
    template = TemplateFactory(
        api_channel=channel,
        header={"format": "TEXT", "text": "Заказ готов"},
        body="Здравствуйте, {{1}}! Заказ {{2}} *готов*.",
        footer="Ежедневно с 9 до 21",
        buttons=[{"type": "QUICK_REPLY", "text": "Как добраться"}],
    )

    data = preview(api, template, ["Анна <b>", "[1] и № 42"])

    assert data["body"] == "Здравствуйте, Анна <b>! Заказ [1] и № 42 *готов*."
    assert data["text"] == f"Заказ готов\n{data['body']}\nЕжедневно с 9 до 21"
    assert data["html"] == "Здравствуйте, Анна &lt;b&gt;! Заказ [1] и № 42 <strong>готов</strong>."
    assert (data["header"], data["footer"]) == ("Заказ готов", "Ежедневно с 9 до 21")
    assert data["buttons"] == [{"kind": "QUICK_REPLY", "text": "Как добраться", "target": ""}]
    assert data["ready"] is True and data["problems"] == []
    assert preview(api, template, {"1": "Анна <b>", "2": "[1] и № 42"}) == data


def test_a_preview_reports_missing_values_and_excess_length(api: Api, template: Template) -> None:
    data = preview(api, template, {"1": "я" * 1100})

    assert data["ready"] is False
    assert {(one["field"], one["code"]) for one in data["problems"]} == {
        ("variables.2", "missing"),
        ("body", "rendered_too_long"),
    }
    assert all(one["sentence"] for one in data["problems"])
    assert api.post(f"templates/{template.pk}/preview", {"parameters": "Анна"}).json()["reason"] == "template_values"


# --- recognition -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["id", "name"])
def test_pasted_text_is_recognized_in_the_documented_format(api: Api, template: Template, by: str) -> None:
    channel = template.api_channel.pk if by == "id" else template.api_channel.name

    answer = api.post("templates/recognize", {"channel": channel, "text": READY})

    assert answer.status_code == 200
    data = answer.json()
    reason = data.pop("reason")
    assert data == {
        "outcome": "template",
        "template": {"name": "order_ready", "language": "ru"},
        "parameters": ["Анна", "№ 42"],
        "candidates": [{"name": "order_ready", "language": "ru"}],
        "difference": [],
    }
    assert "order_ready" in reason


def test_a_text_that_matches_no_template_has_a_reason(api: Api, template: Template) -> None:
    def asks(text: str) -> dict[str, Any]:
        return dict(api.post("templates/recognize/", {"channel": template.api_channel_id, "text": text}).json())

    near = asks("Здравствуйте, Анна! Ваш заказ № 42 готово к выдаче.")
    not_ready = asks("Здравствуйте, {{1}}! Ваш заказ № 42 готов к выдаче.")
    none = asks("Привет")

    assert near["outcome"] == "near_miss" and near["difference"] == [{"approved": "готов", "yours": "готово"}]
    assert near["parameters"] == ["Анна", "№ 42"]
    assert not_ready["outcome"] == "not_ready" and not_ready["parameters"] == [None, "№ 42"]
    assert (none["outcome"], none["template"], none["parameters"]) == ("none", None, [])
    TemplateFactory(api_channel=template.api_channel, name="order_any", body="Здравствуйте, {{1}} готов к выдаче.")
    both = asks(READY)
    assert both["outcome"] == "ambiguous"
    assert {one["name"] for one in both["candidates"]} == {"order_ready", "order_any"}


def test_templates_of_an_inaccessible_channel_are_refused(template: Template) -> None:
    payload = {"channel": template.api_channel_id, "text": READY}

    assert Api(gleb()).post("templates/recognize", payload).status_code == 404
    assert Api(gleb()).post("templates/recognize", payload | {"channel": [1]}).status_code == 400
    assert Api(vera()).post("templates/recognize", payload | {"channel": "9" * 30}).status_code == 404


def test_channels_with_the_same_name_require_a_number(template: Template) -> None:
    ApiChannelFactory(name=template.api_channel.name)

    answer = Api(vera()).post("templates/recognize", {"channel": template.api_channel.name, "text": READY})

    assert (answer.status_code, answer.json()["reason"]) == (422, "channel_ambiguous")


# --- sending ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_template_is_sent_while_the_window_is_closed(
    api: Api, closed_chat: Conversation, template: Template, by: str
) -> None:
    which = {"id": template.pk} if by == "id" else {"name": "order_ready", "language": "ru"}

    answer = api.post(
        f"conversations/{closed_chat.pk}/messages", {"template": which | {"parameters": ["Анна", "№ 42"]}}
    )

    assert answer.status_code == 201, answer.content
    assert (answer.json()["kind"], answer.json()["text"]) == ("template", READY)
    assert answer.json()["template"]["parameters"] == ["Анна", "№ 42"]


def test_an_idempotency_key_sends_a_template_once(api: Api, closed_chat: Conversation, template: Template) -> None:
    payload = {"template": {"id": template.pk, "parameters": ["Анна", "№ 42"]}}

    first, second = (api.post(f"conversations/{closed_chat.pk}/messages", payload, key="k1") for _ in range(2))
    other = {"template": {"id": template.pk, "parameters": ["Анна", "№ 43"]}}

    assert first.json() == second.json()
    assert Message.objects.filter(kind="template").count() == 1
    assert api.post(f"conversations/{closed_chat.pk}/messages", other, key="k1").json()["reason"] == "key_reused"


@pytest.mark.parametrize(
    ("payload", "status", "reason"),
    [
        ({"template": {"id": 999_999}}, 422, "template_unknown"),
        ({"template": {"name": "order_ready", "language": "en"}}, 422, "template_unknown"),
        ({"template": {"name": "order_ready", "language": "ru", "parameters": ["Анна"]}}, 422, "template_values"),
        ({"template": {"name": "order_ready", "language": "ru", "parameters": "Анна"}}, 422, "template_values"),
        ({"template": {"name": "sale", "language": "ru"}}, 409, "template_not_sendable"),
        ({"template": {"name": "order_ready"}}, 400, "invalid"),
        ({"template": {"id": 1}, "text": "?"}, 400, "invalid"),
        ({}, 400, "invalid"),
        ({"text": " ", "hold": {"template": {"name": "we_answered", "language": "ru"}}}, 422, "empty"),
        ({"hold": {"template": {"name": "we_answered", "language": "ru"}}}, 400, "invalid"),
    ],
)
def test_a_refused_template_has_a_reason(
    api: Api, closed_chat: Conversation, template: Template, payload: dict[str, Any], status: int, reason: str
) -> None:
    TemplateFactory(api_channel=template.api_channel, name="sale", status=Status.PAUSED, body="Скидки!")
    TemplateFactory(api_channel=template.api_channel, name="we_answered", body="Мы ответили. Напишите нам.")

    answer = api.post(f"conversations/{closed_chat.pk}/messages", payload)

    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.json()["error"]
    assert not Message.objects.filter(direction="outbound").exists() and not HeldReply.objects.exists()


# --- held replies ----------------------------------------------------------------------------------------


@pytest.fixture
def opener(channel: ApiChannel) -> Template:
    return TemplateFactory(api_channel=channel, name="we_answered", body="Мы ответили. Напишите нам любое слово.")


def delete(api: Api, path: str) -> Any:
    return api.client.delete(f"{API}/{path}", headers=api.headers)


def holds(api: Api, chat: Conversation, text: str = "Сапоги есть, отложили") -> Any:
    hold = {"template": {"name": "we_answered", "language": "ru"}}
    return api.post(f"conversations/{chat.pk}/messages", {"text": text, "hold": hold})


def test_a_held_text_is_sent_when_the_client_writes(
    api: Api, channel: ApiChannel, closed_chat: Conversation, opener: Template
) -> None:
    answer = holds(api, closed_chat)

    assert answer.status_code == 201
    assert answer.json()["text"] == "Мы ответили. Напишите нам любое слово."
    (row,) = api.rows("held-replies", chat_id=closed_chat.pk, state="held")
    assert row["id"] == answer.json()["held_reply_id"]
    assert (row["text"], row["opener_id"]) == ("Сапоги есть, отложили", answer.json()["id"])

    anna_writes(channel, "wamid.2")
    held_replies.release_held_replies([closed_chat.pk])

    row = api.get(f"held-replies/{row['id']}").json()
    assert row["state"] == "released"
    assert api.get(f"messages/{row['message_id']}").json()["text"] == "Сапоги есть, отложили"


def test_a_held_reply_is_canceled_once(api: Api, closed_chat: Conversation, opener: Template) -> None:
    number = holds(api, closed_chat).json()["held_reply_id"]

    taken = delete(api, f"held-replies/{number}")

    assert (taken.status_code, taken.json()["state"]) == (200, "dropped")
    assert Draft.objects.get().text == "Сапоги есть, отложили"
    assert delete(api, f"held-replies/{number}").json()["reason"] == "not_held"


def test_other_operators_cannot_see_or_cancel_a_held_reply(
    api: Api, closed_chat: Conversation, opener: Template
) -> None:
    number = holds(api, closed_chat).json()["held_reply_id"]

    assert Api(gleb()).rows("held-replies") == []
    assert delete(Api(gleb()), f"held-replies/{number}").status_code == 404
    assert HeldReply.objects.get().state == "held"


def test_nothing_is_held_while_the_window_is_open(api: Api, channel: ApiChannel, opener: Template) -> None:
    answer = holds(api, anna_writes(channel))

    assert (answer.status_code, answer.json()["reason"]) == (409, "hold_not_needed")
    assert not Message.objects.filter(direction="outbound").exists()
