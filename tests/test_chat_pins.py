"""Pinned chats: first in every tab, personal, limited, paged without gap, and moved by a merge."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from bridge.conversations import chat_pins, tickets
from bridge.desk.chat_list import listing
from bridge.desk.live import versions
from bridge.merging.merge import merge_contacts
from bridge.models import ChatPin, Conversation, Ticket
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, boris, operator
from tests.pages import SCRIPT, list_queries, page_html
from tests.scenarios.merging import ANNA, ANYA, chat_of, contact, writes
from tests.scenarios.sending import boris_answers, client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


def names(html: str) -> list[str]:
    return re.findall(r'<b class="cut">(.*?)</b>', html)


def groups(html: str) -> list[str]:
    return re.findall(r'<h2 class="unseen">(.*?)</h2>', html)


def pin(*chats: Conversation, user: Any = None) -> None:
    chat_pins.pin_chats(user or boris(), [chat.pk for chat in chats])


def test_pinned_chats_are_first_in_the_tabs_that_contain_them(desk: Client, channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(4)]
    boris_answers(chats[3])
    tickets.assign_chat(chats[2].pk, user_id=boris().pk)
    pin(chats[3], chats[2])
    pin(chats[0], user=operator("olga", channel.default_chat_channel))

    page = page_html(desk, "/chats/")
    assert names(page) == ["К3", "К2", "К0", "К1"] and groups(page) == ["Pinned", "Needs reply"]
    assert page.count('title="Pinned"') == 2
    assert names(page_html(desk, "/chats/?tab=waiting")) == ["К2", "К0", "К1"]
    assert names(page_html(desk, "/chats/?tab=mine")) == ["К2"]
    assert groups(page_html(desk, "/chats/?sort=newest")) == ["Pinned", "Newest first"]
    assert groups(page_html(desk, "/chats/?sort=left"))[0] == "Pinned"
    # A search and "next chat that needs a reply" keep their order.
    assert groups(page_html(desk, "/chats/?q=К1")) == []
    assert desk.get("/chats/next-waiting/").json()["chat"]["title"] == "К0"

    chat_pins.unpin_chats(boris(), [chats[3].pk])
    assert names(page_html(desk, "/chats/"))[0] == "К2"


@pytest.mark.parametrize("query", ["", "sort=newest", "sort=left", "tab=waiting"])
def test_pages_with_pins_have_no_gap_and_no_repeat(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    chats = [client_writes(channel, f"К{number}") for number in range(10)]
    pin(chats[0], chats[4], chats[5], chats[9])

    seen, address = [], f"/chats/?{query}"
    while address:
        page = page_html(desk, address)
        seen += names(page)
        more = re.search(r'class="button more" href="([^"]+)"', page)
        address = more[1].replace("&amp;", "&") if more else ""

    assert sorted(seen) == [f"К{number}" for number in range(10)]
    assert set(seen[:4]) == {"К0", "К4", "К5", "К9"}


def test_the_list_costs_two_queries_more_with_pins(desk: Client, channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(30)]
    before = len(list_queries(desk, "/chats/"))
    pin(chats[0])
    one = len(list_queries(desk, "/chats/"))
    pin(*chats[1:19])

    assert len(list_queries(desk, "/chats/")) == one <= before + 1


def test_a_pin_changes_the_version_of_ones_own_list(channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(2)]
    olga, channels = operator("olga", channel.default_chat_channel), [chats[0].chat_channel_id]

    def version(user: Any) -> str:
        return versions.list_version(channels, user_id=user.pk).partition(".")[2]  # without the minute

    hers, found = version(olga), [version(boris())]
    pin(chats[0])
    found.append(version(boris()))
    chat_pins.unpin_chats(boris(), [chats[0].pk])
    found.append(version(boris()))
    pin(chats[1])
    assert len({*found, version(boris())}) == 3 and found[0] == found[2]
    assert version(olga) == hers


def test_twenty_pins_are_the_most(desk: Client, channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(chat_pins.MAX_PINS + 1)]
    values = {"action": "pin", "for_user": boris().pk}
    rows = [str(chat.pk) for chat in chats]
    refused = desk.post("/chats/bulk/", {**values, "chat": rows}, headers=SCRIPT)
    assert refused.status_code == 422
    assert refused.json()["sentence"] == "You can pin 20 chats at most. Unpin one first."
    assert not ChatPin.objects.exists()

    assert desk.post("/chats/bulk/", {**values, "chat": rows[1:]}, headers=SCRIPT).status_code == 200
    assert desk.post("/chats/bulk/", {**values, "chat": rows[:1]}, headers=SCRIPT).status_code == 422
    # A pin of a chat that the user no longer sees leaves its place free.
    hidden = client_writes(ApiChannelFactory(), "Чужой")
    ChatPin.objects.filter(conversation=chats[1]).update(conversation=hidden)
    assert desk.post("/chats/bulk/", {**values, "chat": rows[:1]}, headers=SCRIPT).status_code == 200
    assert "Чужой" not in page_html(desk, "/chats/")


def test_a_closed_chat_stays_pinned_where_it_is_listed(desk: Client, channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(2)]
    pin(chats[1])
    tickets.set_ticket_status(Ticket.objects.get(conversation=chats[1]).pk, status=Ticket.Status.CLOSED)

    assert groups(page_html(desk, "/chats/"))[0] == "Pinned"
    assert names(page_html(desk, "/chats/?tab=waiting")) == ["К0"]


def test_merging_clients_moves_their_pins(channel: ApiChannel) -> None:
    writes(channel, ANYA, "Hallo", hours=2)
    writes(channel, ANNA, "Здравствуйте", hours=1)
    olga, vlad = operator("olga", channel.default_chat_channel), operator("vlad", channel.default_chat_channel)
    pin(chat_of(ANYA), user=olga)
    pin(chat_of(ANYA), user=vlad)
    pin(chat_of(ANNA), user=vlad)

    merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=olga)

    assert sorted(ChatPin.objects.values_list("user", "conversation")) == sorted(
        [(olga.pk, chat_of(ANNA).pk), (vlad.pk, chat_of(ANNA).pk)]
    )
