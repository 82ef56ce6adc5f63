"""The desk: the pages Chats and Requests, who may see them, and the actions there."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from django.views.defaults import server_error

from bridge.conversations import tickets
from bridge.desk.chat_list import listing
from bridge.desk.live import versions
from bridge.models import Attempt, Contact, Conversation, Delivery, Draft, Message, ServiceWindow, Ticket
from bridge.outbox import resend, settling
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel, ChannelState
from tests.factories import ApiChannelFactory, ChatChannelFactory, UserFactory, boris, gleb, vera
from tests.pages import SCRIPT, list_queries, page_html, signed_in
from tests.scenarios.sending import client_writes, move_windows_back

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Анна Соколова", "Где мой заказ?")


@pytest.fixture
def desk(chat: Conversation, client: Client) -> Client:
    """Boris, who answers the chats of Anna's channel, before his desk."""
    return signed_in(client, boris(chat.chat_channel))


def answers(chat: Conversation, text: str = "Едет", **status: Any) -> Message:
    message = reply_submission.submit_reply(conversation_id=chat.pk, text=text, author=boris(chat.chat_channel)).message
    assert message
    Message.objects.filter(pk=message.pk).update(**status)
    message.refresh_from_db()
    return message


def names(response: Any) -> list[str]:
    return re.findall(r'<b class="cut">(.*?)</b>', response.content.decode())


# --- who may see what ------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/chats/", "/chats/1/", "/chats/updates/", "/requests/"])
def test_the_desk_asks_for_a_login(client: Client, address: str) -> None:
    response = client.get(address)

    assert response.status_code == 302 and response["Location"].startswith("/login/")


def test_an_operator_without_channels_sees_an_empty_desk(chat: Conversation, client: Client) -> None:
    signed_in(client, gleb())

    assert "Анна" not in page_html(client, "/chats/")
    assert "Анна" not in page_html(client, "/requests/")
    assert client.get(f"/chats/{chat.pk}/").status_code == 404
    assert client.get(f"/chats/updates/?chat={chat.pk}").status_code == 404


def test_no_action_is_possible_without_access_to_the_chat(chat: Conversation, client: Client) -> None:
    message = answers(chat)
    signed_in(client, gleb())

    for what in (
        "send",
        "draft",
        "seen",
        "assign",
        "request",
        f"messages/{message.pk}/again",
        f"messages/{message.pk}/leave",
    ):
        assert client.post(f"/chats/{chat.pk}/{what}/", {"text": "Я Глеб"}).status_code == 404
    assert client.get(f"/chats/{chat.pk}/messages/{message.pk}/trail/").status_code == 404
    assert not Message.objects.filter(text="Я Глеб").exists() and not Draft.objects.exists()


def test_a_message_is_only_reached_through_its_own_chat(desk: Client, chat: Conversation) -> None:
    elsewhere = answers(client_writes(ApiChannelFactory(), "Игорь"))

    assert desk.get(f"/chats/{chat.pk}/messages/{elsewhere.pk}/trail/").status_code == 404


def test_an_admin_sees_every_channel(chat: Conversation, client: Client) -> None:
    client_writes(ApiChannelFactory(), "Игорь Панин")
    signed_in(client, vera())

    assert set(names(client.get("/chats/"))) == {"Анна Соколова", "Игорь Панин"}


def test_changes_need_a_post_and_a_csrf_token(desk: Client, chat: Conversation) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(boris())

    for what in ("send", "draft", "seen", "assign", "request"):
        assert desk.get(f"/chats/{chat.pk}/{what}/").status_code == 405
        assert strict.post(f"/chats/{chat.pk}/{what}/", {"text": "?"}).status_code == 403


# --- the list --------------------------------------------------------------------------------------------


