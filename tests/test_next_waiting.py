"""The key N: the next chat that needs a reply, which is not one of a colleague."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from bridge.conversations import tickets
from bridge.desk.chat_list import next_waiting
from bridge.desk.live import presence
from channels_setup.models import ApiChannel
from tests.factories import boris, gleb, operator
from tests.pages import signed_in
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture(autouse=True)
def nobody_is_present() -> None:
    presence.store.client.flushdb()


def test_the_next_chat_is_not_one_of_a_colleague(desk: Client, channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}", ago=timedelta(minutes=50 - number)) for number in range(5)]
    colleague = operator("igor", channel.default_chat_channel)
    other = signed_in(Client(), colleague)
    first, second, third, fourth, fifth = (chat.pk for chat in chats)

    def following(current: int | str = "") -> tuple[int, str]:
        answer = desk.get(f"/chats/next-waiting/?current={current}").json()
        return answer["chat"] and answer["chat"]["chat"], answer["note"]

    assert following() == (first, "") and following(fifth) == (first, "")
    tickets.assign_chat(first, user_id=colleague.pk)
    other.get(f"/chats/updates/?chat={second}&writes=1")
    other.get(f"/chats/updates/?chat={third}")
    assert following() == (fourth, "Skipped 3 chats that colleagues have.")
    assert following(fourth) == (fifth, "") and following(fifth) == (fourth, "Skipped 3 chats that colleagues have.")
    # A colleague who looks does not take an own chat away, one who writes does.
    for pk in (second, third):
        tickets.assign_chat(pk, user_id=boris().pk)
    assert following() == (third, "Skipped 2 chats that colleagues have.")
    desk.get(f"/chats/updates/?chat={fourth}&writes=1")
    assert following(third) == (fourth, "")
    for pk in (third, fourth, fifth):
        tickets.assign_chat(pk, user_id=colleague.pk)
    left = "Colleagues have all chats that need a reply. This is one of them."
    other.get(f"/chats/updates/?chat={second}&writes=1")
    assert following() == (first, left) and following(first) == (third, left)


def test_the_next_chat_is_found_behind_many_of_colleagues(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_waiting, "MAX_READ", 3)
    colleague = operator("igor", channel.default_chat_channel)
    for number in range(6):
        chat = client_writes(channel, f"К{number}", ago=timedelta(minutes=50 - number))
        if number < 5:
            tickets.assign_chat(chat.pk, user_id=colleague.pk)

    answer = desk.get("/chats/next-waiting/").json()
    assert answer["chat"]["title"] == "К5" and answer["note"] == "Skipped 3 chats that colleagues have."
    assert signed_in(Client(), gleb()).get("/chats/next-waiting/").json() == {"chat": None, "note": ""}
