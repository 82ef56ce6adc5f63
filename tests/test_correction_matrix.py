"""Edits, deletions and reactions in every order.

From the client or from our phone app; before, after or without the original; before or after our answer; with the
built-in desk or an external helpdesk. Webhooks have Meta's format, and each is posted twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from bridge import service_window
from bridge.conversations import tickets
from bridge.inbox import pending_corrections, processing
from bridge.maintenance import erasure
from bridge.models import Contact, Conversation, Delivery, Message, PendingCorrection, ServiceWindow, Ticket
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.whatsapp_cloud import graph_webhooks
from tests.factories import ApiChannelFactory, boris, token_of, vera
from tests.pages import signed_in
from tests.simulators.usedesk import UsedeskSimulator
from tests.usedesk_shop import Shop, outside_channel

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

ANNA, SHOP = "79210000000", "74950000000"
WAS, NOW, EMOJI = "две пары", "три пары", "👍"
MINUTE = timedelta(minutes=1)


def body(item: dict[str, Any], *, by_us: bool) -> dict[str, Any]:
    """Build a Graph API webhook with one message, or one echo of the phone app."""
    sides = {"from": SHOP, "to": ANNA} if by_us else {"from": ANNA}
    field, name = ("smb_message_echoes", "message_echoes") if by_us else ("messages", "messages")
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": SHOP, "phone_number_id": "1"},
        "contacts": [{"profile": {"name": "Анна"}, "wa_id": ANNA}],
        name: [{**sides, **item}],
    }
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "2", "changes": [{"field": field, "value": value}]}],
    }


def timestamp(at: datetime) -> str:
    return str(int(at.timestamp()))


def text_item(external_id: str, words: str, at: datetime) -> dict[str, Any]:
    return {"id": external_id, "timestamp": timestamp(at), "type": "text", "text": {"body": words}}


def correction(kind: str, target: str, at: datetime, *, words: str = NOW, number: str = "1") -> dict[str, Any]:
    inner: dict[str, Any] = {
        "edit": {"original_message_id": target, "message": {"type": "text", "text": {"body": words}}},
        "revoke": {"original_message_id": target},
        "reaction": {"message_id": target, "emoji": words if kind == "reaction" and words != NOW else EMOJI},
    }[kind]
    return {"id": f"wamid.{kind}{number}", "timestamp": timestamp(at), "type": kind, kind: inner}


def post_webhooks(channel: ApiChannel, item: dict[str, Any], *, by_us: bool = False, times: int = 2) -> None:
    for _ in range(times):
        processing.apply_facts(
            channel, graph_webhooks.read_facts(body(item, by_us=by_us), graph_webhooks.RoutingTarget())
        )


@pytest.fixture
def simulator() -> Iterator[UsedeskSimulator]:
    with UsedeskSimulator() as simulator:
        yield simulator


def channel_at(helpdesk: str) -> ApiChannel:
    """Create a channel whose chats land in the built-in desk, or in a helpdesk that is never called."""
    nowhere: Any = SimpleNamespace(url="http://127.0.0.1:9/uapi/", app_id="1", key="k")
    return ApiChannelFactory(watched=outside_channel(nowhere)) if helpdesk == "usedesk" else ApiChannelFactory()


def helpdesk_deliveries(kind: str) -> list[str]:
    """Return what an external helpdesk receives about the correction: messages and private comments."""
    marks = {"edit": NOW, "revoke": "deleted", "reaction": EMOJI}
    texts = Delivery.objects.filter(kind__in=["helpdesk", "note"]).values_list("payload__text", flat=True)
    return [words for words in texts if words and marks[kind] in words]


@pytest.mark.parametrize("helpdesk", ["desk", "usedesk"])
@pytest.mark.parametrize("answer", ["answered before", "answered after", "not answered"])
@pytest.mark.parametrize("original", ["after", "before", "without"])
@pytest.mark.parametrize("by_us", [False, True], ids=["client", "phone"])
@pytest.mark.parametrize("kind", ["edit", "revoke", "reaction"])
def test_a_correction_in_any_order(kind: str, by_us: bool, original: str, answer: str, helpdesk: str) -> None:
    channel = channel_at(helpdesk)
    began = timezone.now() - 10 * MINUTE
    post_webhooks(channel, text_item("wamid.0", "Здравствуйте", began))
    chat = Conversation.objects.get()
    Conversation.objects.update(unread=0)
    target = text_item("wamid.t", WAS, began + MINUTE)
    change = correction(kind, "wamid.t", began + 3 * MINUTE)
    ours = text_item("wamid.a", "Хорошо", began + 2 * MINUTE)

    if original == "after":
        post_webhooks(channel, target, by_us=by_us)
    if answer == "answered before":
        post_webhooks(channel, ours, by_us=True)
        Conversation.objects.update(unread=0)
    ends_before = ServiceWindow.objects.get().expires_at
    unread_before = Conversation.objects.get().unread
    post_webhooks(channel, change, by_us=by_us)
    if original == "before":
        post_webhooks(channel, target, by_us=by_us)
    conversation = Conversation.objects.get()
    if answer == "answered after":
        post_webhooks(channel, {**ours, "timestamp": timestamp(began + 4 * MINUTE)}, by_us=True)
    with time_machine.travel(timezone.now() + 2 * MINUTE):
        PendingCorrection.objects.update(received_at=timezone.now() - 5 * MINUTE)
        pending_corrections.process_pending_corrections()
        pending_corrections.process_pending_corrections()

    # One message with the correction applied, in the right direction.
    side = "outbound" if by_us else "inbound"
    message = Message.objects.filter(external_id="wamid.t").first()
    if original == "without":
        if kind == "edit":
            assert message and (message.direction, message.text) == (side, NOW)
        elif kind == "reaction":
            assert Message.objects.get(text=EMOJI).direction == side
        else:
            assert Message.objects.get(direction="notice").reason == (
                "unknown_reply_deleted" if by_us else "unknown_message_deleted"
            )
    else:
        assert message and message.direction == side
        assert message.text == (NOW if kind == "edit" else WAS)
        assert message.shown.get("former", []) == ([WAS] if kind == "edit" else [])
        assert ("revoked_at" in message.shown) is (kind == "revoke")
        by = "us" if by_us else "client"
        assert message.reactions == ([{"by": by, "emoji": EMOJI}] if kind == "reaction" else [])
        assert Message.objects.filter(text__in=[WAS, NOW, EMOJI]).count() == 1
        assert not PendingCorrection.objects.exists()

    # Our messages are never shown as the client's, and no correction opens a request.
    assert Ticket.objects.count() == 1
    if by_us:
        assert conversation.unread <= unread_before and not conversation.change_after_answer
        assert ServiceWindow.objects.get().expires_at == ends_before

    # A correction after our answer marks the chat unread; otherwise the chat is not marked.
    comes_after_answer = not by_us and original == "after" and answer == "answered before"
    kinds = {"edit": "edited", "revoke": "deleted", "reaction": "reacted"}
    assert conversation.change_after_answer == (kinds[kind] if comes_after_answer else "")
    if comes_after_answer:
        assert conversation.unread == 1
        assert message and message.shown.get("after_answer", False) is (kind != "reaction")
    assert service_window.get_window_state(chat).is_open

    # An external helpdesk receives it once.
    assert len(helpdesk_deliveries(kind)) == (1 if helpdesk == "usedesk" else 0), helpdesk_deliveries(kind)


@pytest.mark.parametrize("helpdesk", ["desk", "usedesk"])
def test_a_reply_from_our_phone_reaches_the_helpdesk_once(helpdesk: str) -> None:
    channel = channel_at(helpdesk)
    post_webhooks(channel, text_item("wamid.0", "Здравствуйте", timezone.now()))
    post_webhooks(channel, text_item("wamid.a", "Есть!", timezone.now()), by_us=True)

    notes = Delivery.objects.filter(kind="note").values_list("payload__text", flat=True)
    assert list(notes) == (["Replied in the phone app:\n\n> Есть!"] if helpdesk == "usedesk" else [])


def test_corrections_and_phone_replies_become_private_usedesk_comments(simulator: UsedeskSimulator) -> None:
    shop = Shop.of(simulator)
    shop.begin("Две пары")
    channel = shop.channel
    external_id = Message.objects.get().external_id
    shop.conversation()
    fact = graph_webhooks.read_facts
    anna = Contact.objects.get()
    Contact.objects.filter(pk=anna.pk).update(external_id=ANNA)
    for item, by_us in (
        (correction("edit", external_id, timezone.now()), False),
        (correction("reaction", external_id, timezone.now()), False),
        (text_item("wamid.a", "Ответ с телефона", timezone.now()), True),
    ):
        for _ in range(2):
            processing.apply_facts(channel, fact(body(item, by_us=by_us), graph_webhooks.RoutingTarget()))
    shop.settle()

    edited, reacted, answered = simulator.notes()
    assert "The client edited a message" in edited and "Две пары" in edited and NOW in edited
    assert EMOJI in reacted and "Ответ с телефона" in answered
    assert simulator.texts() == ["Две пары"] and shop.at_annas() == ["Ответ с телефона"]


def test_a_note_without_a_request_is_sent_once_a_request_exists(simulator: UsedeskSimulator) -> None:
    shop = Shop.of(simulator)
    post_webhooks(shop.channel, text_item("wamid.a", "Мы первые", timezone.now()), by_us=True)
    Contact.objects.update(external_id="anna")
    shop.settle()
    assert simulator.notes() == []

    shop.begin("Здравствуйте")
    shop.settle()

    assert len(simulator.notes()) == 1 and "Мы первые" in simulator.notes()[0]


# --- other events in between ---------------------------------------------------------------------------------


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory()


def test_several_edits_before_their_message_end_with_the_newest(channel: ApiChannel) -> None:
    at = timezone.now() - 10 * MINUTE
    post_webhooks(channel, correction("edit", "wamid.t", at + 2 * MINUTE, words="третий", number="2"))
    post_webhooks(channel, correction("edit", "wamid.t", at + MINUTE, words="второй", number="1"))
    post_webhooks(channel, text_item("wamid.t", "первый", at))

    message = Message.objects.get()
    assert (message.text, message.shown["former"], message.provider_time) == (
        "третий",
        ["первый"],
        at.replace(microsecond=0),
    )


def test_a_reaction_to_an_unknown_message_opens_no_request(channel: ApiChannel) -> None:
    post_webhooks(channel, text_item("wamid.0", "Здравствуйте", timezone.now()))
    chat, ticket = Conversation.objects.get(), Ticket.objects.get()
    tickets.set_ticket_status(ticket.pk, status=Ticket.Status.CLOSED)
    Conversation.objects.update(unread=0)
    post_webhooks(channel, correction("reaction", "wamid.old", timezone.now()))
    PendingCorrection.objects.update(received_at=timezone.now() - 2 * MINUTE)
    pending_corrections.process_pending_corrections()
    post_webhooks(channel, correction("reaction", "wamid.old", timezone.now()))
    pending_corrections.process_pending_corrections()

    chat.refresh_from_db()
    assert Ticket.objects.count() == 1 and chat.unread == 0 and chat.last_text == "Здравствуйте"
    assert Message.objects.get(text=EMOJI).ticket is None


def test_a_reaction_of_an_unknown_contact_opens_a_chat(channel: ApiChannel, client: Client) -> None:
    post_webhooks(channel, correction("reaction", "wamid.old", timezone.now()))
    assert not Conversation.objects.exists()
    PendingCorrection.objects.update(received_at=timezone.now() - 2 * MINUTE)
    pending_corrections.process_pending_corrections()

    chat = Conversation.objects.get()
    assert service_window.get_window_state(chat).is_open and not Ticket.objects.exists()
    page = signed_in(client, boris(chat.chat_channel)).get(f"/chats/{chat.pk}/").content.decode()
    assert "Reaction to a message not found here" in page


def test_a_shown_reaction_moves_to_its_message_when_it_arrives(channel: ApiChannel) -> None:
    post_webhooks(channel, text_item("wamid.0", "Здравствуйте", timezone.now()))
    post_webhooks(channel, correction("reaction", "wamid.t", timezone.now()))
    PendingCorrection.objects.update(received_at=timezone.now() - 2 * MINUTE)
    pending_corrections.process_pending_corrections()
    post_webhooks(channel, text_item("wamid.t", WAS, timezone.now() - MINUTE))

    assert not Message.objects.filter(text=EMOJI).exists() and not PendingCorrection.objects.exists()
    assert Message.objects.get(text=WAS).reactions == [{"by": "client", "emoji": EMOJI}]


def test_a_reaction_waits_for_the_id_of_our_message(channel: ApiChannel) -> None:
    post_webhooks(channel, text_item("wamid.0", "Здравствуйте", timezone.now()))
    chat = Conversation.objects.get()
    ours = Message.objects.create(
        conversation=chat, api_channel=channel, direction="outbound", status="sending", text="Да"
    )
    post_webhooks(channel, correction("reaction", "wamid.ours", timezone.now()))
    post_webhooks(channel, correction("edit", "wamid.ours", timezone.now()), by_us=True)
    assert Message.objects.count() == 2
    Message.objects.filter(pk=ours.pk).update(external_id="wamid.ours", status="sent")
    pending_corrections.process_pending_corrections()

    ours.refresh_from_db()
    assert (ours.text, ours.reactions) == (NOW, [{"by": "client", "emoji": EMOJI}])
    assert not PendingCorrection.objects.exists()


@pytest.mark.parametrize("by_us", [False, True])
def test_nobody_edits_or_deletes_the_other_sides_message(channel: ApiChannel, by_us: bool) -> None:
    post_webhooks(channel, text_item("wamid.t", WAS, timezone.now()), by_us=not by_us)
    for kind in ("edit", "revoke"):
        post_webhooks(channel, correction(kind, "wamid.t", timezone.now()), by_us=by_us)

    message = Message.objects.get()
    assert message.text == WAS and "revoked_at" not in message.shown


def test_an_old_echo_does_not_answer_newer_messages(channel: ApiChannel) -> None:
    post_webhooks(channel, text_item("wamid.1", "Ещё вопрос", timezone.now()))
    post_webhooks(channel, text_item("wamid.a", "Да", timezone.now() - MINUTE), by_us=True)

    chat = Conversation.objects.get()
    assert (chat.unread, chat.last_direction, chat.last_text) == (1, "inbound", "Ещё вопрос")
    assert ServiceWindow.objects.get().first_reply_at is None


def test_a_chat_with_a_window_opened_by_a_reaction_is_listed_as_open(channel: ApiChannel, client: Client) -> None:
    long_ago = timezone.now() - timedelta(days=3)
    post_webhooks(channel, text_item("wamid.t", WAS, long_ago))
    Conversation.objects.update(last_message_at=long_ago)
    post_webhooks(channel, correction("reaction", "wamid.t", timezone.now()))

    chat = Conversation.objects.get()
    page = signed_in(client, boris(chat.chat_channel)).get("/chats/?window=open").content.decode()
    assert f'data-chat="{chat.pk}"' in page


def test_the_list_and_the_thread_mark_corrections_after_our_answer(channel: ApiChannel, client: Client) -> None:
    post_webhooks(channel, text_item("wamid.t", WAS, timezone.now() - 3 * MINUTE))
    post_webhooks(channel, text_item("wamid.a", "Хорошо", timezone.now() - 2 * MINUTE), by_us=True)
    post_webhooks(channel, correction("edit", "wamid.t", timezone.now()))
    chat = Conversation.objects.get()
    desk = signed_in(client, boris(chat.chat_channel))
    api = Client().get(f"/api/v1/conversations/{chat.pk}/", headers=token_of(vera())).json()

    assert '<span class="changed">Edited after your reply</span>' in desk.get("/chats/").content.decode()
    assert (api["unread"], api["change_after_answer"]) == (1, "edited")
    assert "Edited after your reply, today" in desk.get(f"/chats/{chat.pk}/").content.decode()
    chat.refresh_from_db()
    assert (chat.unread, chat.change_after_answer) == (0, "")
    rows = Client().get("/api/v1/messages/", headers=token_of(vera())).json()["results"]
    assert [bool(row["edited_at"]) for row in rows if row["text"] == NOW] == [True]


def test_an_erased_persons_pending_corrections_are_deleted(channel: ApiChannel) -> None:
    post_webhooks(channel, text_item("wamid.0", "Здравствуйте", timezone.now()))
    post_webhooks(channel, correction("revoke", "wamid.later", timezone.now()))
    erasure.erase_person(Contact.objects.get().pk, by=vera())

    assert not PendingCorrection.objects.exists()


def test_pending_corrections_without_a_message_expire(channel: ApiChannel) -> None:
    post_webhooks(channel, text_item("wamid.0", "Здравствуйте", timezone.now()))
    post_webhooks(channel, correction("revoke", "wamid.later", timezone.now()))
    PendingCorrection.objects.update(received_at=timezone.now() - timedelta(days=9))
    pending_corrections.process_pending_corrections()

    assert not PendingCorrection.objects.exists()


def test_shown_and_broken_corrections_do_not_delay_new_ones(
    channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_corrections, "PENDING_BATCH", 2)
    post_webhooks(channel, text_item("wamid.0", "Здравствуйте", timezone.now()))
    for name in ("one", "two"):
        post_webhooks(channel, correction("reaction", f"wamid.{name}", timezone.now(), number=name))
    PendingCorrection.objects.update(received_at=timezone.now() - 5 * MINUTE, is_shown=True)
    post_webhooks(channel, correction("reaction", "wamid.broken", timezone.now(), number="broken"))
    broken = PendingCorrection.objects.filter(target_id="wamid.broken")
    broken.update(received_at=timezone.now() - 4 * MINUTE, contact={"no such field": 1})
    post_webhooks(channel, correction("reaction", "wamid.new", timezone.now(), number="new"))
    new = PendingCorrection.objects.filter(target_id="wamid.new")
    new.update(received_at=timezone.now() - 3 * MINUTE)

    assert pending_corrections.process_pending_corrections() == 1
    assert new.get().is_shown and not broken.get().is_shown


def test_a_channel_without_a_chat_channel_applies_corrections(channel: ApiChannel) -> None:
    post_webhooks(channel, text_item("wamid.t", WAS, timezone.now()))
    channel.watched.clear()
    post_webhooks(ApiChannel.objects.get(), correction("edit", "wamid.t", timezone.now()))

    assert Message.objects.get().text == NOW
    assert ChatChannel.objects.exists()


def test_the_training_phone_sends_corrections_and_echoes(channel: ApiChannel) -> None:
    def posted(*events: dict[str, Any]) -> None:
        answer = Client().post(channel.webhook_path, {"events": list(events)}, content_type="application/json")
        assert answer.status_code == 200
        processing.process_inbox()

    anna = {"id": "anna"}
    posted({"type": "message", "id": "m1", "from": anna, "text": WAS})
    posted({"type": "echo", "id": "e1", "to": anna, "text": "Есть"})
    posted(
        {"type": "edit", "id": "c1", "of": "m1", "from": anna, "text": NOW},
        {"type": "edit", "id": "c2", "of": "e1", "to": anna, "text": "Есть две"},
        {"type": "reaction", "id": "c3", "of": "e1", "from": anna, "emoji": EMOJI},
        {"type": "revoke", "id": "c4", "of": "m1", "from": anna},
    )

    client_s, ours = Message.objects.order_by("pk")
    assert (client_s.text, client_s.direction, "revoked_at" in client_s.shown) == (NOW, "inbound", True)
    assert (ours.text, ours.direction) == ("Есть две", "outbound")
    assert ours.reactions == [{"by": "client", "emoji": EMOJI}]
    chat = Conversation.objects.get()
    assert (chat.unread, chat.change_after_answer) == (3, "deleted")
