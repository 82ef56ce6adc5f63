"""Destination policies: everything in which the kinds of destination differ.

The engine (`claims`, `preparation`, `dispatcher`, `results`) is the same for all of them. A new kind of destination is
a subclass in `destinations`, a nullable column of `Delivery` (with a line in `claims.DESTINATIONS`), and a line in
`destinations.POLICIES`.
"""

# ruff: noqa: B027 - hooks without an effect may stay as they are

from __future__ import annotations

import logging
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from django.utils import timezone

from bridge.channel_health.circuit_breaker import BreakerFigures
from bridge.channel_health.rate_limits import RateRequest
from bridge.models import Delivery
from channels_setup import http_client
from channels_setup.codecs.error_descriptions import describe_traceback
from channels_setup.providers.base import RETRY, UNKNOWN, Outcome

from . import settling
from .attempts import AttemptResult, CallResult, ClaimedDelivery
from .response_excerpt import excerpt_response

logger = logging.getLogger(__name__)

JITTER = 0.2  # ±20 %
MAX_RETRY_AFTER = 3_600.0
OVERLOADED_STATUSES = (429, 502, 503, 504)
SETTINGS_SECONDS = 2.0  # settings of a destination are read again after this, and after each failure

UNKNOWN_OUTCOME = Outcome(verdict=UNKNOWN, reason="outcome_unknown")

Settings = TypeVar("Settings")


class Lane(StrEnum):
    """Group of deliveries that can have its own workers: answers must not wait for events, nor events for answers."""

    ANSWERS = "answers"  # to clients
    EVENTS = "events"
    MAIL = "mail"  # alert emails, whose calls block the run


class RememberedSettings(Generic[Settings]):
    """Settings of destinations, read from the database every SETTINGS_SECONDS."""

    def __init__(self, load: Callable[[Collection[int]], Mapping[int, Settings]]) -> None:
        self._load = load
        self._kept: dict[int, tuple[float, Settings]] = {}

    def get(self, ids: Collection[int]) -> dict[int, Settings]:
        """Return the settings of these destinations. Destinations that do not exist are left out."""
        now = time.monotonic()
        missing = {pk for pk in ids if pk not in self._kept or self._kept[pk][0] <= now}
        if missing:
            loaded = self._load(missing)
            self._kept.update({pk: (now + SETTINGS_SECONDS, settings) for pk, settings in loaded.items()})
        return {pk: self._kept[pk][1] for pk in ids if pk in self._kept}

    def forget(self, pk: int) -> None:
        self._kept.pop(pk, None)


