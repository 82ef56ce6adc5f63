"""IDs by which Meta knows a contact, and responses of Meta that confirm nothing, over the simulator."""

import pytest

from bridge.models import Attempt, Contact, Conversation
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from templates_registry.models import Template
from templates_registry.provider import provider_sync
from tests.factories import vera
from tests.scenarios.meta_journeys import channel, meta, run_due_tasks, send_reply
from tests.simulators.meta import MetaSimulator

__all__ = ["channel", "meta"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


def written_first(channel: ApiChannel, *, phone: str, external_id: str = "") -> Conversation:
    """Start a chat from our side: the client has not written, so a template opens it."""
    contact = Contact.objects.create(api_channel=channel, phone=phone, external_id=external_id, name="Ana")
    return Conversation.objects.create(
        contact=contact, api_channel=channel, chat_channel=channel.watched.get(), last_text="", unread=0
    )


@pytest.mark.parametrize("external_id", ["", "5511987654321"])
def test_a_client_known_under_another_number_answers_in_the_same_chat(
    meta: MetaSimulator, channel: ApiChannel, external_id: str
) -> None:
    """Brazil's ninth digit: we write to one number, and the answer comes from another."""
    ana = meta.phone("551187654321", name="Ana")
    meta.add_template("hello", body="Ваш заказ готов, приходите.", language="ru")
    assert provider_sync.sync_channel(channel).error == ""
    chat = written_first(channel, phone="+5511987654321", external_id=external_id)
    submitted = reply_submission.submit_template_reply(
        conversation_id=chat.pk, template_id=Template.objects.get(name="hello").pk, parameters=[], author=vera()
    )
    assert submitted.message is not None, submitted.decision
    run_due_tasks(meta)
    ana.writes("Obrigada!")
    run_due_tasks(meta)

    assert [sent.text for sent in ana.received] == ["Ваш заказ готов, приходите."]
    assert Conversation.objects.get().pk == chat.pk
    contact = Contact.objects.get()
    assert (contact.external_id, contact.user_id, contact.phone) == ("551187654321", ana.user_id, "+5511987654321")


def test_an_id_of_another_client_stays_with_that_client(meta: MetaSimulator, channel: ApiChannel) -> None:
    ana = meta.phone("551187654321", name="Ana")
    ana.writes("Oi")
    run_due_tasks(meta)
    meta.add_template("hello", body="Ваш заказ готов, приходите.", language="ru")
    provider_sync.sync_channel(channel)
    chat = written_first(channel, phone="+5511987654321", external_id="5511987654321")
    reply_submission.submit_template_reply(
        conversation_id=chat.pk, template_id=Template.objects.get(name="hello").pk, parameters=[], author=vera()
    )
    run_due_tasks(meta)

    assert sorted(Contact.objects.values_list("external_id", "user_id")) == [
        ("551187654321", ana.user_id),
        ("5511987654321", ""),
    ]


def test_a_held_template_records_the_reason_with_its_attempt(meta: MetaSimulator, channel: ApiChannel) -> None:
    meta.phone("447700900101").writes("?")
    run_due_tasks(meta)
    meta.add_template("hello", body="Ваш заказ готов, приходите.", language="ru")
    provider_sync.sync_channel(channel)
    meta.behave(held=True, times=1)
    reply_submission.submit_template_reply(
        conversation_id=Conversation.objects.get().pk,
        template_id=Template.objects.get().pk,
        parameters=[],
        author=vera(),
    )
    dispatcher.send_due_deliveries()

    attempt = Attempt.objects.get()
    assert (attempt.verdict, attempt.reason) == ("accepted", "wa_held_for_quality")


def test_a_proxys_200_leaves_the_outcome_unknown_for_the_operator(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    meta.behave(answer="page", times=1)
    message = send_reply("Да")
    run_due_tasks(meta)

    message.refresh_from_db()
    assert (message.status, message.external_id, anna.received) == ("unknown", "", [])
