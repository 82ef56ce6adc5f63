"""Merged contacts in other parts: concurrency, erasure, search, the admin, APIs, external helpdesks, training phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from bridge.conversations import receiving
from bridge.maintenance import erasure, housekeeping
from bridge.merging import rules
from bridge.merging.merge import merge_contacts
from bridge.merging.undo import undo_merge
from bridge.models import (
    Contact,
    ContactMerge,
    ContactNote,
    Conversation,
    Delivery,
    HelpdeskChat,
    MergedConversation,
    Message,
    Ticket,
)
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, boris, token_of, vera
from tests.pages import signed_in
from tests.scenarios.concurrency import run_together
from tests.scenarios.database_dump import dump_all_rows
from tests.scenarios.merging import ANNA, ANYA, chat_of, contact, writes
from tests.simulators.usedesk import UsedeskSimulator
from tests.usedesk_shop import Shop

ROUNDS = 6


def merge_numbers(channel: ApiChannel) -> ContactMerge:
    writes(channel, ANNA, "Здравствуйте", hours=2)
    writes(channel, ANYA, "Hallo", hours=1)
    return merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())


# --- concurrency --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_messages_during_a_merge_reach_the_remaining_chat() -> None:
    vera()
    for number in range(ROUNDS):
        channel = ApiChannelFactory()
        writes(channel, ANNA, "Раз")
        writes(channel, ANYA, "Два")
        mine = Contact.objects.get(external_id=ANNA, api_channel=channel)
        theirs = Contact.objects.get(external_id=ANYA, api_channel=channel)

        run_together(
            lambda c=channel: writes(c, ANYA, "Во время слияния"),
            lambda a=theirs.pk, b=mine.pk: merge_contacts(a, b, by=None),
            lambda c=channel: writes(c, ANNA, "И это"),
        )

        chat = Conversation.objects.get(api_channel=channel)
        assert chat.contact == mine
        assert Message.objects.filter(conversation=chat).count() == 4, number
        assert chat.windows.filter(state="open").count() == 1
        assert Ticket.objects.filter(conversation=chat).exclude(status__in=Ticket.ENDED).count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_of_two_concurrent_merges_succeeds() -> None:
    channel = ApiChannelFactory()
    for who in (ANNA, ANYA):
        writes(channel, who, "Раз")

    def attempt(source: int, target: int) -> str:
        try:
            merge_contacts(source, target, by=None)
            return "done"
        except rules.MergeRefused:
            return "refused"

    one, other = contact(ANNA).pk, contact(ANYA).pk
    results = run_together(lambda: attempt(one, other), lambda: attempt(other, one), lambda: attempt(one, other))

    assert sorted(results) == ["done", "refused", "refused"]
    assert ContactMerge.objects.count() == 1 and Conversation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_messages_during_an_undo_belong_to_their_number() -> None:
    for _ in range(ROUNDS):
        channel = ApiChannelFactory()
        writes(channel, ANNA, "Раз")
        writes(channel, ANYA, "Два")
        mine = Contact.objects.get(external_id=ANNA, api_channel=channel)
        theirs = Contact.objects.get(external_id=ANYA, api_channel=channel)
        made = merge_contacts(theirs.pk, mine.pk, by=None)

        run_together(
            lambda c=channel: writes(c, ANYA, "Во время отмены"),
            lambda pk=made.pk: undo_merge(pk, by=None),
            lambda c=channel: writes(c, ANNA, "И это"),
        )

        for who, texts in ((mine, ["Раз", "И это"]), (theirs, ["Два", "Во время отмены"])):
            messages = Message.objects.filter(conversation__contact=who).order_by("pk")
            assert list(messages.values_list("text", flat=True)) == texts
            assert not messages.exclude(ticket__conversation__contact=who).exists()


# --- erasure and pruning ------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("by_merged", [True, False])
def test_erasing_a_merged_person_erases_both_contacts(channel: ApiChannel, by_merged: bool) -> None:
    made = merge_numbers(channel)
    reply_submission.submit_reply(conversation_id=chat_of(ANNA).pk, text="Секретный ответ", author=boris())
    ContactNote.objects.create(contact=contact(ANYA), author=boris(), text="Секретная заметка")
    traces = (ANNA, ANYA, "Hallo", "Секретн", "Anna S.")
    assert all(trace in dump_all_rows() for trace in traces)

    erasure.erase_person(made.source_id if by_merged else made.target_id, by=vera())

    left = dump_all_rows()
    assert [trace for trace in traces if trace in left] == []
    with pytest.raises(rules.MergeRefused):
        undo_merge(made.pk, by=vera())


@pytest.mark.django_db
def test_undo_data_is_kept_for_a_day(channel: ApiChannel) -> None:
    made = merge_numbers(channel)
    housekeeping.prune_expired_rows()
    assert MergedConversation.objects.get().row

    ContactMerge.objects.update(at=made.at.replace(year=made.at.year - 1))
    housekeeping.prune_expired_rows()

    assert MergedConversation.objects.get().row == {}
    assert receiving.lock_conversation(MergedConversation.objects.get().old_id).contact == contact(ANNA)


# --- search and display -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_chat_is_found_by_either_number_and_its_former_number(channel: ApiChannel, client: Client) -> None:
    made = merge_numbers(channel)
    chat, old = chat_of(ANNA), MergedConversation.objects.get().old_id
    desk = signed_in(client, boris(chat.chat_channel))

    for query in ("4915112", "79215", "Anna"):
        assert f"/chats/{chat.pk}/" in desk.get("/chats/", {"q": query}).content.decode(), query
    headers = token_of(boris())
    by_api = client.get(f"/api/v1/conversations/{old}/", headers=headers).json()
    person = client.get(f"/api/v1/contacts/{made.source_id}/", headers=headers).json()
    listed = client.get("/api/v1/contacts/?phone=%2B4915112345678", headers=headers).json()["results"]
    assert by_api["id"] == chat.pk
    assert person["id"] == made.target_id and [one["external_id"] for one in person["merged"]] == [ANYA]
    assert [row["id"] for row in listed] == [made.target_id]


@pytest.mark.django_db
def test_each_training_phone_shows_its_own_numbers_messages(channel: ApiChannel, client: Client) -> None:
    merge_numbers(channel)
    path = reverse("phone-messages", args=[channel.pk])
    client.force_login(vera())

    pages = {who: client.get(path, {"from": who}).json() for who in (ANNA, ANYA)}

    assert {who: [one["text"] for one in page["messages"]] for who, page in pages.items()} == {
        ANNA: ["Здравствуйте"],
        ANYA: ["Hallo"],
    }
    assert all(page["window"]["state"] == "open" for page in pages.values())


@pytest.mark.django_db
def test_two_contacts_are_merged_from_the_admin(channel: ApiChannel, client: Client) -> None:
    writes(channel, ANNA, "Раз")
    writes(channel, ANYA, "Два")
    chosen = sorted([contact(ANNA).pk, contact(ANYA).pk])
    client.force_login(vera())

    go_on = client.post(
        reverse("admin:bridge_contact_changelist"), {"action": "merge_selected", "_selected_action": chosen}
    )

    assert go_on.status_code == 302 and go_on["Location"].endswith(f"/client/merge/?with={chosen[1]}")
    assert client.get(go_on["Location"]).status_code == 200
    merge_contacts(chosen[1], chosen[0], by=vera())
    assert client.get(reverse("admin:bridge_contactmerge_changelist")).status_code == 200


# --- programs and helpdesks ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_program_reaches_the_person_by_the_former_ids(channel: ApiChannel, client: Client) -> None:
    made = merge_numbers(channel)
    chat, old = chat_of(ANNA), MergedConversation.objects.get().old_id
    key = channel.issue_secret().reveal()
    user = boris(chat.chat_channel)

    def call(method: str, **values: Any) -> Any:
        body = json.dumps({"api_token": key, **values})
        return client.post(f"/uapi/{method}", body, content_type="application/json").json()

    sent = call("chat/sendMessage", chat_id=old, user_id=user.pk, text="Ответ")
    response = call(
        "chat/addMessage",
        channel_id=chat.chat_channel_id,
        chat_id=old,
        message={"id": "m9", "text": "Ещё", "from": {"name": "Anna"}},
    )
    ticket = call("create/ticket", client_id=made.source_id, message="Заметка", subject="Заметка")
    card = call("client", client_id=made.source_id)
    listed = call("clients")

    assert sent["chat_id"] == response["chat_id"] == chat.pk, (sent, response)
    assert Ticket.objects.get(pk=ticket["ticket_id"]).conversation == chat
    assert card["client"]["id"] == made.target_id
    assert [one["id"] for one in listed] == [made.target_id]
    assert Conversation.objects.count() == 1


@pytest.fixture
def simulator() -> Iterator[UsedeskSimulator]:
    with UsedeskSimulator() as running:
        yield running


@pytest.mark.django_db
def test_helpdesk_operators_reply_from_either_merged_chat(simulator: UsedeskSimulator) -> None:
    shop = Shop.of(simulator)
    for who, phone in (("anna", "+79211234567"), ("anya", "+4915112345678")):
        shop.anna_writes(f"Пишет {who}", who=who, **{"from": {"id": who, "name": who, "phone": phone}})
    shop.settle()
    numbers = dict(HelpdeskChat.objects.values_list("conversation__contact__external_id", "chat_id"))
    first, second = numbers["anna"], numbers["anya"]

    made = merge_contacts(contact("anya").pk, contact("anna").pk, by=None)
    simulator.say(second, "Ответ из второго чата")
    shop.settle()
    shop.anna_writes("Снова", who="anya", **{"from": {"id": "anya", "name": "anya", "phone": "+4915112345678"}})
    shop.settle()
    simulator.say(first, "Ответ из первого чата")
    shop.settle()

    assert shop.at_annas() == ["Ответ из второго чата", "Ответ из первого чата"]
    deliveries = Delivery.objects.filter(kind="message").order_by("pk")
    assert [row.payload["contact"]["external_id"] for row in deliveries][-1] == "anya"
    undo_merge(made.pk, by=None)
    simulator.say(second, "После отмены")
    shop.settle()
    assert Message.objects.get(text="После отмены").conversation.contact == contact("anya")
