"""The same faults at each kind of destination: what each policy makes of them.

The faults are results of the HTTP client. How real connections fail is tested in test_http_client.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from bridge.models import Attempt, CircuitBreaker, Delivery, HelpdeskChat, RateLimit
from bridge.outbox import claims, dispatcher, policies, results
from bridge.outbox.attempts import AttemptResult
from bridge.outbox.destinations.events import EventPolicy
from bridge.outbox.destinations.helpdesks import HelpdeskPolicy
from bridge.outbox.destinations.messages import MessagePolicy
from bridge.outbox.policies import DestinationPolicy, Lane
from channels_setup.http_client import (
    ConcurrentCalls,
    ConnectionFailed,
    ForbiddenAddress,
    NoResponse,
    RunningExchanges,
)
from channels_setup.models import ApiChannel, ChatChannel, UnknownPolicy
from channels_setup.providers.base import ApiRequest, ApiResponse
from tests.claiming import attempt_delivery, claim_deliveries
from tests.factories import ApiChannelFactory, ConversationFactory, DeliveryFactory
from tests.scenarios.sending import anna_writes, boris_answers

pytestmark = pytest.mark.django_db

URL = "https://destination.example/hook"
ACCEPTED = ApiResponse(status=200, headers={}, body=b'{"chat_id": 7, "client_id": 8}')
NO_COMMENTS = ApiResponse(status=200, headers={}, body=b'{"ticket": {"id": 5}, "comments": []}')


@dataclass
class Line:
    """Answers every call of the HTTP client without a connection. The last answer is used again."""

    answers: list[ApiResponse | Exception] = field(default_factory=list)
    calls: list[ApiRequest] = field(default_factory=list)

    def start(self, calls: ConcurrentCalls, tag: Any, request: ApiRequest, **_more: Any) -> None:
        self.calls.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        calls._finished.append((tag, answer))


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    line = Line([ACCEPTED])
    monkeypatch.setattr(ConcurrentCalls, "start", lambda *given, **more: line.start(*given, **more))
    yield line


def queue_message() -> None:
    channel = ApiChannelFactory(kind="acebot", redirect_url=URL, secret=True, on_unknown=UnknownPolicy.ASK)
    ApiChannel.objects.update(track_message=False, track_new_chat=False, track_resumed=False)
    boris_answers(anna_writes(channel))


def queue_event() -> None:
    phone = ApiChannelFactory()
    watcher = ApiChannelFactory(
        kind="acebot", redirect_url=URL, secret=True, watched=phone.default_chat_channel, track_new_chat=False
    )
    anna_writes(phone)
    Delivery.objects.exclude(api_channel=watcher).delete()


def create_helpdesk(**options: Any) -> ChatChannel:
    chat_channel = ChatChannel(name="Юздеск", kind="usedesk", company_id=1)
    chat_channel.options = {"base_url": "https://helpdesk.example", "channel_id": 1} | options
    chat_channel.set_secret("a1" * 20)
    chat_channel.save()
    return chat_channel


def queue_command(chat_channel: ChatChannel | None = None) -> None:
    chat_channel = chat_channel or create_helpdesk()
    conversation = ConversationFactory(chat_channel=chat_channel, api_channel=ApiChannelFactory(watched=chat_channel))
    DeliveryFactory(
        message=None,
        conversation=conversation,
        chat_channel=chat_channel,
        api_channel=conversation.api_channel,
        kind="helpdesk",
        track="message",
        payload={"text": "раз", "contact": {"phone": "79211234567"}},
    )


KINDS: dict[str, tuple[Callable[[], None], type[DestinationPolicy]]] = {
    "message": (queue_message, MessagePolicy),
    "event": (queue_event, EventPolicy),
    "helpdesk": (queue_command, HelpdeskPolicy),
}


@dataclass(frozen=True)
class Expected:
    """State and reason of the delivery, its counted attempts, its wait, and the state of its destination."""

    state: str
    reason: str = ""
    attempts: int = 1
    waits: int = 5  # seconds, of a pending delivery: at least this, or with jitter a fifth less
    failures: int = 0  # that the breaker has counted
    holds_back: bool = False  # the channel is paused, or the breaker waits as the destination asked


def pending(reason: str, **more: Any) -> Expected:
    return Expected("pending", reason, **more)


NOTHING_SENT = ConnectionFailed("cannot_connect")
TOO_MANY = ApiResponse(status=429, headers={"retry-after": "120"}, body=b"{}")
FAULTS: dict[str, tuple[ApiResponse | Exception, dict[str, Expected]]] = {
    "accepted": (ACCEPTED, dict.fromkeys(KINDS, Expected("delivered"))),
    "500": (
        ApiResponse(status=500, headers={}, body=b"Server Error"),
        {
            "message": pending("destination_error", failures=1),
            "event": pending("destination_error", failures=1),
            "helpdesk": pending("helpdesk_unreachable", failures=1),
        },
    ),
    "503": (
        ApiResponse(status=503, headers={}, body=b""),
        {
            "message": pending("destination_error", failures=1, waits=60),
            "event": pending("destination_error", failures=1, waits=60),
            "helpdesk": pending("helpdesk_unreachable", failures=1),
        },
    ),
    "reset before the request was sent": (
        NOTHING_SENT,
        {
            "message": pending("cannot_connect", failures=1),
            "event": pending("cannot_connect", failures=1),
            "helpdesk": pending("helpdesk_unreachable", failures=1),
        },
    ),
    "reset or time-out after it": (
        NoResponse(),
        {
            "message": Expected("unknown", "outcome_unknown", failures=1),
            "event": pending("outcome_unknown", failures=1),
            "helpdesk": pending("outcome_unknown", failures=1, waits=30),
        },
    ),
    "address in a private network": (
        ForbiddenAddress(),
        {
            "message": pending("forbidden", failures=1),
            "event": pending("forbidden", failures=1),
            "helpdesk": pending("helpdesk_wrong_address", attempts=0, waits=0, holds_back=True),
        },
    ),
    "401": (
        ApiResponse(status=401, headers={}, body=b'{"error": "unauthorized", "code": 401}'),
        {
            "message": pending("unauthorized", attempts=0, waits=0, holds_back=True, failures=1),
            "event": pending("unauthorized", attempts=0, waits=0, holds_back=True, failures=1),
            "helpdesk": pending("helpdesk_unauthorized", attempts=0, waits=0, holds_back=True),
        },
    ),
    "429 with Retry-After": (
        TOO_MANY,
        {
            "message": pending("rate_limited", waits=120),
            "event": pending("rate_limited", waits=120),
            "helpdesk": pending("rate_limited", waits=120, failures=1, holds_back=True),
        },
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_means_the_same_at_every_kind_of_destination(line: Line, kind: str, fault: str) -> None:
    answer, expected = FAULTS[fault]
    line.answers = [answer]
    KINDS[kind][0]()

    assert dispatcher.send_due_deliveries() == 1

    delivery, breaker, wanted = Delivery.objects.get(), CircuitBreaker.objects.first(), expected[kind]
    found = delivery.state, delivery.reason, delivery.attempts, delivery.lease_token
    assert found == (wanted.state, wanted.reason, wanted.attempts, None)
    assert Attempt.objects.get().reason == wanted.reason
    if wanted.state == "pending":
        wait = (delivery.next_attempt_at - Attempt.objects.get().started_at).total_seconds()
        assert 0.8 * wanted.waits <= wait <= 1.2 * wanted.waits + 10  # on a slow machine
    assert (breaker.consecutive_failures if breaker else 0) == wanted.failures
    is_paused = delivery.kind != "helpdesk" and delivery.api_channel.state == "paused"
    assert (is_paused or bool(breaker and breaker.backoff_until)) == wanted.holds_back


# --- workers that die or come too late ---


def die_after_claiming() -> uuid.UUID:
    token = uuid.uuid4()
    assert len(claim_deliveries(token, limit=5)) == 1
    Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    return token


@pytest.mark.parametrize(
    ("kind", "state", "calls"),
    [("message", "unknown", 0), ("event", "delivered", 1), ("helpdesk", "delivered", 1)],
)
def test_an_interrupted_attempt_is_repeated_where_that_is_safe(line: Line, kind: str, state: str, calls: int) -> None:
    """A message may have been sent: the channel asks the operator. The helpdesk has no IDs yet to look up."""
    KINDS[kind][0]()
    die_after_claiming()

    dispatcher.send_due_deliveries()

    assert Delivery.objects.get().state == state
    assert len(line.calls) == calls


def queue_unsure_command() -> None:
    """Queue a command whose attempt was interrupted, in a chat that the helpdesk can look up."""
    queue_command()
    chat = Delivery.objects.get().conversation
    HelpdeskChat.objects.create(conversation=chat, chat_channel=chat.chat_channel, ticket_id=5)
    die_after_claiming()


def test_a_look_up_at_the_helpdesk_precedes_the_repeat(line: Line) -> None:
    queue_unsure_command()
    line.answers = [NO_COMMENTS, ACCEPTED]

    dispatcher.send_due_deliveries()

    assert [call.url.rsplit("/", 1)[1] for call in line.calls] == ["ticket", "addMessage"]
    assert Delivery.objects.get().state == "delivered"


def fail(*_given: Any, **_more: Any) -> None:
    raise KeyError("tickets")


def test_a_look_up_that_cannot_be_read_proves_nothing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels_setup.providers.usedesk.helpdesk.Usedesk.read_lookup", fail)
    queue_unsure_command()

    dispatcher.send_due_deliveries()

    assert len(line.calls) == 1
    assert Attempt.objects.values_list("verdict", "reason").get() == ("retry", "outcome_unknown")
    assert Delivery.objects.get().payload["may_have_arrived"]


def test_a_command_that_cannot_be_built_is_not_looked_up(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels_setup.providers.usedesk.helpdesk.Usedesk.build_request", fail)
    queue_unsure_command()

    dispatcher.send_due_deliveries()

    assert line.calls == []
    assert Attempt.objects.values_list("verdict", "reason").get() == ("retry", "internal_error")
    assert Delivery.objects.get().payload["may_have_arrived"]


def test_unknown_outcomes_at_a_helpdesk_follow_the_retry_schedule(line: Line) -> None:
    queue_command()
    line.answers = [NoResponse()]
    Delivery.objects.update(attempts=len(HelpdeskPolicy.retry_delays) - 1)

    dispatcher.send_due_deliveries()

    delivery = Delivery.objects.get()
    assert delivery.state == "pending"
    assert delivery.next_attempt_at > timezone.now() + timedelta(hours=12)
    without_look_up = delivery.payload | {"may_have_arrived": False}
    Delivery.objects.update(next_attempt_at=timezone.now(), reason="", payload=without_look_up)
    dispatcher.send_due_deliveries()
    assert Delivery.objects.values_list("state", "reason").get() == ("dead", "outcome_unknown")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", [ACCEPTED, NOTHING_SENT], ids=["accepted", "failed"])
def test_a_result_after_the_lease_is_lost_changes_nothing(
    line: Line, kind: str, answer: ApiResponse | Exception
) -> None:
    KINDS[kind][0]()
    token, other = uuid.uuid4(), uuid.uuid4()
    (item,) = claim_deliveries(token, limit=5)
    line.answers = [answer]
    result = attempt_delivery(item, token)
    Delivery.objects.update(lease_token=other)

    results.save_results([result], token)

    assert Delivery.objects.values_list("state", "lease_token").get() == ("sending", other)
    assert Attempt.objects.count() == 1


@dataclass
class Run:
    """A run of a worker that has a place for the next one, or has none at the moment."""

    line: Line
    reader: socket.socket
    is_free: bool
    may_wait: bool = True
    calls_before: int = -1  # the hand-over

    def is_over(self) -> bool:
        return self.calls_before >= 0

    def clear(self) -> None:
        pass

    def wait(self, _seconds: float) -> bool:
        return False

    def fileno(self) -> int:
        return self.reader.fileno()

    def hand_over(self) -> bool:
        if self.is_free:
            self.calls_before = len(self.line.calls)
        return self.is_free


@pytest.mark.parametrize("is_free", [True, False])
def test_poison_messages_are_sent_after_the_run_is_handed_over(line: Line, is_free: bool) -> None:
    queue_command(create_helpdesk(calls_per_second=1_000))
    Delivery.objects.update(attempts=1)
    die_after_claiming()
    queue_command(create_helpdesk(calls_per_second=1_000))
    reader, writer = socket.socketpair()
    run: Any = Run(line, reader, is_free=is_free)

    with reader, writer:
        dispatcher.send_due_deliveries(Lane.EVENTS, run)

    assert run.calls_before == (1 if is_free else -1)
    assert len(line.calls) == (2 if is_free else 1)


def test_a_poison_message_waits_while_the_breaker_is_open(line: Line) -> None:
    queue_command()
    Delivery.objects.update(attempts=1)
    die_after_claiming()
    assert claims.find_destinations([HelpdeskPolicy()], poison=True)
    chat_channel = ChatChannel.objects.get(kind="usedesk")
    CircuitBreaker.objects.create(chat_channel=chat_channel, is_open=True, probe_at=timezone.now())

    assert not claims.find_destinations([HelpdeskPolicy()], poison=True)


# --- breaker, limits, priorities ---


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_breaker_lets_one_probe_through(line: Line, kind: str) -> None:
    queue, policy = KINDS[kind]
    line.answers = [NOTHING_SENT]
    queue()
    for _ in range(policy.breaker.failures_to_open):
        Delivery.objects.update(next_attempt_at=timezone.now(), attempts=0)
        dispatcher.send_due_deliveries()
    Delivery.objects.update(next_attempt_at=timezone.now())
    breaker = CircuitBreaker.objects.get()
    assert (breaker.is_open, breaker.backoff_seconds) == (True, policy.breaker.first_backoff)
    assert dispatcher.send_due_deliveries() == 0

    CircuitBreaker.objects.update(probe_at=timezone.now())
    line.answers = [ACCEPTED]
    assert dispatcher.send_due_deliveries() == 1

    assert not CircuitBreaker.objects.get().is_open
    assert Delivery.objects.get().state == "delivered"


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_limit_uses_up_no_attempt(line: Line, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "LONGEST_LIMIT_WAIT", 0.0)
    KINDS[kind][0]()
    ApiChannel.objects.update(calls_per_second=0.01)
    ChatChannel.objects.filter(kind="usedesk").update(
        options={"base_url": "https://helpdesk.example", "channel_id": 1, "calls_per_second": 0.01}
    )
    for _ in range(2):
        dispatcher.send_due_deliveries()
        Delivery.objects.update(state="pending", next_attempt_at=timezone.now(), attempts=0)

    assert len(line.calls) == 1
    assert RateLimit.objects.filter(whole_channel=True).count() == 1


def test_chat_channels_with_one_account_share_its_rate_limit(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "LONGEST_LIMIT_WAIT", 0.0)
    for _ in range(2):
        queue_command(create_helpdesk(calls_per_second=0.01))

    dispatcher.send_due_deliveries()

    assert len(line.calls) == 1
    assert RateLimit.objects.get().api_channel is None


@pytest.mark.parametrize("obstacle", ["open breaker", "back-off", "rate limit", "calls in flight"])
def test_destinations_without_free_slots_take_no_share_of_a_claim(obstacle: str) -> None:
    def queue_events(count: int) -> ApiChannel:
        channel: ApiChannel = ApiChannelFactory(kind="acebot")
        DeliveryFactory.create_batch(count, event=True, api_channel=channel)
        return channel

    later = timezone.now() + timedelta(hours=1)
    for channel in (queue_events(1), queue_events(1)):
        if obstacle == "open breaker":
            CircuitBreaker.objects.create(api_channel=channel, is_open=True, probe_at=later)
        elif obstacle == "back-off":
            CircuitBreaker.objects.create(api_channel=channel, backoff_until=later)
        elif obstacle == "rate limit":
            RateLimit.objects.create(api_channel=channel, whole_channel=True, met_at=later, burst=1, every=1)
        else:
            running = {"state": "sending", "lease_token": uuid.uuid4(), "attempts": 1, "next_attempt_at": later}
            DeliveryFactory.create_batch(EventPolicy.in_flight, event=True, api_channel=channel, **running)
    queue_events(6)

    assert len(claims.claim_deliveries(EventPolicy(), uuid.uuid4(), limit=6)) == 6


def test_a_bulk_resend_comes_after_the_answers_of_its_channel(line: Line) -> None:
    queue_message()
    bulk = Delivery.objects.get()
    Delivery.objects.update(priority=Delivery.Priority.BULK, next_attempt_at=timezone.now() - timedelta(hours=1))
    boris_answers(anna_writes(bulk.api_channel, who="ivan"))

    policy = MessagePolicy()
    first, second = (claims.claim_deliveries(policy, uuid.uuid4(), limit=1) for _ in "12")

    assert first[0].delivery.pk != bulk.pk
    assert second[0].delivery.pk == bulk.pk


def test_a_lane_sends_only_its_own_kinds(line: Line) -> None:
    queue_message()
    queue_command()

    assert dispatcher.send_due_deliveries(Lane.ANSWERS) == 1
    assert Delivery.objects.get(state="delivered").kind == "message"
    assert dispatcher.send_due_deliveries(Lane.EVENTS) == 1
    assert not Delivery.objects.exclude(state="delivered").exists()


def test_a_changed_address_is_used_after_a_failure(line: Line) -> None:
    """Settings are remembered for two seconds; a failure reads them again."""
    queue_event()
    policy = EventPolicy()
    line.answers = [NOTHING_SENT]
    for path in ("old", "new"):
        ApiChannel.objects.filter(redirect_url__gt="").update(redirect_url=f"https://destination.example/{path}")
        Delivery.objects.update(next_attempt_at=timezone.now())
        token = uuid.uuid4()
        (item,) = claims.claim_deliveries(policy, token, limit=1)
        results.save_results([attempt_delivery(item, token)], token)

    assert [call.url.rsplit("/", 1)[1] for call in line.calls] == ["old", "new"]


def test_remembered_settings_are_read_again_after_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = [100.0], []
    monkeypatch.setattr("bridge.outbox.policies.time.monotonic", lambda: now[0])
    remembered = policies.RememberedSettings(lambda ids: read.append(set(ids)) or dict.fromkeys(ids, "settings"))

    for step in (0.0, 1.9, 0.2):
        now[0] += step
        assert remembered.get([1]) == {1: "settings"}

    assert read == [{1}, {1}]


def test_a_command_that_kills_every_worker_is_given_up(line: Line) -> None:
    queue_command()
    attempts = len(HelpdeskPolicy.retry_delays) + 1
    passed = timezone.now() - timedelta(seconds=1)
    Delivery.objects.update(state="sending", attempts=attempts, lease_token=uuid.uuid4(), next_attempt_at=passed)

    assert dispatcher.send_due_deliveries() == 0

    assert Delivery.objects.values_list("state", "reason").get() == ("dead", "retries_exhausted")


def confirm_during_attempt(line: Line) -> AttemptResult:
    """Attempt the command, which gets no response, but comes back as an event before the result is saved."""
    token = uuid.uuid4()
    (item,) = claim_deliveries(token, limit=5)
    line.answers = [NoResponse()]
    result = attempt_delivery(item, token)
    Delivery.objects.update(payload=item.delivery.payload | {"is_confirmed": True})
    results.save_results([result], token)
    return result


def test_a_command_that_came_back_as_an_event_counts_no_failure(line: Line) -> None:
    queue_command()

    confirm_during_attempt(line)

    assert Delivery.objects.values_list("state", "reason").get() == ("delivered", "")
    assert Attempt.objects.get().verdict == "unknown"
    assert not CircuitBreaker.objects.exists()


def test_an_event_during_a_look_up_confirms_the_command(line: Line) -> None:
    queue_unsure_command()

    result = confirm_during_attempt(line)

    assert result.outcome.verdict == "retry"
    assert Delivery.objects.get().state == "delivered"


def test_an_attempt_without_a_call_closes_no_breaker(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    queue_command()
    CircuitBreaker.objects.create(
        chat_channel=ChatChannel.objects.get(kind="usedesk"), is_open=True, probe_at=timezone.now()
    )
    monkeypatch.setattr("bridge.outbox.destinations.helpdesks.build_command", fail)

    dispatcher.send_due_deliveries()

    assert Attempt.objects.get().reason == "internal_error"
    assert CircuitBreaker.objects.get().is_open


def test_a_reply_does_not_wait_for_bulk_resends_of_other_chats(line: Line) -> None:
    queue_message()
    bulk = Delivery.objects.get()
    Delivery.objects.update(priority=Delivery.Priority.BULK)

    boris_answers(bulk.conversation)

    assert set(Delivery.objects.values_list("priority", flat=True)) == {Delivery.Priority.ANSWER}


def test_a_helpdesk_at_its_limit_hides_no_delay_of_others(line: Line) -> None:
    queue_command()
    dispatcher.send_due_deliveries()
    queue_message()
    Delivery.objects.filter(kind="message").update(next_attempt_at=timezone.now() - timedelta(minutes=9))

    assert RateLimit.objects.get().api_channel is None
    assert dispatcher.get_oldest_due_age(now=timezone.now()) > 500


def test_a_wait_for_calls_ends_when_a_wake_up_arrives() -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        running: RunningExchanges[None] = RunningExchanges()
        started = time.monotonic()
        writer.send(b"x")

        assert running.wait(30, watch=reader) == []
        assert running.wait(0.01) == []  # the socket is no longer watched
        assert time.monotonic() - started < 20
