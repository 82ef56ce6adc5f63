"""The report of reply times: first replies and closed requests, by channel and assignee."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from bridge.conversations import tickets
from bridge.desk.reply_times import measure_reply_times
from bridge.models import Conversation, Ticket
from bridge.service_window import database_now
from channels_setup.models import ApiChannel
from channels_setup.roles import Role, assign_role
from tests.factories import ApiChannelFactory, UserFactory, boris, gleb
from tests.pages import list_queries, page_html, signed_in
from tests.scenarios.sending import boris_answers, client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
Status = Ticket.Status


def add_request(
    channel: ApiChannel, name: str, *, answered: int | None = None, closed: int | None = None, days: float = 1
) -> Ticket:
    """Add a request of some days ago that was answered and closed after so many minutes."""
    chat = client_writes(channel, name)
    if answered is not None:
        boris_answers(chat)
        tickets.assign_chat(chat.pk, user_id=boris().pk)
    ticket = Ticket.objects.get(conversation=chat)
    if closed is not None:
        tickets.set_ticket_status(ticket.pk, status=Status.SOLVED)
    opened = database_now() - timedelta(days=days)
    times = {"opened_at": opened}
    if answered is not None:
        times["first_answer_at"] = opened + timedelta(minutes=answered)
    if closed is not None:
        times["closed_at"] = opened + timedelta(minutes=closed)
    Ticket.objects.filter(pk=ticket.pk).update(**times)
    return ticket


@pytest.fixture
def requests(channel: ApiChannel) -> None:
    """Three answered requests, two of them closed, and one without a reply."""
    add_request(channel, "Анна", answered=4, closed=30)
    add_request(channel, "Пётр", answered=12, closed=65)
    add_request(channel, "Вера", answered=125)
    add_request(channel, "Глеб")


@pytest.fixture
def supervisor(channel: ApiChannel, client: Client) -> Client:
    lena = UserFactory(username="lena")
    assign_role(lena, role=Role.SUPERVISOR, chat_channels=[channel.default_chat_channel])
    return signed_in(client, lena)


def test_times_are_medians_of_what_clients_began(channel: ApiChannel, requests: None) -> None:
    add_request(channel, "Старая", answered=600, days=9)
    spam = add_request(channel, "Спам")
    tickets.set_ticket_status(spam.pk, status=Status.SPAM)
    old = add_request(channel, "Сами", closed=10, days=9)
    boris_answers(old.conversation)  # our reply begins another request
    shop = old.conversation.chat_channel_id

    report = measure_reply_times(since=database_now() - timedelta(days=7), channel_ids=[shop])

    total = report.total
    assert (total.requests, total.answered, total.unanswered, total.closed) == (4, 3, 1, 2)
    assert total.first_reply == timedelta(minutes=12) and total.slow_first_reply == timedelta(minutes=125)
    assert total.closing == timedelta(minutes=30)
    assert [(line.key, line.requests) for line in report.by_channel] == [(shop, 4)]
    assert {line.key: line.requests for line in report.by_operator} == {boris().pk: 3, None: 1}
    assert measure_reply_times(since=database_now(), channel_ids=[]).total.requests == 0


def test_a_supervisor_sees_everybody_and_an_operator_the_own_times(
    channel: ApiChannel, requests: None, supervisor: Client
) -> None:
    html = page_html(supervisor, "/windows/replies/?days=7")
    figures = [text.replace("\u00a0", " ") for text in re.findall(r'<b class="number">(.*?)</b>', html)]
    assert figures == ["12 min", "2 h 5 min", "30 min", "4", "1", "2"]
    assert "No assignee" in html and '<th scope="row">boris</th><td class="number">3</td>' in html
    assert 'href="/windows/?days=7"' in html and 'href="/windows/replies/?days=30"' in page_html(
        supervisor, "/windows/"
    )

    own = page_html(signed_in(Client(), boris()), "/windows/replies/")
    assert "that are assigned to you" in own and "No assignee" not in own and "By assignee" not in own
    assert re.findall(r'<b class="number">(.*?)</b>', own)[3:5] == ["3", "0"]


def test_reply_times_show_only_visible_channels(channel: ApiChannel, requests: None, client: Client) -> None:
    assign_role(gleb(), role=Role.SUPERVISOR, chat_channels=[ApiChannelFactory().default_chat_channel])
    html = page_html(signed_in(client, gleb()), f"/windows/replies/?channel={channel.default_chat_channel.pk}")

    assert "opened no requests in this period" in html
    assert Client().get("/windows/replies/").status_code == 302


def test_reply_times_cost_a_constant_number_of_queries(channel: ApiChannel, requests: None, supervisor: Client) -> None:
    few = len(list_queries(supervisor, "/windows/replies/"))
    for number in range(10):
        chat = client_writes(channel, f"К{number}")
        Conversation.objects.filter(pk=chat.pk).update(assignee=UserFactory())
        Ticket.objects.filter(conversation=chat).update(assignee=UserFactory())

    assert len(list_queries(supervisor, "/windows/replies/")) == few <= 12
