"""The run loop: claim what is due, let the calls run at once, save their results.

`claims` claims deliveries under a lease. Their calls run at once in this thread, outside of any transaction, and
`results` saves each result only while its lease is still valid. If a worker dies, the lease expires and the next claim
takes the delivery over. A delivery over which workers crashed twice is a poison message: it is sent alone at the end of
a run, and given up after its last attempt.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from datetime import datetime

from django.db.models import Exists, OuterRef

from bridge.channel_health import rate_limits
from bridge.models import Delivery
from bridge.worker_runs import RUN_SECONDS, SWEEP_SECONDS, WorkerRun
from channels_setup import http_client

from . import claims, preparation, results
from .attempts import AttemptResult
from .destinations import POLICIES
from .policies import DestinationPolicy, Lane

MAX_CALLS = 256  # concurrent calls of one run, more than any one destination may use
RESULT_BATCH_SECONDS = 0.01  # results that arrive within this time are saved in one transaction
RESULT_BATCH = 32  # wait for no more than these: a call counts as in flight until its result is saved
NEXT_RESULT_SECONDS = 0.004  # wait for another result this long
POLL_SECONDS = 0.05  # while calls run, look for new deliveries this often
LONGEST_LIMIT_WAIT = 1.5  # wait for a rate limit at most this long; the next run covers longer waits
SECONDS_BEFORE_POISON = 2.0  # a run claims other deliveries only this long if poison messages wait for its end
POISON_SECONDS = 5.0  # after this no poison message is begun; with all calls, below the soft time limit of a task


class Drain:
    """One run over the destinations of a lane, or without one over all whose calls do not block."""

    def __init__(self, lane: Lane | None, run: WorkerRun | None) -> None:
        lanes = (Lane.ANSWERS, Lane.EVENTS) if lane is None else (lane,)
        self.policies = [policy() for policy in POLICIES if policy.lane in lanes]
        self.run = run
        self.token = uuid.uuid4()
        self.until = time.monotonic() + RUN_SECONDS
        self.running: http_client.RunningExchanges[AttemptResult] = http_client.RunningExchanges()
        self.error: Exception | None = None  # of claiming; raised after the running calls are saved
        self.attempts = 0

    def send(self) -> int:
        """Send until the run is over, without a run until nothing is due. Return the number of attempts.

        New deliveries are claimed as each call ends, so a slow destination delays only its own. Poison messages come
        last, when the next run has begun in another process: it delays nobody if one takes long or kills this process.
        """
        poisoned = claims.find_destinations(self.policies, poison=True)
        if poisoned:
            self.until = min(self.until, time.monotonic() + SECONDS_BEFORE_POISON)
        try:
            self._send_all_others()
        finally:
            self.running.cancel()
        if poisoned and (self.run is None or self.run.hand_over()):
            self._send_poison_messages(poisoned)
        return self.attempts

    def _send_all_others(self) -> None:
        while True:
            if not self._is_over():
                self._claim()
            if self.running:
                self._save_finished()
            elif self.error is not None:
                raise self.error
            elif self._is_over() or not self._wait_for_work():
                return

    def _is_over(self) -> bool:
        if self.error is not None or time.monotonic() >= self.until:
            return True
        return self.run is not None and self.run.is_over()

    def _claim(self) -> None:
        if self.run is not None:
            self.run.clear()  # before the look: a commit after it ends the next wait
        try:
            for policy, ids in claims.find_destinations(self.policies).items():
                limit = MAX_CALLS - policy.leaves_free - len(self.running)
                claimed = claims.claim_deliveries(policy, self.token, limit=limit, ids=ids)
                for exchange in preparation.prepare_exchanges(claimed, self.token):
                    self.running.start(exchange)
        except Exception as problem:
            self.error = problem

    def _save_finished(self) -> None:
        if self.run is not None and self._is_over():
            self.run.hand_over()
        if done := self._collect_results(watch=None if self._is_over() else self.run):
            results.save_results(done, self.token)
        self.attempts += len(done)

    def _collect_results(self, *, watch: WorkerRun | None) -> list[AttemptResult]:
        """Return the results of one transaction. A wake-up ends the wait for more of them."""
        done = self.running.wait(POLL_SECONDS, watch=watch)
        until = time.monotonic() + RESULT_BATCH_SECONDS
        while done and self.running and len(done) < RESULT_BATCH and time.monotonic() < until:
            more = self.running.wait(NEXT_RESULT_SECONDS, watch=watch)
            if not more:
                break
            done += more
        return done

    def _wait_for_work(self) -> bool:
        """Wait for a rate limit or a wake-up. Return whether to look for work again."""
        seconds = claims.get_seconds_until_free(self.policies)
        if self.run is not None and self.run.may_wait:
            return self.run.wait(SWEEP_SECONDS if seconds is None else max(seconds, 0.02))
        if seconds is None or seconds > LONGEST_LIMIT_WAIT or time.monotonic() + seconds >= self.until:
            return self.run is not None and self.run.wait()
        time.sleep(max(seconds, 0.02))
        return True

    def _send_poison_messages(self, poisoned: Iterable[DestinationPolicy]) -> None:
        """Send poison messages one at a time, with no other call running in this process."""
        until = time.monotonic() + POISON_SECONDS
        for policy in poisoned:
            while time.monotonic() < until and (
                claimed := claims.claim_deliveries(policy, self.token, limit=1, poison=True)
            ):
                for exchange in preparation.prepare_exchanges(claimed, self.token):
                    results.save_results([http_client.run_exchange(exchange)], self.token)
                    self.attempts += 1


def send_due_deliveries(lane: Lane | None = None, run: WorkerRun | None = None) -> int:
    """Send what is due in a lane, or in all whose calls do not block. Return the number of attempts.

    Without `run`, this ends when nothing is due. With it, this waits for wake-ups until the run is over.
    """
    return Drain(lane, run).send()


def get_oldest_due_age(*, now: datetime) -> float:
    """Return how many seconds the oldest due delivery has waited, or 0.

    A delivery behind an older one of the same conversation is not due.
    """
    older = Delivery.objects.filter(
        api_channel=OuterRef("api_channel"),
        conversation=OuterRef("conversation"),
        kind=OuterRef("kind"),
        pk__lt=OuterRef("pk"),
        state__in=Delivery.UNFINISHED,
    )
    oldest = (
        Delivery.objects.filter(~Exists(older), state__in=Delivery.UNFINISHED, next_attempt_at__lte=now)
        .filter(chat_channel=None, alert_route=None)
        .exclude(api_channel__state="paused")
        .exclude(api_channel__breaker__is_open=True)
        .exclude(api_channel__breaker__backoff_until__gt=now)
        .exclude(api_channel__in=rate_limits.find_limited_channels(now=now))
        .order_by("next_attempt_at")
        .values_list("next_attempt_at", flat=True)
        .first()
    )
    return (now - oldest).total_seconds() if oldest else 0.0