class DestinationPolicy(ABC):
    """How deliveries of some kinds are sent. One instance per run, because it remembers settings."""

    kinds: ClassVar[tuple[str, ...]]  # of Delivery
    column: ClassVar[str]  # of Delivery: names the destination
    lane: ClassVar[Lane]
    leaves_free: ClassVar[int]  # places of a run that these deliveries never take
    in_flight: ClassVar[int]  # concurrent calls to one destination, all workers together
    retry_delays: ClassVar[tuple[int, ...]]  # seconds after each failed attempt; it is given up after the last
    min_delay_when_overloaded: ClassVar[float] = 0.0
    claims_durably: ClassVar[bool] = True  # False only if a repeat after a crash of PostgreSQL does no harm
    breaker: ClassVar[BreakerFigures]
    forbidden_address = Outcome(verdict=RETRY, reason="forbidden")

    settings: RememberedSettings[Any]

    def get_destination_id(self, delivery: Delivery) -> int:
        pk: int = getattr(delivery, f"{self.column}_id")
        return pk

    # --- before the calls ---

    def find_limit_keys(self, ids: Collection[int]) -> Mapping[int, str]:
        """Return the destinations from which may be claimed, each with the key of the rate limit of all its calls."""
        return dict.fromkeys(ids, "")

    @abstractmethod
    def admit(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        """Load what the calls need. Settle the deliveries that may not be sent now, and return the others."""

    def give_up_exhausted(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        """Give up interrupted deliveries that have used up their attempts. Return the others."""
        exhausted = [item for item in claimed if item.interrupted and self.has_exhausted_attempts(item.delivery)]
        for item in exhausted:
            settling.give_up_delivery(item.delivery, token, reason="retries_exhausted")
        return [item for item in claimed if item not in exhausted]

    @abstractmethod
    def build_rate_request(self, item: ClaimedDelivery) -> RateRequest:
        """Return the rate limits of this delivery."""

    @abstractmethod
    def start(self, admitted: Sequence[ClaimedDelivery]) -> list[http_client.Exchange[AttemptResult]]:
        """Load what only the calls need, and return the exchange of each delivery."""

    # --- the calls ---

    def attempt(
        self, item: ClaimedDelivery, call: http_client.Exchange[CallResult], *, secrets: Iterable[str]
    ) -> http_client.Exchange[AttemptResult]:
        """Make the calls of one attempt, without the database. Never raises. `secrets` are redacted in the answer."""
        started_at, started = timezone.now(), time.monotonic()
        made: list[http_client.Call] = []
        answer = ""
        try:
            result = yield from _note_calls(call, made)
        except Exception as problem:
            result = self.describe_failure(item, problem)
            if result.outcome.reason == "internal_error":
                logger.exception("attempt failed", extra={"delivery": item.delivery.pk})
                answer = describe_traceback(problem, limit=-3)
                if made:  # a request may have been sent
                    result = CallResult(outcome=UNKNOWN_OUTCOME, may_have_arrived=True)
        try:
            answer = excerpt_response(result.response, secrets) if result.response else answer
        except Exception:
            logger.exception("response not kept", extra={"delivery": item.delivery.pk})
        return AttemptResult(
            **vars(result),
            claimed=item,
            started_at=started_at,
            duration_ms=int((time.monotonic() - started) * 1000),
            http_status=result.response.status if result.response else None,
            answer=answer,
        )

    def describe_failure(self, item: ClaimedDelivery, problem: Exception) -> CallResult:
        """Return the result of an attempt whose call raised `problem`."""
        if isinstance(problem, http_client.NoResponse):
            return CallResult(outcome=UNKNOWN_OUTCOME, may_have_arrived=True)
        outcome = Outcome(verdict=RETRY, reason="internal_error")
        if isinstance(problem, http_client.ForbiddenAddress):
            outcome = self.forbidden_address
        elif isinstance(problem, http_client.ConnectionFailed):
            outcome = Outcome(verdict=RETRY, reason=self.name_connection_failure(problem))
        return CallResult(outcome=outcome, may_have_arrived=self.may_have_arrived(item))

    def name_connection_failure(self, problem: http_client.ConnectionFailed) -> str:
        return problem.reason

    def may_have_arrived(self, item: ClaimedDelivery) -> bool:
        """Return whether an earlier attempt may have arrived, so that a look-up precedes the next one."""
        return False

    # --- after the calls ---

    def save_remote_ids(self, attempts: Sequence[AttemptResult]) -> None:
        """Save the destination's own IDs. Runs first, because it may lock conversations."""

    def find_confirmed(self, attempts: Sequence[AttemptResult]) -> set[int]:
        """Return the deliveries that may have arrived and that the destination has confirmed in another way."""
        return set()

    def remember_erased(self, attempts: Sequence[AttemptResult]) -> None:
        """Remember what the calls created for people who were erased meanwhile."""

    def settle_accepted(self, attempts: Sequence[AttemptResult]) -> None:
        """Apply the effects of accepted deliveries."""

    def can_repeat_unknown(self, delivery: Delivery) -> bool:
        """Return whether an attempt with an unknown outcome may be repeated."""
        return True

    def on_failed(self, attempt: AttemptResult) -> None:
        """Save what a failed attempt shows, before the delivery is planned again or given up."""

    def on_pause(self, attempt: AttemptResult) -> None:
        """Stop sending to a destination that rejects our credentials, until an admin acts."""
        # Called only for policies whose calls are judged as PAUSE. Those of alerts are retried or given up.
        raise NotImplementedError(f"{type(self).__name__} does not implement on_pause()")

    def on_given_up(self, attempt: AttemptResult) -> None:
        """Apply the effects of a delivery that was given up."""

    def on_retry(self, attempt: AttemptResult, *, seconds: float) -> None:
        """Apply the effects of a failure after which the delivery is attempted again."""

    def on_recorded(self, attempts: Sequence[AttemptResult], *, opened: Collection[int]) -> None:
        """Record the state of the destinations. Runs last. `opened`: destinations whose breaker opened."""

    @abstractmethod
    def is_destination_ok(self, outcome: Outcome) -> bool | None:
        """Return whether the destination works, or None if the outcome does not show it.

        A rejected message does not mean that the destination is down.
        """

    def get_backoff(self, outcome: Outcome, *, seconds: float) -> float | None:
        """Return how long all deliveries of the destination wait, because it asked for it."""
        return seconds if outcome.whole_channel else None

    def choose_final_reason(self, outcome: Outcome) -> str:
        """Return the reason of a delivery that is given up after its last attempt."""
        return "retries_exhausted"

    # --- retry schedule ---

    def has_exhausted_attempts(self, delivery: Delivery) -> bool:
        """Return whether a claimed delivery has used up its attempts. Attempts that crashed a worker count, too."""
        return delivery.attempts_since_resend > len(self.retry_delays) + 1

    def compute_retry_delay(self, attempt: AttemptResult) -> float | None:
        """Return the seconds until the next attempt, or None after the last one."""
        outcome, attempts = attempt.outcome, attempt.claimed.delivery.attempts_since_resend
        if attempts > len(self.retry_delays):
            return None
        seconds = self.retry_delays[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        if outcome.retry_after is not None:
            return max(seconds, min(outcome.retry_after, MAX_RETRY_AFTER))
        return max(seconds, self.min_delay_when_overloaded) if attempt.http_status in OVERLOADED_STATUSES else seconds


def _note_calls(
    exchange: http_client.Exchange[CallResult], made: list[http_client.Call]
) -> http_client.Exchange[CallResult]:
    """Run an exchange, and note the calls that it makes."""
    try:
        call = next(exchange)
        while True:
            made.append(call)
            try:
                response = yield call
            except Exception as problem:
                call = exchange.throw(problem)
            else:
                call = exchange.send(response)
    except StopIteration as end:
        result: CallResult = end.value
        return result
