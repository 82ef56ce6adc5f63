"""The table of requests: filters, order, pages, bulk changes and their undo; the report of missed windows."""

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.conversations import tickets
from bridge.desk.views import requests
from bridge.maintenance import housekeeping
from bridge.models import Conversation, Message, ServiceWindow, Ticket
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.roles import Role, assign_role
from tests.factories import ApiChannelFactory, UserFactory, boris, gleb, vera
from tests.pages import list_queries, page_html, signed_in
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
Status = Ticket.Status


def request_of(chat: Conversation) -> Ticket:
    return Ticket.objects.filter(conversation=chat).latest("pk")


def names(response: Any) -> list[str]:
    return re.findall(r'client-name"><div class="cut">(.*?)</div>', response.content.decode())


# --- the table -------------------------------------------------------------------------------------------


def test_filters_and_order(desk: Client, channel: ApiChannel) -> None:
    for name, hours in (("Скоро", 23), ("Утром", 3), ("Вчера", 30)):
        chat = client_writes(channel, name, ago=timedelta(hours=hours))
        Ticket.objects.filter(conversation=chat).update(opened_at=timezone.now() - timedelta(hours=hours))
    tickets.assign_chat(Conversation.objects.get(contact__name="Утром").pk, user_id=boris().pk)
    tickets.set_ticket_status(request_of(Conversation.objects.get(contact__name="Вчера")).pk, status=Status.CLOSED)

    def found(**asked: Any) -> list[str]:
        return names(desk.get("/requests/", asked))

    assert found() == ["Утром", "Скоро", "Вчера"]
    assert found(sort="oldest") == ["Вчера", "Скоро", "Утром"]
    assert found(sort="window") == ["Скоро", "Утром"]
    assert found(status="live") == ["Утром", "Скоро"]
    assert found(status=int(Status.CLOSED)) == ["Вчера"]
    assert found(assignee="me") == ["Утром"]
    assert found(assignee="none") == ["Скоро", "Вчера"]
    assert found(assignee=boris().pk, status="live") == ["Утром"]
    assert found(status="x", assignee="y", channel="z", sort="?", after="~") == ["Утром", "Скоро", "Вчера"]


