"""The chat list reads few rows, whatever filter is set and however few chats pass it, and finds the right ones."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from bridge import service_window
from bridge.conversations import chat_pins
from bridge.desk import request_table, tags
from bridge.desk.chat_list import listing, queries, search, tagged, view_counts
from bridge.models import Contact, Conversation, Message, ServiceWindow, Ticket
from channels_setup import prepared_statements
from channels_setup.models import ApiChannel
from tests.factories import boris, copies, operator
from tests.prepared import prepares_statements
from tests.query_plans import Statements, analyze, forget_statistics
from tests.scenarios.sending import client_writes

pytestmark = pytest.mark.django_db

MANY = 20_000
MINUTES = 10  # between the last messages of two chats: 144 are of the last 24 hours
MAX_ROWS = 1_200
MAX_PAGES = 6_000
TAG = "возврат"


def make_chats(channel: ApiChannel, count: int, *, minutes: int) -> Conversation:
    """Create chats of Boris with a last message every few minutes, and half of them unanswered."""
    chat = client_writes(channel, "Анна")
    Conversation.objects.filter(pk=chat.pk).update(assignee=boris(channel.default_chat_channel), waiting_since=None)
    ago = f"n * interval '{minutes} minutes'"
    contact = copies(Contact.objects.get(pk=chat.contact_id), count, external_id="'c' || n", address_key="''")
    chats = copies(
        chat,
        count,
        contact_id=f"{contact} + n",
        last_message_at=f"now() - {ago}",
        last_direction="CASE WHEN n %% 2 = 0 THEN 'inbound' ELSE 'outbound' END",
        request_status="CASE n %% 5 WHEN 0 THEN 2 WHEN 1 THEN 3 ELSE 1 END",
        assignee_id=f"CASE WHEN n %% 7 > 0 THEN {boris().pk} END",
        # A tenth has written for two days.
        waiting_since="CASE WHEN n %% 10 = 4 THEN now() - interval '2 days' END",
    )
    of_chat = f"{chats} + n"
    tags = f"CASE WHEN n > {count // 2} AND n %% 20 = 0 THEN ARRAY['{TAG}'] ELSE ARRAY[]::varchar[] END"
    copies(
        Ticket.objects.get(conversation=chat),
        count,
        conversation_id=of_chat,
        opened_at=f"now() - {ago}",
        status="CASE n %% 5 WHEN 0 THEN 2 WHEN 1 THEN 3 ELSE 1 END",
        tags=tags,
    )
    # Of the answered ones, a third has no open window: we wrote long after the client. Some ended while no worker ran,
    # so they are not marked as closed.
    before = "CASE n %% 12 WHEN 1 THEN interval '1 day' WHEN 7 THEN interval '3 days' ELSE interval '0' END"
    wrote_at = f"now() - {ago} - {before}"
    copies(
        ServiceWindow.objects.get(conversation=chat),
        count,
        conversation_id=of_chat,
        opened_at=wrote_at,
        expires_at=f"{wrote_at} + interval '1 day'",
        state=f"CASE WHEN {wrote_at} > now() - interval '1 day' OR n %% 6 = 1 AND n < 99 THEN 'open' ELSE 'closed' END",
    )
    return chat


TABS, WINDOWS, SORTS = ("all", "waiting", "mine", "unassigned", "snoozed"), ("", *listing.WINDOWS), listing.SORTS


def list_filters() -> list[dict[str, object]]:
    today = timezone.localdate()
    return [
        {},
        {"assignee": "none"},
        {"assignee": str(boris().pk)},
        {"assignee": str(operator("olga").pk)},
        {"status": "2"},
        {"status": "3"},
        {"tag": TAG},
        {"until": today - timedelta(days=30)},
        {"since": today - timedelta(days=60), "until": today - timedelta(days=50)},
        {"since": today - timedelta(days=1)},
    ]


def test_no_filter_of_the_list_reads_many_chats(channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_statistics()
    chat = make_chats(channel, MANY, minutes=MINUTES)
    analyze()
    problems = []
    for tab, window, sort, chosen in product(("all", "mine"), WINDOWS, SORTS, list_filters()):
        params = {"tab": tab, "window": window, "sort": sort, **chosen}
        statements = Statements(max_rows=MAX_ROWS, max_pages=MAX_PAGES)
        with connection.execute_wrapper(statements):
            listing.build_list_page(
                listing.ChatListParams(**params),  # type: ignore[arg-type]
                channels=[chat.chat_channel_id],
                user=boris(),
                now=service_window.database_now(),
            )
        problems += [f"{params}: {problem}" for problem in statements.problems]
    monkeypatch.setattr(queries, "execute_read", prepared_statements.execute)
    with prepares_statements():  # one plan for all values
        problems += find_problems(lambda: listing.load_list_summary([chat.chat_channel_id], user=boris()))
        problems += find_problems(lambda: queries.load_row_data([chat.pk], me=boris().pk))

    assert not problems, f"{len(problems)}\n" + "\n\n".join(problems[:10])


def test_no_number_of_a_saved_view_reads_many_chats(channel: ApiChannel) -> None:
    forget_statistics()
    chat = make_chats(channel, MANY, minutes=MINUTES)
    analyze()
    problems = []
    for tab, window, chosen in product(("all", "mine", "waiting"), WINDOWS, list_filters()):
        params = {"tab": tab, "window": window, **chosen}
        statements = Statements(max_rows=MAX_ROWS, max_pages=MAX_PAGES)
        with connection.execute_wrapper(statements):
            view_counts.count_chats(
                {1: listing.ChatListParams(**params)},  # type: ignore[arg-type]
                channels=[chat.chat_channel_id],
                user=boris(),
                now=service_window.database_now(),
                cap=listing.MAX_COUNTED + 1,
            )
        problems += [f"{params}: {problem}" for problem in statements.problems]

    assert not problems, f"{len(problems)}\n" + "\n\n".join(problems[:10])


# From how many chats on a tag is looked up by recent chats, in the order of the list, and chat by chat.
TAG_LIMITS = ((tagged, "FEW"), (tagged, "MANY"), (tags, "FREQUENT"))
TAG_SIZES = [(500, 8_000, 20_000), (0, 8_000, 20_000), (0, 0, 20_000), (0, 0, 0)]


def test_filters_find_what_each_chat_says_about_itself(channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare all pages of each combination of tab, window and order, with changing filters, with the rows."""
    chat = make_chats(channel, 200, minutes=20)
    Conversation.objects.filter(pk__in=Conversation.objects.order_by("pk")[30:33]).update(
        snoozed_until=timezone.now() + timedelta(hours=1)
    )
    now = service_window.database_now()
    filters = [{}, *list_filters()]  # a number that shares no divisor with the combinations
    rows = list(Conversation.objects.prefetch_related("windows", "tickets"))

    for number, (tab, window, sort) in enumerate([*product(TABS, WINDOWS, SORTS)] * 3):
        chosen = filters[number % len(filters)]
        for (module, name), size in zip(TAG_LIMITS, TAG_SIZES[number % len(TAG_SIZES)], strict=True):
            monkeypatch.setattr(module, name, size)
        values = {"tab": tab, "window": window, "sort": sort, **chosen}
        params = listing.ChatListParams(**values)  # type: ignore[arg-type]
        wanted = sorted(row.pk for row in rows if is_wanted(row, params, now=now))
        assert sorted(walk_pages(params, channel=chat.chat_channel_id, now=now)) == wanted, values


