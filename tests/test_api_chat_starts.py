"""POST /api/v1/conversations/: a program writes first."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.conversations import consents
from bridge.maintenance import erasure
from bridge.models import Contact, ContactConsent, Conversation, Delivery, Message, OptOut, OptOutSource
from channels_setup.models import ApiChannel
from tests.api_client import Api
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    ContactFactory,
    TemplateFactory,
    UserFactory,
    boris,
    operator,
    vera,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def template(channel: ApiChannel) -> Any:
    return TemplateFactory(api_channel=channel, name="ready", body="Order {{1}} is ready.", examples=("42",))


def body(given: Any, /, **changes: Any) -> dict[str, Any]:
    return {
        "channel": given.api_channel_id,
        "phone": "8 (921) 555-01-04",
        "template": {"id": given.pk, "parameters": ["42"]},
        "consent": {"source": "website", "note": "order form"},
    } | changes


def start(user: Any, given: Any, /, *, key: str = "", **changes: Any) -> Any:
    return Api(user).post("conversations", body(given, **changes), key=key, **{"accept-language": "en"})


def test_a_program_starts_a_chat_once_per_key(template: Any, channel: ApiChannel) -> None:
    user = boris(channel.default_chat_channel)  # type: ignore[arg-type]

    first = start(user, template, key="order 42", name="Анна")
    again = start(user, template, key="order 42", name="Анна")

    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    answer = first.json()
    chat, contact = Conversation.objects.get(), Contact.objects.get()
    assert answer["chat"]["chat_id"] == chat.pk and answer["message"]["text"] == "Order 42 is ready."
    assert (contact.phone, contact.name) == ("+79215550104", "Анна")
    assert chat.assignee is None and answer["chat"]["assignee"] is None
    consent = ContactConsent.objects.get()
    assert (consent.source, consent.note, consent.recorded_by) == ("website", "order form", user)
    assert Delivery.objects.filter(kind=Delivery.Kind.MESSAGE).count() == 1
    assert start(user, template, key="order 42", name="Borja").json()["reason"] == "key_reused"


def test_a_number_with_a_chat_gets_nothing_and_is_named(template: Any, channel: ApiChannel) -> None:
    user = boris(channel.default_chat_channel)  # type: ignore[arg-type]
    chat_id = start(user, template).json()["chat"]["chat_id"]

    refused = start(user, template, phone="+79215550104", key="k")

    assert refused.status_code == 409
    assert (refused.json()["reason"], refused.json()["chat_id"]) == ("chat_exists", chat_id)
    assert Message.objects.filter(direction="outbound").count() == 1
    sent = Api(user).post(f"conversations/{chat_id}/messages", {"template": {"id": template.pk, "parameters": ["43"]}})
    assert sent.status_code == 201


@pytest.mark.parametrize(
    "changes, status, reason",
    [
        ({"phone": "12"}, 400, "invalid"),
        ({"consent": {"source": "rumor"}}, 400, "invalid"),
        ({"consent": None}, 400, "invalid"),
        ({"template": {"name": "ready"}}, 400, "invalid"),
        ({"template": {"name": "unknown", "language": "ru"}}, 422, "template_unknown"),
        ({"template": {"name": "ready", "language": "ru"}}, 422, "template_values"),
        ({"channel": 99999}, 404, "not_found"),
    ],
)
def test_a_refusal_says_why_and_leaves_nothing(
    template: Any, changes: dict[str, Any], status: int, reason: str
) -> None:
    answer = start(vera(), template, **changes)

    assert (answer.status_code, answer.json()["reason"]) == (status, reason) and answer.json()["error"]
    assert not Contact.objects.exists() and not Conversation.objects.exists()


def test_providers_and_clients_that_cannot_be_written_to(template: Any, channel: ApiChannel) -> None:
    acebot = ApiChannelFactory(name="Acebot", kind="acebot", watched=channel.default_chat_channel)
    cannot = start(vera(), template, channel="Acebot")
    assert (cannot.status_code, cannot.json()["reason"]) == (409, "channel_cannot_start") and acebot.pk

    contact = ContactFactory(api_channel=channel, external_id="", phone="+79215550104")
    consents.set_opt_out(contact.pk, OptOut.ALL, source=OptOutSource.IMPORT)
    refused = start(vera(), template)
    assert (refused.status_code, refused.json()["reason"]) == (409, "client_opted_out")
    assert "opted out of templates" in refused.json()["error"]


def test_only_users_who_would_see_the_chat_start_it(template: Any) -> None:
    elsewhere = operator("olga", ChatChannelFactory())

    assert start(elsewhere, template).status_code == 404
    assert start(UserFactory(), template).status_code == 403
    assert Api().post("conversations", body(template)).status_code == 401
    assert not Conversation.objects.exists()


def test_the_stored_answer_goes_with_the_erased_person(template: Any) -> None:
    user = vera()
    start(user, template, key="+79215550104")

    erasure.erase_person(Contact.objects.get().pk, by=None)

    assert start(user, template, key="+79215550104").status_code == 410
    assert Conversation.objects.count() == 1
