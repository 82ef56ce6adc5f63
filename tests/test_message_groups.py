"""Messages of one author and minute share a name and a time, and each failure is shown once, with what helps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bridge.desk.thread import messages
from bridge.models import Conversation, Delivery, Message
from bridge.notices import create_notice
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import boris
from tests.pages import SCRIPT
from tests.scenarios.sending import receive_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return receive_text(channel, "Where is my order?", name="Anna").conversation


def answers(chat: Conversation, text: str, **values: Any) -> Message:
    message = reply_submission.submit_reply(conversation_id=chat.pk, text=text, author=boris(chat.chat_channel)).message
    assert message
    values.setdefault("created_at", timezone.now().replace(second=10, microsecond=0))
    Message.objects.filter(pk=message.pk).update(**values)
    return Message.objects.get(pk=message.pk)


def groups(chat: Conversation) -> list[tuple[str, bool, bool]]:
    page = messages.build_thread_page(
        chat, tickets=messages.list_requests(chat), before=None, may_write=True, now=timezone.now()
    )
    return [(item.message.message.text, item.follows, item.is_followed) for item in page.items if item.message]


def test_messages_of_one_minute_show_one_time(chat: Conversation) -> None:
    answers(chat, "One")
    answers(chat, "Two")
    answers(chat, "Three", created_at=timezone.now() + timedelta(minutes=1))

    assert groups(chat)[1:] == [("One", False, True), ("Two", True, False), ("Three", False, False)]


def test_a_message_with_another_status_keeps_its_own_line(chat: Conversation) -> None:
    answers(chat, "One", status=Message.Status.READ)
    answers(chat, "Two", status=Message.Status.SENT)
    answers(chat, "Three", status=Message.Status.FAILED, reason="rejected")
    answers(chat, "Four", status=Message.Status.SENT)

    assert not any(is_followed for _, _, is_followed in groups(chat))


def test_a_failure_is_told_once_and_not_after_it_is_resolved(desk: Client, chat: Conversation) -> None:
    message = answers(chat, "Hello", status=Message.Status.UNKNOWN, reason="outcome_unknown")
    create_notice(chat, "may_have_been_sent", message_id=message.pk)
    notice = "a message may have been sent or not"

    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert notice not in html and 'class="trouble is-waiting"' in html
    Message.objects.filter(pk=message.pk).update(status=Message.Status.DELIVERED, reason="")
    for number in range(messages.PAGE // 2):
        answers(chat, f"Later {number}")

    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert notice not in html and 'class="trouble is-waiting"' not in html


def test_a_failure_long_ago_is_told_where_the_operator_reads(desk: Client, chat: Conversation) -> None:
    message = answers(chat, "Hello", status=Message.Status.FAILED, reason="wa_undeliverable")
    for number in range(12):
        answers(chat, f"Later {number}")
    create_notice(chat, "not_delivered", why_code="wa_undeliverable", message_id=message.pk)

    assert "A message was not delivered" in desk.get(f"/chats/{chat.pk}/").content.decode()


def test_a_window_that_the_provider_calls_closed_offers_a_template(desk: Client, chat: Conversation) -> None:
    error = {"code": "131047", "title": "(#131047) Re-engagement message"}
    now = timezone.now()
    failed = answers(
        chat, "Hello", status=Message.Status.FAILED, reason="wa_window_closed", details=error, status_at=now
    )
    Delivery.objects.filter(message=failed).update(state=Delivery.State.DEAD, reason="wa_window_closed")

    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    problem = html[html.index('class="trouble"><span>') :]
    problem = problem[: problem.index('class="trail"')]
    assert "Choose a template" in problem and "Resend" not in problem
    details = problem[problem.index("<details") : problem.index("</details>")]
    assert "Re-engagement message (131047)" in details and problem.count("131047") == 1

    Message.objects.filter(conversation=chat, direction="inbound").update(created_at=now + timedelta(minutes=1))
    html = desk.get(f"/chats/{chat.pk}/", headers=SCRIPT).content.decode()
    assert "Resend" in html and "Choose a template</a>" not in html


def test_times_and_days_carry_their_full_date(desk: Client, chat: Conversation) -> None:
    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    local = timezone.localtime()

    day = f'<time datetime="{local:%Y-%m-%d}" title="{local:%A}, {local.day} {local:%B %Y}">today</time>'
    assert day in html.replace("Today", "today")
    assert f'title="{local:%A}, {local.day} {local:%B %Y}, {local:%H}:' in html


def test_an_empty_list_of_waiting_chats_counts_what_was_answered_today(desk: Client, chat: Conversation) -> None:
    assert "Inbox zero" not in desk.get("/chats/?tab=waiting").content.decode()
    answers(chat, "Hello")

    html = desk.get("/chats/?tab=waiting").content.decode()
    assert "Inbox zero" in html and "1 chat answered in time today." in html
    assert "Inbox zero" not in desk.get("/chats/?tab=waiting&q=nobody").content.decode()
