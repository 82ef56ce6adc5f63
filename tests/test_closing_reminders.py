"""Closing reminders: who is reminded of an unanswered chat, when, and only once."""

import threading
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.utils import timezone

from bridge.conversations import closing_reminders, tickets
from bridge.models import ClosingReminder, Conversation, ServiceWindow, Ticket
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.roles import Role, assign_role
from channels_setup.working_hours import WorkingHours
from tests.factories import ApiChannelFactory, UserFactory, boris, gleb
from tests.pages import page_html
from tests.scenarios.sending import receive_text

pytestmark = pytest.mark.django_db

MOSCOW = ZoneInfo("Europe/Moscow")
OFFICE = WorkingHours(start=time(9), end=time(18), weekends=False, zone=MOSCOW)
MARK = timedelta(hours=1)


def create_expiring_chat(
    channel: ApiChannel, name: str = "Анна", *, left: timedelta = timedelta(minutes=50)
) -> Conversation:
    """Create a chat whose window closes after ``left``."""
    chat = receive_text(channel, "Ау?", who=name, name=name).conversation
    expires_at = timezone.now() + left
    ServiceWindow.objects.filter(conversation=chat).update(
        expires_at=expires_at, opened_at=expires_at - timedelta(hours=24)
    )
    return chat


def marks() -> list[int]:
    return list(ClosingReminder.objects.order_by("pk").values_list("lead_minutes", flat=True))


# --- once ------------------------------------------------------------------------------------------------


def test_each_lead_time_reminds_once(channel: ApiChannel) -> None:
    chat = create_expiring_chat(channel, left=timedelta(hours=3))
    now = timezone.now()

    assert [closing_reminders.send_reminders(now=now), closing_reminders.send_reminders(now=now)] == [1, 0]
    assert closing_reminders.send_reminders(now=now + timedelta(hours=2, minutes=10)) == 1
    assert closing_reminders.send_reminders(now=now + timedelta(hours=2, minutes=50)) == 1
    assert closing_reminders.send_reminders(now=now + timedelta(hours=2, minutes=59)) == 0
    assert marks() == [240, 60, 15]
    assert chat.windows.get().reminded_at is not None


def test_after_an_outage_only_the_shortest_lead_time_reminds(channel: ApiChannel) -> None:
    create_expiring_chat(channel, left=timedelta(minutes=10))

    closing_reminders.send_reminders()
    closing_reminders.send_reminders()

    assert marks() == [15]


def test_an_extended_window_gets_new_reminders(channel: ApiChannel) -> None:
    create_expiring_chat(channel, left=timedelta(minutes=10))
    closing_reminders.send_reminders()

    chat = create_expiring_chat(channel, left=timedelta(minutes=50))
    assert chat.windows.get().reminded_at is None
    closing_reminders.send_reminders()

    assert marks() == [15, 60]


@pytest.mark.django_db(transaction=True)
def test_concurrent_workers_remind_once(channel: ApiChannel) -> None:
    for number in range(30):
        create_expiring_chat(channel, f"К{number}", left=timedelta(minutes=5 + number * 5))
    begin = threading.Barrier(4)

    def beat() -> None:
        begin.wait()
        for _again in range(3):
            closing_reminders.send_reminders()
        connection.close()

    beats = [threading.Thread(target=beat) for _number in range(4)]
    for each in beats:
        each.start()
    for each in beats:
        each.join()
    closing_reminders.send_reminders()

    assert ClosingReminder.objects.count() == ClosingReminder.objects.values("window").distinct().count() == 30


# --- only when it matters --------------------------------------------------------------------------------


def test_answered_and_closed_chats_get_no_reminder(channel: ApiChannel) -> None:
    answered = create_expiring_chat(channel, "Отвеченная")
    reply_submission.submit_reply(conversation_id=answered.pk, text="Едет", author=boris(channel.default_chat_channel))
    for name, status in (("Закрытая", Ticket.Status.CLOSED), ("Решённая", Ticket.Status.SOLVED)):
        chat = create_expiring_chat(channel, name)
        tickets.set_ticket_status(Ticket.objects.get(conversation=chat).pk, status=status)
    create_expiring_chat(channel, "Далёкая", left=timedelta(hours=20))

    assert closing_reminders.send_reminders() == 0


def test_lead_times_are_a_setting(channel: ApiChannel, settings: Any) -> None:
    create_expiring_chat(channel, left=timedelta(minutes=50))

    settings.CLOSING_REMINDER_MINUTES = [30, 0]
    assert closing_reminders.send_reminders() == 0
    settings.CLOSING_REMINDER_MINUTES = [55]
    assert closing_reminders.send_reminders() == 1


# --- working hours ---------------------------------------------------------------------------------------


