"""Opt-outs: recognized words, WhatsApp's settings, merged contacts, and every place where a template is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.conversations import activity, consents, identity_changes, receiving
from bridge.desk.contacts import listing
from bridge.desk.contacts.listing import ContactParams, ContactScope
from bridge.desk.live import versions
from bridge.merging.merge import merge_contacts
from bridge.models import Contact, ContactConsent, Conversation, Delivery, Message, OptOut, OptOutSource
from bridge.outbox import dispatcher
from bridge.relay import held_replies, reply_submission
from channels_setup.codecs import opt_out_words
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import ContactChanged, ContactInfo, MessageReceived
from tests.factories import (
    ChatChannelFactory,
    ContactFactory,
    ConversationFactory,
    MessageFactory,
    ServiceWindowFactory,
    TemplateFactory,
    boris,
    token_of,
    vera,
)
from tests.races import run_blocked, run_in_other_session

pytestmark = pytest.mark.django_db
EVERYTHING = ContactScope(chat_channels=[], api_channels=[], sees_everything=True)


@pytest.mark.parametrize(
    "text, found",
    [
        *[
            (word, "stop")
            for word in ("STOP", "Стоп.", "  «стоп»!!", "🛑 Stop 🛑", "ＳＴＯＰ", "не  пишите", "Opt-out")
        ],
        *[(word, "start") for word in ("START", "старт!", "Подписаться ✅")],
        *[(text, "") for text in ("стоп-лист", "Please stop calling", "Стоп, а где заказ?", "", "🛑", "stop " * 20)],
    ],
)
def test_a_word_counts_only_as_the_whole_message(text: str, found: str) -> None:
    assert opt_out_words.recognize_word(text) == found


def test_words_of_a_channel_replace_the_default_ones() -> None:
    own = {"stop_words": "Хватит, больше не надо", "start_words": "верните"}

    assert opt_out_words.recognize_word("больше не надо!", **own) == "stop"
    assert opt_out_words.recognize_word("Верните", **own) == "start"
    assert opt_out_words.recognize_word("STOP", **own) == ""
    assert opt_out_words.recognize_word("stop", stop_words=" , ;") == "stop"


def write(chat: Conversation, text: str, *, ago: timedelta = timedelta(), number: str = "") -> None:
    contact = ContactInfo(external_id=number or chat.contact.external_id)
    fact = MessageReceived(
        contact=contact, text=text, external_id=f"m{Message.objects.count()}", at=timezone.now() - ago
    )
    receiving.receive_messages(chat.api_channel, [receiving.IncomingMessage(fact=fact, chat_channel=chat.chat_channel)])


def opt_out_of(chat: Conversation) -> str:
    return consents.find_opt_outs([chat.pk]).get(chat.pk, OptOut.NONE).value


def test_a_word_opts_out_and_another_one_takes_it_back(chat: Conversation) -> None:
    write(chat, "Стоп!")
    row = ContactConsent.objects.get()
    assert (row.opt_out, row.opt_out_source, row.opt_out_reason) == ("all", "words", "Стоп!")
    assert opt_out_of(chat) == "all"

    write(chat, "start", ago=timedelta(hours=2))  # written before the other one, delivered late
    assert opt_out_of(chat) == "all"
    write(chat, "старт")
    assert opt_out_of(chat) == ""


def test_a_late_start_never_lifts_a_newer_stop(chat: Conversation) -> None:
    write(chat, "STOP", ago=timedelta(hours=3))
    write(chat, "STOP", ago=timedelta(hours=1))
    write(chat, "START", ago=timedelta(hours=2))  # written between the two, delivered last
    assert opt_out_of(chat) == "all"


def test_a_late_stop_does_not_undo_a_newer_start(chat: Conversation) -> None:
    write(chat, "START", ago=timedelta(hours=1))
    write(chat, "STOP", ago=timedelta(hours=2))
    assert opt_out_of(chat) == ""


def test_a_batch_is_applied_in_the_order_of_the_clients_time(chat: Conversation) -> None:
    now = timezone.now()
    messages = [
        MessageFactory(conversation=chat, text=text, provider_time=now - timedelta(minutes=ago))
        for text, ago in (("STOP", 1), ("START", 5), ("STOP", 9))
    ]
    consents.apply_words(messages)
    assert opt_out_of(chat) == "all"


def test_any_number_of_words_costs_the_same_statements(channel: ApiChannel) -> None:
    def count(number: int) -> int:
        messages = [
            MessageFactory(conversation=make_chat(channel), text=word, provider_time=timezone.now())
            for word in ("STOP", "START") * number
        ]
        with CaptureQueriesContext(connection) as queries:
            consents.apply_words(messages)
        return len(queries)

    assert count(1) == count(10) <= 10


@pytest.mark.django_db(transaction=True)
def test_an_opt_out_by_hand_and_a_batch_of_two_chats_do_not_deadlock(channel: ApiChannel) -> None:
    first = make_chat(channel)
    second = ConversationFactory(api_channel=channel, contact=first.contact, chat_channel=ChatChannelFactory())
    assert first.pk < second.pk

    def set_by_hand() -> bool:
        return consents.set_opt_out(first.contact_id, OptOut.ALL, source=OptOutSource.OPERATOR)

    def read_word() -> None:
        consents.apply_words([MessageFactory(conversation=second, text="START", provider_time=timezone.now())])

    # The lock of one chat, as the inbox takes it for its message.
    done = run_blocked(set_by_hand, hold=lambda: receiving.lock_conversation(second.pk), then=read_word)

    assert done.result()
    assert opt_out_of(first) == "all"


@pytest.mark.django_db(transaction=True)
def test_a_line_that_is_committed_late_changes_the_version(channel: ApiChannel) -> None:
    """An opt-out adds a line to all chats of the client, and locks only the one with the message."""
    first = make_chat(channel)
    second = ConversationFactory(api_channel=channel, contact=first.contact, chat_channel=ChatChannelFactory())
    with transaction.atomic():
        consents.apply_words([MessageFactory(conversation=first, text="STOP", provider_time=timezone.now())])
        run_in_other_session(lambda: activity.record_activity(second.pk, "woken"))
        seen = run_in_other_session(lambda: versions.thread_version(second.pk))

    assert versions.thread_version(second.pk) != seen
    assert set(second.activities.values_list("kind", flat=True)) == {"woken", "opted_out"}


def test_a_person_decides_after_the_client_whose_clock_is_ahead(chat: Conversation) -> None:
    write(chat, "STOP", ago=timedelta(minutes=-5))
    assert opt_out_of(chat) == "all"

    assert consents.set_opt_out(chat.contact_id, OptOut.NONE, source=OptOutSource.OPERATOR)
    assert opt_out_of(chat) == ""


def test_a_channel_can_ignore_words(chat: Conversation) -> None:
    ChatChannel.objects.update(recognizes_opt_outs=False)
    chat.chat_channel.refresh_from_db()
    write(chat, "STOP")
    assert opt_out_of(chat) == ""


def test_ordinary_messages_cost_no_statement(chat: Conversation) -> None:
    messages = [MessageFactory(conversation=chat, text=text) for text in ("Здравствуйте", "стоп-лист", "x" * 500)]

    with CaptureQueriesContext(connection) as queries:
        consents.apply_words(messages)

    assert len(queries) == 0


def make_chat(channel: ApiChannel, **options: Any) -> Conversation:
    contact = ContactFactory(api_channel=channel, **options)
    return ConversationFactory(api_channel=channel, contact=contact, chat_channel=channel.default_chat_channel)


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return make_chat(channel)


def opt_out(chat: Conversation, value: OptOut = OptOut.ALL) -> None:
    consents.set_opt_out(chat.contact_id, value, source=OptOutSource.OPERATOR, reason="asked by phone")


def send(chat: Conversation, **options: Any) -> reply_submission.SubmitResult:
    template = TemplateFactory(api_channel=chat.api_channel, body="Your order is ready.", **options)
    return reply_submission.submit_template_reply(
        conversation_id=chat.pk, template_id=template.pk, parameters=[], author=boris(chat.chat_channel)
    )


def test_every_way_to_send_a_template_is_refused(chat: Conversation) -> None:
    opt_out(chat)
    user = boris(chat.chat_channel)
    template = TemplateFactory(api_channel=chat.api_channel, body="Your order is ready.")

    pasted = reply_submission.submit_reply(
        conversation_id=chat.pk, text="Your order is ready.", author=user, keep_draft=True
    )
    held, held_result = held_replies.hold_reply(
        conversation_id=chat.pk, text="Hello", author=user, template_id=template.pk, parameters=[]
    )

    assert held is None
    for result in (pasted, held_result, send(chat, name="other")):
        assert result.decision.reason == "client_opted_out" and result.message is None
        assert "отказался" in result.decision.sentence
    assert not Delivery.objects.exists()


def test_marketing_alone_leaves_other_categories(chat: Conversation) -> None:
    opt_out(chat, OptOut.MARKETING)

    assert send(chat, name="sale", category="MARKETING").decision.reason == "client_opted_out_of_marketing"
    assert send(chat, name="ready", category="UTILITY").message is not None


def test_free_text_in_the_open_window_is_sent_even_if_it_is_a_template(chat: Conversation) -> None:
    ServiceWindowFactory(conversation=chat)
    ApiChannel.objects.update(template_in_window=True)
    opt_out(chat)
    TemplateFactory(api_channel=chat.api_channel, body="Your order is ready.")

    result = reply_submission.submit_reply(
        conversation_id=chat.pk, text="Your order is ready.", author=boris(chat.chat_channel)
    )

    assert result.message is not None and result.message.kind == Message.Kind.TEXT


def test_an_opt_out_after_the_submission_cancels_the_delivery(chat: Conversation) -> None:
    message = send(chat).message
    assert message is not None
    opt_out(chat)

    dispatcher.send_due_deliveries()

    message.refresh_from_db()
    assert (message.status, message.reason) == ("failed", "client_opted_out")
    assert Delivery.objects.get(message=message, kind=Delivery.Kind.MESSAGE).state == Delivery.State.CANCELLED


def test_whatsapp_reports_marketing_only(chat: Conversation) -> None:
    def report(wants: bool, minutes: int) -> None:
        at = timezone.now() + timedelta(minutes=minutes)
        reason = "marketing_resumed" if wants else "marketing_stopped"
        contact = ContactInfo(external_id=chat.contact.external_id)
        fact = ContactChanged(contact=contact, reason=reason, marketing=wants, at=at, external_id=f"{minutes}")
        identity_changes.apply_identity_change(chat.api_channel, fact)

    report(False, 1)
    assert opt_out_of(chat) == "marketing"
    report(True, 2)
    assert opt_out_of(chat) == ""
    consents.set_opt_out(
        chat.contact_id, OptOut.ALL, source=OptOutSource.WORDS, at=timezone.now() + timedelta(minutes=3)
    )
    report(True, 4)
    assert opt_out_of(chat) == "all"


def test_a_refusal_for_marketing_is_remembered(chat: Conversation) -> None:
    consents.apply_failures([(MessageFactory(conversation=chat), "provider_failed", None)])
    assert opt_out_of(chat) == ""
    consents.apply_failures([(MessageFactory(conversation=chat), "wa_marketing_stopped", None)])
    assert opt_out_of(chat) == "marketing"


def test_the_broadest_opt_out_of_merged_contacts_counts(chat: Conversation) -> None:
    other = make_chat(chat.api_channel)
    opt_out(chat, OptOut.MARKETING)
    opt_out(other)
    merge_contacts(other.contact_id, chat.contact_id, by=None)

    assert opt_out_of(chat) == "all"
    chat.contact.refresh_from_db()
    shown = consents.get_consent(chat.contact)
    assert shown is not None and shown.opt_out == "all"
    merged = listing.list_contacts(EVERYTHING, ContactParams(opt_out="all"))
    assert merged.ids == [chat.contact_id]
    assert listing.list_contacts(EVERYTHING, ContactParams(opt_out="any")).ids == [chat.contact_id]
    for other_filter in ("marketing", "none"):
        assert listing.list_contacts(EVERYTHING, ContactParams(opt_out=other_filter)).ids == []
    write(chat, "START")
    assert opt_out_of(chat) == ""
    assert listing.list_contacts(EVERYTHING, ContactParams(opt_out="none")).ids == [chat.contact_id]


def test_an_erased_person_has_no_consent(chat: Conversation) -> None:
    Contact.objects.filter(pk=chat.contact_id).update(
        erased_at=timezone.now(), external_id="", phone="", name="", email="", tags=[], card={}
    )

    with pytest.raises(IntegrityError), transaction.atomic():
        ContactConsent.objects.create(contact_id=chat.contact_id, opt_out="all")


def test_the_api_reads_and_sets_opt_outs_and_consents(client: Client, chat: Conversation) -> None:
    user = boris(chat.chat_channel)
    address, headers = f"/api/v1/contacts/{chat.contact_id}/", token_of(user)

    assert client.get(address, headers=headers).json()["consent"] is None
    body = {"opt_out": "all", "opt_out_reason": "a call", "consent_source": "contract"}
    changed = client.patch(address, body, content_type="application/json", headers=headers).json()

    assert (changed["consent"]["opt_out"], changed["consent"]["opt_out_source"]) == ("all", "api")
    assert (changed["consent"]["source"], changed["consent"]["recorded_by"]) == ("contract", user.pk)
    assert client.get("/api/v1/contacts/?opt_out=all", headers=headers).json()["results"][0]["id"] == chat.contact_id
    assert client.get("/api/v1/contacts/?opt_out=marketing", headers=headers).json()["results"] == []
    client.patch(address, {"opt_out": ""}, content_type="application/json", headers=headers)
    assert opt_out_of(chat) == ""


def test_the_api_filter_counts_only_people_whom_the_user_may_know(client: Client, chat: Conversation) -> None:
    elsewhere = ConversationFactory(api_channel=chat.api_channel, chat_channel=ChatChannelFactory())
    opt_out(elsewhere)
    merge_contacts(elsewhere.contact_id, chat.contact_id, by=None)

    def found(user: Any) -> list[int]:
        answer = client.get("/api/v1/contacts/?opt_out=all", headers=token_of(user)).json()
        return [row["id"] for row in answer["results"]]

    assert found(boris(chat.chat_channel)) == []
    assert found(vera()) == [chat.contact_id]
