"""One chat per person: numbers, user IDs and names, from any source and in any order."""

from __future__ import annotations

import itertools
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from bridge.conversations import contacts
from bridge.desk import presentation
from bridge.desk.chat_list import search
from bridge.inbox import processing
from bridge.models import Contact, Conversation, Delivery, Draft, Message
from bridge.outbox import dispatcher
from bridge.outbox.destinations.messages import MessagePolicy
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactChanged, ContactInfo, EchoSeen, Fact, MessageReceived
from channels_setup.providers.whatsapp_cloud import graph_webhooks
from tests.claiming import claim_deliveries
from tests.factories import ApiChannelFactory, ContactFactory, ConversationFactory, boris

pytestmark = pytest.mark.django_db

N1, N2, N3 = "447700900101", "447700900111", "447700900121"
U1, U2 = "GB.13491208655302741918", "GB.93491208655302741999"
VARIANTS = {
    "Brazil": ("553188887777", "5531988887777"),
    "Mexico": ("5215512345678", "525512345678"),
    "Argentina": ("5491123456789", "541123456789"),
    "Benin": ("22997123456", "2290197123456"),
}
STRANGERS = {
    "Brazilian landline": ("553132217777", "5531932217777"),
    "neighbors": ("5215512345678", "5215512345679"),
    "Vietnam and Moscow": ("84951234567", "74951234567"),
}


@pytest.fixture
def channel() -> Any:
    """Create a channel whose external IDs are phone numbers."""
    return ApiChannelFactory(kind="whatsapp_cloud")


def apply(channel: ApiChannel, *facts: Fact) -> None:
    processing.apply_facts(channel, facts)


_ids = (f"wamid.{number}" for number in itertools.count())


def contact_info(number: str = "", user_id: str = "", name: str = "") -> ContactInfo:
    return ContactInfo(external_id=number, phone=f"+{number}" if number else "", user_id=user_id, name=name)


def received_text(
    number: str = "", user_id: str = "", *, name: str = "", at: datetime | None = None
) -> MessageReceived:
    return MessageReceived(
        contact=contact_info(number, user_id, name), text="?", external_id=next(_ids), at=at or timezone.now()
    )


def echoed_reply(number: str = "", user_id: str = "") -> EchoSeen:
    return EchoSeen(contact=contact_info(number, user_id), text="!", external_id=next(_ids), at=timezone.now())


def chats() -> int:
    return Conversation.objects.count()


def notices() -> list[str]:
    return list(Message.objects.filter(direction="notice").order_by("pk").values_list("reason", flat=True))


# --- spellings of one number -----------------------------------------------------------------------------


@pytest.mark.parametrize("country", VARIANTS)
@pytest.mark.parametrize("turned", [False, True], ids=["as sent", "turned"])
@pytest.mark.parametrize("first", [received_text, echoed_reply])
@pytest.mark.parametrize("second", [received_text, echoed_reply])
def test_national_variants_of_a_number_are_one_chat(
    channel: ApiChannel, country: str, turned: bool, first: Any, second: Any
) -> None:
    one, other = reversed(VARIANTS[country]) if turned else VARIANTS[country]

    apply(channel, first(one))
    apply(channel, second(other))

    assert (Contact.objects.count(), chats()) == (1, 1)
    assert Message.objects.count() == 2
    last = other if second is received_text else one  # the provider's own spelling, once the client has written
    assert Contact.objects.get().external_id == last


@pytest.mark.parametrize("country", VARIANTS)
def test_variants_within_one_batch_are_one_chat(channel: ApiChannel, country: str) -> None:
    one, other = VARIANTS[country]

    apply(channel, received_text(one), received_text(other), received_text(one))

    assert (Contact.objects.count(), chats()) == (1, 1)


@pytest.mark.parametrize("pair", STRANGERS)
@pytest.mark.parametrize("kind", ["whatsapp_cloud", "sandbox", "acebot"])
def test_numbers_of_two_persons_are_two_chats(pair: str, kind: str) -> None:
    channel = ApiChannelFactory(kind=kind)
    one, other = STRANGERS[pair]

    apply(channel, received_text(one), received_text(other))
    apply(channel, echoed_reply(one), echoed_reply(other))

    assert (Contact.objects.count(), chats()) == (2, 2)


