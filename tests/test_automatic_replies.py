"""Automatic replies: outside working hours and to new clients, once per window, and they answer nothing."""

import threading
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from bridge.automation import automatic_replies
from bridge.conversations import consents
from bridge.models import (
    AutomaticReply,
    ChannelAutomation,
    Conversation,
    Delivery,
    Message,
    OptOut,
    OptOutSource,
    ServiceWindow,
    Ticket,
)
from channels_setup.models import ApiChannel, ChatChannel
from tests.pages import page_html
from tests.scenarios.sending import boris_answers, client_writes, move_windows_back

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def automation(channel: ApiChannel) -> ChannelAutomation:
    """An office that closed half an hour ago, in the database's time, and opens in the morning."""
    shop = channel.default_chat_channel
    assert shop is not None
    set_hours(shop, closed_for=timedelta(minutes=30))
    return ChannelAutomation.objects.create(
        chat_channel=shop, away_text="{first name}, we open {opens}.", greeting_text="Welcome to {channel}!"
    )


def set_hours(shop: ChatChannel, *, closed_for: timedelta) -> None:
    """Set a zone in which it is noon or so, and hours that ended before; negative: that end later."""
    shift = 12 - timezone.now().hour
    shop.time_zone = f"Etc/GMT{-shift:+d}" if -12 <= -shift <= 12 else "UTC"
    local = timezone.now().astimezone(shop.zone)
    shop.work_from, shop.work_until = time(1), (local - closed_for).time().replace(microsecond=0)
    shop.save()


def run(automation: ChannelAutomation, now: datetime | None = None) -> int:
    automation.refresh_from_db()
    return automatic_replies.reply_in_channel(automation, now=now or timezone.now())


def texts(chat: Conversation) -> list[str]:
    found = Message.objects.filter(conversation=chat, direction=Message.Direction.OUTBOUND)
    return list(found.order_by("pk").values_list("text", flat=True))


def test_a_client_who_writes_after_closing_gets_one_reply_and_still_waits(
    desk: Client, channel: ApiChannel, automation: ChannelAutomation
) -> None:
    chat = client_writes(channel, "Анна")

    assert [run(automation), run(automation)] == [1, 0]
    client_writes(channel, "Анна", "Алло?")
    assert run(automation) == 0

    [text] = texts(chat)
    assert text.startswith("Анна, we open ") and text.endswith(", 01:00.")
    chat.refresh_from_db()
    assert (chat.last_direction, chat.last_text, chat.unread) == ("inbound", "Алло?", 2)
    ticket, window = Ticket.objects.get(), ServiceWindow.objects.get()
    assert ticket.status == Ticket.Status.NEW and ticket.first_answer_at is None and window.first_reply_at is None
    assert Delivery.objects.filter(kind=Delivery.Kind.MESSAGE).count() == 1
    assert f'href="/chats/{chat.pk}/' in page_html(desk, "/chats/?tab=waiting")


def test_a_new_window_gets_its_own_reply(channel: ApiChannel, automation: ChannelAutomation) -> None:
    chat = client_writes(channel, "Анна")
    run(automation)
    move_windows_back(timedelta(hours=25))
    client_writes(channel, "Анна", "Снова я")

    assert run(automation) == 1
    assert len(texts(chat)) == 2


def test_no_reply_says_closed_while_somebody_works_late(channel: ApiChannel, automation: ChannelAutomation) -> None:
    chat = client_writes(channel, "Анна")
    boris_answers(chat)
    client_writes(channel, "Анна", "Спасибо, а ещё?")

    assert run(automation) == 0


def test_who_wrote_before_closing_gets_no_reply(channel: ApiChannel, automation: ChannelAutomation) -> None:
    chat = client_writes(channel, "Анна", ago=timedelta(minutes=40))

    assert run(automation) == 0 and texts(chat) == []


@pytest.mark.parametrize("status", [Ticket.Status.SPAM, Ticket.Status.CLOSED, Ticket.Status.ON_HOLD])
def test_closed_requests_spam_and_erased_clients_get_none(
    channel: ApiChannel, automation: ChannelAutomation, status: int
) -> None:
    chat = client_writes(channel, "Анна")
    Conversation.objects.filter(pk=chat.pk).update(request_status=status)
    erased = client_writes(channel, "Глеб")
    Conversation.objects.filter(pk=erased.pk).update(is_erased=True, last_text="")

    assert run(automation) == 0


def test_a_closed_window_and_another_helpdesk_get_none(channel: ApiChannel, automation: ChannelAutomation) -> None:
    client_writes(channel, "Анна")
    move_windows_back(timedelta(hours=25))
    assert run(automation) == 0 and not AutomaticReply.objects.exists()

    client_writes(channel, "Глеб")
    ChatChannel.objects.update(kind="usedesk")
    assert automatic_replies.send_due_replies() == 0


def test_a_new_client_is_greeted_once_in_working_hours(channel: ApiChannel, automation: ChannelAutomation) -> None:
    set_hours(automation.chat_channel, closed_for=timedelta(hours=-2))
    known, new = client_writes(channel, "Борис"), client_writes(channel, "Анна")
    boris_answers(known)
    client_writes(channel, "Борис", "Ещё")

    assert [run(automation), run(automation)] == [1, 0]
    assert texts(new) == [f"Welcome to {automation.chat_channel.name}!"]
    move_windows_back(timedelta(hours=25))
    client_writes(channel, "Анна", "Снова я")
    assert run(automation) == 0


def test_a_refused_text_is_not_tried_again(channel: ApiChannel, automation: ChannelAutomation) -> None:
    client_writes(channel, "Анна")
    ApiChannel.objects.filter(pk=channel.pk).update(archived_at=timezone.now())

    assert [run(automation), run(automation)] == [0, 0]
    assert AutomaticReply.objects.get().reason == "channel_archived"


def test_a_client_who_wants_no_messages_gets_none(channel: ApiChannel, automation: ChannelAutomation) -> None:
    chat = client_writes(channel, "Анна")
    consents.set_opt_out(chat.contact_id, OptOut.ALL, source=OptOutSource.OPERATOR)

    assert [run(automation), run(automation)] == [0, 0] and texts(chat) == []
    assert AutomaticReply.objects.get().reason == "client_opted_out"


@pytest.mark.django_db(transaction=True)
def test_two_workers_send_one_reply(channel: ApiChannel, automation: ChannelAutomation) -> None:
    chats = [client_writes(channel, f"Анна {number}") for number in range(5)]
    counts: list[int] = []

    def work() -> None:
        try:
            counts.append(automatic_replies.send_due_replies())
        finally:
            connection.close()

    workers: list[Any] = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sum(counts) == 5 and [len(texts(chat)) for chat in chats] == [1] * 5
