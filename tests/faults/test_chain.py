"""The chain of two portals with faults between them: every message once and in order, in both directions.

The setup is that of ``tests/test_portal_chain.py``. The connection is broken: calls that never arrive, calls whose
response is lost, calls that arrive twice, and HTTP 500 responses in both directions.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


class BusyChain(Chain):
    """Runs the steps concurrently, as workers do. Waiting retries are made due at once."""

    def settle(self, *, seconds: float = 60) -> None:
        enough = threading.Event()
        with ThreadPoolExecutor(len(STEPS)) as pool:
            busy = [pool.submit(keep_going, step, enough) for step in STEPS]
            try:
                self._wait(time.monotonic() + seconds)
            finally:
                enough.set()
            for each in busy:
                each.result()

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
        for chat in Conversation.objects.filter(chat_channel=chain.desk).select_related("contact"):
            name = chat.contact.external_id
            answered[name].append(f"{name} получает {number}")
            assert reply_submission.submit_reply(
                conversation_id=chat.pk, text=answered[name][-1], author=chain.operator
            ).message
        if number % 20 == 19:
            chain.settle(seconds=600)
    chain.settle(seconds=600)

    wrong = 0
    for name in who:
        at_a = Conversation.objects.get(chat_channel=chain.desk, contact__external_id=name)
        at_b = Conversation.objects.get(chat_channel=chain.outside, contact__external_id=name)
        wrong += chain.seen(at_a, "inbound") != asked[name]
        wrong += chain.seen(at_b, "outbound") != answered[name]
    faults = ", ".join(f"{count} × {kind}" for kind, count in sorted(line.done.items()))
    took = f"{each * CONTACTS} messages each way in {time.monotonic() - began:.0f} s"
    measured(f"{took}; calls: {faults}; chats with a loss, double or disorder: {wrong}")
    assert wrong == 0
    assert not WebhookEvent.objects.filter(state="failed").exists()
    assert sum(count for kind, count in line.done.items() if kind != "honest") > 0