def test_the_providers_spelling_of_our_number_finds_the_contact(channel: ApiChannel) -> None:
    """We wrote to one spelling, the client answers from the other, and our phone continues with the first."""
    ConversationFactory(api_channel=channel, contact__phone="+5531988887777", contact__external_id="")

    apply(channel, received_text("553188887777"), echoed_reply("5531988887777"))

    assert chats() == 1
    assert Contact.objects.get().external_id == "553188887777"


def test_a_number_with_and_without_its_plus_is_one_chat() -> None:
    channel = ApiChannelFactory(kind="sandbox")

    apply(channel, received_text("79215550104"), received_text("+79215550104"))

    assert chats() == 1


@pytest.mark.parametrize("number", ["15551234567", "client-1", "42"])
def test_an_invalid_test_number_still_works(number: str) -> None:
    channel = ApiChannelFactory(kind="sandbox")

    apply(channel, received_text(number), received_text(number), received_text(f"{number}0"))

    assert chats() == 2


def test_opaque_ids_with_one_phone_are_two_persons() -> None:
    """A family may share a phone: the provider distinguishes them, so do we."""
    channel = ApiChannelFactory(kind="sandbox")
    anna, igor = (ContactInfo(external_id=name, phone="+79215550104") for name in ("anna", "igor"))

    for contact in (anna, igor, anna):
        apply(channel, MessageReceived(contact=contact, text="?", external_id=next(_ids)))

    assert chats() == 2


