"""B: races on one row, reordered statuses, the moment a window closes; several threads on a real PostgreSQL."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from celery.schedules import schedule
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from bridge import service_window
from bridge.conversations import message_statuses, receiving
from bridge.inbox import processing
from bridge.maintenance import housekeeping, reconciliation
from bridge.models import (
    Alert,
    Attempt,
    Contact,
    Conversation,
    Delivery,
    Message,
    ServiceWindow,
    StrayStatus,
    WebhookEvent,
)
from bridge.outbox import dispatcher, results, settling
from bridge.outbox.attempts import AttemptResult
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived, Outcome, StatusChanged
from config.celery import SCHEDULE
from config.celery import app as celery
from tests.claiming import claim_deliveries
from tests.factories import ApiChannelFactory, ConversationFactory, MessageFactory, boris
from tests.faults.conftest import SEED
from tests.receiver import Receiver
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to

pytestmark = pytest.mark.django_db(transaction=True)

Size = Callable[..., int]
Say = Callable[[str], None]


@pytest.fixture
def api_channel(receiver: Receiver) -> ApiChannel:
    return create_channel_to(receiver, "/hook")


class Hands:
    """Threads with one database connection each, which start each round together."""

    def __init__(self, count: int) -> None:
        self.count, self.barrier = count, Barrier(count)
        self.pool = ThreadPoolExecutor(count)

    def each(self, *work: Callable[[], Any]) -> list[Any]:
        def run(one: Callable[[], Any]) -> Any:
            connection.ensure_connection()
            self.barrier.wait(30)
            return one()

        return [future.result(60) for future in [self.pool.submit(run, one) for one in work]]

    def close(self) -> None:
        self.each(*[lambda: connection.close()] * self.count)  # each thread its own
        self.pool.shutdown()


@pytest.fixture
def hands() -> Iterator[Callable[[int], Hands]]:
    made: list[Hands] = []

    def make(count: int) -> Hands:
        made.append(Hands(count))
        return made[-1]

    yield make
    for each in made:
        each.close()


def a_reply(api_channel: ApiChannel, *, who: str) -> Delivery:
    message = boris_answers(anna_writes(api_channel, who=who))
    return Delivery.objects.get(message=message)


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.fault(
    "B18", "two and eight workers on one outbox row, 1,000 rounds: one claim each; 1,000 rows × 8: 0 doubles"
)
def test_one_row_is_claimed_by_one_worker(
    api_channel: ApiChannel, receiver: Receiver, hands: Any, size: Size, measured: Say, workers: int
) -> None:
    rounds, rows = size(25, 1_000), size(60, 1_000)
    delivery, team = a_reply(api_channel, who="anna"), hands(workers)
    claims = []
    for _ in range(rounds):
        Delivery.objects.update(state="pending", lease_token=None, next_attempt_at=timezone.now() - timedelta(hours=1))
        tokens = [uuid.uuid4() for _ in range(workers)]
        found = team.each(*[lambda token=token: len(claim_deliveries(token, limit=5)) for token in tokens])
        claims.append(sum(found))
        assert Delivery.objects.get().lease_token in tokens
    settling.give_up_delivery(delivery, Delivery.objects.get().lease_token, reason="retries_exhausted")  # type: ignore[arg-type]  # is set
    for number in range(rows):
        boris_answers(anna_writes(api_channel, who=f"client-{number}"), str(number))
    while Delivery.objects.filter(state="pending").exists():
        team.each(*[dispatcher.send_due_deliveries] * workers)

    keys = [request.headers["webhook-id"] for request in receiver.requests]
    measured(
        f"{workers} workers: {rounds} rounds {sum(claims)} claims; {rows} rows, {len(keys)} calls {len(set(keys))} keys"
    )
    assert set(claims) == {1}
    assert len(keys) == len(set(keys)) == rows


@pytest.mark.fault("B19", "a stale lease holder finishes late: its write is refused, 100/100")
def test_a_late_result_is_refused(api_channel: ApiChannel, size: Size, measured: Say) -> None:
    rounds, refused = size(10, 100), 0
    for number in range(rounds):
        delivery = a_reply(api_channel, who=f"client-{number}")
        dead = uuid.uuid4()
        (stale,) = claim_deliveries(dead, limit=1)
        Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        assert dispatcher.send_due_deliveries() == 1
        late = AttemptResult(
            claimed=stale,
            outcome=Outcome(verdict="permanent", reason="rejected"),
            started_at=timezone.now(),
            duration_ms=1,
        )
        results.record_attempts([late], dead)
        refused += Delivery.objects.get(pk=delivery.pk).state == "delivered"

    measured(f"{refused} of {rounds} refused")
    assert refused == rounds


@pytest.mark.fault("B21", "the same webhook again after 25 h and after 8 days: no new message")
def test_a_message_is_known_for_ever(client: Any, size: Size, measured: Say) -> None:
    phone = ApiChannelFactory()
    body = {"type": "message", "id": "1", "from": {"id": "anna"}, "text": "раз"}
    for days in (0, 25 / 24, 8, 60):
        by = timedelta(days=days)
        WebhookEvent.objects.update(received_at=F("received_at") - by)
        Message.objects.update(created_at=F("created_at") - by)
        housekeeping.prune_expired_rows()
        client.post(phone.webhook_path, body, content_type="application/json")
        processing.process_inbox()

    measured(f"sent 4 times, the last after 69 days and a prune: {Message.objects.count()} message")
    assert Message.objects.count() == 1


def says(number: int, *, who: str, at: Any = None) -> MessageReceived:
    return MessageReceived(contact=ContactInfo(external_id=who), text=str(number), external_id=f"{who}-{number}", at=at)


@pytest.mark.fault("B22", "an album of 10 messages from a new contact at once, ×200: one conversation and window each")
def test_an_album_from_a_new_contact_opens_one_chat(hands: Any, size: Size, measured: Say) -> None:
    phone, albums, team = ApiChannelFactory(), size(10, 200), hands(10)
    lands_in = phone.default_chat_channel
    assert lands_in

    def write(who: str, number: int) -> None:
        receiving.receive_messages(
            phone, [receiving.IncomingMessage(fact=says(number, who=who), chat_channel=lands_in)]
        )

    for album in range(albums):
        team.each(*[lambda number=number, who=f"c{album}": write(who, number) for number in range(10)])

    counts = [model.objects.count() for model in (Contact, Conversation, ServiceWindow, Message)]
    measured(f"{albums} albums: {counts[0]} contacts, {counts[1]} chats, {counts[2]} windows, {counts[3]} messages")
    assert counts == [albums, albums, albums, albums * 10]


@pytest.mark.fault("B23", "all 24 orders of sent, delivered, read, failed: the final state is right and never falls")
def test_ticks_never_fall_in_any_order(measured: Say) -> None:
    phone = ApiChannelFactory()
    chat = ConversationFactory(api_channel=phone)
    tried = 0
    for count in (2, 3, 4):
        for order in itertools.permutations(["sent", "delivered", "read", "failed"], count):
            message, before = MessageFactory(conversation=chat, outbound=True, status="pending"), 0
            for word in order:
                message_statuses.apply_statuses(phone, [StatusChanged(status=word, message_id=message.pk)])
                message.refresh_from_db()
                assert Message.RANK[message.status] >= before, order
                before = Message.RANK[message.status]
            assert message.status == max(order, key=lambda word: Message.RANK[word]), order
            tried += 1

    measured(f"{tried} orders (24 of four, and all of two and three)")


@pytest.mark.fault("B24", "a status before its message is joined; an unmatched one is reported after 7 days")
def test_an_early_status_is_joined_and_an_orphaned_one_is_reported(
    api_channel: ApiChannel, size: Size, measured: Say
) -> None:
    count = size(10, 100)
    for number in range(count + 1):
        message_statuses.apply_statuses(api_channel, [StatusChanged(status="read", external_id=f"wamid.{number}")])
    chat = ConversationFactory(api_channel=api_channel)
    for number in range(count):
        message = MessageFactory(conversation=chat, outbound=True, status="sent", external_id=f"wamid.{number}")
        with transaction.atomic():
            message_statuses.apply_stray_statuses(api_channel, [message])
    joined = Message.objects.filter(status="read").count()
    alert_counts = []
    for age in (timedelta(days=7) - timedelta(minutes=5), timedelta(days=7, minutes=5)):
        StrayStatus.objects.update(received_at=timezone.now() - age)
        reconciliation.reconcile_messages()
        standing = Alert.objects.filter(kind=Alert.Kind.MISMATCH, api_channel=api_channel, settled_at=None)
        alert_counts.append(list(standing.values_list("details__count", flat=True)))

    measured(
        f"{joined} of {count} joined; the unmatched one: alerts {alert_counts[0]} before 7 days,"
        f" {alert_counts[1]} after"
    )
    assert joined == count
    assert alert_counts == [[], [1]]


@pytest.mark.fault(
    "B25", "the window at 24 h ± 1 s, and 1,000 races of client, expiry and reply: always reopened, no late text"
)
def test_the_edge_of_the_window(
    api_channel: ApiChannel, receiver: Receiver, hands: Any, size: Size, measured: Say
) -> None:
    now = service_window.database_now()
    day, second = timedelta(hours=24), timedelta(seconds=1)
    edge = [
        service_window.is_open(service_window.compute_expiry(now - day + by, now=now), now=now)
        for by in (second, second * 0, -second)
    ]
    assert edge == [True, False, False]
    races, team, late = size(25, 1_000), hands(3), 0
    chance, author = random.Random(SEED), boris(api_channel.default_chat_channel)
    lands_in = api_channel.default_chat_channel
    assert lands_in
    print(f"seed {SEED}")

    for number in range(races):
        who = f"c{number}"
        chat = anna_writes(api_channel, who=who)
        ends = service_window.database_now() + timedelta(milliseconds=chance.randint(2, 12))
        ServiceWindow.objects.filter(conversation=chat).update(opened_at=ends - day, expires_at=ends)

        def write(who: str = who, ends: Any = ends) -> None:
            _wait_until(ends)
            incoming = receiving.IncomingMessage(fact=says(1, who=who), chat_channel=lands_in)
            receiving.receive_messages(api_channel, [incoming])

        def expire(ends: Any = ends) -> None:
            _wait_until(ends)
            housekeeping.expire_windows()

        early = ends - timedelta(milliseconds=chance.randint(0, 8))

        def reply(chat: Conversation = chat, at: Any = early) -> Any:
            _wait_until(at)
            return reply_submission.submit_reply(conversation_id=chat.pk, text="Да", author=author).decision.reason

        team.each(write, expire, reply)
        dispatcher.send_due_deliveries()
        assert service_window.get_window_state(chat).is_open, f"race {number}: the client wrote, the window is closed"
        for tried in Attempt.objects.filter(delivery__conversation=chat, delivery__free_text=True):
            covering = ServiceWindow.objects.filter(
                conversation=chat, opened_at__lte=tried.started_at, expires_at__gt=tried.started_at
            )
            late += not covering.exists()

    sent = Attempt.objects.count()
    measured(f"edge right; {races} races: window open after each, {sent} texts sent, {late} of them outside a window")
    assert late == 0


def _wait_until(moment: Any) -> None:
    while timezone.now() < moment - timedelta(microseconds=200):
        pass


@pytest.mark.fault(
    "B27",
    "clocks: a provider's stamp in the future or in 1970 is clamped and flagged; windows use the database's clock",
)
def test_an_odd_clock_is_clamped_and_marked(api_channel: ApiChannel, measured: Say) -> None:
    now = service_window.database_now()
    stamps = {
        "future": now + timedelta(days=365),
        "past": now - timedelta(days=365 * 50),
        "soon": now + timedelta(minutes=10),
    }
    lands_in = api_channel.default_chat_channel
    assert lands_in
    for who, at in stamps.items():
        incoming = receiving.IncomingMessage(fact=says(1, who=who, at=at), chat_channel=lands_in)
        receiving.receive_messages(api_channel, [incoming])
    found = {
        message.external_id.split("-")[0]: (
            service_window.get_window_state(message.conversation).expires_at,
            bool(message.details),
        )
        for message in Message.objects.all()
    }
    latest = service_window.database_now() + timedelta(hours=24)

    measured(
        "future and +10 min count as now, 1970 opens nothing, the first two are marked; "
        "a skewed host: tests/test_service_window.py"
    )
    assert all(expires is None or expires <= latest for expires, _odd in found.values())
    past = found["past"][0]
    assert past is not None and past < now  # the client has written, so the window is closed, not "never open"
    assert [found[who][1] for who in ("future", "past", "soon")] == [True, True, False]


# Time zones and moments at which their clocks change. TIME_ZONE is the pages' zone, TZ the host's.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
JUMPS = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin, an hour is skipped
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin, an hour is repeated
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe, half an hour
)


@pytest.mark.fault("B28", "DST and a change of the server's time zone: no job missed or doubled, windows of 24 hours")
def test_clocks_that_jump_miss_and_double_nothing(
    monkeypatch: pytest.MonkeyPatch, settings: Any, size: Size, measured: Say
) -> None:
    jumps, around = JUMPS[: size(1, len(JUMPS), fixed=True)], timedelta(hours=size(1, 3, fixed=True))
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    wrong, rings, ends = [], 0, set()
    try:
        for number, jump in enumerate(jumps):
            settings.TIME_ZONE = ZONES[number]
            entries = {name: schedules_of(name, clock) for name in SCHEDULE}
            rang = {name: [jump - around] for name in SCHEDULE}
            clock[0] = jump - around
            while clock[0] < jump + around:
                clock[0] += timedelta(seconds=10)
                if clock[0].minute % 10 == clock[0].second == 0:  # somebody changes the host's zone, again and again
                    monkeypatch.setenv("TZ", ZONES[(clock[0].hour * 6 + clock[0].minute // 10) % len(ZONES)])
                    time.tzset()
                for name, entry in entries.items():
                    if entry.is_due(rang[name][-1]).is_due:
                        rang[name].append(clock[0])
            for name, times in rang.items():
                every = max(SCHEDULE[name][1], 10)
                gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(times)]
                wrong += [(name, gap) for gap in gaps if not every <= gap <= every + 10]
                rings += len(gaps)
            for wrote in (jump, jump - timedelta(hours=5), jump - timedelta(hours=23)):
                ends.add(service_window.compute_expiry(wrote, now=jump) - wrote)
    finally:
        monkeypatch.undo()
        time.tzset()

    measured(
        f"{len(jumps)} jumps, the zone changed every ten minutes for {2 * around} around each: {rings} rings of"
        f" {len(SCHEDULE)} jobs, {len(wrong)} early, late or doubled; a window lasts {', '.join(map(str, ends))}"
    )
    assert wrong == []
    assert ends == {timedelta(hours=24)}
    assert rings > 1_000


def schedules_of(name: str, clock: list[datetime]) -> Any:
    """Return beat's schedule of a job, with the test's clock."""
    entry = celery.conf.beat_schedule[name]
    assert entry["schedule"] == SCHEDULE[name][1]
    return schedule(entry["schedule"], nowfun=lambda: clock[0].astimezone(), app=celery)


@pytest.mark.fault("B30", "100,000 windows due in one minute: closed in ≤ 60 s, no statement over 1 s")
def test_many_windows_run_out_at_once(api_channel: ApiChannel, size: Size, measured: Say) -> None:
    count = size(3_000, 100_000)
    lands_in = api_channel.default_chat_channel
    assert lands_in
    now = timezone.now()
    contacts = Contact.objects.bulk_create(
        [Contact(api_channel=api_channel, external_id=f"c{number}") for number in range(count)], batch_size=5_000
    )
    chats = Conversation.objects.bulk_create(
        [Conversation(api_channel=api_channel, chat_channel=lands_in, contact=contact) for contact in contacts],
        batch_size=5_000,
    )
    ServiceWindow.objects.bulk_create(
        [ServiceWindow(conversation=chat, opened_at=now - timedelta(hours=24), expires_at=now) for chat in chats],
        batch_size=5_000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE bridge_servicewindow")
    slowest = 0.0

    def timed(execute: Any, *args: Any) -> Any:
        nonlocal slowest
        started = time.monotonic()
        try:
            return execute(*args)
        finally:
            slowest = max(slowest, time.monotonic() - started)

    started = time.monotonic()
    with connection.execute_wrapper(timed):
        closed_count = housekeeping.expire_windows()
    took = time.monotonic() - started

    measured(f"{closed_count} closed in {took:.1f} s, slowest statement {slowest * 1000:.0f} ms")
    assert closed_count == count
    assert took <= 60
    assert slowest <= 1
