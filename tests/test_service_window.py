"""The 24-hour rule, to the second. Each row of the table is one chat's history and its expected window."""

import re
from datetime import datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bridge import service_window
from bridge.conversations import message_statuses, receiving
from bridge.maintenance import housekeeping
from bridge.models import Contact, Conversation, Message, ServiceWindow
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import ContactInfo, MessageReceived, StatusChanged
from tests.factories import ApiChannelFactory, ChatChannelFactory, copies
from tests.scenarios.database_clock import set_database_clock

H, M, S = 3600, 60, 1
DAY = 24 * H

# A history: events in seconds from the start. ("client", written_at[, arrived_at]), ("ours", at), ("status", at),
# ("look", at) -> expected state, expected expiry.
STORIES: list[tuple[str, list[tuple[str, int] | tuple[str, int, int]], int, str, int | None]] = [
    ("nobody wrote", [], 0, "none", None),
    ("just written", [("client", 0)], 0, "open", DAY),
    ("one hour later", [("client", 0)], H, "open", DAY),
    ("a second before", [("client", 0)], DAY - 1, "open", DAY),
    ("exactly 24 hours", [("client", 0)], DAY, "closed", DAY),
    ("a second after", [("client", 0)], DAY + 1, "closed", DAY),
    ("a week after", [("client", 0)], 7 * DAY, "closed", DAY),
    ("a second message prolongs", [("client", 0), ("client", H)], DAY, "open", DAY + H),
    ("prolonged to the second", [("client", 0), ("client", H)], DAY + H - 1, "open", DAY + H),
    ("prolonged and exactly over", [("client", 0), ("client", H)], DAY + H, "closed", DAY + H),
    (
        "each message restarts the window",
        [("client", t * H) for t in range(0, 48, 6)],
        42 * H + DAY - 1,
        "open",
        42 * H + DAY,
    ),
    ("written in the last second", [("client", 0), ("client", DAY - 1)], DAY, "open", 2 * DAY - 1),
    ("written at the very end", [("client", 0), ("client", DAY)], DAY, "open", 2 * DAY),
    ("written after the end", [("client", 0), ("client", DAY + H)], DAY + H, "open", 2 * DAY + H),
    ("closed, reopened and closed", [("client", 0), ("client", 2 * DAY)], 3 * DAY, "closed", 3 * DAY),
    ("our reply does not move it", [("client", 0), ("ours", H)], DAY - 1, "open", DAY),
    ("our reply does not keep it open", [("client", 0), ("ours", DAY - 1)], DAY, "closed", DAY),
    (
        "many replies do not move it",
        [("client", 0), ("ours", H), ("ours", 20 * H), ("ours", 23 * H)],
        DAY,
        "closed",
        DAY,
    ),
    ("our first message opens nothing", [("ours", 0)], 0, "none", None),
    ("a status does not move it", [("client", 0), ("ours", H), ("status", 23 * H)], DAY, "closed", DAY),
    ("a status after the end opens nothing", [("client", 0), ("ours", H), ("status", DAY + H)], DAY + H, "closed", DAY),
    ("a status with no chat", [("status", 0)], 0, "none", None),
    ("arrived late, the sender's clock counts", [("client", 0, 5 * H)], 5 * H, "open", DAY),
    ("arrived 23 hours late", [("client", 0, 23 * H)], DAY - 1, "open", DAY),
    ("arrived in the last second", [("client", 0, DAY - 1)], DAY - 1, "open", DAY),
    ("arrived when it was already over", [("client", 0, DAY)], DAY, "closed", DAY),
    ("two of them, in the order written", [("client", 0, 2 * DAY), ("client", H, 2 * DAY)], 2 * DAY, "closed", DAY + H),
    ("two of them, out of order", [("client", H, 2 * DAY), ("client", 0, 2 * DAY)], 2 * DAY, "closed", DAY + H),
    ("one of a later day", [("client", 0, 9 * DAY), ("client", 3 * DAY, 9 * DAY)], 9 * DAY, "closed", 4 * DAY),
    ("late, it extends a window closed since", [("client", 0), ("client", H, 2 * DAY)], 2 * DAY, "closed", DAY + H),
    ("a retry six days late opens nothing", [("client", 0, 6 * DAY)], 6 * DAY, "closed", DAY),
    (
        "a six-day-old retry leaves an open one alone",
        [("client", 6 * DAY), ("client", 0, 6 * DAY + H)],
        6 * DAY + H,
        "open",
        7 * DAY,
    ),
    ("out of order does not shorten", [("client", 2 * H, 2 * H), ("client", H, 3 * H)], 3 * H, "open", DAY + 2 * H),
    (
        "out of order, the newer one prolongs",
        [("client", 2 * H, 3 * H), ("client", H, 4 * H)],
        DAY + H,
        "open",
        DAY + 2 * H,
    ),
    ("late but written inside the old window", [("client", 0), ("client", 23 * H, 25 * H)], 25 * H, "open", 47 * H),
    ("a stamp from the future counts as now", [("client", 5 * DAY, 0)], 0, "open", DAY),
    ("a stamp from the future gives no extra day", [("client", 5 * DAY, 0)], DAY, "closed", DAY),
    ("a future stamp does not shorten either", [("client", 0), ("client", 9 * DAY, H)], DAY, "open", DAY + H),
    ("a minute ahead is clamped too", [("client", M, 0)], DAY, "closed", DAY),
    ("a stamp of 1970 opens nothing", [("client", -10 * 365 * DAY, 0)], 0, "closed", -10 * 365 * DAY + DAY),
    ("a pause, then a new message", [("client", 0), ("client", 10 * DAY)], 10 * DAY + DAY - 1, "open", 11 * DAY),
    ("two in one second", [("client", 0), ("client", 0)], DAY, "closed", DAY),
]