def test_a_number_of_many_people_is_searched_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may give all its clients one number. Each message of a new client once read them all."""
    channel, phone = ApiChannelFactory(kind="sandbox"), f"+{N1}"
    for number in range(60):
        ContactFactory(api_channel=channel, external_id=f"program-{number}", phone=phone)
        ContactFactory(api_channel=channel, external_id="", caller_id=f"caller-{number}", phone=phone)
    judged: list[Contact] = []
    judge = contacts._ContactIndex._can_be_same_person

    def count(index: Any, contact: Contact, *arguments: Any) -> bool:
        judged.append(contact)
        return judge(index, contact, *arguments)

    monkeypatch.setattr(contacts._ContactIndex, "_can_be_same_person", count)
    info = ContactInfo(external_id="new", phone=phone)
    apply(channel, MessageReceived(contact=info, text="?", external_id="m1"))

    assert Conversation.objects.get().contact.external_id == "new"
    assert 0 < len(judged) < 10


def test_a_phone_only_client_is_found_among_many() -> None:
    channel, phone = ApiChannelFactory(kind="sandbox"), f"+{N1}"
    for number in range(5):
        ContactFactory(api_channel=channel, external_id=f"program-{number}", phone=phone)
    by_phone = [ContactFactory(api_channel=channel, external_id="", phone=phone) for _ in range(3)]
    people = [ContactInfo(external_id=f"program-new-{number}", phone=phone) for number in range(4)]

    apply(channel, *(MessageReceived(contact=info, text="?", external_id=f"m{n}") for n, info in enumerate(people)))

    linked = Contact.objects.filter(external_id__startswith="program-new").order_by("pk")
    assert [contact.pk for contact in linked][:3] == [contact.pk for contact in by_phone]
    assert len(linked) == 4 and Conversation.objects.count() == 4


def test_an_older_spelling_of_an_id_hides_no_contact() -> None:
    """Both IDs have the number, but only the newer contact is reached at it: the older one has another phone."""
    channel = ApiChannelFactory(kind="sandbox")
    ContactFactory(api_channel=channel, external_id=f"+{N1}", phone=f"+{N2}")
    newer = ContactFactory(api_channel=channel, external_id=N1, phone="")

    assert contacts.find_contact(channel, ContactInfo(phone=f"+{N1}")) == newer


def test_a_typed_in_phone_does_not_attract_its_owners_messages(channel: ApiChannel) -> None:
    """Anna's card has Boris's number by mistake. His messages must not land in her chat."""
    apply(channel, received_text(N1))
    apply(channel, received_text(user_id=U1))
    Contact.objects.get(external_id=N1).save()
    for contact in Contact.objects.all():
        contact.phone = f"+{N2}"
        contact.save()

    apply(channel, received_text(N2))

    assert chats() == 3


@pytest.mark.parametrize("phone", ["+7 921 555-01-04", "8 (921) 555-01-04", "79215550104"])
def test_a_client_with_only_a_phone_is_found_by_their_first_message(channel: ApiChannel, phone: str) -> None:
    chat = ConversationFactory(api_channel=channel, contact__phone=phone, contact__external_id="")

    apply(channel, received_text("79215550104"))

    assert Message.objects.get().conversation_id == chat.pk


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        ("+79215550104", "8 921 555-01-04"),
        ("+79215550104", "8921555"),
        ("+79215550104", "555-01-04"),
        ("89215550104", "+7 921 555 01 04"),
        ("553188887777", "+55 31 98888-7777"),
        ("5531988887777", "553188887777"),
        ("5531988887777", "(31) 8888-7777"),
        ("525512345678", "+52 1 55 1234 5678"),
        ("5491123456789", "11 15 2345-6789"),
    ],
)
def test_a_search_finds_every_spelling(stored: str, query: str) -> None:
    chat = ConversationFactory(contact__phone=stored)
    by_address = ConversationFactory(contact__phone="", contact__external_id=stored.lstrip("+"))
    ConversationFactory()

    contact_hits = search.search_chats([chat.chat_channel_id, by_address.chat_channel_id], query).by_chat

    assert chat.pk in contact_hits
    if not query.startswith(("8921", "555")):  # a part of a number is searched on the card only
        assert by_address.pk in contact_hits


def test_known_writers_are_found_by_ids_without_a_lock(channel: ApiChannel, django_assert_max_num_queries: Any) -> None:
    apply(channel, received_text(N1, U1), received_text(N2))
    with connection.execute_wrapper(_no_advisory_lock):
        apply(channel, received_text(N1, U1), received_text(N2), received_text(N1), received_text(user_id=U1))

    assert chats() == 2


def _no_advisory_lock(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    assert "advisory" not in sql
    return execute(sql, params, many, context)


# --- a number and a user id ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(["number", "user id", "both"])))
def test_ids_in_any_order_end_in_one_chat(channel: ApiChannel, order: tuple[str, ...]) -> None:
    facts = {"number": (N1, ""), "user id": ("", U1), "both": (N1, U1)}
    for what in order:
        apply(channel, received_text(*facts[what]))
    live = Message.objects.order_by("-pk").exclude(direction="notice").filter(conversation__contact__moved_to=None)
    chat = live.values_list("conversation_id", flat=True)[0]

    for what in (*order, *order):
        apply(channel, received_text(*facts[what]))

    after = Message.objects.filter(direction="inbound").order_by("-pk")[:6]
    assert {message.conversation_id for message in after} == {chat}
    assert chats() == Contact.objects.count() <= 2
    assert len(notices()) in (0, 2)  # one notice in each chat, where there are two


def test_a_chat_that_the_client_left_links_to_the_new_chat(channel: ApiChannel) -> None:
    apply(channel, received_text(N1), received_text(user_id=U1))
    left, live = Conversation.objects.order_by("-contact__user_id")
    queued = reply_submission.submit_reply(conversation_id=left.pk, text="Да", author=boris()).message
    assert queued is not None

    apply(channel, received_text(N1, U1))
    refused = reply_submission.submit_reply(conversation_id=left.pk, text="Ещё", author=boris())
    dispatcher.send_due_deliveries()

    assert refused.decision.reason == "contact_moved"
    assert f"No. {live.pk}" in refused.decision.sentence or f"№ {live.pk}" in refused.decision.sentence
    delivery = Delivery.objects.get(message=queued)
    assert (delivery.state, delivery.reason) == (Delivery.State.CANCELLED, "contact_moved_before_sending")
    assert Draft.objects.get(conversation=left).text == "Да"
    assert reply_submission.submit_reply(conversation_id=live.pk, text="Да", author=boris()).decision.is_accepted


def test_a_number_with_another_users_id_moves_to_that_user(channel: ApiChannel) -> None:
    """Anna gave up her number, and Igor, an existing contact, has it now."""
    apply(channel, received_text(N1, U1, name="Анна"), received_text(N2, U2, name="Игорь"))

    apply(channel, received_text(N1, U2, name="Игорь"))

    last = Message.objects.filter(direction="inbound").latest("pk")
    assert last.conversation.contact.user_id == U2
    assert dict(Contact.objects.values_list("user_id", "external_id")) == {U1: "", U2: N1}
    assert sorted(notices()) == ["contact_changed", "contact_number_passed_on"]


def test_another_user_id_under_a_known_number_is_marked(channel: ApiChannel) -> None:
    apply(channel, received_text(N1, U1), received_text(N1, U2), received_text(user_id=U2), received_text(user_id=U1))

    assert chats() == 1
    assert notices() == ["contact_user_id_changed"]


# --- changes reported by the provider -----------------------------------------------------------------------


def system_message(kind: str, body: dict[str, Any], **item: Any) -> dict[str, Any]:
    stamp = str(int(timezone.now().timestamp()))
    return {"id": next(_ids), "timestamp": stamp, "type": "system", "system": {"type": kind, **body}, **item}


SENTENCE = {"body": f"User Anna changed from {N1} to {N2}"}
NUMBER_CHANGES = {
    "today": system_message("user_changed_number", SENTENCE | {"wa_id": N2}, **{"from": N1}),
    "with user ids": system_message(
        "user_changed_number", {"wa_id": N2, "user_id": U2}, **{"from": N1, "from_user_id": U1}
    ),
    "without from, by user id": system_message("user_changed_number", {"wa_id": N2, "user_id": U2}, from_user_id=U1),
    "without from, previous id": system_message(
        "user_changed_number", {"wa_id": N2, "user_id": U2, "previous_user_id": U1}
    ),
    "without from, sentence": system_message("user_changed_number", SENTENCE | {"wa_id": N2}),
    "sentence alone": system_message("user_changed_number", SENTENCE),
    "new_wa_id": system_message("user_changed_number", {"new_wa_id": N2}, **{"from": N1}),
    "both wa ids": system_message("user_changed_number", {"wa_id": N1, "new_wa_id": N2}),
    "old, customer": system_message("customer_changed_number", {"customer": N1, "wa_id": N2}),
    "old, customer and from": system_message("customer_changed_number", {"customer": N1, "wa_id": N2}, **{"from": N1}),
    "old, new_wa_id": system_message("customer_changed_number", {"customer": N1, "new_wa_id": N2}, **{"from": N1}),
    "old, one level deeper": system_message(
        "customer_changed_number", {"customer_changed_number": {"old_wa_id": N1, "new_wa_id": N2}}
    ),
    "user id in from": system_message("user_changed_number", {"wa_id": N2, "user_id": U2}, **{"from": U1}),
}
USER_ID_CHANGES = {
    "today": system_message("user_changed_user_id", {"user_id": U2}, **{"from": N1, "from_user_id": U1}),
    "without from": system_message("user_changed_user_id", {"user_id": U2, "previous_user_id": U1}),
    "by from_user_id": system_message("user_changed_user_id", {"user_id": U2}, from_user_id=U1),
    "sentence": system_message("user_changed_user_id", {"body": f"User anna changed from {U1} to {U2}", "user_id": U2}),
    "sentence alone": system_message("user_changed_user_id", {"body": f"User anna changed from {U1} to {U2}."}),
    "new id in from_user_id": system_message(
        "user_changed_user_id", {"user_id": U2, "previous_user_id": U1}, from_user_id=U2
    ),
}


def facts_of(item: dict[str, Any], field: str = "messages", part: str = "messages") -> list[Fact]:
    change = {"field": field, "value": {"messaging_product": "whatsapp", part: [item]}}
    return graph_webhooks.read_facts({"entry": [{"id": "1", "changes": [change]}]}, graph_webhooks.RoutingTarget())


@pytest.mark.parametrize("shape", NUMBER_CHANGES)
def test_a_new_number_keeps_the_chat(channel: ApiChannel, shape: str) -> None:
    apply(channel, received_text(N1, U1))
    for _twice in range(2):
        apply(channel, *facts_of(NUMBER_CHANGES[shape]))

    apply(channel, received_text(N2), echoed_reply(N2))

    assert chats() == 1
    contact = Contact.objects.get()
    assert (contact.external_id, contact.phone) == (N2, f"+{N2}")
    assert notices() == ["contact_changed"]
    notice = Message.objects.get(direction="notice")
    assert f"+{N1}" in notice.sentence and f"+{N2}" in notice.sentence


@pytest.mark.parametrize("shape", NUMBER_CHANGES)
def test_a_new_number_of_an_existing_contact_is_marked_in_both_chats(channel: ApiChannel, shape: str) -> None:
    apply(channel, received_text(N1, U1), received_text(N2))
    left, live = Conversation.objects.order_by("pk")
    for _twice in range(2):
        apply(channel, *facts_of(NUMBER_CHANGES[shape]))

    apply(channel, received_text(N2))

    assert sorted(notices()) == ["contact_moved_away", "contact_moved_here"]
    assert Message.objects.filter(direction="inbound").latest("pk").conversation_id == live.pk
    refused = reply_submission.submit_reply(conversation_id=left.pk, text="Да", author=boris()).decision
    assert refused.reason == "contact_moved" and str(live.pk) in refused.sentence


@pytest.mark.parametrize("shape", USER_ID_CHANGES)
@pytest.mark.parametrize("known", ["user id", "both"])
@pytest.mark.parametrize("after", ["user id", "both", "number"])
def test_a_new_user_id_keeps_the_chat(channel: ApiChannel, shape: str, known: str, after: str) -> None:
    apply(channel, received_text(N1 if known == "both" else "", U1))
    apply(channel, *facts_of(USER_ID_CHANGES[shape]))
    if known == "user id" and after == "number":
        return  # the webhook does not say whose number this is

    apply(channel, received_text({"user id": "", "both": N1, "number": N1}[after], "" if after == "number" else U2))

    assert chats() == 1
    assert notices() == ["contact_changed"]


@pytest.mark.parametrize("shape", USER_ID_CHANGES)
def test_a_new_user_id_that_wrote_already_links_both_chats(channel: ApiChannel, shape: str) -> None:
    apply(channel, received_text(user_id=U1), received_text(user_id=U2))
    apply(channel, *facts_of(USER_ID_CHANGES[shape]))
    apply(channel, received_text(user_id=U2), received_text(user_id=U1))

    assert chats() == 2
    assert sorted(notices()) == ["contact_moved_away", "contact_moved_here"]
    last = Message.objects.filter(direction="inbound").order_by("-pk")[:2]
    assert {message.conversation.contact.user_id for message in last} == {U2}


@pytest.mark.parametrize(
    "update",
    [
        {"user_id": {"previous": U1, "current": U2}},
        {"user_id": {"previous": U1, "current": U2}, "wa_id": N1},
        {"user_id": {"previous": "", "current": U2}, "wa_id": N1},
        {"user_id": {"previous": U1, "current": U2}, "wa_id": N2},
    ],
)
def test_the_user_id_webhook_keeps_the_chat(channel: ApiChannel, update: dict[str, Any]) -> None:
    apply(channel, received_text(N1, U1))
    item = update | {"timestamp": str(int(timezone.now().timestamp()))}
    apply(channel, *facts_of(item, field="user_id_update", part="user_id_update"))

    apply(channel, received_text(user_id=U2))

    assert chats() == 1
    assert notices() == ["contact_changed"]


@pytest.mark.parametrize(
    "item",
    [
        system_message("customer_identity_changed", {"identity": "hash"}, **{"from": N1}),
        system_message("customer_identity_changed", {"identity": "hash", "customer": N1}),
        system_message("customer_identity_changed", {"identity": "hash", "wa_id": N1}),
        system_message("customer_identity_changed", {"identity": "hash", "customer": N1, "wa_id": N1}, **{"from": N1}),
        system_message("user_identity_changed", {"identity": "hash"}, from_user_id=U1),
    ],
)
def test_a_device_change_adds_a_notice_and_changes_no_ids(channel: ApiChannel, item: dict[str, Any]) -> None:
    apply(channel, received_text(N1, U1))
    apply(channel, *facts_of(item))

    assert notices() == ["contact_device_changed"]
    assert list(Contact.objects.values_list("external_id", "user_id")) == [(N1, U1)]


def test_a_former_number_is_not_written_to(channel: ApiChannel) -> None:
    """After the change only the user ID is known: replies go there, although the card still has the phone."""
    apply(channel, received_text(N1, U1))
    chat = Conversation.objects.get()
    queued = reply_submission.submit_reply(conversation_id=chat.pk, text="Да", author=boris()).message
    apply(channel, *facts_of(USER_ID_CHANGES["today"]))

    claimed = MessagePolicy().admit(claim_deliveries(token := uuid.uuid4(), limit=5), token)

    (item,) = [one for one in claimed if one.delivery.message_id == (queued.pk if queued else 0)]
    contact = item.delivery.payload["contact"]
    assert (contact["external_id"], contact["user_id"]) == ("", U2)


def test_queued_messages_go_to_the_new_number(channel: ApiChannel) -> None:
    apply(channel, received_text(N1))
    reply_submission.submit_reply(conversation_id=Conversation.objects.get().pk, text="Да", author=boris())
    apply(channel, *facts_of(NUMBER_CHANGES["today"]))

    (item,) = MessagePolicy().admit(claim_deliveries(token := uuid.uuid4(), limit=5), token)

    assert item.delivery.payload["contact"]["external_id"] == N2


def test_late_messages_from_a_former_number_join_the_chat(channel: ApiChannel) -> None:
    before = timezone.now() - timedelta(hours=1)
    apply(channel, received_text(N1))
    apply(channel, ContactChanged(contact=contact_info(N1), now=contact_info(N2), at=timezone.now()))

    apply(channel, received_text(N1, at=before))

    assert chats() == 1
    assert Contact.objects.get().external_id == N2


def test_a_new_owner_of_a_former_number_is_another_contact(channel: ApiChannel) -> None:
    apply(channel, received_text(N1))
    apply(
        channel, ContactChanged(contact=contact_info(N1), now=contact_info(N2), at=timezone.now() - timedelta(days=90))
    )

    apply(channel, received_text(N1))

    assert chats() == 2
    assert notices() == ["contact_changed", "contact_number_reused"]


def test_a_person_who_returns_to_the_old_contact_is_followed(channel: ApiChannel) -> None:
    apply(channel, received_text(N1), received_text(N2))
    apply(channel, ContactChanged(contact=contact_info(N1), now=contact_info(N2)))
    apply(channel, ContactChanged(contact=contact_info(N2), now=contact_info(N3)))
    apply(channel, received_text(N3))

    assert chats() == 2
    assert Contact.objects.get(external_id=N3).moved_to is None


# --- names -----------------------------------------------------------------------------------------------


PERSON, PROFILE = Contact.NameSource.PERSON, Contact.NameSource.PROFILE


@pytest.mark.parametrize(
    ("source", "before", "profile_name", "after"),
    [
        (PROFILE, "", "Анна", "Анна"),
        (PROFILE, "Анна", "Аня", "Аня"),
        (PROFILE, "Анна", "79215550104", "Анна"),
        (PROFILE, "Анна", "+7 921 555-01-04", "Анна"),
        (PROFILE, "Анна", "112233", "Анна"),
        (PROFILE, "Анна", "", "Анна"),
        (PROFILE, "Анна", "\u3164", "Анна"),
        (PROFILE, "", "79215550104", ""),
        (PROFILE, "", "\u2800\u2800", ""),
        (PROFILE, "\u3164", "Анна", "Анна"),
        (PROFILE, "112233", "Анна", "Анна"),
        (PROFILE, "", "Анна\nПетрова", "Анна Петрова"),
        (PROFILE, "", "Анна\t\tПетрова\r\n", "Анна Петрова"),
        (PERSON, "ООО «Ромашка»", "🌸Lёlik🌸", "ООО «Ромашка»"),
        (PERSON, "ООО «Ромашка»", "79215550104", "ООО «Ромашка»"),
    ],
)
def test_a_name_set_by_a_person_outranks_profile_names(source: str, before: str, profile_name: str, after: str) -> None:
    channel = ApiChannelFactory()
    ContactFactory(
        api_channel=channel, external_id="79215550104", phone="+79215550104", name=before, name_source=source
    )

    apply(channel, received_text("79215550104", name=profile_name))

    assert Contact.objects.get().name == after


@pytest.mark.parametrize("name", ["", "\u3164", "\u2800", "\u200b\u200d", "\u0301", " \t"])
def test_a_name_without_visible_characters_is_shown_as_the_number(name: str) -> None:
    contact = ContactFactory(name=name, phone="+79215550104")

    assert presentation.contact_name(contact) == "+7 921 555-01-04"
    assert str(contact) == "+79215550104"
    assert presentation.contact_initials(contact) == "04"


def test_a_profile_without_a_visible_name_is_shown_by_its_user_name() -> None:
    card = {"wa_id": N1, "profile": {"name": "\u3164", "username": "anna.p"}}
    value = {"contacts": [card], "messages": [{"from": N1, "id": "wamid.x", "type": "text", "text": {"body": "?"}}]}
    (fact,) = graph_webhooks.read_facts(
        {"entry": [{"changes": [{"field": "messages", "value": value}]}]}, graph_webhooks.RoutingTarget()
    )

    assert isinstance(fact, MessageReceived)
    assert (fact.contact.name, fact.contact.username) == ("anna.p", "anna.p")


# --- rows of earlier versions -------------------------------------------------------------------------------


class SchemaEditor:
    connection = connection