def walk_pages(params: listing.ChatListParams, *, channel: int, now: object) -> Iterator[int]:
    cursor = None
    while True:
        values = {name: getattr(params, name) for name in ("tab", "window", "sort", "assignee", "status", "tag")}
        page = listing.build_list_page(
            listing.ChatListParams(**values, since=params.since, until=params.until, cursor=cursor),
            channels=[channel],
            user=boris(),
            now=now,  # type: ignore[arg-type]
            limit=60,
        )
        yield from (row.shown.chat for row in page.rows)
        if not page.next_cursor:
            return
        cursor = listing._parse_cursor(page.next_cursor)


def is_wanted(row: Conversation, params: listing.ChatListParams, *, now: object) -> bool:
    left = max(window.expires_at - now for window in row.windows.all())  # type: ignore[operator]
    window = "closed" if left <= timedelta(0) else "closing" if left < timedelta(hours=4) else "open"
    needs_reply = row.needs_reply and row.snoozed_until is None
    day = timezone.localtime(row.last_message_at).date()
    tab = {
        "all": True,
        "waiting": needs_reply,
        "mine": row.assignee_id == boris().pk,
        "unassigned": row.assignee_id is None and row.request_status in (1, 8) and row.snoozed_until is None,
        "snoozed": row.snoozed_until is not None,
    }[params.tab]
    assignee = {"": True, "none": row.assignee_id is None}.get(params.assignee, str(row.assignee_id) == params.assignee)
    return (
        tab
        and assignee
        and params.window in ("", window)
        and params.status in ("", str(row.request_status))
        and (not params.tag or any(params.tag in ticket.tags for ticket in row.tickets.all()))
        and (params.since is None or day >= params.since)
        and (params.until is None or day <= params.until)
    )