@pytest.fixture
def chat_channel(db: None) -> ChatChannel:
    return ChatChannel.objects.create(name="Shop")


@pytest.fixture
def api_channel(chat_channel: ChatChannel) -> ApiChannel:
    channel = ApiChannel.objects.create(name="WhatsApp", kind="sandbox")
    channel.watched.add(chat_channel)
    return channel


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    """Control the database clock, which every window rule reads."""
    clock = Clock()
    set_database_clock(monkeypatch, lambda: clock.now)
    return clock


class Clock:
    start = datetime.fromisoformat("2026-03-01T10:00:00+00:00")

    def __init__(self) -> None:
        self.now = self.start

    def at(self, seconds: int) -> datetime:
        return self.start + timedelta(seconds=seconds)


@pytest.mark.parametrize(("story", "steps", "look", "state", "closes_at"), STORIES, ids=[row[0] for row in STORIES])
def test_only_contact_messages_open_the_window(
    story: str,
    steps: list[tuple[str, int]],
    look: int,
    state: str,
    closes_at: int | None,
    api_channel: ApiChannel,
    chat_channel: ChatChannel,
    clock: Clock,
) -> None:
    contact = Contact.objects.create(api_channel=api_channel, external_id="anna")
    conversation = Conversation.objects.create(api_channel=api_channel, chat_channel=chat_channel, contact=contact)

    for number, (who, written, *arrived) in enumerate(steps):
        clock.now = clock.at(arrived[0] if arrived else written)
        if who == "client":
            _client_writes(api_channel, chat_channel, number, clock.at(written))
        elif who == "ours":
            _we_write(conversation, number)
        else:
            status = StatusChanged(status="delivered", external_id=f"ours-{number - 1}", at=clock.now)
            message_statuses.apply_statuses(api_channel, [status])

    clock.now = clock.at(look)
    window_state = service_window.get_window_state(conversation)
    assert window_state.state == state
    assert window_state.expires_at == (clock.at(closes_at) if closes_at is not None else None)
    assert (
        (conversation.pk, None) in service_window.find_closed_windows([(conversation.pk, None)], now=clock.now)
    ) is (state != "open")


