"""An erasure among other work: statuses, corrections and commands under way; several contacts of one person."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from bridge import person_erased
from bridge.conversations import message_statuses
from bridge.conversations.known_chats import lock_known_chats
from bridge.inbox import account_updates, processing
from bridge.maintenance import erasure, erasure_log
from bridge.models import (
    Attempt,
    Contact,
    Conversation,
    Delivery,
    ErasedHelpdeskNumber,
    Erasure,
    LoggedErasure,
    Message,
    Mismatch,
    PendingCorrection,
    StrayStatus,
    WebhookEvent,
)
from bridge.outbox import results
from bridge.outbox.attempts import AttemptResult, ClaimedDelivery
from bridge.outbox.destinations.helpdesks import HelpdeskPolicy
from bridge.person_erased import PersonErased
from channels_setup.providers.base import (
    AccountUpdate,
    ContactInfo,
    MessageReceived,
    Outcome,
    ReactionChanged,
    StatusChanged,
)
from channels_setup.providers.base.helpdesk import RemoteIds
from tests.factories import (
    ApiChannelFactory,
    ContactFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    vera,
)
from tests.races import run_blocked

PHONE = "79215550104"
WAMID = f"wamid.{base64.b64encode(f'x{PHONE}'.encode()).decode()}"


def run_during_erasure(chat: Conversation, work: Callable[[], Any]) -> Future[Any]:
    """Erase the person while ``work`` waits for the erasure's locks. Return its finished result."""
    return run_blocked(work, hold=lambda: erasure.erase_person(chat.contact_id, by=None))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_named_by_our_number", [True, False])
def test_a_status_under_way_restores_nothing(is_named_by_our_number: bool) -> None:
    chat = ConversationFactory()
    message = MessageFactory(conversation=chat, outbound=True, status="sent", external_id=WAMID)
    name: dict[str, Any] = {"message_id": message.pk} if is_named_by_our_number else {}
    fact = StatusChanged(status="failed", external_id=WAMID, code="131026", title=f"to {PHONE}", **name)

    done = run_during_erasure(chat, lambda: message_statuses.apply_statuses(chat.api_channel, [fact]))

    [target] = done.result()
    assert target is not None and target.is_erased
    message.refresh_from_db()
    assert (message.external_id, message.details) == ("", {})
    assert not StrayStatus.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_known_clients_message_under_way_is_refused() -> None:
    chat = ConversationFactory()
    channel = chat.api_channel
    channel.watched.set([chat.chat_channel])
    fact = MessageReceived(contact=ContactInfo(external_id=chat.contact.external_id), text="?", external_id=WAMID)
    with transaction.atomic():
        assert lock_known_chats(channel, [fact], chat.chat_channel) == [chat]

    done = run_during_erasure(chat, lambda: transaction.atomic(processing.apply_facts)(channel, [fact]))

    problem = done.exception()
    assert problem is not None and person_erased.is_refusal(problem)
    assert not Message.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_reaction_under_way_restores_nobody() -> None:
    chat = ConversationFactory()
    MessageFactory(conversation=chat, external_id=WAMID)
    contact = ContactInfo(external_id=chat.contact.external_id, phone=chat.contact.phone)
    fact = ReactionChanged(contact=contact, target_id=WAMID, emoji="👍", external_id="wamid.reaction")

    done = run_during_erasure(chat, lambda: processing.apply_facts(chat.api_channel, [fact]))

    assert isinstance(done.exception(), PersonErased)
    assert not PendingCorrection.objects.exists() and Contact.objects.count() == 1


@pytest.mark.django_db
def test_a_helpdesk_command_under_way_leaves_no_answer() -> None:
    chat = ConversationFactory()
    token = uuid.uuid4()
    delivery = DeliveryFactory(
        message=None, conversation=chat, chat_channel=chat.chat_channel, kind="helpdesk", payload={}
    )
    Delivery.objects.update(state="sending", lease_token=token)
    erasure.erase_person(chat.contact_id, by=None)

    results.record_attempts(
        [
            AttemptResult(
                claimed=ClaimedDelivery(policy=HelpdeskPolicy(), delivery=delivery, interrupted=False),
                outcome=Outcome(verdict="accepted"),
                remote_ids=RemoteIds(chat_id=701),
                started_at=timezone.now(),
                duration_ms=5,
                answer=f"client {PHONE}",
            )
        ],
        token,
    )

    assert Attempt.objects.get().answer == ""
    assert ErasedHelpdeskNumber.objects.filter(chat_channel=chat.chat_channel).count() == 1


