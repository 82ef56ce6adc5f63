"""Automatic assignment: who gets a waiting chat, fairness, limits, teams, absence, and two workers at a time."""

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from bridge.automation import assignment
from bridge.conversations import tickets
from bridge.models import (
    AutomaticAssignment,
    ChannelAutomation,
    Conversation,
    ConversationActivity,
    OperatorAvailability,
    Ticket,
)
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel, ChatChannel, Team
from tests.factories import operator, vera
from tests.scenarios.sending import client_writes

pytestmark = pytest.mark.django_db
Status = OperatorAvailability.Status


@pytest.fixture
def shop(channel: ApiChannel) -> ChatChannel:
    assert channel.default_chat_channel
    ChannelAutomation.objects.create(chat_channel=channel.default_chat_channel, assigns_chats=True)
    return channel.default_chat_channel


def add_operator(shop: ChatChannel, name: str, *, online: bool = True) -> Any:
    person = operator(name, shop)
    be(person, online=online)
    return person


def be(person: Any, *, online: bool, ago: timedelta = timedelta(hours=1), status: str = Status.ONLINE) -> None:
    seen = timezone.now() if online else timezone.now() - ago
    OperatorAvailability.objects.update_or_create(user=person, defaults={"last_seen_at": seen, "status": status})


def set_rules(shop: ChatChannel, **values: Any) -> None:
    ChannelAutomation.objects.filter(chat_channel=shop).update(**values)


def assignee(chat: Conversation) -> str:
    chat.refresh_from_db()
    return chat.assignee.username if chat.assignee else ""


def age(chat: Conversation, by: timedelta) -> None:
    """Let the client's message and all that was done with the chat lie in the past."""
    then = timezone.now() - by
    Conversation.objects.filter(pk=chat.pk).update(last_message_at=then)
    ConversationActivity.objects.filter(conversation=chat).update(created_at=then)


def test_three_operators_share_300_chats_equally(channel: ApiChannel, shop: ChatChannel) -> None:
    people = [add_operator(shop, name) for name in ("olga", "lena", "ivan")]
    for number in range(300):
        client_writes(channel, f"client {number}")

    while assignment.assign_waiting_chats():
        pass

    loads = Counter(Conversation.objects.values_list("assignee", flat=True))
    assert loads == {person.pk: 100 for person in people}
    assert AutomaticAssignment.objects.count() == 300
    assert set(ConversationActivity.objects.values_list("kind", flat=True)) == {"auto_assigned"}


def test_the_lowest_load_gets_the_chat_then_who_waits_longest(channel: ApiChannel, shop: ChatChannel) -> None:
    olga = add_operator(shop, "olga")
    add_operator(shop, "lena")
    mine = client_writes(channel, "A")
    tickets.assign_chat(mine.pk, user_id=olga.pk)
    assert assignment.assign_waiting_chats() == 0

    second, third = client_writes(channel, "B"), client_writes(channel, "C")
    assert assignment.assign_waiting_chats() == 2
    assert assignee(second) == "lena"  # the lower load
    assert assignee(third) == "olga"  # the same load, and never had an automatic one
    reply_submission.submit_reply(conversation_id=mine.pk, text="ok", author=olga)  # an answered chat is no load
    fourth = client_writes(channel, "D")
    assert assignment.assign_waiting_chats() == 1 and assignee(fourth) == "lena"  # Olga had the last one
    fifth = client_writes(channel, "E")
    assert assignment.assign_waiting_chats() == 1 and assignee(fifth) == "olga"


def test_nobody_online_means_waiting_for_whoever_comes(channel: ApiChannel, shop: ChatChannel) -> None:
    olga = add_operator(shop, "olga", online=False)
    lena = add_operator(shop, "lena")
    be(lena, online=True, status=Status.DND)
    vera()  # an admin who is no operator of the channel
    be(vera(), online=True)
    chat = client_writes(channel, "A")
    assert assignment.assign_waiting_chats() == 0

    be(olga, online=True)
    assert assignment.assign_waiting_chats() == 1 and assignee(chat) == "olga"


def test_what_does_not_wait_is_not_assigned(channel: ApiChannel, shop: ChatChannel) -> None:
    add_operator(shop, "olga")
    answered, snoozed, held, erased = (client_writes(channel, name) for name in "ABCD")
    reply_submission.submit_reply(conversation_id=answered.pk, text="ok", author=vera())
    tickets.assign_chat(answered.pk, user_id=None)
    Conversation.objects.filter(pk=snoozed.pk).update(snoozed_until=timezone.now() + timedelta(hours=1))
    Conversation.objects.filter(pk=held.pk).update(request_status=Ticket.Status.ON_HOLD)
    Conversation.objects.filter(pk=erased.pk).update(is_erased=True, last_text="")

    assert assignment.assign_waiting_chats() == 0
    set_rules(shop, assigns_chats=False)
    client_writes(channel, "E")
    assert assignment.assign_waiting_chats() == 0