def find_problems(run: Callable[[], object], *, max_rows: int = MAX_ROWS) -> list[str]:
    statements = Statements(max_rows=max_rows, max_pages=MAX_PAGES)
    with connection.execute_wrapper(statements):
        run()
    return statements.problems


def test_pins_read_few_chats(channel: ApiChannel) -> None:
    forget_statistics()
    chat = make_chats(channel, MANY, minutes=MINUTES)
    analyze()
    newest = Conversation.objects.order_by("last_message_at").values_list("pk", flat=True)
    chat_pins.pin_chats(boris(chat.chat_channel), list(newest[:: MANY // 15]))
    problems = []
    for window, sort, chosen in product(WINDOWS, SORTS, list_filters()):
        params = listing.ChatListParams(window=window, sort=sort, **chosen)  # type: ignore[arg-type]
        build = partial(listing.build_list_page, params, channels=[chat.chat_channel_id], user=boris())
        problems += find_problems(partial(build, now=service_window.database_now()))

    assert not problems, f"{len(problems)}\n" + "\n\n".join(problems[:10])


def test_searches_read_few_rows(channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "RECENT_MESSAGES", 500)
    forget_statistics()
    chat = make_chats(channel, MANY, minutes=MINUTES)
    words = "'Заказ ' || n || CASE WHEN n %% 40 = 0 THEN ' привезли' ELSE ' ждём' END || ' сегодня'"
    copies(Message.objects.get(conversation=chat), MANY, conversation_id=f"{chat.pk} + n", text=words)
    Contact.objects.filter(pk=chat.contact_id).update(name="Ольга Редкая", phone="79161234567", phone_key="9161234567")
    analyze()
    for query in ("Редкая", "+7 916 123-45-67", "4567", "№17", TAG, "заказ привезли", "нигде", "15017"):
        problems = find_problems(partial(search.search_chats, [chat.chat_channel_id], query), max_rows=3 * MAX_ROWS)
        assert not problems, f"{query}: {problems}"


def test_the_table_of_requests_reads_few_rows(channel: ApiChannel) -> None:
    forget_statistics()
    chat = make_chats(channel, MANY, minutes=MINUTES)
    analyze()
    problems = []
    for sort, chosen in product(request_table.SORTS, list_filters()):
        params = request_table.RequestTableParams(sort=sort, **chosen)  # type: ignore[arg-type]
        values: dict[str, Any] = {"channels": [chat.chat_channel_id], "user": boris()}
        values["now"] = service_window.database_now()
        problems += find_problems(lambda: list(request_table.find_tickets(params, **values)[:51]))  # noqa: B023
        problems += find_problems(lambda: request_table.count_tickets({1: params}, cap=100, **values))  # noqa: B023

    assert not problems, f"{len(problems)}\n" + "\n\n".join(problems[:10])