@pytest.mark.django_db
def test_other_people_of_a_refused_request_are_stored() -> None:
    channel = ApiChannelFactory()
    chat = ConversationFactory(api_channel=channel)
    erasure.erase_person(chat.contact_id, by=None)
    merged = ContactFactory(api_channel=channel)  # as after a restore: this one was not erased again yet
    Contact.objects.filter(pk=merged.pk).update(merged_into=chat.contact_id)
    event = WebhookEvent.objects.create(api_channel=channel, endpoint="webhook", body=PHONE.encode())
    people = [ContactInfo(external_id=merged.external_id), ContactInfo(external_id="79215550199")]
    facts = [
        MessageReceived(contact=contact, text="Канарейка", external_id=f"wamid.{number}")
        for number, contact in enumerate(people)
    ]

    processing._apply_one(channel, event, facts)

    event.refresh_from_db()
    assert (event.state, bytes(event.body)) == ("processed", b"")
    assert Message.objects.get(text="Канарейка").conversation.contact.external_id == "79215550199"


@pytest.mark.django_db
def test_a_mismatch_of_a_stray_status_keeps_no_number() -> None:
    chat = ConversationFactory(contact__phone=f"+{PHONE}")
    stray = StrayStatus.objects.create(api_channel=chat.api_channel, external_id=WAMID, status="read")
    Mismatch.objects.create(
        kind="stray", api_channel=chat.api_channel, stray=stray.pk, external_id=WAMID, since=timezone.now()
    )

    erasure.erase_person(chat.contact_id, by=None)

    assert Mismatch.objects.get().external_id == ""


@pytest.mark.django_db
def test_account_updates_that_quote_the_person_are_deleted() -> None:
    chat = ConversationFactory(contact__phone=f"+{PHONE}")
    channel = chat.api_channel
    for details in ("Quality is high", "Recipient +7 (921) 555-01-04 is not in the allowed list", "Limit 1K"):
        account_updates.record_account_update(channel, AccountUpdate(event="131030", details=details, level="error"))
    channel.update_provider_status(quality="GREEN")

    erasure.erase_person(chat.contact_id, by=None)

    channel.refresh_from_db()
    assert [row["details"] for row in channel.provider_status["updates"]] == ["Limit 1K", "Quality is high"]
    assert channel.provider_status["quality"] == "GREEN"


# --- all contacts of a person ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_contact_under_which_a_person_writes_now_is_found() -> None:
    new = ContactFactory()
    old = ContactFactory(api_channel=new.api_channel, moved_to=new)

    assert erasure.find_same_person(old) == erasure.find_same_person(new) == sorted([old, new], key=lambda one: one.pk)


@pytest.mark.django_db
def test_a_person_is_found_by_the_number_that_the_card_lacks() -> None:
    here = ContactFactory(external_id=PHONE, phone="+74951112233")
    there = ContactFactory(external_id=PHONE, phone=f"+{PHONE}")
    ContactFactory(external_id="79215550199", phone="+79215550199")

    assert erasure.find_same_person(here) == erasure.find_same_person(there) == [here, there]


@pytest.mark.django_db
def test_a_person_is_erased_as_a_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (ContactFactory(phone=f"+{PHONE}") for _number in range(2))
    lines: list[str] = []

    def write_until_the_disk_is_full(path: Path, new: Any) -> None:
        lines.extend(new)
        if lines:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(erasure_log, "_append_lines", write_until_the_disk_is_full)
    with pytest.raises(erasure_log.ErasureLogUnavailable):
        erasure.erase_person(first.pk, by=vera())

    assert Contact.objects.filter(pk__in=[first.pk, second.pk], erased_at=None).count() == 2
    assert not Erasure.objects.exists() and not LoggedErasure.objects.exists()
    assert {json.loads(line)["contact"] for line in lines} == {first.pk, second.pk}


# --- the log ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_half_a_line_of_a_crash_does_not_damage_the_next(settings: Any, tmp_path: Path) -> None:
    settings.ERASURE_LOG = str(tmp_path / "erasures.jsonl")
    Path(settings.ERASURE_LOG).write_text('{"id": "half')
    contact = ContactFactory()

    erasure.erase_person(contact.pk, by=None)

    assert [entry.contact for entry in erasure_log.read_entries()] == [contact.pk]


@pytest.mark.django_db
def test_a_failed_write_leaves_no_line(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ERASURE_LOG = str(tmp_path / "erasures.jsonl")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(erasure_log.ErasureLogUnavailable):
        erasure.erase_person(ContactFactory().pk, by=None)

    assert Path(settings.ERASURE_LOG).read_text() == ""
