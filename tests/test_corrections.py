"""Later changes to messages: quotes, reactions, edits, deletions, echoes, changed contacts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from bridge.conversations import message_statuses
from bridge.inbox import processing
from bridge.models import Attachment, Contact, Conversation, Delivery, HeldReply, Message, ServiceWindow, StrayStatus
from channels_setup.codecs.values import FileInfo
from channels_setup.models import ApiChannel
from channels_setup.providers.base import (
    ContactChanged,
    ContactInfo,
    EchoSeen,
    Fact,
    MessageEdited,
    MessageReceived,
    MessageRevoked,
    ReactionChanged,
    StatusChanged,
)
from tests.factories import ApiChannelFactory, DeliveryFactory, MessageFactory, boris

pytestmark = pytest.mark.django_db

ANNA = ContactInfo(external_id="79210000000", phone="+79210000000", name="Анна")
ANNAS_USER_ID = "RU.1349120865530"


@pytest.fixture
def channel() -> Any:
    return ApiChannelFactory()


def now() -> datetime:
    return timezone.now().replace(microsecond=0)


def received_text(external_id: str = "wamid.1", text: str = "Здравствуйте", **more: Any) -> MessageReceived:
    return MessageReceived(**{"contact": ANNA, "text": text, "external_id": external_id, "at": now()} | more)


def apply(channel: ApiChannel, *facts: Fact) -> None:
    processing.apply_facts(channel, facts)


def test_a_reply_refers_to_its_message_even_within_one_batch(channel: ApiChannel) -> None:
    apply(channel, received_text("wamid.1"))
    apply(channel, received_text("wamid.2", quoted_id="wamid.1"), received_text("wamid.3", quoted_id="wamid.2"))
    apply(channel, received_text("wamid.4", quoted_id="wamid.nowhere"))

    quoted = dict(Message.objects.values_list("external_id", "quoted__external_id"))
    assert quoted == {"wamid.1": None, "wamid.2": "wamid.1", "wamid.3": "wamid.2", "wamid.4": None}


def test_a_quote_of_another_chats_message_is_ignored(channel: ApiChannel) -> None:
    apply(channel, received_text("wamid.1"))
    apply(channel, received_text("wamid.2", quoted_id="wamid.1", contact=ContactInfo(external_id="gleb")))

    assert Message.objects.get(external_id="wamid.2").quoted is None


def test_a_reaction_is_added_changed_and_removed(channel: ApiChannel) -> None:
    apply(channel, received_text())
    reactions = []
    for emoji, seconds in (("👍", 1), ("🎉", 2), ("", 3)):
        at = now() + timedelta(seconds=seconds)
        apply(channel, ReactionChanged(contact=ANNA, target_id="wamid.1", emoji=emoji, at=at))
        reactions.append(Message.objects.get().reactions)
    apply(channel, ReactionChanged(contact=ANNA, target_id="wamid.1", emoji="👍", at=now()))  # duplicated and late

    assert reactions == [[{"by": "client", "emoji": "👍"}], [{"by": "client", "emoji": "🎉"}], []]
    assert Message.objects.get().reactions == []


def test_our_reaction_and_the_clients_are_both_shown(channel: ApiChannel) -> None:
    apply(channel, received_text())
    apply(channel, ReactionChanged(contact=ANNA, target_id="wamid.1", emoji="❤️", at=now()))
    apply(channel, ReactionChanged(contact=ANNA, target_id="wamid.1", emoji="👍", at=now(), by_us=True))

    assert Message.objects.get().reactions == [{"by": "client", "emoji": "❤️"}, {"by": "us", "emoji": "👍"}]


def test_a_reaction_extends_the_window_and_its_removal_does_not(channel: ApiChannel) -> None:
    apply(channel, received_text(at=now() - timedelta(hours=5)))
    added_at, removed_at = now() - timedelta(hours=3), now()
    apply(channel, ReactionChanged(contact=ANNA, target_id="wamid.1", emoji="👍", at=added_at))
    apply(channel, ReactionChanged(contact=ANNA, target_id="wamid.1", emoji="", at=removed_at))

    assert ServiceWindow.objects.get().expires_at == added_at + timedelta(hours=24)


def test_the_window_of_a_reaction_ends_within_a_day_of_the_last_message(channel: ApiChannel) -> None:
    apply(channel, received_text(at=now() - timedelta(hours=11)))
    Conversation.objects.update(last_message_at=now() - timedelta(hours=11))
    apply(
        channel, ReactionChanged(contact=ANNA, target_id="wamid.unknown", emoji="👍", external_id="wamid.2", at=now())
    )

    window = ServiceWindow.objects.get()
    assert window.expires_at <= Conversation.objects.get().last_message_at + timedelta(hours=24)


def test_a_reaction_that_opens_the_window_sends_held_replies(channel: ApiChannel) -> None:
    apply(channel, received_text("wamid.1"))
    chat = Conversation.objects.get()
    ServiceWindow.objects.update(
        state="closed", opened_at=now() - timedelta(hours=25), expires_at=now() - timedelta(hours=1)
    )
    HeldReply.objects.create(
        conversation=chat, author=boris(chat.chat_channel), text="Сапоги пришли", drop_at=now() + timedelta(days=3)
    )

    apply(channel, ReactionChanged(contact=ANNA, target_id="wamid.1", emoji="👍", external_id="wamid.2", at=now()))

    assert Message.objects.get(direction="outbound").text == "Сапоги пришли"
    assert HeldReply.objects.get().state == "released"


def test_an_old_reaction_sends_no_held_reply(channel: ApiChannel) -> None:
    apply(channel, received_text("wamid.1"))
    chat = Conversation.objects.get()
    ServiceWindow.objects.update(
        state="closed", opened_at=now() - timedelta(hours=25), expires_at=now() - timedelta(hours=1)
    )
    HeldReply.objects.create(conversation=chat, text="Сапоги пришли", drop_at=now() + timedelta(days=3))

    late = now() - timedelta(days=2)
    apply(channel, ReactionChanged(contact=ANNA, target_id="wamid.1", emoji="👍", external_id="wamid.2", at=late))

    assert HeldReply.objects.get().state == "held"


def test_an_edit_changes_the_text_and_keeps_the_former_text(channel: ApiChannel) -> None:
    apply(channel, received_text(text="Сапоги 38"))
    edit = MessageEdited(contact=ANNA, target_id="wamid.1", text="Сапоги 39", external_id="wamid.2", at=now())
    apply(channel, edit)
    apply(channel, edit)

    message = Message.objects.get()
    assert (message.text, message.shown["former"]) == ("Сапоги 39", ["Сапоги 38"])
    assert Conversation.objects.get().last_text == "Сапоги 39"


def test_a_deleted_message_is_marked_once(channel: ApiChannel) -> None:
    apply(channel, received_text())
    first, second = now(), now() + timedelta(minutes=1)
    apply(channel, MessageRevoked(target_id="wamid.1", at=first), MessageRevoked(target_id="wamid.1", at=second))
    apply(channel, MessageRevoked(target_id="wamid.unknown", at=first))

    assert Message.objects.get().shown["revoked_at"] == first.isoformat()


def test_an_echo_is_outbound_opens_no_window_and_is_not_sent(channel: ApiChannel) -> None:
    echo = EchoSeen(contact=ANNA, text="Пишу с телефона", external_id="wamid.e", at=now())
    apply(channel, echo)
    apply(channel, echo)

    message = Message.objects.get()
    assert (message.direction, message.status, message.author) == ("outbound", "sent", None)
    assert message.shown["from_phone"] is True
    assert not ServiceWindow.objects.exists()
    assert not Delivery.objects.exists()


def test_an_echo_answers_the_window(channel: ApiChannel) -> None:
    apply(channel, received_text())
    apply(channel, EchoSeen(contact=ANNA, text="Да", external_id="wamid.e", at=now()))

    assert ServiceWindow.objects.get().first_reply_at is not None
    assert Conversation.objects.get().unread == 0


def test_an_echo_of_our_own_message_adds_no_second_message(channel: ApiChannel) -> None:
    apply(channel, received_text())
    conversation = Conversation.objects.get()
    MessageFactory(conversation=conversation, outbound=True, external_id="wamid.ours")
    apply(channel, EchoSeen(contact=ANNA, text="Да", external_id="wamid.ours", at=now()))

    assert Message.objects.filter(direction="outbound").count() == 1


def test_a_file_kept_by_the_provider_waits_for_its_download(channel: ApiChannel) -> None:
    apply(
        channel, received_text(text="", files=(FileInfo(external_id="1602", mime="image/jpeg", sha256="ab", size=10),))
    )

    attachment = Attachment.objects.get()
    assert (attachment.state, attachment.external_id, attachment.url) == ("waiting", "1602", "")
    assert attachment.due_at is not None


# --- identity -------------------------------------------------------------------------------------------


def test_two_ids_of_one_contact_are_linked_when_both_appear(channel: ApiChannel) -> None:
    apply(channel, received_text("wamid.1", contact=ContactInfo(user_id=ANNAS_USER_ID, name="Анна")))
    both = ContactInfo(external_id="79210000000", phone="+79210000000", user_id=ANNAS_USER_ID)
    apply(channel, received_text("wamid.2", contact=both), received_text("wamid.3", contact=ANNA))

    contact = Contact.objects.get()
    assert (contact.external_id, contact.user_id) == ("79210000000", ANNAS_USER_ID)
    assert (contact.phone, contact.name) == ("+79210000000", "Анна")
    assert Message.objects.filter(conversation__contact=contact).count() == 3


def test_ids_are_linked_within_one_batch_too(channel: ApiChannel) -> None:
    both = ContactInfo(external_id="79210000000", user_id=ANNAS_USER_ID)
    only_second = ContactInfo(user_id=ANNAS_USER_ID)
    apply(
        channel,
        received_text("wamid.1", contact=only_second),
        received_text("wamid.2", contact=both),
        received_text("wamid.3"),
    )

    assert Contact.objects.count() == 1


def test_ids_of_two_contacts_are_never_merged(channel: ApiChannel) -> None:
    apply(channel, received_text("wamid.1"))
    apply(channel, received_text("wamid.2", contact=ContactInfo(user_id=ANNAS_USER_ID, name="Кто-то")))
    apply(channel, received_text("wamid.3", contact=ContactInfo(external_id="79210000000", user_id=ANNAS_USER_ID)))

    assert Contact.objects.count() == 2
    assert Message.objects.get(external_id="wamid.3").conversation.contact.external_id == "79210000000"


def test_a_known_user_id_with_another_number_is_a_new_number(channel: ApiChannel) -> None:
    apply(channel, received_text("wamid.1", contact=ContactInfo(external_id="1", user_id=ANNAS_USER_ID)))
    apply(channel, received_text("wamid.2", contact=ContactInfo(external_id="2", user_id=ANNAS_USER_ID)))

    assert dict(Contact.objects.values_list("external_id", "user_id")) == {"2": ANNAS_USER_ID}
    assert Message.objects.get(direction="notice").reason == "contact_changed"


def test_a_changed_number_moves_the_contact_with_one_notice(channel: ApiChannel) -> None:
    apply(channel, received_text())
    fact = ContactChanged(
        contact=ANNA, now=ContactInfo(external_id="79219999999", phone="+79219999999"), external_id="wamid.s"
    )
    apply(channel, fact)
    apply(channel, fact)

    contact = Contact.objects.get()
    assert (contact.external_id, contact.phone) == ("79219999999", "+79219999999")
    notice = Message.objects.get(direction="notice")
    assert "+79210000000" in notice.sentence and "+79219999999" in notice.sentence


def test_a_number_of_another_contact_stays_with_notices_in_both_chats(channel: ApiChannel) -> None:
    apply(channel, received_text("wamid.1"), received_text("wamid.2", contact=ContactInfo(external_id="79219999999")))
    apply(channel, ContactChanged(contact=ANNA, now=ContactInfo(external_id="79219999999")))

    former, present = Contact.objects.order_by("pk")
    assert (former.external_id, former.moved_to, present.external_id) == ("", present, "79219999999")
    notices = Message.objects.filter(direction="notice").order_by("conversation__contact")
    assert [notice.reason for notice in notices] == ["contact_moved_away", "contact_moved_here"]


# --- statuses with our own key --------------------------------------------------------------------------


def test_a_status_with_our_key_settles_an_unknown_outcome(channel: ApiChannel) -> None:
    message = MessageFactory(outbound=True, conversation__api_channel=channel, status=Message.Status.UNKNOWN)
    delivery = DeliveryFactory(message=message, state=Delivery.State.UNKNOWN, attempts=1)
    message_statuses.apply_statuses(
        channel, [StatusChanged(status="delivered", external_id="wamid.x", key=delivery.key)]
    )

    message.refresh_from_db()
    delivery.refresh_from_db()
    assert (message.status, message.external_id, delivery.state) == ("delivered", "wamid.x", "delivered")
    assert not StrayStatus.objects.exists()


def test_a_status_with_our_key_stops_further_attempts(channel: ApiChannel) -> None:
    message = MessageFactory(outbound=True, conversation__api_channel=channel, status=Message.Status.SENDING)
    delivery = DeliveryFactory(message=message, state=Delivery.State.PENDING, attempts=1)
    message_statuses.apply_statuses(channel, [StatusChanged(status="sent", external_id="wamid.x", key=delivery.key)])

    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.DELIVERED


def test_a_key_of_another_channel_matches_no_message(channel: ApiChannel) -> None:
    delivery = DeliveryFactory(state=Delivery.State.UNKNOWN, attempts=1)
    message_statuses.apply_statuses(channel, [StatusChanged(status="read", external_id="wamid.x", key=delivery.key)])

    delivery.refresh_from_db()
    assert delivery.state == Delivery.State.UNKNOWN
    assert StrayStatus.objects.get().external_id == "wamid.x"


def test_a_failure_before_its_message_keeps_its_reason(channel: ApiChannel) -> None:
    fact = StatusChanged(
        status="failed", external_id="wamid.x", reason="file_gone", code="1", details="d", at=datetime.now(UTC)
    )
    message_statuses.apply_statuses(channel, [fact])
    message = MessageFactory(outbound=True, conversation__api_channel=channel, external_id="wamid.x")
    message_statuses.apply_stray_statuses(channel, [message])

    assert (message.status, message.reason, message.details["details"]) == ("failed", "file_gone", "d")
