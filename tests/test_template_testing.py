"""Test messages of templates, sent by admins through the outbox."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

from bridge.maintenance import erasure
from bridge.merging.merge import merge_contacts
from bridge.models import Contact, Conversation, Delivery, Message, TemplateTest, Ticket
from bridge.relay import template_tests
from channels_setup.models import ApiChannel, ChannelState
from templates_registry.models import Status, Template
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    ConversationFactory,
    TemplateFactory,
    boris,
    vera,
)
from tests.pages import signed_in
from tests.scenarios.merging import recipients, writes

pytestmark = pytest.mark.django_db

NUMBER = "+7 921 555-01-77"
MINE, CLIENTS = "79215550177", "4915112345678"
VALUES = {"v.1": "Вера", "v.2": "№ 7"}


@pytest.fixture
def template() -> Template:
    template: Template = TemplateFactory(api_channel=ApiChannelFactory(kind="whatsapp_cloud", state=ChannelState.LIVE))
    return template


@pytest.fixture
def admin(client: Client) -> Client:
    return signed_in(client, vera())


def address(template: Template) -> str:
    return f"/templates/{template.pk}/test/"


def confirmed(admin: Client, template: Template, **more: str) -> dict[str, str]:
    """Return the fields of the confirmation page."""
    page = admin.post(address(template), {"number": NUMBER, **VALUES, "check": "1"} | more)
    assert page.status_code == 200, page.content.decode()
    form = page.content.decode().split("<form", 1)[1]
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form)
    return {name: value for name, value in fields if name != "csrfmiddlewaretoken"} | {"go": "1"}


def test_a_test_message_is_sent_once_and_its_status_is_shown(admin: Client, template: Template) -> None:
    assert address(template) in admin.get(f"/admin/templates_registry/template/{template.pk}/change/").content.decode()
    form = confirmed(admin, template)
    assert not Message.objects.exists()

    for _twice in range(2):
        assert admin.post(address(template), form).status_code == 302

    message = Message.objects.get(direction="outbound")
    assert message.text == "Здравствуйте, Вера! Ваш заказ № 7 готов к выдаче."
    assert Delivery.objects.get(message=message, kind="message").api_channel == template.api_channel
    assert message.conversation.contact.external_id == "79215550177"
    assert Ticket.objects.get().status == Ticket.Status.CLOSED  # no operator has to answer it
    assert LogEntry.objects.get().object_id == str(template.pk)
    assert "5550177" not in LogEntry.objects.get().change_message

    Message.objects.update(status="failed", reason="wa_template_paused")
    page = admin.get(address(template)).content.decode()
    assert "not delivered" in page and "WhatsApp has paused this template" in page


def test_a_clients_number_is_named_and_its_request_stays_open(admin: Client, template: Template) -> None:
    contact = Contact.objects.create(api_channel=template.api_channel, external_id="79215550177", name="Анна")
    chat = Conversation.objects.create(
        contact=contact, api_channel=template.api_channel, chat_channel=template.api_channel.default_chat_channel
    )
    Ticket.objects.create(conversation=chat)

    page = admin.post(address(template), {"number": NUMBER, **VALUES, "check": "1"}).content.decode()
    admin.post(address(template), confirmed(admin, template))

    assert "Анна" in page
    assert Message.objects.get().conversation == chat and Ticket.objects.get().status == Ticket.Status.OPEN


def draft(template: Template) -> None:
    Template.objects.update(status=Status.DRAFT)


def paused(template: Template) -> None:
    ApiChannel.objects.update(state=ChannelState.PAUSED)


def erased(template: Template) -> None:
    erasure.erase_person(Contact.objects.get().pk, by=None)


REFUSED = {draft: "Only an approved template", paused: "cannot send now", erased: "was erased"}


@pytest.mark.parametrize("happens", REFUSED)
def test_a_change_after_the_confirmation_refuses_the_test_message(
    admin: Client, template: Template, happens: Any
) -> None:
    ConversationFactory(api_channel=template.api_channel, contact__external_id="79215550177")
    form = confirmed(admin, template)
    happens(template)

    answer = admin.post(address(template), form)

    assert answer.status_code == 422 and REFUSED[happens] in answer.content.decode()
    assert not Message.objects.filter(direction="outbound").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"number": "921"}, {"number": "Вера"}, {"number": "٧٩٢١٥٥٥٠١٧٧"}, {"number": "+7" + "9" * 38}, {"v.1": ""}],
)
def test_an_unsendable_template_has_no_confirmation_page(
    admin: Client, template: Template, wrong: dict[str, str]
) -> None:
    page = admin.post(address(template), {"number": NUMBER, **VALUES, "check": "1"} | wrong)

    assert page.status_code == 422 and 'role="alert"' in page.content.decode()
    assert not Contact.objects.exists()


def test_an_admins_test_messages_are_limited(
    admin: Client, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_tests, "MAX_TESTS_PER_HOUR", 1)
    admin.post(address(template), confirmed(admin, template))

    answer = admin.post(address(template), confirmed(admin, template))

    assert answer.status_code == 422 and "1 an hour" in answer.content.decode()
    assert TemplateTest.objects.count() == 1


def test_operators_cannot_send_test_messages(client: Client, template: Template) -> None:
    signed_in(client, boris(template.api_channel.default_chat_channel))

    assert client.get(address(template)).status_code == 403
    assert client.post(address(template), {"number": NUMBER, "go": "1"}).status_code == 403


def test_the_permission_alone_opens_no_template_of_another_channel(client: Client, template: Template) -> None:
    operator = boris(ChatChannelFactory())
    operator.user_permissions.add(Permission.objects.get(codename="change_template"))

    assert signed_in(client, operator).get(address(template)).status_code == 404


@pytest.mark.parametrize("last", [MINE, CLIENTS])
def test_a_number_merged_with_a_client_is_reached_or_nobody_is(admin: Client, template: Template, last: str) -> None:
    channel = template.api_channel
    writes(channel, MINE, "?", hours=1)
    writes(channel, CLIENTS, "?", hours=2)
    merge_contacts(Contact.objects.get(external_id=MINE).pk, Contact.objects.get(external_id=CLIENTS).pk, by=vera())
    form = confirmed(admin, template) if last == CLIENTS else {}
    writes(channel, last, "!")
    form = form or confirmed(admin, template)

    admin.post(address(template), form)
    page = admin.post(address(template), {"number": NUMBER, **VALUES, "check": "1"})

    assert recipients() == ([MINE] if last == MINE else [])
    assert page.status_code == (200 if last == MINE else 422)


def test_a_broken_template_is_refused(admin: Client, template: Template) -> None:
    Template.objects.update(components=[{"type": "BODY"}])

    page = admin.post(address(template), {"number": NUMBER, **VALUES, "check": "1"})

    assert page.status_code == 422
