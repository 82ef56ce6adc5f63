"""The chain of two portals with faults between them: every message once and in order, in both directions.

The setup is that of ``tests/test_portal_chain.py``. The connection is broken: calls that never arrive, calls whose
response is lost, calls that arrive twice, and HTTP 500 responses in both directions.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from bridge.channel_health import circuit_breaker
from bridge.inbox import processing
from bridge.models import Conversation, Delivery, WebhookEvent
from bridge.outbox import dispatcher
from bridge.outbox.policies import Lane
from bridge.relay import reply_submission
from channels_setup import http_client
from channels_setup.http_client import ConcurrentCalls
from channels_setup.models import ChatChannel
from channels_setup.providers.base import ApiRequest, ApiResponse
from tests.faults.conftest import SEED
from tests.responses import change_responses
from tests.scenarios.portal_chain import Chain

CONTACTS = 10
STEPS = (
    processing.process_inbox,
    partial(dispatcher.send_due_deliveries, Lane.ANSWERS),
    partial(dispatcher.send_due_deliveries, Lane.EVENTS),
)
LOOK_SECONDS = 0.2
SHARE = 0.06  # of each kind of fault, of all calls


class BrokenLine:
    """Random faults from a seed in all calls of the HTTP client. Counts the faults."""

    def __init__(self, seed: int) -> None:
        self.random, self.done = random.Random(seed), Counter[str]()
        self.lock = threading.Lock()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = ConcurrentCalls.start

        def start_or_fail(calls: ConcurrentCalls, tag: Any, request: ApiRequest, **more: Any) -> None:
            kind = self.draw("not sent", "500")
            if kind == "not sent":
                calls._finish_unsent(tag, http_client.ConnectionFailed("cannot_connect"))
            elif kind == "500":
                calls._finished.append((tag, ApiResponse(status=500, headers={}, body=b"Server Error")))
            else:
                start(calls, tag, request, **more)

        def lose_or_double(request: ApiRequest, response: ApiResponse) -> ApiResponse:
            kind = self.draw("answer lost", "doubled")
            if kind == "answer lost":
                raise http_client.NoResponse
            return http_client.send(request) if kind == "doubled" else response

        monkeypatch.setattr(ConcurrentCalls, "start", start_or_fail)
        change_responses(monkeypatch, lose_or_double)

    def draw(self, *kinds: str) -> str:
        with self.lock:
            drawn = int(self.random.random() / SHARE)
            kind = kinds[drawn] if drawn < len(kinds) else ""
            self.done[kind or "honest"] += 1
        return kind


class Outage:
    """Calls to addresses that begin with ``prefix`` fail while ``is_on``: refused, 503, or without an answer."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.is_on, self.calls = prefix, False, 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = ConcurrentCalls.start

        def start_or_fail(calls: ConcurrentCalls, tag: Any, request: ApiRequest, **more: Any) -> None:
            if not self.is_on or not request.url.startswith(self.prefix):
                start(calls, tag, request, **more)
                return
            self.calls += 1
            results = (
                http_client.ConnectionFailed("cannot_connect"),
                ApiResponse(status=503, headers={}, body=b"Service Unavailable"),
                http_client.NoResponse(),
            )
            calls._finished.append((tag, results[self.calls % len(results)]))

        monkeypatch.setattr(ConcurrentCalls, "start", start_or_fail)


