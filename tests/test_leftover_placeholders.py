"""Unfilled placeholders never reach a client: each kind, for each channel of input."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from bridge.models import Conversation, Message
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from templates_registry.content.components import Button, Header, TemplateDefinition, Variable
from templates_registry.content.rendering import render
from templates_registry.matching.matcher import MatchIndex
from templates_registry.matching.result import IndexEntry, MatchOutcome
from templates_registry.models import Template
from tests.api_client import Api
from tests.factories import TemplateFactory, boris
from tests.pages import signed_in
from tests.scenarios.sending import move_windows_back, receive_text
from tests.uapi_calls import call

ORDER = TemplateDefinition(
    "order",
    "ru",
    "По заказу {{1}} нам не хватает адреса, {{2}}.",
    header=Header("IMAGE"),
    buttons=(Button("URL", "Открыть", url="https://shop.example/{{1}}"),),
    described=(Variable("1", label="Номер заказа"), Variable("2", label="Имя клиента")),
)
NAMED = TemplateDefinition("named", "en", "Order {{order_id}} is ready, {{first_name}}.")
FILLED = {"1": "42", "2": "Анна", "header.media": "https://shop.example/a.png", "button.0": "42"}

LEFT = [
    "[Номер заказа]",
    "Номер заказа",
    "номер  заказа",
    "Номер заказа:",
    "«Номер заказа»",
    "<Номер заказа>",
    "{Номер заказа}",
    "*[Номер заказа]*",
    "[\u00a0Номер\u00a0заказа ]",
    "№ [Номер заказа]",
    "[Имя клиента]",
    "№ 42 для [имя клиента]",
    "{{1}}",
    "{{ 1 }}",
    "№ {{1}}",
    "{{2}}",
    "{{order_id}}",
    "{{номер заказа}}",
    "[1]",
]
FINE = ["42", "№ 42 [срочно]", "[срочно]", "{срочно}", "<42>", "Имя клиента", "1", "Номер заказа 42", "[42]"]


def codes(definition: TemplateDefinition, values: dict[str, str]) -> list[tuple[str, str]]:
    return [(one.field, one.code) for one in render(definition, values).problems]


@pytest.mark.parametrize("value", LEFT)
def test_leftover_placeholders_are_found(value: str) -> None:
    rendering = render(ORDER, FILLED | {"1": value})

    assert [(one.field, one.code) for one in rendering.problems] == [("variables.1", "placeholder")]
    assert "Номер заказа" in str(rendering.problems[0].sentence)


@pytest.mark.parametrize("value", FINE)
def test_other_words_in_brackets_are_values(value: str) -> None:
    assert codes(ORDER, FILLED | {"1": value}) == []


@pytest.mark.parametrize("value", ["order_id", "Order_ID", "[order_id]", "{{order_id}}", "no. [first_name]"])
def test_a_named_variables_name_is_a_label(value: str) -> None:
    assert codes(NAMED, {"order_id": value, "first_name": "Anna"}) == [("variables.order_id", "placeholder")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("button.0", "Для кнопки «Открыть»"),
        ("button.0", "[For the button “Открыть”]"),
        ("button.0", "button.0"),
        ("button.0", "{{1}}"),
        ("header.media", "Файл над текстом"),
        ("header.media", "[File above the text]"),
    ],
)
def test_standard_titles_count_in_both_languages(key: str, value: str) -> None:
    assert (f"variables.{key}", "placeholder") in codes(ORDER, FILLED | {key: value})


@pytest.mark.parametrize("value", [one for one in LEFT if one != "[1]"])
def test_pasted_text_with_a_label_is_recognized_but_not_ready(value: str) -> None:
    definition = TemplateDefinition("order", "ru", ORDER.body, described=ORDER.described)

    found = MatchIndex([IndexEntry(definition)]).recognize(f"По заказу {value} нам не хватает адреса, Анна.")

    assert (found.outcome, found.code) == (MatchOutcome.NOT_READY, "placeholder")
    assert found.parameters.get("1") is None


# --- channels of input -----------------------------------------------------------------------------------

PASTE = "По заказу {} нам не хватает адреса, Анна."
Sent = Callable[[str], tuple[int, str]]  # value -> HTTP status and text of the answer


@pytest.fixture
def template(channel: ApiChannel) -> Template:
    labels = [{"key": "1", "label": "Номер заказа"}, {"key": "2", "label": "Имя клиента"}]
    template: Template = TemplateFactory(api_channel=channel, body=ORDER.body, variables=labels)
    return template


@pytest.fixture
def chat(channel: ApiChannel, template: Template) -> Conversation:
    chat = receive_text(channel, name="Анна Соколова").conversation
    move_windows_back(timedelta(hours=25))
    return chat


def ways_in(client: Client, chat: Conversation, template: Template) -> dict[str, Sent]:
    operator = boris(chat.chat_channel)
    api = Api(operator)
    desk = signed_in(client, operator)
    script = {"HX-Request": "true", "Accept": "application/json"}

    def outcome_of(answer: Any) -> tuple[int, str]:
        is_json = answer["Content-Type"].startswith("application/json")
        return answer.status_code, str(answer.json()) if is_json else answer.content.decode()

    def by_uapi(value: str) -> tuple[int, str]:
        chat.api_channel.issue_secret()
        secret = chat.api_channel.current_secret()
        key = secret.reveal() if secret else ""
        body = {"api_token": key, "chat_id": chat.pk, "user_id": operator.pk, "text": PASTE.format(value)}
        answer = call(Client(), "chat/sendMessage", body)
        return answer.get("code", 200), str(answer)

    def by_helpdesk(value: str) -> tuple[int, str]:
        submitted = reply_submission.submit_reply(conversation_id=chat.pk, text=PASTE.format(value), author=None)
        return 200 if submitted.message else 422, submitted.decision.sentence

    by_desk, messages = f"/chats/{chat.pk}/templates/{template.pk}/send/", f"conversations/{chat.pk}/messages"
    return {
        "desk form": lambda value: outcome_of(
            desk.post(by_desk, {"v.1": value, "v.2": "Анна", "key": value[:20]}, headers=script)
        ),
        "desk paste": lambda value: outcome_of(
            desk.post(f"/chats/{chat.pk}/send/", {"text": PASTE.format(value), "key": value[:20]}, headers=script)
        ),
        "page of templates": lambda value: outcome_of(
            desk.post(f"/templates/{template.pk}/send/", {"chat": chat.pk, "go": "1", "v.1": value, "v.2": "Анна"})
        ),
        "api values": lambda value: outcome_of(
            api.post(messages, {"template": {"id": template.pk, "parameters": [value, "Анна"]}})
        ),
        "api paste": lambda value: outcome_of(api.post(messages, {"text": PASTE.format(value)})),
        "uapi": by_uapi,
        "helpdesk": by_helpdesk,
    }


WAYS = ("desk form", "desk paste", "page of templates", "api values", "api paste", "uapi", "helpdesk")


@pytest.mark.django_db
@pytest.mark.parametrize("way", WAYS)
def test_no_channel_of_input_sends_a_label(client: Client, chat: Conversation, template: Template, way: str) -> None:
    send = ways_in(client, chat, template)[way]

    for value in ("[Номер заказа]", "Номер заказа", "{{1}}", "№ [Имя клиента]"):
        _status, answer_text = send(value)
        assert "Номер заказа" in answer_text, (value, answer_text)
    assert not Message.objects.filter(direction="outbound").exists()

    send("№ 42 [срочно]")
    assert Message.objects.get(direction="outbound").text == PASTE.format("№ 42 [срочно]")


@pytest.mark.django_db
@pytest.mark.parametrize("text", [PASTE.format("[Номер заказа]"), "По заказу {{1}} нам не хватает адресов, Анна."])
def test_template_text_with_a_label_is_refused_in_an_open_window(
    channel: ApiChannel, template: Template, text: str
) -> None:
    chat = receive_text(channel, name="Анна Соколова").conversation

    submitted = reply_submission.submit_reply(conversation_id=chat.pk, text=text, author=None)

    assert submitted.message is None
    assert submitted.decision.reason == "template_placeholder_left"
    assert "Only a template" not in submitted.decision.sentence  # free text may be sent
    assert reply_submission.submit_reply(conversation_id=chat.pk, text="Вот [скидка] и {{1}}", author=None).message
