"""The chat list: search, filters, order and pages, and the cheap poll that keeps the list current."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.conversations import tickets
from bridge.desk import tags
from bridge.desk.chat_list import listing, search, search_excerpts
from bridge.models import Contact, ContactNote, Conversation, ConversationNote, ServiceWindow, Ticket
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, boris, gleb, operator, vera
from tests.pages import list_queries, page_html
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


def names(response: Any) -> list[str]:
    return re.findall(r'<b class="cut">(.*?)</b>', response.content.decode())


def pages(desk: Client, address: str) -> Iterator[list[str]]:
    """Every page of a list, as one scrolls through it."""
    while address:
        html = desk.get(address).content.decode()
        yield re.findall(r'<b class="cut">(.*?)</b>', html)
        more = re.search(r'href="(/chats/\?[^"]*)" data-more', html)
        address = more.group(1).replace("&amp;", "&") if more else ""


# --- search ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("сапог", ["Анна Соколова"]),  # said: «Сапоги приехали?»
        ("приехать сапог", ["Анна Соколова"]),  # the same words in other forms
        ("уехать сапоги", []),
        ("сапоги приехали", ["Анна Соколова"]),
        ("delivery", ["John Snow"]),  # said: "Where are my deliveries?"
        ("счет", ["Игорь Панин"]),  # said: «Счёт не пришёл»
        ("ПАН", ["Игорь Панин"]),
        ("игорь пан", ["Игорь Панин"]),
        ("777-40", ["Игорь Панин"]),
        ("+7 921 777 40 12", ["Игорь Панин"]),
        ("12", []),
        ("4012", ["Игорь Панин"]),
        ("петр", ["Пётр Ёлкин"]),
        ("елкин", ["Пётр Ёлкин"]),
        ("Никого", []),
        ("' & | !( :*", []),
        ("%_\\", []),
    ],
)
def test_search_finds_by_name_phone_and_message_text(
    desk: Client, channel: ApiChannel, query: str, found: list[str]
) -> None:
    client_writes(channel, "Анна Соколова", "Добрый день! Сапоги приехали?", phone="79210000001")
    client_writes(channel, "John Snow", "Where are my deliveries?", phone="447700900000")
    client_writes(channel, "Игорь Панин", "Счёт не пришёл", phone="79217774012")
    client_writes(channel, "Пётр Ёлкин", "!", phone="")

    assert names(desk.get("/chats/", {"q": query})) == found


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Сапоги «Нева» есть?", "нева"),
        ("Сапоги «Нева» есть?", "сапоги «нева»"),
        ("А заказ…", "заказ"),
        ("спасибо👍🏽", "спасибо"),
        ("❤️Спасибо!", "«спасибо»"),
        ("№4417—срочно", "4417"),
        ("№4417—срочно", "срочно №4417"),
        ("диван-кровать/кресло", "кровать"),
        ("диван-кровать/кресло", "диван-кровать"),
        ("invoice_2024.pdf", "invoice"),
        ("на сайте shop.example.com/sale", "sale"),
        ("пишите на anna@shop.example", "anna@shop.example"),
        ("за́мок закрыт", "замок"),
        ("замок закрыт", "за́мок"),
        ("чаи\u0306 заказ", "чай"),  # й of two code points, as macOS writes it
        ("ＷＨＡＴＳＡＰＰ　２０２６", "whatsapp"),
        ("ﬁnal price", "final"),
        ("“цена”‘вопроса’", "вопроса"),
        ("Ёлка\u200bживая", "живая"),
        ("пункт•второй", "второй"),
        ("(срочно)", "срочно"),
    ],
)
def test_search_finds_words_beside_any_character(desk: Client, channel: ApiChannel, text: str, query: str) -> None:
    client_writes(channel, "Анна", text)
    client_writes(channel, "Игорь", "Другое")

    assert names(desk.get("/chats/", {"q": query})) == ["Анна"]


def test_search_finds_names_beside_any_character(desk: Client, channel: ApiChannel) -> None:
    client_writes(channel, "👑Мария🌸«Нева»")

    assert len(names(desk.get("/chats/", {"q": "мария нева"}))) == 1


def test_search_finds_requests_tags_notes_and_emails_and_says_where(channel: ApiChannel, desk: Client) -> None:
    chat = client_writes(channel, "Анна", "Где заказ?")
    client_writes(channel, "Игорь", "Другое")
    foreign = client_writes(ApiChannelFactory(), "Чужая", "Где заказ?")
    ticket = Ticket.objects.get(conversation=chat)
    for owner in (chat, foreign):
        Ticket.objects.filter(conversation=owner).update(tags=["VIP"], additional_id=f"ORD-{owner.pk}", external_id=977)
        Contact.objects.filter(pk=owner.contact_id).update(tags=["опт"], email="Anna@Shop.example")
        ContactNote.objects.create(contact=owner.contact, text="Любит «скидку»")
        ConversationNote.objects.create(conversation=owner, text="Ждёт возврат")

    def found(query: str) -> str:
        html = desk.get("/chats/", {"q": query}).content.decode()
        assert re.findall(r'<b class="cut">(.*?)</b>', html) == ["Анна"], query
        line = re.search(r'<p class="cut words">(.*?)</p>', html)
        assert line
        return line.group(1)

    for query in (str(ticket.pk), f"№{ticket.pk}", f"# {ticket.pk}", "№ 977", f"ORD-{chat.pk}"):
        assert f"Request № {ticket.pk}" in found(query)
    assert "Tag:" in found("vip") and "vip" in found("#vip")
    assert "Tag:" in found("Опт")
    assert "Note:" in found("скидка") and "<mark>скидку</mark>" in found("скидка")
    assert "<mark>возврат</mark>" in found("возвраты")
    assert "Где заказ?" in found("anna@shop.example")


def test_a_slow_search_shows_what_it_found_and_says_so(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = client_writes(channel, "Анна", "Где заказ?")
    monkeypatch.setattr(search, "MAX_SECONDS", 0.05)
    monkeypatch.setattr(search, "CHATS_OF_MESSAGES_SQL", "SELECT 0, 0 FROM pg_sleep(5)")

    for query, people in (("Анна", ["Анна"]), ("заказ", [])):
        with transaction.atomic():  # as outside of a test, where the search has a transaction of its own
            hits = search.search_chats([chat.chat_channel_id], query)
        assert len(hits.by_chat) == len(people) and hits.is_cut
        with monkeypatch.context() as patch:
            patch.setattr(search, "search_chats", lambda *_query, hits=hits: hits)
            page = desk.get("/chats/", {"q": query})
        assert names(page) == people
        assert "The search took too long, so it did not look everywhere." in page.content.decode()


def test_a_lost_connection_is_no_slow_search(channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(_query: str) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(search, "_find_requests", lose)

    with pytest.raises(OperationalError), transaction.atomic():
        search.search_chats([channel.pk], "Анна")


def test_a_found_note_names_whom_it_mentions(channel: ApiChannel, desk: Client) -> None:
    chat = client_writes(channel, "Анна")
    ConversationNote.objects.create(conversation=chat, text=f"@[{vera().pk}] возврат")

    html = desk.get("/chats/", {"q": "возврат"}).content.decode()

    assert "@vera <mark>возврат</mark>" in html


def test_a_search_hit_is_highlighted_and_opens_at_its_position(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна", "Скажите, <b>сапоги</b> «Нева» ещё есть?")
    said = chat.messages.get()
    client_writes(channel, "Анна", "Спасибо, уже не нужно")

    html = desk.get("/chats/", {"q": "сапог"}).content.decode()

    assert "&lt;b&gt;<mark>сапоги</mark>&lt;/b&gt;" in html
    assert f"/chats/{chat.pk}/?q=%D1%81%D0%B0%D0%BF%D0%BE%D0%B3&amp;at={said.pk}" in html


def test_a_search_excerpt_is_safe_and_short() -> None:
    assert (
        search_excerpts.excerpt_around("<script>" + "слово " * 40 + "ключ" + " конец" * 40, "ключи").count(
            "<mark>ключ</mark>"
        )
        == 1
    )
    assert "<script>" not in search_excerpts.excerpt_around("<script>ключ", "ключ")
    assert len(search_excerpts.excerpt_around("много " * 500 + "слов", "слов")) < 200


def test_a_search_is_limited_to_visible_channels(desk: Client, channel: ApiChannel) -> None:
    client_writes(ApiChannelFactory(), "Чужая Анна", "Сапоги?", phone="79210000009")
    client_writes(channel, "Анна", "Сапоги?", phone="79210000008")

    for query in ("анна", "сапоги", "79210000008"):
        assert names(desk.get("/chats/", {"q": query})) == ["Анна"]
    for query in ("79210000009", "Чужая Анна"):
        assert names(desk.get("/chats/", {"q": query})) == []


def test_a_very_long_text_is_stored_and_found_by_its_beginning(desk: Client, channel: ApiChannel) -> None:
    client_writes(channel, "Анна", "Начало. " + "длинно " * 200_000)

    assert names(desk.get("/chats/", {"q": "начало"})) == ["Анна"]


# --- filters and order -----------------------------------------------------------------------------------


def test_filters_narrow_by_channel_status_and_window(channel: ApiChannel, client: Client) -> None:
    other = ApiChannelFactory()
    client_writes(channel, "Скоро", ago=timedelta(hours=22))
    client_writes(channel, "Поздно", ago=timedelta(hours=30))
    solved = client_writes(channel, "Решена")
    tickets.set_ticket_status(Ticket.objects.get(conversation=solved).pk, status=Ticket.Status.SOLVED)
    closed = client_writes(channel, "Закрыта", ago=timedelta(hours=1))
    tickets.set_ticket_status(Ticket.objects.get(conversation=closed).pk, status=Ticket.Status.CLOSED)
    client_writes(other, "Другая")
    client.force_login(vera())
    assert other.default_chat_channel

    def found(**filters: Any) -> set[str]:
        return set(names(client.get("/chats/", filters)))

    assert found(channel=other.default_chat_channel.pk) == {"Другая"}
    assert found(status=int(Ticket.Status.SOLVED)) == {"Решена"}
    assert found(status="live") == {"Скоро", "Поздно", "Решена", "Другая"}
    assert found(window="closing") == {"Скоро"}
    assert found(window="closed") == {"Поздно"}
    assert found(window="open", status="live") == {"Решена", "Другая"}
    assert found(window="closing", sort="newest") == {"Скоро"}
    assert found(tab="waiting") == {"Скоро", "Поздно", "Другая"}
    assert found(status=int(Ticket.Status.CLOSED), q="закр") == {"Закрыта"}
    assert found(status="99", window="x", sort="y", channel="z") == {"Скоро", "Поздно", "Решена", "Закрыта", "Другая"}


def test_a_window_that_ended_while_no_worker_ran_is_closed(channel: ApiChannel, desk: Client) -> None:
    chat, now = client_writes(channel, "Анна"), timezone.now()
    Ticket.objects.filter(conversation=chat).update(tags=["VIP"])
    for days in (0, 1, 30):
        ended = now - timedelta(days=days, minutes=5)
        ServiceWindow.objects.update(state="open", opened_at=ended - timedelta(days=1), expires_at=ended)
        for filters in ({}, {"window": "closed"}, {"tag": "VIP"}, {"sort": "left"}):
            assert names(desk.get("/chats/", filters)) == ["Анна"], (days, filters)
        assert names(desk.get("/chats/", {"window": "open"})) == []


def test_filters_by_assignee_tag_and_day_combine_and_are_removable_chips(channel: ApiChannel, desk: Client) -> None:
    operator = boris(channel.default_chat_channel)
    mine, other = client_writes(channel, "Моя"), client_writes(channel, "Ничья", ago=timedelta(hours=2))
    old = client_writes(channel, "Давняя", ago=timedelta(days=5))
    Conversation.objects.filter(pk__in=[mine.pk, old.pk]).update(assignee=operator)
    Ticket.objects.filter(conversation__in=[mine, old]).update(tags=["VIP"])
    Contact.objects.filter(pk=other.contact_id).update(tags=["опт"])

    def found(**filters: Any) -> set[str]:
        return set(names(desk.get("/chats/", filters)))

    today = timezone.localdate()
    assert found(assignee="me") == found(assignee=operator.pk) == {"Моя", "Давняя"}
    assert found(assignee="none") == {"Ничья"}
    assert found(assignee=operator.pk + 10**6) == set()
    assert found(tag="VIP") == {"Моя", "Давняя"}
    assert found(tag="опт") == {"Ничья"} and found(tag="нет") == set()
    assert found(until=(today - timedelta(days=3)).isoformat()) == {"Давняя"}
    assert found(since=(today - timedelta(days=3)).isoformat(), tag="VIP") == {"Моя"}
    assert found(tag="VIP", assignee="me", sort="newest", window="closed") == {"Давняя"}
    assert found(since="x", until="0000-00-00", assignee="-1") == {"Моя", "Ничья", "Давняя"}
    for sort in ("closing", "left", "newest"):
        assert found(tag="VIP", sort=sort, status="live") == {"Моя", "Давняя"}
    html = desk.get("/chats/", {"tag": "VIP", "assignee": "me"}).content.decode()
    assert 'class="chip" href="/chats/?assignee=me"' in html and 'class="chip" href="/chats/?tag=VIP"' in html


def test_a_frequent_tag_is_checked_chat_by_chat(
    channel: ApiChannel, desk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags, "FREQUENT", 1)
    client_writes(channel, "Без метки")
    chat = client_writes(channel, "С меткой")
    Ticket.objects.filter(conversation=chat).update(tags=["VIP"])
    for sort in ("closing", "left", "newest"):
        assert names(desk.get("/chats/", {"tag": "VIP", "sort": sort})) == ["С меткой"]


def test_chats_are_sorted_by_time_left_or_newest_first(desk: Client, channel: ApiChannel) -> None:
    for name, hours in (("Ночью", 10), ("Сейчас", 0), ("Вот-вот", 23), ("Вчера", 26), ("Утром", 3)):
        client_writes(channel, name, ago=timedelta(hours=hours))

    assert names(desk.get("/chats/")) == ["Вот-вот", "Ночью", "Утром", "Сейчас", "Вчера"]
    assert names(desk.get("/chats/?sort=left")) == ["Вот-вот", "Ночью", "Утром", "Сейчас", "Вчера"]
    assert names(desk.get("/chats/?sort=newest")) == ["Сейчас", "Утром", "Ночью", "Вот-вот", "Вчера"]


def test_waiting_clients_come_first_the_longest_waiting_before(channel: ApiChannel, desk: Client) -> None:
    operator = boris(channel.default_chat_channel)
    answered = client_writes(channel, "Отвечен давно", ago=timedelta(hours=23))
    reply_submission.submit_reply(conversation_id=answered.pk, text="Едет", author=operator)
    for name, hours in (("Пишет", 9), ("Недавно", 1), ("Час назад", 2)):
        client_writes(channel, name, ago=timedelta(hours=hours))
    client_writes(channel, "Пишет", "Ау?")
    late = client_writes(channel, "Который день", "Ау?", ago=timedelta(hours=2))
    Conversation.objects.filter(pk=late.pk).update(waiting_since=timezone.now() - timedelta(days=3))
    fresh = client_writes(channel, "Отвечен", ago=timedelta(hours=3))
    reply_submission.submit_reply(conversation_id=fresh.pk, text="Едет", author=operator)

    html = desk.get("/chats/").content.decode()
    assert re.findall(r'<b class="cut">(.*?)</b>', html) == [
        *("Который день", "Пишет", "Час назад", "Недавно"),
        *("Отвечен", "Отвечен давно"),
    ]
    assert re.findall(r'data-words>([^<]*)</span></span><span class="badge', html) == [
        *("3\u00a0d", "9\u00a0h", "2\u00a0h", "1\u00a0h")
    ]
    assert html.count(" answered") == 2
    assert names(desk.get("/chats/?tab=waiting")) == ["Который день", "Пишет", "Час назад", "Недавно"]
    assert names(desk.get("/chats/?window=closing")) == ["Отвечен давно"]
    assert names(desk.get("/chats/?window=open&sort=closing"))[-1] == "Отвечен"


def test_waiting_lasts_from_the_first_unanswered_message_to_the_reply(channel: ApiChannel) -> None:
    def since() -> Any:
        chat.refresh_from_db()
        return chat.waiting_since

    chat = client_writes(channel, "Анна")
    first = since()
    client_writes(channel, "Анна", "Ау?")
    assert first and since() == first
    reply_submission.submit_reply(conversation_id=chat.pk, text="Едет", author=boris(channel.default_chat_channel))
    assert since() is None
    client_writes(channel, "Анна", "Когда?")
    assert since() > first
    Conversation.objects.update(waiting_since=None)  # the release before wrote the last message
    client_writes(channel, "Анна", "Ау?")
    assert first < since() < chat.last_message_at
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED)
    client_writes(channel, "Анна", "Новый вопрос")
    assert since() == chat.last_message_at


def test_the_palette_finds_chats_and_the_next_one_that_waits(channel: ApiChannel, desk: Client) -> None:
    first = client_writes(channel, "Игорь Панин", "Счёт не пришёл", ago=timedelta(hours=3))
    second = client_writes(channel, "Анна", "Где заказ?")
    foreign = client_writes(ApiChannelFactory(), "Игорь Чужой", "Счёт")

    def found(**query: Any) -> list[int]:
        return [row["chat"] for row in desk.get("/chats/find/", query).json()["chats"]]

    assert found(q="панин") == found(q="счета") == [first.pk]
    assert found(recent=f"{second.pk},x,{foreign.pk},{first.pk}") == [second.pk, first.pk]
    assert desk.get("/chats/next-waiting/").json()["chat"]["chat"] == first.pk
    assert desk.get(f"/chats/next-waiting/?current={first.pk}").json()["chat"] == {
        **{"chat": second.pk, "title": "Анна", "detail": "Где заказ?", "url": f"/chats/{second.pk}/"},
    }
    third = client_writes(channel, "Вера", "А мой?")
    assert desk.get(f"/chats/next-waiting/?current={second.pk}").json()["chat"]["chat"] == third.pk
    assert desk.get(f"/chats/next-waiting/?current={third.pk}").json()["chat"]["chat"] == first.pk


def test_the_filters_are_kept_by_tabs_rows_and_the_link_to_older_ones(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 1)
    chat = client_writes(channel, "Анна", ago=timedelta(hours=1))
    client_writes(channel, "Игорь")

    html = desk.get("/chats/?status=live&sort=newest").content.decode()

    assert 'href="/chats/?status=live&amp;sort=newest&amp;tab=mine"' in html
    older = re.search(r'href="(/chats/\?status=live&amp;sort=newest&amp;after=[^"]*)" data-more', html)
    assert older
    assert (
        f'href="/chats/{chat.pk}/?status=live&amp;sort=newest"'
        in desk.get(older.group(1).replace("&amp;", "&")).content.decode()
    )


@pytest.mark.parametrize("address", ["/chats/", "/chats/?sort=left", "/chats/?sort=newest", "/chats/?tab=waiting"])
def test_scrolling_reaches_all_chats_without_gap_or_repeat(
    channel: ApiChannel, client: Client, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(listing, "PAGE", 3)
    client.force_login(vera())
    other = ApiChannelFactory()
    for number, hours in enumerate([0, 1, 2, 3, 20, 21, 22, 23, 30, 31, 32]):
        client_writes(channel if number % 3 else other, f"К{number}", ago=timedelta(hours=hours))
    moment = timezone.now() - timedelta(hours=2)
    Conversation.objects.filter(contact__name__in=["К1", "К2", "К3"]).update(last_message_at=moment)

    seen = [name for page in pages(client, address) for name in page]

    assert len(seen) == len(set(seen)) == 11


def test_a_chat_shows_the_status_of_its_request(channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    ticket = Ticket.objects.get()

    def status() -> Any:
        chat.refresh_from_db()
        return chat.request_status

    assert status() == Ticket.Status.NEW
    reply_submission.submit_reply(conversation_id=chat.pk, text="Едет", author=boris(channel.default_chat_channel))
    assert status() == Ticket.Status.OPEN
    tickets.set_ticket_status(ticket.pk, status=Ticket.Status.SOLVED)
    assert status() == Ticket.Status.SOLVED
    client_writes(channel, "Анна", "И ещё")
    assert status() == Ticket.Status.OPEN
    tickets.set_ticket_status(ticket.pk, status=Ticket.Status.CLOSED)
    assert status() == Ticket.Status.CLOSED
    client_writes(channel, "Анна", "Снова я")
    assert status() == Ticket.Status.NEW
    tickets.set_ticket_status(ticket.pk, status=Ticket.Status.SPAM)  # an old one changes nothing
    assert status() == Ticket.Status.NEW


# --- the cost --------------------------------------------------------------------------------------------

ADDRESSES = (
    "/chats/",
    "/chats/?tab=waiting",
    "/chats/?tab=mine",
    "/chats/?tab=unassigned&sort=left",
    "/chats/?status=live&window=open",
    "/chats/?q=клиент",
    "/chats/?q=сапоги",
    "/chats/?team=1",
    "/chats/?team=mine&status=live&sort=newest",
    "/chats/?q=7921",
)


@pytest.mark.exhaustive
def test_a_list_has_a_constant_number_of_queries(desk: Client, channel: ApiChannel) -> None:
    def asked() -> dict[str, int]:
        return {address: len(list_queries(desk, address)) for address in ADDRESSES}

    made = [client_writes(channel, f"Клиент {n}", "Где сапоги?", phone=f"7921000{n:04}") for n in range(3)]
    tickets.assign_chat(made[0].pk, user_id=boris().pk)
    few = asked()
    for number in range(3, 35):
        chat = client_writes(
            channel, f"Клиент {number}", "Где сапоги?", phone=f"7921000{number:04}", ago=timedelta(hours=number)
        )
        if number % 2:
            tickets.assign_chat(chat.pk, user_id=boris().pk)

    assert asked() == few
    searches = {address for address in few if "q=" in address}
    assert max(few[address] for address in few.keys() - searches) <= 17  # with one for pins and one for saved views
    assert max(few[address] for address in searches) <= 23  # one for each place where words are looked for


def test_no_list_reads_a_whole_table(desk: Client, channel: ApiChannel) -> None:
    """With sequential scans forbidden PostgreSQL takes one only where no index would do."""
    for number in range(5):
        client_writes(channel, f"Клиент {number}", "Где сапоги?", phone=f"7921000{number:04}")
    with CaptureQueriesContext(connection) as captured:
        for address in ADDRESSES:
            assert desk.get(address).status_code == 200
    tables = ("bridge_conversation", "bridge_message", "bridge_contact", "bridge_servicewindow", "bridge_ticket")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for query in captured.captured_queries:
            if not query["sql"].lstrip().upper().startswith(("SELECT", "WITH")):
                continue
            cursor.execute(f"EXPLAIN {query['sql']}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            scanned = [table for table in tables if f"Seq Scan on {table}" in plan]
            assert scanned == [], plan


# --- the poll --------------------------------------------------------------------------------------------


def poll(desk: Client, chat: Conversation | None = None) -> tuple[str, dict[str, str]]:
    """Return the URL and the headers with which an open page polls for changes."""
    known = f"chat={chat.pk}&" if chat else ""
    first = desk.get(f"/chats/updates/?{known}").json()
    thread = f"&thread={first['thread']['version']}" if chat else ""
    return f"/chats/updates/?{known}list={first['list']['version']}{thread}", {"Okno-Poll-Token": first["poll_token"]}


@pytest.mark.parametrize("with_chat", [False, True])
def test_an_idle_poll_is_one_query_and_an_empty_response(desk: Client, channel: ApiChannel, with_chat: bool) -> None:
    chat = client_writes(channel, "Анна")
    desk.post(f"/chats/{chat.pk}/seen/")
    address, headers = poll(desk, chat if with_chat else None)

    with CaptureQueriesContext(connection) as captured:
        answer = desk.get(address, headers=headers)

    assert (answer.status_code, answer.content, len(captured)) == (204, b"", 1)


def test_a_poll_without_a_token_gets_a_new_one(desk: Client, channel: ApiChannel) -> None:
    client_writes(channel, "Анна")
    address, _headers = poll(desk)

    for bad in ({}, {"Okno-Poll-Token": "made:up"}):
        answer = desk.get(address, headers=bad).json()
        assert desk.get(address, headers={"Okno-Poll-Token": answer["poll_token"]}).status_code == 204


def test_a_poll_token_works_only_for_its_own_session(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    address, headers = poll(desk, chat)
    stranger, outside = Client(), Client()
    stranger.force_login(gleb())

    assert stranger.get(address, headers=headers).status_code == 404
    assert outside.get(address, headers=headers).status_code == 302


def test_a_poll_token_ends_with_the_session(desk: Client, channel: ApiChannel) -> None:
    address, headers = poll(desk)
    Session.objects.all().delete()

    assert desk.get(address, headers=headers).status_code == 302


def test_a_poll_reports_changes(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    address, headers = poll(desk)

    tickets.assign_chat(chat.pk, user_id=boris().pk)
    assert "list" in desk.get(address, headers=headers).json()
    address, headers = poll(desk)
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED)
    assert "list" in desk.get(address, headers=headers).json()
    address, headers = poll(desk, chat)
    Contact.objects.update(name="Анна Соколова")
    assert "thread" in desk.get(address, headers=headers).json()


def test_a_revoked_channel_takes_effect_with_the_next_poll_token(desk: Client, channel: ApiChannel) -> None:
    client_writes(channel, "Анна")
    address, _headers = poll(desk)
    assert channel.default_chat_channel
    channel.default_chat_channel.operators.clear()

    assert "Анна" not in page_html(desk, address)


def test_a_row_changes_with_an_operator_of_the_same_name(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    found = set()
    for name in ("olga", "olga2"):
        user = operator(name, chat.chat_channel, first_name="Olga", last_name="Ivanova")
        Conversation.objects.filter(pk=chat.pk).update(assignee=user, unread=0)
        found |= set(re.findall(r'data-key="chat-\d+" data-version="([^"]*)"', page_html(desk, "/chats/")))

    assert len(found) == 2
