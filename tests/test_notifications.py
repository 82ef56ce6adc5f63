"""Notifications of operators, and their availability."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bridge.conversations import availability, tickets
from bridge.conversations.assignments import release_chat
from bridge.models import Conversation, Notification, OperatorAvailability
from bridge.notifications import notify
from channels_setup.models import Team
from tests.factories import ConversationFactory, boris, vera
from tests.scenarios.sending import mark_written

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
Status = OperatorAvailability.Status


class Page:
    """An open page of a user: polls with the cursor of the answer before, and forgets what it has shown."""

    def __init__(self, user: Any) -> None:
        self.client = Client(headers={"accept-language": "en"})
        self.client.force_login(user)
        self.cursor, self.shown = "", set[str]()
        self.poll()

    def poll(self, **values: str) -> list[dict[str, Any]]:
        answer = self.client.get("/chats/updates/", {"notified": self.cursor, **values})
        found = answer.json().get("notifications") if answer.status_code == 200 else None
        if found is None:
            return []
        self.cursor = found["cursor"]
        new = [item for item in found["items"] if item["key"] not in self.shown]
        self.shown |= {item["key"] for item in new}
        return new


@pytest.fixture
def chat() -> Conversation:
    made: Conversation = ConversationFactory(contact__name="Anna")
    return made


def test_a_new_message_is_shown_once_to_operators_whom_it_concerns(chat: Conversation) -> None:
    mine, other = boris(chat.chat_channel), vera()
    pages = Page(mine), Page(other)
    mark_written(chat)

    [item], [_same] = pages[0].poll(), pages[1].poll()
    again = pages[0].poll()
    tickets.assign_chat(chat.pk, user_id=mine.pk, by=mine.pk)
    mark_written(chat, "More")

    assert (item["kind"], item["title"], item["text"], item["url"]) == (
        "message",
        "Anna",
        "Hello",
        f"/chats/{chat.pk}/",
    )
    assert again == []
    assert [new["text"] for new in pages[0].poll()] == ["More"] and pages[1].poll() == []


def test_a_chat_of_a_team_concerns_its_members(chat: Conversation) -> None:
    member, other = boris(chat.chat_channel), vera()
    team = Team.objects.create(name="Sales")
    team.chat_channels.add(chat.chat_channel)
    team.members.add(member)
    Conversation.objects.filter(pk=chat.pk).update(team=team)
    pages = Page(member), Page(other)
    mark_written(chat)

    assert len(pages[0].poll()) == 1 and pages[1].poll() == []


def test_an_assignment_by_somebody_else_is_shown_to_the_new_assignee(chat: Conversation) -> None:
    mine, other = boris(chat.chat_channel), vera()
    page = Page(mine)

    tickets.assign_chat(chat.pk, user_id=mine.pk, by=other.pk)
    [item] = page.poll()
    tickets.assign_chat(chat.pk, user_id=other.pk, by=other.pk)
    release_chat(chat.pk, leaving=other)

    assert item["title"] == "vera assigned you a chat: Anna" and item["kind"] == "assigned"
    assert not Notification.objects.filter(user=other).exists()


def test_a_notification_of_a_chat_that_the_user_may_not_see_is_not_shown(chat: Conversation) -> None:
    stranger = boris(ConversationFactory().chat_channel)
    page = Page(stranger)

    assert notify([stranger.pk, None], "mentioned", chat.pk, actor=vera(), excerpt="secret") == 1
    assert page.poll() == []


def test_a_repeated_report_of_the_same_change_makes_one_notification(chat: Conversation) -> None:
    user = vera()

    assert [notify([user.pk], "woken", chat.pk) for _ in range(2)] == [1, 0]
    assert notify([user.pk], "mentioned", chat.pk, actor=user) == 0 and notify([], "woken", chat.pk) == 0


def test_do_not_disturb_silences_and_brings_nothing_old_afterwards(chat: Conversation) -> None:
    user = boris(chat.chat_channel)
    page = Page(user)
    availability.choose_status(user, Status.DND, until=timezone.now() + timedelta(minutes=30))
    mark_written(chat)
    notify([user.pk], "woken", chat.pk)
    silenced = page.poll()
    Notification.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    Conversation.objects.update(last_message_at=timezone.now() - timedelta(minutes=1))

    OperatorAvailability.objects.update(until=timezone.now() - timedelta(seconds=1))

    assert silenced == [] and page.poll() == []
    assert availability.get_chosen_status(user) == Status.ONLINE


def test_online_means_chosen_and_seen(chat: Conversation) -> None:
    user, other = boris(chat.chat_channel), vera()
    assert availability.find_online([user.pk, other.pk]) == set()

    Page(user).poll(seen="1")
    online = availability.find_online([user.pk, other.pk])
    availability.choose_status(user, Status.AWAY)
    away = availability.find_statuses([user.pk])
    availability.choose_status(user, Status.ONLINE)
    back = availability.find_online([user.pk])
    OperatorAvailability.objects.update(last_seen_at=timezone.now() - timedelta(minutes=3))

    assert (online, away, back) == ({user.pk}, {user.pk: Status.AWAY}, {user.pk})
    assert availability.find_online([user.pk]) == set()


def test_an_idle_poll_records_presence_with_one_more_statement(
    chat: Conversation, django_assert_num_queries: Any
) -> None:
    user = boris(chat.chat_channel)
    page = Page(user)
    first = page.client.get("/chats/updates/", {"notified": page.cursor}).json()
    headers = {"Okno-Poll-Token": first["poll_token"]}
    values = {"list": first["list"]["version"], "notified": page.cursor}

    with django_assert_num_queries(1):
        assert page.client.get("/chats/updates/", values, headers=headers).status_code == 204
    with django_assert_num_queries(2):
        assert page.client.get("/chats/updates/", values | {"seen": "1"}, headers=headers).status_code == 204
    notify([user.pk], "woken", chat.pk)

    assert page.client.get("/chats/updates/", values, headers=headers).status_code == 200
    assert availability.find_online([user.pk]) == {user.pk}