def _client_writes(api_channel: ApiChannel, chat_channel: ChatChannel, number: int, at: datetime) -> None:
    fact = MessageReceived(contact=ContactInfo(external_id="anna"), text="?", external_id=f"in-{number}", at=at)
    receiving.receive_messages(api_channel, [receiving.IncomingMessage(fact=fact, chat_channel=chat_channel)])


def _we_write(conversation: Conversation, number: int) -> None:
    Message.objects.create(
        conversation=conversation,
        api_channel=conversation.api_channel,
        direction=Message.Direction.OUTBOUND,
        status=Message.Status.SENT,
        external_id=f"ours-{number}",
        text="!",
    )


def test_the_newest_message_of_a_batch_decides(
    api_channel: ApiChannel, chat_channel: ChatChannel, clock: Clock
) -> None:
    texts = [("a", 3 * H), ("b", H), ("c", 2 * H)]
    clock.now = clock.at(4 * H)

    receiving.receive_messages(
        api_channel,
        [
            receiving.IncomingMessage(
                fact=MessageReceived(
                    contact=ContactInfo(external_id="anna"), text=text, external_id=text, at=clock.at(seconds)
                ),
                chat_channel=chat_channel,
            )
            for text, seconds in texts
        ],
    )

    window = ServiceWindow.objects.get()
    assert window.expires_at == clock.at(3 * H + DAY)


def test_each_window_has_its_own_row(api_channel: ApiChannel, chat_channel: ChatChannel, clock: Clock) -> None:
    for number, day in enumerate((0, 2, 4)):
        clock.now = clock.at(day * DAY)
        _client_writes(api_channel, chat_channel, number, clock.now)

    rows = ServiceWindow.objects.order_by("opened_at")
    assert [row.state for row in rows] == ["closed", "closed", "open"]
    assert [row.expires_at - row.opened_at for row in rows] == [timedelta(hours=24)] * 3


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        ([0], [(0, DAY)]),
        ([0, H], [(0, DAY + H)]),
        ([H, 0], [(0, DAY + H)]),
        ([0, 3 * DAY], [(0, DAY), (3 * DAY, 4 * DAY)]),
        ([3 * DAY, 0], [(0, DAY), (3 * DAY, 4 * DAY)]),
    ],
)
def test_messages_that_arrived_too_late_are_recorded_as_missed_windows(
    api_channel: ApiChannel, chat_channel: ChatChannel, clock: Clock, written: list[int], rows: list[tuple[int, int]]
) -> None:
    clock.now = clock.at(9 * DAY)

    for number, at in enumerate(written):
        _client_writes(api_channel, chat_channel, number, clock.at(at))
        _client_writes(api_channel, chat_channel, number, clock.at(at))  # the provider repeats its webhook

    found = ServiceWindow.objects.order_by("opened_at")
    assert [(row.opened_at, row.expires_at) for row in found] == [(clock.at(a), clock.at(b)) for a, b in rows]
    assert all(row.missed and row.state == "closed" for row in found)


def test_a_provider_without_the_rule_is_always_open(
    api_channel: ApiChannel, chat_channel: ChatChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(api_channel.provider), "service_window", False)
    contact = Contact.objects.create(api_channel=api_channel)
    conversation = Conversation.objects.create(api_channel=api_channel, chat_channel=chat_channel, contact=contact)

    assert service_window.get_window_state(conversation).is_open
    assert service_window.get_window_state(conversation).state == "unrestricted"


# --- expiry by the periodic task ---------------------------------------------------------------------------


def _expired_windows(api_channel: ApiChannel, chat_channel: ChatChannel, count: int) -> None:
    contact = Contact.objects.create(api_channel=api_channel, external_id="first")
    chat = Conversation.objects.create(api_channel=api_channel, chat_channel=chat_channel, contact=contact)
    now = service_window.database_now()
    window = ServiceWindow.objects.create(
        conversation=chat, opened_at=now - timedelta(hours=25), expires_at=now - timedelta(hours=1)
    )
    if more := count - 1:
        first = copies(contact, more, external_id="'c' || n")
        chats = copies(chat, more, contact_id=f"{first} + n")
        copies(window, more, conversation_id=f"{chats} + n")