def moscow_time(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a time in November 2026 in Moscow, where the 23rd is a Monday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=MOSCOW).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (moscow_time(23, 12), moscow_time(23, 13)),  # in the middle of the day: the lead time itself
        (moscow_time(23, 17, 29), moscow_time(23, 18, 29)),
        (moscow_time(23, 17, 31), moscow_time(24, 10)),  # before the day ends: every reminder due before the morning
        (moscow_time(23, 18), None),  # outside working hours
        (moscow_time(24, 8, 59), None),
        (moscow_time(24, 9), moscow_time(24, 10)),
        (moscow_time(27, 17, 45), moscow_time(30, 10)),  # Friday: until Monday
        (moscow_time(28, 12), None),  # Saturday
    ],
)
def test_reminders_due_overnight_are_sent_before_the_day_ends(now: datetime, until: datetime | None) -> None:
    assert closing_reminders.get_reminder_horizon(OFFICE, MARK, now=now) == until
    assert closing_reminders.get_reminder_horizon(None, MARK, now=now) == now + MARK


def test_weekends_can_be_working_days() -> None:
    always = WorkingHours(start=time(9), end=time(18), weekends=True, zone=MOSCOW)

    assert closing_reminders.get_reminder_horizon(always, MARK, now=moscow_time(28, 12)) == moscow_time(28, 13)
    assert closing_reminders.get_reminder_horizon(always, MARK, now=moscow_time(27, 17, 45)) == moscow_time(28, 10)


def test_a_channel_keeps_its_own_working_hours(channel: ApiChannel) -> None:
    other = ApiChannelFactory()
    assert channel.default_chat_channel and other.default_chat_channel
    ChatChannel.objects.filter(pk=channel.default_chat_channel.pk).update(
        work_from=time(9), work_until=time(18), work_weekends=False
    )
    now = moscow_time(28, 12)
    for each in (channel, other):
        chat = create_expiring_chat(each, "Анна")
        ends = now + timedelta(minutes=30)
        ServiceWindow.objects.filter(conversation=chat).update(opened_at=ends - timedelta(hours=24), expires_at=ends)

    closing_reminders.send_reminders(now=now)

    assert ClosingReminder.objects.get().chat_channel == other.default_chat_channel


@pytest.mark.parametrize(
    ("begins", "ends"), [(time(9), None), (None, time(18)), (time(18), time(9)), (time(9), time(9))]
)
def test_an_incomplete_working_day_is_refused(begins: time | None, ends: time | None) -> None:
    with pytest.raises(ValidationError) as refused:
        ChatChannel(name="Магазин", work_from=begins, work_until=ends).full_clean()

    assert "work_until" in refused.value.message_dict


# --- recipients -----------------------------------------------------------------------------------------


def reminders_for(user: Any, *, after: int = 0) -> list[str]:
    client = Client()
    client.force_login(user)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    news = client.get(f"/chats/updates/?last_warning={after}").json()
    return [item["title"].replace("\u00a0", " ") for item in news.get("warnings", {}).get("items", [])]


def test_reminders_go_to_the_assignee_or_to_all_operators(channel: ApiChannel) -> None:
    assert channel.default_chat_channel
    lena = UserFactory(username="lena")
    assign_role(lena, role=Role.OPERATOR, chat_channels=[channel.default_chat_channel])
    operator = boris(channel.default_chat_channel)
    mine = create_expiring_chat(channel, "Моя")
    tickets.assign_chat(mine.pk, user_id=operator.pk)
    create_expiring_chat(channel, "Ничья", left=timedelta(minutes=40, seconds=30))

    closing_reminders.send_reminders()

    assert set(reminders_for(operator)) == {"Моя: the window closes in 49 min", "Ничья: the window closes in 40 min"}
    assert reminders_for(lena) == ["Ничья: the window closes in 40 min"]
    assert reminders_for(gleb()) == []
    assert reminders_for(operator, after=ClosingReminder.objects.latest("pk").pk) == []


def test_answered_chats_lose_their_reminders(channel: ApiChannel) -> None:
    chat = create_expiring_chat(channel)
    closing_reminders.send_reminders()
    reply_submission.submit_reply(conversation_id=chat.pk, text="Едет", author=boris(channel.default_chat_channel))

    client = Client()
    client.force_login(boris())
    news = client.get("/chats/updates/?last_warning=0").json()

    assert news["warnings"]["items"] == []
    assert news["warnings"]["last"] == ClosingReminder.objects.get().pk


def test_a_reminder_wakes_its_recipients_idle_poll(channel: ApiChannel) -> None:
    client = Client()
    client.force_login(boris(channel.default_chat_channel))
    create_expiring_chat(channel)
    first = client.get("/chats/updates/?last_warning=0").json()
    address = f"/chats/updates/?last_warning=0&list={first['list']['version']}"
    headers = {"Okno-Poll-Token": first["poll_token"]}
    assert client.get(address, headers=headers).status_code == 204

    closing_reminders.send_reminders()

    assert client.get(address, headers=headers).json()["warnings"]["items"][0]["text"] == "Ау?"


def test_the_chat_list_marks_reminded_windows(channel: ApiChannel) -> None:
    create_expiring_chat(channel)
    client = Client()
    client.force_login(boris(channel.default_chat_channel))
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    assert "Reminder sent." not in page_html(client, "/chats/")

    closing_reminders.send_reminders()

    assert "Reminder sent." in client.get("/chats/").content.decode()