class BusyChain(Chain):
    """Runs the steps concurrently, as workers do. Waiting retries are made due at once."""

    def settle(self, *, seconds: float = 60) -> None:
        with self.working():
            self._wait(time.monotonic() + seconds)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run the steps in threads."""
        enough = threading.Event()
        with ThreadPoolExecutor(len(STEPS)) as pool:
            busy = [pool.submit(keep_going, step, enough) for step in STEPS]
            try:
                yield
            finally:
                enough.set()
            for each in busy:
                each.result()

    def boris_answers_all(self, number: int, answered: dict[str, list[str]]) -> None:
        for chat in Conversation.objects.filter(chat_channel=self.desk).select_related("contact"):
            name = chat.contact.external_id
            answered[name].append(f"{name} получает {number}")
            assert reply_submission.submit_reply(
                conversation_id=chat.pk, text=answered[name][-1], author=self.operator
            ).message

    def seen_at_a(self, name: str) -> list[str]:
        return self.seen(Conversation.objects.get(chat_channel=self.desk, contact__external_id=name), "inbound")

    def seen_at_b(self, name: str) -> list[str]:
        return self.seen(Conversation.objects.get(chat_channel=self.outside, contact__external_id=name), "outbound")

    def _wait(self, until: float) -> None:
        while True:
            unfinished = Delivery.objects.filter(state__in=Delivery.UNFINISHED)
            if not WebhookEvent.objects.filter(state="new").exists() and not unfinished.exists():
                return
            assert time.monotonic() < until, "it does not come to rest"
            circuit_breaker.reset_breakers("chat_channel", ChatChannel.objects.values_list("pk", flat=True))
            now = timezone.now()
            unfinished.filter(state="pending", next_attempt_at__gt=now).update(next_attempt_at=now)
            time.sleep(LOOK_SECONDS)


def keep_going(step: Callable[[], int], enough: threading.Event) -> None:
    try:
        while not enough.is_set():
            if not step():
                enough.wait(0.02)
    finally:
        connections.close_all()


def compare(sent: list[str], seen: list[str]) -> Counter[str]:
    """Count the messages of one chat and direction that were lost or repeated, and whether the order changed."""
    lost, repeated = len(set(sent) - set(seen)), len(seen) - len(set(seen))
    is_disordered = list(dict.fromkeys(seen)) != [text for text in sent if text in set(seen)]
    return Counter({"lost": lost, "repeated": repeated, "chats out of order": int(is_disordered)})


@pytest.mark.fault("U1", "two portals in a chain, 1,000 messages each way with faults between: each once and in order")
@pytest.mark.django_db(transaction=True)
def test_two_portals_pass_messages_once_in_order_over_a_bad_connection(
    live_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    size: Callable[..., int],
    measured: Callable[[str], None],
) -> None:
    # As in production, the channel of an address is not read again for each webhook.
    monkeypatch.setattr("bridge.settings_cache.CACHE_SECONDS", 2.0)
    chain, began = BusyChain(live_server.url), time.monotonic()
    each = size(2, 1000 // CONTACTS)
    who = [f"anna-{number}" for number in range(CONTACTS)]
    line = BrokenLine(SEED)
    line.install(monkeypatch)
    asked: dict[str, list[str]] = {name: [] for name in who}
    answered: dict[str, list[str]] = {name: [] for name in who}

    for number in range(each):
        for name in who:
            asked[name].append(f"{name} спрашивает {number}")
            chain.anna_writes(asked[name][-1], who=name)
        if number == 0:
            chain.settle(seconds=300)
        chain.boris_answers_all(number, answered)
        if number % 20 == 19:
            chain.settle(seconds=600)
    chain.settle(seconds=600)

    tally = Counter[str]()
    for name in who:
        tally += compare(asked[name], chain.seen_at_a(name)) + compare(answered[name], chain.seen_at_b(name))
    faults = ", ".join(f"{count} × {kind}" for kind, count in sorted(line.done.items()))
    took = f"{each * CONTACTS} messages each way in {time.monotonic() - began:.0f} s"
    wrong = {kind: tally[kind] for kind in ("lost", "repeated", "chats out of order")}
    measured(f"{took}; calls: {faults}; {', '.join(f'{count} {kind}' for kind, count in wrong.items())}")
    assert not any(wrong.values())
    assert not WebhookEvent.objects.filter(state="failed").exists()
    assert sum(count for kind, count in line.done.items() if kind != "honest") > 0


@pytest.mark.fault(
    "U2", "helpdesk down while 1,000 messages come: replies pass, ≤ 1 call a second, then each message once, in order"
)
@pytest.mark.django_db(transaction=True)
def test_a_helpdesk_that_was_down_gets_each_message_once_in_order(
    live_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    size: Callable[..., int],
    measured: Callable[[str], None],
) -> None:
    chain, each = BusyChain(live_server.url), size(2, 1000 // CONTACTS)
    outage = Outage(f"{live_server.url}/uapi/")
    outage.install(monkeypatch)
    who = [f"anna-{number}" for number in range(CONTACTS)]
    asked: dict[str, list[str]] = {name: [f"{name} спрашивает"] for name in who}
    answered: dict[str, list[str]] = {name: [] for name in who}
    for name in who:
        chain.anna_writes(asked[name][0], who=name)
    chain.settle(seconds=300)

    outage.is_on, began = True, time.monotonic()
    with chain.working():
        for number in range(each):
            for name in who:
                asked[name].append(f"{name} спрашивает {number}")
                chain.anna_writes(asked[name][-1], who=name)
            chain.boris_answers_all(number, answered)
        until = time.monotonic() + 300
        while any(len(chain.seen_at_b(name)) < each for name in who):
            assert time.monotonic() < until, "the replies wait for the helpdesk that is down"
            time.sleep(LOOK_SECONDS)
    seconds, calls = time.monotonic() - began, outage.calls
    arrived = sum(len(chain.seen_at_a(name)) - 1 for name in who)
    outage.is_on, back = False, time.monotonic()
    chain.settle(seconds=600)

    tally = Counter[str]()
    for name in who:
        tally += compare(asked[name], chain.seen_at_a(name)) + compare(answered[name], chain.seen_at_b(name))
    measured(
        f"down for {seconds:.0f} s and {each * CONTACTS} messages: {calls} calls to it, {arrived} arrived, all replies"
        f" passed; everything there {time.monotonic() - back:.0f} s after its return; wrong: {dict(tally) or 0}"
    )
    assert arrived == 0
    assert 0 < calls <= CONTACTS * 3 + seconds
    assert not tally
