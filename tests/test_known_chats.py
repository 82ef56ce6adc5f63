"""Batches of known clients are stored by fewer statements, with the same rows as any other batch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from bridge import service_window
from bridge.conversations import erased_ids, receiving, tickets
from bridge.inbox import processing
from bridge.merging import merge
from bridge.models import (
    Contact,
    Conversation,
    Delivery,
    Message,
    PendingCorrection,
    ServiceWindow,
    Ticket,
)
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived, ReactionChanged, StatusChanged
from tests.factories import ApiChannelFactory
from tests.processes import eventually
from tests.scenarios.concurrency import is_lock_awaited
from tests.scenarios.database_clock import set_database_clock

pytestmark = pytest.mark.django_db

START = timezone.now() - timedelta(hours=3)
ANNA = ContactInfo(external_id="79210000001", name="Анна", phone="+79210000001", user_id="RU.1", username="anna")


def says(text: str, number: int, contact: ContactInfo = ANNA, *, minutes: int = 0, **more: Any) -> MessageReceived:
    at = START + timedelta(minutes=minutes)
    return MessageReceived(contact=contact, text=text, external_id=f"wamid.{number}", at=at, **more)


def person(**values: str) -> ContactInfo:
    return ContactInfo(**{"external_id": "79210000001"} | values)


def store(channel: ApiChannel, *facts: Any) -> None:
    processing.apply_facts(channel, facts)


def close_request(channel: ApiChannel, status: int) -> None:
    for ticket in Ticket.objects.all():
        tickets.set_ticket_status(ticket.pk, status=status)


def merge_anna(channel: ApiChannel) -> None:
    store(channel, says("!", 900, ContactInfo(external_id="vera", name="Вера")))
    source, target = (Contact.objects.get(external_id=name) for name in ("79210000001", "vera"))
    merge.merge_contacts(source.pk, target.pk, by=None)


def rename_by_person(channel: ApiChannel) -> None:
    Contact.objects.update(name="Постоянный клиент", name_source="person")


def expire_window(channel: ApiChannel) -> None:
    ServiceWindow.objects.update(expires_at=timezone.now() - timedelta(minutes=1), opened_at=START - timedelta(days=2))


def keep_reaction(channel: ApiChannel) -> None:
    store(channel, ReactionChanged(contact=ANNA, target_id="wamid.5", emoji="👍", at=START))


def do_nothing(channel: ApiChannel) -> None:
    """Prepare nothing: Anna has a chat, an open request and a window."""


STORIES: dict[str, tuple[Callable[[ApiChannel], None], list[Any]]] = {
    "another message": (do_nothing, [says("?", 5, minutes=9)]),
    "several": (do_nothing, [says(str(number), number, minutes=number) for number in range(5, 9)]),
    "an older one": (do_nothing, [says("?", 5, minutes=-90)]),
    "one a day late": (do_nothing, [says("?", 5, minutes=-26 * 60)]),
    "a repeat": (do_nothing, [says("?", 1), says("?", 5), says("?", 5)]),
    "no IDs of messages": (
        do_nothing,
        [MessageReceived(contact=ANNA, text="?"), MessageReceived(contact=ANNA, text="?")],
    ),
    "no user ID": (do_nothing, [says("?", 5, person())]),
    "another user ID": (do_nothing, [says("?", 5, person(user_id="RU.2"))]),
    "another number": (do_nothing, [says("?", 5, ContactInfo(external_id="79210000002", user_id="RU.1"))]),
    "a new name": (do_nothing, [says("?", 5, person(name="Анна Петрова"))]),
    "a new name in the middle": (do_nothing, [says("?", 5), says("?", 6, person(name="Аня")), says("?", 7)]),
    "a name set by a person": (rename_by_person, [says("?", 5, person(name="Аня"))]),
    "a user name": (do_nothing, [says("?", 5, person(username="anna2"))]),
    "an email address": (do_nothing, [says("?", 5, person(email="anna@example.com"))]),
    "a caller's ID": (do_nothing, [says("?", 5, person(caller_id="crm-1"))]),
    "a new client as well": (do_nothing, [says("?", 5), says("?", 6, ContactInfo(external_id="boris"))]),
    "two known clients": (
        lambda channel: store(channel, says("!", 900, ContactInfo(external_id="vera"))),
        [says("?", 5), says("?", 6, ContactInfo(external_id="vera"))],
    ),
    "a merged client": (merge_anna, [says("?", 5), says("?", 6, ContactInfo(external_id="vera"))]),
    "the other one of a merge": (merge_anna, [says("?", 6, ContactInfo(external_id="vera"))]),
    "a solved request": (lambda channel: close_request(channel, Ticket.Status.SOLVED), [says("?", 5)]),
    "a closed request": (lambda channel: close_request(channel, Ticket.Status.CLOSED), [says("?", 5)]),
    "an expired window": (expire_window, [says("?", 5, minutes=170)]),
    "a message that opens no window": (do_nothing, [says("?", 5, minutes=9, opens_window=False)]),
    "a quote": (do_nothing, [says("?", 5, quoted_id="wamid.1")]),
    "an erased message": (lambda channel: erased_ids.remember_expired(channel.pk, ["wamid.5"]), [says("?", 5)]),
    "an erased message and another": (
        lambda channel: erased_ids.remember_erased(channel.pk, ["wamid.5"]),
        [says("?", 5), says("?", 6)],
    ),
    "a status as well": (
        do_nothing,
        [says("?", 5), StatusChanged(status="read", external_id="wamid.77"), says("?", 6)],
    ),
    "a reaction came first": (keep_reaction, [says("?", 5)]),
}


def describe(channel: ApiChannel) -> dict[str, Any]:
    """Return what is stored, without IDs."""
    return {
        "contacts": list(
            Contact.objects.order_by("pk").values_list(
                "external_id", "user_id", "caller_id", "username", "name", "phone", "email", "merged_into__external_id"
            )
        ),
        "chats": list(
            Conversation.objects.order_by("pk").values_list(
                "contact__external_id", "last_text", "last_direction", "last_written_at", "unread", "request_status"
            )
        ),
        "messages": list(
            Message.objects.order_by("pk").values_list(
                "external_id",
                "text",
                "direction",
                "merged_contact__external_id",
                "quoted__external_id",
                "reactions",
                "ticket__status",
                "conversation__contact__external_id",
            )
        ),
        "windows": list(
            ServiceWindow.objects.order_by("pk").values_list(
                "state", "opened_at", "expires_at", "missed", "merged_contact__external_id", "opened_by__external_id"
            )
        ),
        "events": [
            (row.track, row.payload["event"]["text"], row.payload["event"]["client"]["name"])
            for row in Delivery.objects.filter(track__contains="message").order_by("pk")
        ],
        "corrections": PendingCorrection.objects.count(),
    }


@pytest.mark.parametrize("story", STORIES)
def test_known_clients_get_the_same_rows_as_others(
    story: str, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, facts = STORIES[story]
    ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/", watched=channel.default_chat_channel)
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    store(channel, says("Здравствуйте", 1))
    prepare(channel)
    results = []
    for is_general in (True, False):
        savepoint = transaction.savepoint()
        with monkeypatch.context() as patched:
            set_database_clock(patched, lambda: now)
            if is_general:
                patched.setattr(processing, "lock_known_chats", lambda *_args: None)
                patched.setattr(service_window, "split_activities", lambda items, *_windows, **_now: ({}, items))
            store(channel, *facts)
        results.append(describe(channel))
        transaction.savepoint_rollback(savepoint)

    assert results[0] == results[1]


@pytest.mark.django_db(transaction=True)
def test_a_merge_that_the_batch_waits_for_moves_its_messages(channel: ApiChannel) -> None:
    store(channel, says("Здравствуйте", 1))
    store(channel, says("!", 900, ContactInfo(external_id="vera", name="Вера")))
    source, target = (Contact.objects.get(external_id=name) for name in ("79210000001", "vera"))

    def receive() -> None:
        store(channel, says("?", 5))
        connection.close()

    thread = Thread(target=receive)
    with transaction.atomic():
        receiving.lock_conversation(Conversation.objects.get(contact=source).pk)
        thread.start()
        eventually(is_lock_awaited, seconds=5)
        merge.merge_contacts(source.pk, target.pk, by=None)
    thread.join(20)

    message = Message.objects.get(external_id="wamid.5")
    assert (message.conversation.contact, message.merged_contact) == (target, source)
