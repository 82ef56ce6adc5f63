"""Messages of alert routes: they share the lane of events, and emails have their own. Answers to clients never wait.

A message that is given up makes no message of its own on the same route: its alerts count as unsent, the route waits
for an hour, and the other routes are notified that this one fails.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from bridge import wakeups
from bridge.alert_routes import email, requests
from bridge.alert_routes.requests import RouteAccount
from bridge.channel_health import alerts
from bridge.channel_health.circuit_breaker import BreakerFigures
from bridge.channel_health.rate_limits import RateRequest
from bridge.models import AlertNotice, Delivery
from bridge.outbox.attempts import AttemptResult, CallResult, ClaimedDelivery
from bridge.outbox.policies import DestinationPolicy, Lane, RememberedSettings
from channels_setup import http_client
from channels_setup.models import AlertRoute
from channels_setup.providers.base import ACCEPTED, PERMANENT, CallRate, Outcome

SECONDS_BETWEEN_MESSAGES, BURST = 20.0, 3  # of one route
PAUSE_AFTER_GIVING_UP = timedelta(hours=1)
FAILURES_TO_NOTIFY = 3  # of one message, after which the other routes are notified
Kind = alerts.Kind


def _load_accounts(ids: Collection[int]) -> Mapping[int, RouteAccount]:
    rows = AlertRoute.objects.in_bulk(ids)
    return {pk: RouteAccount(kind=row.kind, target=row.target, secret=row.reveal_secret()) for pk, row in rows.items()}


class AlertPolicy(DestinationPolicy):
    """Alert messages by HTTP. One at a time for each route; may always be repeated under the same key."""

    kinds = (Delivery.Kind.ALERT,)
    column = "alert_route"
    lane = Lane.EVENTS
    leaves_free = 128
    in_flight = 1
    retry_delays = (10, 30, 120, 300, 900)
    breaker = BreakerFigures(failures_to_open=5, first_backoff=60, max_backoff=600)
    forbidden_address = Outcome(verdict=PERMANENT, reason="alert_route_forbidden")

    def __init__(self) -> None:
        self.settings: RememberedSettings[RouteAccount] = RememberedSettings(_load_accounts)

    def find_limit_keys(self, ids: Collection[int]) -> Mapping[int, str]:
        return {pk: _get_limit_key(pk) for pk in ids}

    def admit(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        return self.give_up_exhausted(claimed, token)

    def give_up_exhausted(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        with transaction.atomic():  # after a crash in between, its alerts would count as sent
            left = super().give_up_exhausted(claimed, token)
            for item in claimed:
                if item not in left:
                    _forget_message(item.delivery)
                    self._notify_other_routes(item.delivery, reason="retries_exhausted")
        return left

    def build_rate_request(self, item: ClaimedDelivery) -> RateRequest:
        key = _get_limit_key(self.get_destination_id(item.delivery))
        rate = CallRate(key=key, every=SECONDS_BETWEEN_MESSAGES, burst=BURST, whole_channel=True)
        return RateRequest(delivery=item.delivery, rates=(rate,))

    def start(self, admitted: Sequence[ClaimedDelivery]) -> list[http_client.Exchange[AttemptResult]]:
        accounts = self.settings.get({self.get_destination_id(item.delivery) for item in admitted})
        exchanges = []
        for item in admitted:
            account = accounts[self.get_destination_id(item.delivery)]
            call = self.call(item.delivery, account)
            exchanges.append(self.attempt(item, call, secrets=[account.secret] if account.secret else []))
        return exchanges

    def call(self, delivery: Delivery, account: RouteAccount) -> http_client.Exchange[CallResult]:
        request = requests.build_request(account, delivery.payload, key=delivery.key, at=timezone.now())
        response = yield http_client.Call(request=request)
        return CallResult(outcome=requests.judge_response(response), response=response)

    def name_connection_failure(self, problem: http_client.ConnectionFailed) -> str:
        return "alert_route_unreachable"

    # --- after the calls ---

    def settle_accepted(self, attempts: Sequence[AttemptResult]) -> None:
        for pk in sorted({self.get_destination_id(item.claimed.delivery) for item in attempts}):
            AlertRoute.objects.filter(pk=pk).update(
                last_sent_at=timezone.now(), failing_since=None, retry_at=None, last_error="", last_answer=""
            )
            alerts.settle_alert(Kind.ROUTE_FAILING, subject=str(pk))
        wakeups.notify_after_commit(wakeups.ALERTS)  # alerts may have been raised meanwhile

    def on_failed(self, attempt: AttemptResult) -> None:
        outcome = attempt.outcome
        AlertRoute.objects.filter(pk=self.get_destination_id(attempt.claimed.delivery)).update(
            failing_since=Coalesce("failing_since", Value(timezone.now())),
            last_error=outcome.reason,
            last_answer=outcome.details[:300],
        )

    def on_retry(self, attempt: AttemptResult, *, seconds: float) -> None:
        if attempt.claimed.delivery.attempts_since_resend >= FAILURES_TO_NOTIFY:
            self._notify_other_routes(attempt.claimed.delivery, reason=attempt.outcome.reason)

    def on_given_up(self, attempt: AttemptResult) -> None:
        _forget_message(attempt.claimed.delivery)
        self._notify_other_routes(attempt.claimed.delivery, reason=attempt.outcome.reason)

    def _notify_other_routes(self, delivery: Delivery, *, reason: str) -> None:
        """Raise the alert of a failing route. Nobody expects messages on a disabled one."""
        for route in AlertRoute.objects.filter(pk=self.get_destination_id(delivery), is_enabled=True):
            alerts.raise_alert(Kind.ROUTE_FAILING, subject=str(route.pk), name=route.name, why_code=reason)

    def choose_final_reason(self, outcome: Outcome) -> str:
        return outcome.reason

    def is_destination_ok(self, outcome: Outcome) -> bool | None:
        if outcome.verdict == PERMANENT or outcome.reason in ("rate_limited", "internal_error"):
            return None
        return outcome.verdict == ACCEPTED


class AlertEmailPolicy(AlertPolicy):
    """Alert emails. SMTP blocks the run, so they have a lane of their own."""

    kinds = (Delivery.Kind.ALERT_EMAIL,)
    lane = Lane.MAIL
    leaves_free = 255  # of `MAX_CALLS`: one at a time, because the lease of a second one would run out meanwhile

    def call(self, delivery: Delivery, account: RouteAccount) -> http_client.Exchange[CallResult]:
        yield from ()  # an exchange without HTTP calls
        return CallResult(outcome=email.send_email(account.target, delivery.payload, key=delivery.key))


def _get_limit_key(pk: int) -> str:
    return f"alert route {pk}"


def _forget_message(delivery: Delivery) -> None:
    """Count the alerts of a message that was given up as unsent, and let its route wait."""
    AlertNotice.objects.filter(delivery=delivery).delete()
    AlertRoute.objects.filter(deliveries=delivery).update(retry_at=timezone.now() + PAUSE_AFTER_GIVING_UP)
