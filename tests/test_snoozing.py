"""Snoozed chats: out of the waiting ones until a time, until the client writes, and never past a closing window."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from bridge.automation import runs
from bridge.conversations import snoozing, tickets
from bridge.desk.chat_list import listing
from bridge.models import Conversation, ConversationActivity, Snooze, Ticket
from channels_setup.models import ApiChannel
from channels_setup.working_hours import WorkingHours
from tests.factories import boris
from tests.pages import SCRIPT, page_html
from tests.scenarios.sending import boris_answers, client_writes, receive_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

OFFICE = WorkingHours(start=time(9), end=time(18), weekends=False, zone=ZoneInfo("Europe/Moscow"))


def listed(desk: Client, tab: str, chat: Conversation) -> bool:
    return f'href="/chats/{chat.pk}/' in page_html(desk, f"/chats/?tab={tab}")


def snooze(desk: Client, chat: Conversation, choice: str, **values: Any) -> Any:
    return desk.post(f"/chats/{chat.pk}/snooze/", {"snooze": choice, **values}, headers=SCRIPT)


def let_time_come(chat: Conversation) -> None:
    Conversation.objects.filter(pk=chat.pk).update(snoozed_until=timezone.now() - timedelta(seconds=1))


def test_a_snoozed_chat_leaves_the_waiting_ones_and_comes_back_at_its_time(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    assert listed(desk, "waiting", chat) and not listed(desk, "snoozed", chat)

    assert snooze(desk, chat, "later").status_code == 204

    assert not listed(desk, "waiting", chat) and not listed(desk, "unassigned", chat)
    assert listed(desk, "snoozed", chat) and listed(desk, "all", chat)
    assert listing.load_list_summary([chat.chat_channel_id], user=boris()).counts[listing.WAITING] == 0
    assert runs.run_automation() == 0
    let_time_come(chat)
    assert [runs.run_automation(), runs.run_automation()] == [1, 0]
    assert listed(desk, "waiting", chat) and not Snooze.objects.exists()


def test_the_clients_next_message_wakes_the_chat_at_once(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    boris_answers(chat)
    snooze(desk, chat, "reply")
    assert "until the client writes" in page_html(desk, f"/chats/{chat.pk}/")

    client_writes(channel, "Анна", "Ещё вопрос")

    assert listed(desk, "waiting", chat)
    assert [runs.run_automation(), runs.run_automation()] == [1, 0]


@pytest.mark.parametrize("choice", ["later", "tomorrow", "reply"])
def test_the_same_snooze_again_writes_no_second_line(desk: Client, channel: ApiChannel, choice: str) -> None:
    chat = client_writes(channel, "Анна")
    boris_answers(chat)
    lines = ConversationActivity.objects.filter(conversation=chat, kind__startswith="snoozed")

    assert [snooze(desk, chat, choice).status_code for _ in range(2)] == [204, 204]
    assert lines.count() == 1
    snooze(desk, chat, "other", until=f"{timezone.now() + timedelta(days=20):%Y-%m-%dT%H:%M}")
    assert lines.count() == 2
    let_time_come(chat)
    snooze(desk, chat, "monday")
    assert lines.count() == 3


def test_a_waiting_chat_wakes_before_its_window_closes(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна", ago=timedelta(hours=20))

    assert "before the window closes" in page_html(desk, f"/chats/{chat.pk}/")
    assert snooze(desk, chat, "tomorrow").status_code == 204

    chat.refresh_from_db()
    left = chat.windows.get().expires_at - chat.snoozed_until
    assert left == snoozing.WAKE_BEFORE_CLOSING and chat.snooze.is_before_closing


def test_a_waiting_chat_whose_window_closes_soon_is_not_snoozed(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна", ago=timedelta(hours=23, minutes=30))

    answer = snooze(desk, chat, "later")

    assert answer.status_code == 422 and "Reply before you snooze" in answer.json()["sentence"]
    boris_answers(chat)
    assert snooze(desk, chat, "later").status_code == 204  # nothing waits for a reply


def test_the_time_of_waking_lies_in_the_working_hours() -> None:
    now = datetime(2026, 11, 27, 11, tzinfo=UTC)  # Friday, 14:00 in Moscow

    def wake(closes: datetime, at: datetime = now) -> datetime:
        return snoozing.compute_latest_wake(closes, OFFICE, now=at)

    assert wake(datetime(2026, 11, 27, 14, tzinfo=UTC)) == datetime(2026, 11, 27, 13, tzinfo=UTC)
    assert wake(datetime(2026, 11, 28, 3, tzinfo=UTC)) == datetime(2026, 11, 27, 14, 30, tzinfo=UTC)  # 17:30
    night = datetime(2026, 11, 27, 20, tzinfo=UTC)
    assert wake(datetime(2026, 11, 28, 3, tzinfo=UTC), night) == datetime(2026, 11, 28, 2, tzinfo=UTC)


def test_another_time_is_one_in_the_zone_of_the_operator(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    boris_answers(chat)
    wanted = (timezone.localtime() + timedelta(days=2)).replace(second=0, microsecond=0)

    assert snooze(desk, chat, "other", until=f"{wanted:%Y-%m-%dT%H:%M}").status_code == 204
    chat.refresh_from_db()
    assert chat.snoozed_until == wanted

    assert snooze(desk, chat, "wake").status_code == 204
    chat.refresh_from_db()
    assert chat.snoozed_until is None and runs.run_automation() == 0
    for value in ("", "soon", "2020-01-01T10:00", "2999-01-01T10:00", "2026-01-01T10:00+03:00"):
        assert snooze(desk, chat, "other", until=value).status_code == 422
    assert snooze(desk, chat, "never").status_code == 422


@pytest.mark.parametrize("status", [Ticket.Status.CLOSED, Ticket.Status.SOLVED, Ticket.Status.SPAM])
def test_the_end_of_the_request_ends_the_snooze(desk: Client, channel: ApiChannel, status: int) -> None:
    chat = client_writes(channel, "Анна")
    snooze(desk, chat, "later")
    current = tickets.get_current_ticket(chat)
    assert current is not None

    tickets.set_ticket_status(current.pk, status=status)

    assert not listed(desk, "snoozed", chat)
    assert runs.run_automation() == 0 and not Snooze.objects.exists()
    assert snooze(desk, chat, "later").status_code == 422


def test_the_next_monday_is_never_today(channel: ApiChannel) -> None:
    monday = datetime(2026, 11, 30, 5, tzinfo=UTC)

    until = snoozing.compute_choice("monday", now=monday)

    assert until is not None and until.weekday() == 0 and until - monday > timedelta(days=6)
    assert receive_text(channel).is_new