def test_chats_are_grouped_by_what_their_window_allows(desk: Client, channel: ApiChannel) -> None:
    client_writes(channel, "Скоро", ago=timedelta(hours=21))
    client_writes(channel, "Вот-вот", ago=timedelta(hours=23, minutes=30))
    client_writes(channel, "Поздно", ago=timedelta(hours=25))

    page = desk.get("/chats/")

    assert names(page) == ["Вот-вот", "Скоро", "Анна Соколова", "Поздно"]
    html = page.content.decode()
    for words in ("Window closing soon", "Needs reply", "Closed: template only", "29\u00a0min", "2\u00a0h 59\u00a0min"):
        assert words in html
    assert set(re.findall(r'class="ring (\w+)', html)) == {"critical", "warning", "ok", "closed"}


def test_tabs_narrow_the_list(desk: Client, chat: Conversation, channel: ApiChannel) -> None:
    mine = client_writes(channel, "Моя")
    tickets.assign_chat(mine.pk, user_id=boris().pk)
    answered = client_writes(channel, "Отвеченная")
    answers(answered)

    assert set(names(desk.get("/chats/?tab=waiting"))) == {"Анна Соколова", "Моя"}
    assert set(names(desk.get("/chats/?tab=mine"))) == {"Моя"}
    assert set(names(desk.get("/chats/?tab=unassigned"))) == {"Анна Соколова", "Отвеченная"}
    assert len(names(desk.get("/chats/?tab=nonsense"))) == 3


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("mine", "No chats are assigned to you."),
        ("unassigned", "No unassigned chats."),
        ("mentioned", "No notes mention you."),
        ("snoozed", "No chats are snoozed."),
    ],
)
def test_an_empty_tab_says_what_it_lists(client: Client, channel: ApiChannel, tab: str, words: str) -> None:
    desk = signed_in(client, boris(channel.default_chat_channel))

    assert words in page_html(desk, f"/chats/?tab={tab}")
    assert "No chats match the filter." in page_html(desk, f"/chats/?tab={tab}&tag=нет")


def test_a_closed_request_needs_no_reply(desk: Client, chat: Conversation) -> None:
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED)

    assert names(desk.get("/chats/?tab=waiting")) == []
    assert names(desk.get("/chats/")) == ["Анна Соколова"]


def test_search_finds_by_name_and_by_the_digits_of_a_phone(desk: Client, channel: ApiChannel) -> None:
    client_writes(channel, "Игорь Панин")
    Contact.objects.filter(name="Игорь Панин").update(phone="79217774012")

    assert names(desk.get("/chats/", {"q": "панин"})) == ["Игорь Панин"]
    assert names(desk.get("/chats/", {"q": "777-40"})) == ["Игорь Панин"]
    assert names(desk.get("/chats/", {"q": "Никого"})) == []