def test_the_periodic_task_closes_only_expired_windows(api_channel: ApiChannel, chat_channel: ChatChannel) -> None:
    _expired_windows(api_channel, chat_channel, 3)
    _client_writes(api_channel, chat_channel, 1, service_window.database_now())

    closed = housekeeping.expire_windows()

    assert closed == 3
    assert ServiceWindow.objects.filter(state="open").count() == 1
    assert housekeeping.expire_windows() == 0


def test_a_task_that_did_not_run_for_days_catches_up(api_channel: ApiChannel, chat_channel: ChatChannel) -> None:
    _expired_windows(api_channel, chat_channel, service_window.EXPIRE_BATCH + 20)

    assert housekeeping.expire_windows() == service_window.EXPIRE_BATCH + 20


@pytest.mark.django_db(transaction=True)
def test_concurrent_tasks_close_each_window_once() -> None:
    from threading import Thread

    chat_channel = ChatChannel.objects.create(name="Shop")
    api_channel = ApiChannel.objects.create(name="WhatsApp", kind="sandbox")
    api_channel.watched.add(chat_channel)
    _expired_windows(api_channel, chat_channel, 10_000)
    counts: list[int] = []

    def beat() -> None:
        counts.append(housekeeping.expire_windows())
        connection.close()

    beats = [Thread(target=beat) for _ in range(2)]
    for thread in beats:
        thread.start()
    for thread in beats:
        thread.join(60)

    assert sum(counts) == 10_000
    assert ServiceWindow.objects.filter(state="open").count() == 0


@pytest.mark.django_db(transaction=True)
def test_expiry_is_fast_with_wrong_table_statistics() -> None:
    """The table is analyzed while empty but with many pages: PostgreSQL expects one row, however many are added."""
    tables = ", ".join(model._meta.db_table for model in (ServiceWindow, Conversation, Contact))
    chat_channel, api_channel = ChatChannelFactory(), ApiChannelFactory()
    _expired_windows(api_channel, chat_channel, 3_000)
    for model in (ServiceWindow, Conversation, Contact):
        model.objects.all()._raw_delete("default")
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {tables}")
    _expired_windows(api_channel, chat_channel, 3_000)

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '15s'")  # a batch takes some hundredths of a second, or a minute
        try:
            assert len(service_window.expire_batch()) == service_window.EXPIRE_BATCH
        finally:
            cursor.execute("RESET statement_timeout")
            ServiceWindow.objects.all().delete()
            cursor.execute(f"ANALYZE {tables}")


def test_expiry_reads_only_expired_windows(api_channel: ApiChannel, chat_channel: ChatChannel) -> None:
    """With a million open windows and none due, each run would otherwise read the whole index."""
    _expired_windows(api_channel, chat_channel, 1)
    with CaptureQueriesContext(connection) as captured:
        service_window.expire_batch()
    (statement,) = [query["sql"] for query in captured.captured_queries if "SKIP LOCKED" in query["sql"]]

    with connection.cursor() as cursor:
        # With a handful of rows the planner may choose any plan; these settings force the index, if it fits.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert re.search(r"Index Scan using windows_due .*\n\s+Index Cond: \(expires_at <= ", plan), plan


def test_only_the_database_clock_is_used(api_channel: ApiChannel, chat_channel: ChatChannel) -> None:
    """A web server ten minutes ahead and a worker ten behind agree: both use the database's clock."""
    truth = service_window.database_now()
    with time_machine.travel(truth + timedelta(hours=30), tick=False):
        _client_writes(api_channel, chat_channel, 1, truth - timedelta(hours=1))
        conversation = Conversation.objects.get()

        assert service_window.get_window_state(conversation).is_open