@pytest.mark.parametrize("address", ["/requests/", "/requests/?sort=oldest", "/requests/?sort=window"])
def test_the_table_pages_without_gap_or_repeat(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(requests, "PAGE", 3)
    for number in range(8):
        client_writes(channel, f"К{number}")
    moment = timezone.now() + timedelta(hours=3)
    ServiceWindow.objects.filter(conversation__contact__name__in=["К1", "К2", "К3", "К4"]).update(expires_at=moment)
    Ticket.objects.filter(conversation__contact__name__in=["К1", "К2", "К3", "К4"]).update(opened_at=timezone.now())

    seen: list[str] = []
    while address:
        html = desk.get(address).content.decode()
        seen += re.findall(r'client-name"><div class="cut">(.*?)</div>', html)
        more = re.search(r'class="more"><a class="button" href="([^"]*)"', html)
        address = "/requests/" + more.group(1).replace("&amp;", "&") if more else ""

    assert sorted(seen) == [f"К{number}" for number in range(8)]


def test_a_request_opens_its_chat_at_its_position(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна", "Первый вопрос")
    first = request_of(chat)
    tickets.set_ticket_status(first.pk, status=Status.CLOSED)
    client_writes(channel, "Анна", "Второй вопрос")

    html = desk.get("/requests/").content.decode()
    opened = desk.get(f"/chats/{chat.pk}/?at=r{first.pk}").content.decode()

    assert f'href="/chats/{chat.pk}/?at=r{first.pk}"' in html
    assert "Первый вопрос" in opened


@pytest.mark.exhaustive
def test_the_table_has_a_constant_number_of_queries(desk: Client, channel: ApiChannel) -> None:
    addresses = ["/requests/", "/requests/?sort=window", "/requests/?status=live&assignee=me"]

    def asked() -> dict[str, int]:
        return {address: len(list_queries(desk, address)) for address in addresses}

    tickets.assign_chat(client_writes(channel, "К0").pk, user_id=boris().pk)
    few = asked()
    for number in range(1, 60):
        chat = client_writes(channel, f"К{number}")
        if number % 3:
            tickets.assign_chat(chat.pk, user_id=boris().pk)

    assert asked() == few
    assert max(few.values()) <= 16


# --- many at once ----------------------------------------------------------------------------------------


def change(desk: Client, chosen: list[Ticket], **wanted: Any) -> str:
    answer = desk.post("/requests/change/", {"ticket": [each.pk for each in chosen], "back": "status=live", **wanted})
    assert answer.status_code == 302
    return str(answer["Location"])


def undo_token(html: str) -> str:
    found = re.search(r'name="undo_token" value="([^"]+)"', html)
    assert found
    return found.group(1)


def test_many_requests_are_closed_at_once_and_restored(desk: Client, channel: ApiChannel) -> None:
    chosen = [request_of(client_writes(channel, f"К{number}")) for number in range(3)]
    tickets.set_ticket_status(chosen[2].pk, status=Status.PENDING)

    address = change(desk, chosen, status=int(Status.CLOSED))
    assert set(Ticket.objects.values_list("status", flat=True)) == {Status.CLOSED}
    assert "status=live" in address
    html = desk.get(address).content.decode()
    assert "3 requests changed." in html
    back = desk.post("/requests/undo/", {"undo_token": undo_token(html), "back": "status=live"})

    assert [Ticket.objects.get(pk=each.pk).status for each in chosen] == [Status.NEW, Status.NEW, Status.PENDING]
    assert "3 requests restored." in desk.get(back["Location"]).content.decode()


def test_many_requests_are_assigned_to_an_operator_of_the_channel(desk: Client, channel: ApiChannel) -> None:
    assert channel.default_chat_channel
    lena = UserFactory(username="lena")
    assign_role(lena, role=Role.OPERATOR, chat_channels=[channel.default_chat_channel])
    chosen = [request_of(client_writes(channel, f"К{number}")) for number in range(3)]
    tickets.set_ticket_status(chosen[2].pk, status=Status.CLOSED)

    html = desk.get(change(desk, chosen, assign="1", assignee=lena.pk)).content.decode()

    assert [Ticket.objects.get(pk=each.pk).assignee for each in chosen] == [lena, lena, None]
    assert "2 requests changed. 1 not assigned: it is closed" in html
    again = desk.get(change(desk, chosen[:2], assign="1", assignee=lena.pk)).content.decode()
    assert "Nothing to change." in again and 'name="undo_token"' not in again
    desk.post("/requests/undo/", {"undo_token": undo_token(html)})
    assert not Conversation.objects.exclude(assignee=None).exists()


def test_requests_cannot_be_assigned_without_access(desk: Client, channel: ApiChannel) -> None:
    chosen = [request_of(client_writes(channel, "Анна"))]

    change(desk, chosen, assign="1", assignee=gleb().pk)

    assert Ticket.objects.get().assignee is None


def test_requests_changed_again_are_not_undone(desk: Client, channel: ApiChannel) -> None:
    chosen = [request_of(client_writes(channel, f"К{number}")) for number in range(2)]
    token = undo_token(desk.get(change(desk, chosen, status=int(Status.SOLVED))).content.decode())
    tickets.set_ticket_status(chosen[0].pk, status=Status.SPAM)

    desk.post("/requests/undo/", {"undo_token": token})

    assert [Ticket.objects.get(pk=each.pk).status for each in chosen] == [Status.SPAM, Status.NEW]


def test_a_request_is_not_reopened_next_to_a_live_one(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    first = request_of(chat)
    tickets.set_ticket_status(first.pk, status=Status.CLOSED)
    client_writes(channel, "Анна", "Снова")

    html = desk.get(change(desk, [first], status=int(Status.OPEN))).content.decode()

    assert "1 not changed: its chat has a newer request." in html and 'name="undo_token"' not in html


def test_requests_and_undo_tokens_of_others_are_left_alone(desk: Client, channel: ApiChannel) -> None:
    elsewhere = request_of(client_writes(ApiChannelFactory(), "Чужая"))
    mine = request_of(client_writes(channel, "Моя"))
    token = undo_token(desk.get(change(desk, [mine], status=int(Status.CLOSED))).content.decode())
    stranger = Client()
    stranger.force_login(vera())

    change(desk, [elsewhere], status=int(Status.CLOSED))
    change(desk, [elsewhere], status=77)
    stranger.post("/requests/undo/", {"undo_token": token})
    desk.post("/requests/undo/", {"undo_token": "made up"})

    elsewhere.refresh_from_db()
    mine.refresh_from_db()
    assert (elsewhere.status, mine.status) == (Status.NEW, Status.CLOSED)
    assert desk.get("/requests/change/").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/requests/change/").status_code in (302, 403)


# --- missed windows --------------------------------------------------------------------------------------


@pytest.fixture
def ledger(desk: Client, channel: ApiChannel) -> None:
    """Two windows missed, one of them Boris's; one answered, one closed by hand in time, one still open."""
    missed = client_writes(channel, "Анна", ago=timedelta(hours=25))
    tickets.assign_chat(missed.pk, user_id=boris().pk)
    client_writes(channel, "=cmd|'/c calc'!A1", ago=timedelta(hours=26), phone="+79210000001")
    answered = client_writes(channel, "Отвеченная")
    reply_submission.submit_reply(conversation_id=answered.pk, text="Едет", author=boris())
    closed = client_writes(channel, "Закрытая")
    tickets.set_ticket_status(request_of(closed).pk, status=Status.CLOSED)
    late = timezone.now() - timedelta(hours=1)
    ServiceWindow.objects.filter(conversation__in=[answered, closed]).update(
        opened_at=late - timedelta(hours=24), expires_at=late
    )
    client_writes(channel, "Открытая")
    housekeeping.expire_windows()


@pytest.fixture
def supervisor(channel: ApiChannel, client: Client) -> Client:
    """The test client of a supervisor of the channel."""
    lena = UserFactory(username="lena")
    assign_role(lena, role=Role.SUPERVISOR, chat_channels=[channel.default_chat_channel])
    return signed_in(client, lena)


def test_a_window_that_closes_unanswered_is_missed(ledger: None, supervisor: Client) -> None:
    missed = ServiceWindow.objects.filter(missed=True)

    assert set(missed.values_list("conversation__contact__name", flat=True)) == {"Анна", "=cmd|'/c calc'!A1"}
    html = supervisor.get("/windows/").content.decode()
    assert re.search(r'<b class="number bad">2</b>', html) and "50\u00a0%" in html
    assert '<th scope="row">boris</th><td class="number">1</td>' in html
    assert "No assignee" in html and 'role="img"' in html
    assert "Most were missed" not in html  # two hours with one each


def test_an_operator_sees_only_their_own_missed_windows_and_no_csv(ledger: None, desk: Client) -> None:
    html = page_html(desk, "/windows/")

    assert re.search(r'<b class="number bad">1</b>', html) and "that were assigned to you" in html
    assert "No assignee" not in html and "missed.csv" not in html
    assert desk.get("/windows/missed.csv").status_code == 403


def test_a_client_who_writes_again_leaves_the_missed_window_on_record(channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна", ago=timedelta(hours=25))

    client_writes(channel, "Анна", "Ну наконец-то")

    assert list(chat.windows.order_by("expires_at").values_list("state", "missed")) == [
        ("closed", True),
        ("open", None),
    ]


def test_the_report_as_csv_contains_no_formula(ledger: None, supervisor: Client) -> None:
    answer = supervisor.get("/windows/missed.csv")

    lines = list(csv.reader(io.StringIO(b"".join(answer).decode("utf-8-sig"))))
    assert answer["Content-Type"].startswith("text/csv") and "attachment" in answer["Content-Disposition"]
    assert lines[0][:3] == ["Channel", "Operator", "Client"]
    assert [line[2] for line in lines[1:]] == ["'=cmd|'/c calc'!A1", "Анна"]
    assert lines[1][3] == "'+79210000001" and lines[2][1] == "boris"
    supervisor.cookies["django_language"] = "ru"  # where fractions take the comma, Excel takes the semicolon
    russian = b"".join(supervisor.get("/windows/missed.csv")).decode("utf-8-sig")  # type: ignore[attr-defined]
    assert [len(line) for line in csv.reader(io.StringIO(russian), delimiter=";")] == [10, 10, 10]
    assert lines[2][7].endswith(f"/chats/{Conversation.objects.get(contact__name='Анна').pk}/")


def test_the_report_shows_only_visible_channels(ledger: None, client: Client) -> None:
    assign_role(gleb(), role=Role.SUPERVISOR)
    client.force_login(gleb())

    for address in ("/windows/", "/windows/?channel=1&days=7"):
        assert "Анна" not in page_html(client, address)
    assert len(list(csv.reader(io.StringIO(b"".join(client.get("/windows/missed.csv")).decode())))) == 1
    assert Client().get("/windows/").status_code == 302


def test_the_report_has_a_constant_number_of_queries(ledger: None, desk: Client) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as captured:
            desk.get("/windows/?days=90")
        return len(captured)

    few = asked()
    channel = ApiChannel.objects.get()
    for number in range(20):
        client_writes(channel, f"К{number}", ago=timedelta(hours=25 + number))
    housekeeping.expire_windows()

    assert asked() == few <= 12


# --- data to measure with --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_demo_data_matches_data_from_real_messages(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("generate_demo_data", size=400)

    assert Conversation.objects.count() == 400
    assert 6 <= Message.objects.count() / 400 <= 14
    for chat in Conversation.objects.select_related("contact").order_by("?")[:20]:
        last = chat.messages.latest("pk")
        assert (chat.last_text, chat.last_direction) == (last.text, last.direction)
        assert chat.request_status == request_of(chat).status
        assert abs(chat.last_message_at - last.created_at) < timedelta(seconds=1)
    assert {"open", "closed"} == set(ServiceWindow.objects.values_list("state", flat=True))
    assert ServiceWindow.objects.filter(missed=True).exists()
    assert ChatChannel.objects.count() == 4 and ApiChannel.objects.filter(state="failing").count() == 1
    client.force_login(vera())
    for address in ("/chats/", "/chats/?q=Соколов", "/requests/", "/windows/"):
        assert client.get(address).status_code == 200
    with pytest.raises(CommandError, match="data set exists already"):
        call_command("generate_demo_data", size=1)