def test_the_list_pages_through_all_groups_without_gap_or_repeat(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    hours = [1, 2, 3, 21, 22, 23, 30, 31, 32, 33]
    for number, ago in enumerate(hours):
        client_writes(channel, f"К{number}", ago=timedelta(hours=ago))

    seen: list[str] = []
    address = "/chats/"
    while address:
        html = desk.get(address).content.decode()
        seen += re.findall(r'<b class="cut">(.*?)</b>', html)
        more = re.search(r'href="(/chats/\?[^"]*)" data-more', html)
        address = more.group(1).replace("&amp;", "&") if more else ""

    assert len(seen) == len(set(seen)) == len(hours) + 1
    assert seen[:3] == ["К5", "К4", "К3"]


@pytest.mark.parametrize("cursor", ["x", "open~x~1", "open~2026-01-01~1", "open~2026-01-01T00:00:00+00:00~9x", "~~"])
def test_a_made_up_cursor_gives_the_first_page(desk: Client, cursor: str) -> None:
    assert names(desk.get("/chats/", {"after": cursor})) == ["Анна Соколова"]


@pytest.mark.exhaustive
def test_a_thousand_chats_cost_the_queries_of_one(desk: Client, chat: Conversation, channel: ApiChannel) -> None:
    answers(chat, status=Message.Status.FAILED)
    addresses = ["/chats/", f"/chats/{chat.pk}/", "/requests/"]
    for address in addresses:
        desk.get(address)
    few = [len(list_queries(desk, address)) for address in addresses]
    for number in range(30):
        other = client_writes(channel, f"К{number}", ago=timedelta(hours=number))
        if number < 20:
            answers(other)
    for number in range(30):
        answers(chat, f"Ответ {number}", status=Message.Status.FAILED if number % 2 else Message.Status.READ)

    assert [len(list_queries(desk, address)) for address in addresses] == few
    assert [asked for asked, most in zip(few, (18, 46, 17), strict=True) if asked > most] == [], few


def test_an_idle_poll_has_few_queries_and_no_body(desk: Client, chat: Conversation) -> None:
    desk.post(f"/chats/{chat.pk}/seen/")
    first = desk.get(f"/chats/updates/?chat={chat.pk}").json()
    address = f"/chats/updates/?chat={chat.pk}&list={first['list']['version']}&thread={first['thread']['version']}"

    with CaptureQueriesContext(connection) as captured:
        answer = desk.get(address, headers={"Okno-Poll-Token": first["poll_token"]})

    assert answer.status_code == 204 and not answer.content
    assert len(captured) == 1


# --- the thread ------------------------------------------------------------------------------------------


def test_a_chat_shows_both_sides_with_ticks_authors_and_days(desk: Client, chat: Conversation) -> None:
    answers(chat, "Едет", status=Message.Status.READ)

    html = desk.get(f"/chats/{chat.pk}/").content.decode()

    assert "Где мой заказ?" in html and "Едет" in html
    assert 'class="ticks read"' in html and ">boris<" in html and ">today<" in html


def test_opening_a_chat_reads_it(desk: Client, chat: Conversation) -> None:
    assert chat.unread == 1

    desk.get(f"/chats/{chat.pk}/")

    chat.refresh_from_db()
    assert chat.unread == 0


def test_a_message_in_an_open_chat_is_marked_read_by_post(desk: Client, chat: Conversation) -> None:
    assert desk.post(f"/chats/{chat.pk}/seen/").status_code == 204

    chat.refresh_from_db()
    assert chat.unread == 0


def test_a_poll_brings_a_new_message_and_then_nothing(desk: Client, chat: Conversation, channel: ApiChannel) -> None:
    first = desk.get(f"/chats/updates/?chat={chat.pk}").json()
    known = f"/chats/updates/?chat={chat.pk}&list={first['list']['version']}&thread={first['thread']['version']}"
    client_writes(channel, "Анна Соколова", "Ау!")

    news = desk.get(known).json()

    assert "Ау!" in news["thread"]["messages"] and "Ау!" in news["list"]["rows"]
    assert news["thread"]["version"] != first["thread"]["version"]


def test_polls_report_unread_until_the_chat_is_read(desk: Client, chat: Conversation, channel: ApiChannel) -> None:
    client_writes(channel, "Анна Соколова", "Ау!")
    first = desk.get(f"/chats/updates/?chat={chat.pk}").json()
    known = f"/chats/updates/?chat={chat.pk}&list={first['list']['version']}&thread={first['thread']['version']}"
    desk.defaults["HTTP_OKNO_POLL_TOKEN"] = first["poll_token"]

    assert desk.get(known).json()["unread"] == 2
    desk.post(f"/chats/{chat.pk}/seen/")

    desk.defaults["HTTP_OKNO_POLL_TOKEN"] = ""
    assert "unread" not in desk.get(known).json()


@pytest.mark.parametrize(
    "change",
    [
        {"status": Message.Status.DELIVERED},
        {"status": Message.Status.FAILED, "reason": "rejected"},
    ],
)
def test_a_poll_brings_a_changed_status(desk: Client, chat: Conversation, change: dict[str, Any]) -> None:
    message = answers(chat)
    first = desk.get(f"/chats/updates/?chat={chat.pk}").json()
    Message.objects.filter(pk=message.pk).update(**change)

    news = desk.get(f"/chats/updates/?chat={chat.pk}&thread={first['thread']['version']}").json()

    assert f'class="ticks {change["status"]}"' in news["thread"]["messages"]


def test_a_poll_brings_the_closed_window(desk: Client, chat: Conversation) -> None:
    first = desk.get(f"/chats/updates/?chat={chat.pk}").json()
    ServiceWindow.objects.update(opened_at=F("opened_at") - timedelta(hours=25), expires_at=timezone.now())

    news = desk.get(f"/chats/updates/?chat={chat.pk}&thread={first['thread']['version']}").json()

    assert "only an approved template can be sent" in news["thread"]["composer_notices"]
    assert 'class="pill closed"' in news["thread"]["chat_header"]


def test_a_closed_request_is_marked_before_the_next_one(desk: Client, chat: Conversation, channel: ApiChannel) -> None:
    first = Ticket.objects.get()
    tickets.set_ticket_status(first.pk, status=Ticket.Status.CLOSED)
    client_writes(channel, "Анна Соколова", "И ещё вопрос")

    html = desk.get(f"/chats/{chat.pk}/").content.decode().split('id="messages"')[1].split("</ol>")[0]

    ended, begun = (
        html.index(f"Request № {first.pk}: closed"),
        html.index(f'data-key="start-{Ticket.objects.last().pk}"'),
    )
    assert html.index("Где мой заказ?") < ended < begun < html.index("И ещё вопрос")


def test_earlier_messages_are_a_separate_page(desk: Client, chat: Conversation) -> None:
    for number in range(60):
        answers(chat, f"Ответ {number}.")

    newest = desk.get(f"/chats/{chat.pk}/").content.decode()
    before = re.search(r"\?before=(\d+)", newest)
    assert before
    earlier = desk.get(f"/chats/{chat.pk}/?before={before.group(1)}").content.decode()

    assert "Ответ 59." in newest and "Ответ 9." not in newest
    assert "Ответ 9." in earlier and "Где мой заказ?" in earlier and "Ответ 10." not in earlier


def test_files_are_links_and_only_stored_images_are_shown(desk: Client, chat: Conversation) -> None:
    message = Message.objects.get()
    message.attachments.create(url="javascript:alert(1)", name="злое")
    message.attachments.create(url="https://example.com/a.jpg", name="фото", mime="image/jpeg")
    picture = message.attachments.create(file="inbound/a.png", name="наше", mime="image/png")

    html = desk.get(f"/chats/{chat.pk}/").content.decode()

    assert "javascript:" not in html and "злое" in html
    assert 'href="https://example.com/a.jpg"' in html and 'src="https://example.com' not in html
    assert f'src="/files/{picture.pk}/"' in html


# --- answering -------------------------------------------------------------------------------------------


def test_a_reply_is_sent_and_the_form_is_empty(desk: Client, chat: Conversation) -> None:
    response = desk.post(f"/chats/{chat.pk}/send/", {"text": "Едет к вам\r\nс утра"})

    assert response.status_code == 302 and response["Location"] == f"/chats/{chat.pk}/"
    assert Message.objects.last().text == "Едет к вам\nс утра"
    assert Message.objects.last().author == boris()


def test_a_script_gets_the_decision_as_json(desk: Client, chat: Conversation) -> None:
    assert desk.post(f"/chats/{chat.pk}/send/", {"text": "Едет"}, headers=SCRIPT).json() == {
        "sent": True,
        "sentence": "",
    }


def test_one_form_posted_twice_sends_once(desk: Client, chat: Conversation) -> None:
    form = {"text": "Едет", "key": "abcdefgh1234"}

    first = desk.post(f"/chats/{chat.pk}/send/", form, headers=SCRIPT).json()
    again = desk.post(f"/chats/{chat.pk}/send/", form, headers=SCRIPT).json()
    plain = desk.post(f"/chats/{chat.pk}/send/", form)

    assert first == again == {"sent": True, "sentence": ""}
    assert plain.status_code == 302
    assert Message.objects.filter(text="Едет").count() == 1


def test_different_text_chat_or_no_key_is_another_message(
    desk: Client, chat: Conversation, channel: ApiChannel
) -> None:
    other = client_writes(channel, "Игорь Панин")
    for address, form in (
        (chat.pk, {"text": "Да", "key": "abcdefgh1234"}),
        (chat.pk, {"text": "Да, едет", "key": "abcdefgh1234"}),
        (other.pk, {"text": "Да", "key": "abcdefgh1234"}),
        (chat.pk, {"text": "Да"}),
        (chat.pk, {"text": "Да"}),
        (chat.pk, {"text": "Да", "key": "не ключ"}),
    ):
        assert desk.post(f"/chats/{address}/send/", form, headers=SCRIPT).json()["sent"]

    assert Message.objects.filter(direction="outbound").count() == 6


def test_the_page_gives_its_form_a_key(desk: Client, chat: Conversation) -> None:
    keys = {re.search(r'name="key" value="([\w-]{8,})"', desk.get(f"/chats/{chat.pk}/").content.decode()) for _ in "12"}

    assert all(keys) and len({found.group(1) for found in keys if found}) == 2


def test_a_refused_reply_says_why_and_keeps_the_text(desk: Client, chat: Conversation) -> None:
    ServiceWindow.objects.update(opened_at=F("opened_at") - timedelta(hours=25), expires_at=timezone.now())

    plain = desk.post(f"/chats/{chat.pk}/send/", {"text": "Уже едет!"})
    script = desk.post(f"/chats/{chat.pk}/send/", {"text": "Уже едет!"}, headers=SCRIPT).json()

    assert plain.status_code == 422
    assert "The 24-hour window is closed" in plain.content.decode() and "Уже едет!</textarea>" in plain.content.decode()
    assert script["sent"] is False and "The 24-hour window is closed" in script["sentence"]
    assert Draft.objects.get().text == "Уже едет!"
    assert not Message.objects.filter(direction=Message.Direction.OUTBOUND).exists()
    later = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert "Уже едет!</textarea>" in later and "The 24-hour window is closed" in later


def test_an_empty_answer_is_refused_with_a_sentence(desk: Client, chat: Conversation) -> None:
    response = desk.post(f"/chats/{chat.pk}/send/", {"text": "  "})

    assert response.status_code == 422 and "The text is empty" in response.content.decode()


def test_each_operator_has_a_separate_draft(desk: Client, chat: Conversation) -> None:
    desk.post(f"/chats/{chat.pk}/draft/", {"text": "Недописа"})

    assert "Недописа</textarea>" in desk.get(f"/chats/{chat.pk}/").content.decode()
    other = signed_in(Client(), vera())
    assert "Недописа" not in page_html(other, f"/chats/{chat.pk}/")
    desk.post(f"/chats/{chat.pk}/draft/", {"text": ""})
    assert not Draft.objects.exists()


def test_a_nul_in_the_text_is_no_error(desk: Client, chat: Conversation) -> None:
    assert desk.post(f"/chats/{chat.pk}/send/", {"text": "а\0б"}).status_code == 302
    assert desk.post(f"/chats/{chat.pk}/draft/", {"text": "а\0б"}).status_code == 204
    assert desk.get("/chats/", {"q": "а\0б"}).status_code == 200


# --- assigning, requests, sending again ------------------------------------------------------------------


def test_a_chat_is_assigned_to_an_operator_or_to_nobody(desk: Client, chat: Conversation) -> None:
    desk.post(f"/chats/{chat.pk}/assign/", {"user": boris().pk}, headers=SCRIPT)
    chat.refresh_from_db()
    assert chat.assignee == boris() and Ticket.objects.get().assignee == boris()

    desk.post(f"/chats/{chat.pk}/assign/", {"user": ""})
    chat.refresh_from_db()
    assert chat.assignee is None


def test_a_chat_cannot_be_assigned_without_access(desk: Client, chat: Conversation) -> None:
    for stranger in (gleb().pk, UserFactory().pk, 10**9, "x"):
        response = desk.post(f"/chats/{chat.pk}/assign/", {"user": stranger}, headers=SCRIPT)

        assert response.status_code == 422 and "not an operator" in response.json()["sentence"]
    chat.refresh_from_db()
    assert chat.assignee is None


def test_a_request_is_closed_and_opened_again(desk: Client, chat: Conversation) -> None:
    ticket = Ticket.objects.get()

    desk.post(f"/chats/{chat.pk}/request/", {"ticket": ticket.pk, "status": Ticket.Status.CLOSED})
    ticket.refresh_from_db()
    assert ticket.status == Ticket.Status.CLOSED
    desk.post(f"/chats/{chat.pk}/request/", {"ticket": ticket.pk, "status": Ticket.Status.OPEN})
    ticket.refresh_from_db()
    assert ticket.status == Ticket.Status.OPEN


def test_an_earlier_request_cannot_reopen_while_another_is_live(
    desk: Client, chat: Conversation, channel: ApiChannel
) -> None:
    first = Ticket.objects.get()
    tickets.set_ticket_status(first.pk, status=Ticket.Status.CLOSED)
    client_writes(channel, "Анна Соколова", "Снова я")

    response = desk.post(f"/chats/{chat.pk}/request/", {"ticket": first.pk, "status": Ticket.Status.OPEN})

    assert response.status_code == 422 and "already open" in response.content.decode()


@pytest.mark.parametrize("status", ["", "x", "77", "-1"])
def test_an_unknown_status_is_refused_with_a_sentence(desk: Client, chat: Conversation, status: str) -> None:
    response = desk.post(
        f"/chats/{chat.pk}/request/", {"ticket": Ticket.objects.get().pk, "status": status}, headers=SCRIPT
    )

    assert response.status_code == 422


def test_a_failed_message_can_be_resent(desk: Client, chat: Conversation) -> None:
    message = answers(chat, status=Message.Status.FAILED, reason="retries_exhausted")
    Delivery.objects.update(state=Delivery.State.DEAD)

    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    response = desk.post(f"/chats/{chat.pk}/messages/{message.pk}/resend/", headers=SCRIPT)

    assert "All attempts failed" in html and "Resend" in html
    assert response.status_code == 204
    message.refresh_from_db()
    assert message.status == Message.Status.PENDING and Delivery.objects.get().state == Delivery.State.PENDING
    again = desk.post(f"/chats/{chat.pk}/messages/{message.pk}/resend/", headers=SCRIPT)
    assert again.status_code == 422 and "already on its way" in again.json()["sentence"]


def test_an_unknown_outcome_is_left_to_the_operator(desk: Client, chat: Conversation) -> None:
    message = answers(chat)
    token = uuid.uuid4()
    Delivery.objects.update(state=Delivery.State.SENDING, lease_token=token, attempts=1)
    settling.mark_delivery_unknown(Delivery.objects.get(), token)

    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert "may have been sent or not" not in html  # the message says it
    assert "Resend" in html and "Leave it as it is" in html
    response = desk.post(f"/chats/{chat.pk}/messages/{message.pk}/accept-unknown/", headers=SCRIPT)

    assert response.status_code == 204
    message.refresh_from_db()
    assert (message.status, message.reason) == ("unknown", "left_as_is")
    assert Delivery.objects.get().state == "cancelled"
    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert "was left as it is" in html and "Leave it as it is" not in html
    assert "left as it is by" in desk.get(f"/chats/{chat.pk}/messages/{message.pk}/trail/").content.decode()
    repeated = desk.post(f"/chats/{chat.pk}/messages/{message.pk}/accept-unknown/", headers=SCRIPT)
    assert repeated.status_code == 422 and "already been resolved" in repeated.json()["sentence"]


def test_a_refused_text_offers_a_template_until_the_window_reopens(
    desk: Client, chat: Conversation, channel: ApiChannel
) -> None:
    message = answers(chat)
    move_windows_back(timedelta(days=1))
    settling.cancel_delivery(Delivery.objects.get().pk, reason="window_closed_before_sending")
    again = f"/chats/{chat.pk}/messages/{message.pk}/resend/"

    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert "data-choose-template" in html and again not in html

    client_writes(channel, "Анна Соколова", "Вы тут?")
    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert again in html and "data-choose-template" not in html


def test_the_trail_separates_the_resends_of_a_message(desk: Client, chat: Conversation) -> None:
    message = answers(chat, status=Message.Status.FAILED, reason="retries_exhausted")
    delivery = Delivery.objects.get()
    for number in (1, 2):
        Attempt.objects.create(
            delivery=delivery, number=number, started_at=timezone.now(), duration_ms=9, verdict="retry"
        )
        Delivery.objects.update(state=Delivery.State.DEAD, attempts=number)
        resend.resend_deliveries(delivery.pk, by=boris(chat.chat_channel))

    html = desk.get(f"/chats/{chat.pk}/messages/{message.pk}/trail/").content.decode()

    assert re.findall(r"Attempt \d|resent by boris", html) == [
        "Attempt 1",
        "resent by boris",
        "Attempt 2",
        "resent by boris",
    ]


def test_the_trail_shows_reasons_attempts_and_the_next_attempt(desk: Client, chat: Conversation) -> None:
    message = answers(chat)
    delivery = Delivery.objects.get()
    Attempt.objects.create(
        delivery=delivery,
        number=1,
        started_at=timezone.now(),
        duration_ms=1240,
        http_status=503,
        verdict="retry",
        reason="destination_error",
        answer="<h1>Bad gateway</h1>",
    )
    Delivery.objects.update(attempts=1, next_attempt_at=timezone.now() + timedelta(seconds=90))

    html = desk.get(f"/chats/{chat.pk}/messages/{message.pk}/trail/", headers=SCRIPT).content.decode()

    for words in (
        "The window was open until",
        "plain text",
        "response 503 in 1.2",
        "We will try again",
        "Next attempt in 1",
    ):
        assert words in html
    assert "&lt;h1&gt;Bad gateway" in html
    assert '<li class="here" aria-current="step">attempt 1</li>' in html


@pytest.mark.parametrize("status", Message.Status.values[1:])
def test_every_status_has_a_delivery_trail(desk: Client, chat: Conversation, status: str) -> None:
    message = answers(
        chat, status=status, reason="retries_exhausted" if status == "failed" else "", status_at=timezone.now()
    )

    html = desk.get(f"/chats/{chat.pk}/messages/{message.pk}/trail/").content.decode()

    assert html.count("<li class=") >= 5


# --- requests --------------------------------------------------------------------------------------------


def test_requests_are_listed_newest_first_with_links_to_chats(
    desk: Client, chat: Conversation, channel: ApiChannel
) -> None:
    other = client_writes(channel, "Игорь", "Счёт")

    html = desk.get("/requests/").content.decode()

    assert html.index("Счёт") < html.index("Где мой заказ?")
    assert f'href="/chats/{chat.pk}/?at=r' in html and f'href="/chats/{other.pk}/?at=r' in html


def test_requests_are_filtered_by_status_and_channel(desk: Client, chat: Conversation) -> None:
    elsewhere = ApiChannelFactory(watched=ChatChannelFactory())
    client_writes(elsewhere, "Чужая", "Из другого канала")
    closed = Ticket.objects.get(conversation=chat)
    tickets.set_ticket_status(closed.pk, status=Ticket.Status.CLOSED)

    assert "Где мой заказ?" not in page_html(desk, "/requests/?status=live")
    assert "Где мой заказ?" in desk.get(f"/requests/?status={Ticket.Status.CLOSED}").content.decode()
    assert "Где мой заказ?" in desk.get(f"/requests/?channel={chat.chat_channel_id}").content.decode()
    for status in ("", "live"):
        foreign = page_html(desk, f"/requests/?status={status}&channel={elsewhere.default_chat_channel.pk}")
        assert "Из другого канала" not in foreign


def test_requests_page_by_keyset(desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.desk.views.requests.PAGE", 2)
    for number in range(4):
        client_writes(channel, f"К{number}", f"Тема {number}.")

    seen: list[str] = []
    address = "/requests/"
    while address:
        html = desk.get(address).content.decode()
        seen += re.findall(r"Тема \d|Где мой", html)
        more = re.search(r'href="(\?[^"]*after=[^"]*)"', html)
        address = "/requests/" + more.group(1).replace("&amp;", "&") if more else ""

    assert seen == ["Тема 3", "Тема 2", "Тема 1", "Тема 0", "Где мой"]


# --- coming in, and what clients write -------------------------------------------------------------------


def test_a_wrong_password_is_explained_and_the_sixth_attempt_locks(client: Client) -> None:
    UserFactory(username="boris")
    words = {"username": "boris", "password": "не тот"}

    first = client.post("/login/", words, headers={"accept-language": "en"})
    for _ in range(5):
        last = client.post("/login/", words, headers={"accept-language": "en"})

    assert first.status_code == 200 and "Wrong name or password" in first.content.decode()
    assert last.status_code == 429 and "15 minutes" in last.content.decode()


def test_a_user_signs_in_and_out(client: Client) -> None:
    user = boris(ChatChannelFactory())

    response = client.post("/login/", {"username": user.username, "password": "korabl-i-more-7", "next": "/chats/"})
    assert response.status_code == 302 and response["Location"] == "/chats/"
    assert client.get("/chats/").status_code == 200
    client.post("/logout/")
    assert client.get("/chats/").status_code == 302


def test_the_pages_allow_no_inline_script_or_style(desk: Client, chat: Conversation) -> None:
    for address in ("/chats/", f"/chats/{chat.pk}/", "/requests/"):
        response = desk.get(address)
        html = response.content.decode()

        assert "unsafe" not in response["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*(src=|application/json))|\sstyle=|\son[a-z]+=", html)


def test_client_text_never_becomes_markup(desk: Client, channel: ApiChannel) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    chat = client_writes(channel, evil, f"{evil} *{evil}* https://example.com/{evil}")

    for address in ("/chats/", f"/chats/{chat.pk}/", "/requests/"):
        html = page_html(desk, address)
        assert "&lt;script&gt;alert(1)" in html and "&lt;img src=x" in html
        assert "<script>alert" not in html and "<img src=x" not in html


def test_errors_are_shown_in_the_portals_own_words(desk: Client) -> None:
    nothing = desk.get("/no/such/page/")
    strict = Client(enforce_csrf_checks=True, headers={"Accept-Language": "en"})
    old = strict.post("/login/", {"username": "boris"})
    with translation.override("en"):
        stumbled = server_error(RequestFactory().get("/"))

    assert (nothing.status_code, old.status_code, stumbled.status_code) == (404, 403, 500)
    assert "Go to chats" in nothing.content.decode()
    assert "Nothing was changed" in old.content.decode()
    assert "it has been logged" in stumbled.content.decode()


def test_a_paused_channel_says_so_before_and_after_sending(desk: Client, chat: Conversation) -> None:
    before = versions.thread_version(chat.pk)
    ApiChannel.objects.update(state=ChannelState.PAUSED)
    assert versions.thread_version(chat.pk) != before  # open pages of the chat notice the change
    message = reply_submission.submit_reply(conversation_id=chat.pk, text="Едет", author=boris()).message

    assert message
    assert "The channel is paused. Your messages are sent" in desk.get(f"/chats/{chat.pk}/").content.decode()
    why = desk.get(f"/chats/{chat.pk}/messages/{message.pk}/trail/", headers=SCRIPT).content.decode()
    assert "The channel is paused. The message is sent" in why and "one after another" not in why