def test_the_limit_leaves_chats_waiting(channel: ApiChannel, shop: ChatChannel) -> None:
    olga = add_operator(shop, "olga")
    set_rules(shop, max_waiting_chats=2)
    chats = [client_writes(channel, name) for name in "ABC"]

    assert [assignment.assign_waiting_chats(), assignment.assign_waiting_chats()] == [2, 0]
    reply_submission.submit_reply(conversation_id=chats[0].pk, text="ok", author=olga)
    assert assignment.assign_waiting_chats() == 1


def test_a_team_gets_its_own_chats_and_blocks_no_others(channel: ApiChannel, shop: ChatChannel) -> None:
    add_operator(shop, "olga")
    lena = add_operator(shop, "lena", online=False)
    team = Team.objects.create(name="Sales")
    team.chat_channels.add(shop)
    team.members.add(lena)
    of_team, of_all = client_writes(channel, "A"), client_writes(channel, "B")
    tickets.assign_chat(of_team.pk, user_id=None, team_id=team.pk)

    assert assignment.assign_waiting_chats() == 1 and assignee(of_all) == "olga"
    be(lena, online=True)
    assert assignment.assign_waiting_chats() == 1 and assignee(of_team) == "lena"
    set_rules(shop, team=team)
    new = client_writes(channel, "C")
    assert assignment.assign_waiting_chats() == 1 and assignee(new) == "lena"


def test_a_chat_that_was_given_back_goes_to_somebody_else(channel: ApiChannel, shop: ChatChannel) -> None:
    add_operator(shop, "olga")
    chat = client_writes(channel, "A")
    assignment.assign_waiting_chats()
    tickets.assign_chat(chat.pk, user_id=None)

    assert assignment.assign_waiting_chats() == 0
    add_operator(shop, "lena")
    assert assignment.assign_waiting_chats() == 1 and assignee(chat) == "lena"


def test_the_former_assignee_is_preferred(channel: ApiChannel, shop: ChatChannel) -> None:
    olga = add_operator(shop, "olga")
    chat = client_writes(channel, "A")
    assignment.assign_waiting_chats()
    current = tickets.get_current_ticket(chat)
    assert current is not None
    tickets.set_ticket_status(current.pk, status=Ticket.Status.CLOSED)
    tickets.assign_chat(chat.pk, user_id=None)
    add_operator(shop, "lena")
    client_writes(channel, "B")
    client_writes(channel, "A", "again")
    for number in range(3):  # Olga has more to do
        tickets.assign_chat(client_writes(channel, f"C{number}").pk, user_id=olga.pk)

    assignment.assign_waiting_chats()

    assert assignee(chat) == "olga"


def test_a_waiting_chat_of_somebody_who_is_gone_goes_to_a_colleague(channel: ApiChannel, shop: ChatChannel) -> None:
    olga = add_operator(shop, "olga")
    chat = client_writes(channel, "A")
    assignment.assign_waiting_chats()
    lena = add_operator(shop, "lena")
    be(olga, online=False)
    age(chat, timedelta(minutes=20))
    assert assignment.assign_waiting_chats() == 0  # off by default

    set_rules(shop, returns_after_minutes=30)
    assert assignment.assign_waiting_chats() == 0
    age(chat, timedelta(minutes=40))
    assert assignment.assign_waiting_chats() == 1 and assignee(chat) == "lena"

    be(lena, online=False)
    be(olga, online=True)
    age(chat, timedelta(minutes=40))
    assert assignment.assign_waiting_chats() == 1 and assignee(chat) == "olga"  # being away is no refusal


def test_a_chat_stays_if_no_colleague_is_online(channel: ApiChannel, shop: ChatChannel) -> None:
    olga = add_operator(shop, "olga", online=False)
    chat = client_writes(channel, "A")
    tickets.assign_chat(chat.pk, user_id=olga.pk)
    age(chat, timedelta(hours=2))
    set_rules(shop, returns_after_minutes=30)

    assert assignment.assign_waiting_chats() == 0 and assignee(chat) == "olga"


@pytest.mark.django_db(transaction=True)
def test_workers_and_people_at_the_same_time_assign_each_chat_once(channel: ApiChannel, shop: ChatChannel) -> None:
    people = [add_operator(shop, name) for name in ("olga", "lena")]
    chats = [client_writes(channel, f"client {number}") for number in range(20)]
    counts: list[int] = []

    def work() -> None:
        try:
            counts.append(assignment.assign_waiting_chats())
        finally:
            connection.close()

    def take() -> None:
        try:
            for chat in chats[::4]:
                tickets.assign_chat(chat.pk, user_id=people[0].pk, by=people[0].pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=target) for target in (work, work, take, work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.append(assignment.assign_waiting_chats())

    assert not Conversation.objects.filter(assignee=None).exists()
    automatic = Counter(AutomaticAssignment.objects.values_list("conversation", flat=True))
    assert sum(counts) == len(automatic) and set(automatic.values()) == {1}
