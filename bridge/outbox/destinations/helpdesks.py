"""Clients' messages and cards for an external helpdesk, and notes for its operators.

The helpdesk deduplicates nothing. The repeat of an attempt with an unknown outcome therefore begins with a look-up at
the helpdesk. Attempts continue for days, and a helpdesk that rejects us waits until an admin saves its settings.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from django.db import DatabaseError

from bridge.channel_health import circuit_breaker
from bridge.channel_health.rate_limits import RateRequest
from bridge.conversations import erased_ids, receiving
from bridge.helpdesk import connections, mirroring
from bridge.helpdesk.commands import build_command, count_repeats
from bridge.models import Delivery, HelpdeskChat
from bridge.outbox.attempts import AttemptResult, CallResult, ClaimedDelivery
from bridge.outbox.policies import MAX_RETRY_AFTER, DestinationPolicy, Lane, RememberedSettings
from channels_setup import http_client
from channels_setup.models import ChatChannel
from channels_setup.providers.base import ACCEPTED, PAUSE, RETRY, UNKNOWN, ApiRequest, Outcome
from channels_setup.providers.base.helpdesk import HelpdeskCommand, LookupResult

logger = logging.getLogger(__name__)

LOOKUP_DELAY_SECONDS = 30.0  # time for the helpdesk to send our message's event, before a look-up
MAX_LOOKUPS = 5  # attempts after which inconclusive look-ups are given up
MAX_LOOKUP_BYTES = 4 * 1024 * 1024
CALLS_WITH_LOOKUP = 3  # a look-up makes two calls at most
MAX_REFUSALS = 6  # attempts of a command that the helpdesk rejects without a clear reason
SETTINGS_BACKOFF_SECONDS = 600.0  # the helpdesk rejects us until an admin acts; saving the settings ends it
CONNECTION_FAILURES = ("helpdesk_unreachable", "rate_limited", "outcome_unknown")
NOT_CALLED = ("request_unknown", "internal_error")  # reasons of attempts that did not reach the helpdesk


class HelpdeskSettings:
    """A chat channel and its helpdesk account with the key in clear."""

    def __init__(self, chat_channel: ChatChannel) -> None:
        self.provider = chat_channel.provider
        self.account = chat_channel.helpdesk_account()
        # Chat channels with the same account share its rate limit.
        account = f"{chat_channel.kind} {self.account.options.get('base_url', '')} {self.account.secret}"
        self.limit_key = f"helpdesk {hashlib.sha256(account.encode()).hexdigest()[:32]}"


def _load_settings(ids: Collection[int]) -> Mapping[int, HelpdeskSettings | None]:
    """Return the settings by chat channel. None: the key cannot be read, so the deliveries wait until it is saved."""
    found: dict[int, HelpdeskSettings | None] = {}
    for pk, chat_channel in ChatChannel.objects.in_bulk(ids).items():
        try:
            found[pk] = HelpdeskSettings(chat_channel)
        except DatabaseError:
            raise
        except Exception:
            logger.exception("settings not read", extra={"chat_channel": pk})
            found[pk] = None
    return found


class HelpdeskPolicy(DestinationPolicy):
    """Deliveries to external helpdesks. Five days of attempts cover an outage over a weekend."""

    kinds = (Delivery.Kind.HELPDESK, Delivery.Kind.NOTE)
    column = "chat_channel"
    lane = Lane.EVENTS
    leaves_free = 64
    in_flight = 8
    retry_delays = (5, 15, 60, 300, 900, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400, 86_400, 86_400, 86_400)
    breaker = circuit_breaker.HELPDESK_FIGURES
    forbidden_address = Outcome(verdict=PAUSE, reason="helpdesk_wrong_address")

    def __init__(self) -> None:
        self.settings: RememberedSettings[HelpdeskSettings | None] = RememberedSettings(_load_settings)

    # --- before the calls ---

    def find_limit_keys(self, ids: Collection[int]) -> Mapping[int, str]:
        return {pk: settings.limit_key for pk, settings in self.settings.get(ids).items() if settings is not None}

    def admit(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        # A rate limit may postpone an interrupted delivery, and it must be looked up after that, too.
        interrupted = [item.delivery.pk for item in claimed if item.interrupted]
        if interrupted:
            Delivery.objects.filter(pk__in=interrupted, lease_token=token).update(reason="outcome_unknown")
        return self.give_up_exhausted(claimed, token)

    def build_rate_request(self, item: ClaimedDelivery) -> RateRequest:
        settings = self._get_settings(item.delivery)
        rate = replace(settings.provider.call_rate(settings.account), key=settings.limit_key, whole_channel=True)
        calls = CALLS_WITH_LOOKUP if self.may_have_arrived(item) else 1
        return RateRequest(delivery=item.delivery, rates=(rate,), calls=calls)

    def start(self, admitted: Sequence[ClaimedDelivery]) -> list[http_client.Exchange[AttemptResult]]:
        exchanges = []
        for item in admitted:
            settings = self._get_settings(item.delivery)
            repeats = count_repeats(item.delivery) if self.may_have_arrived(item) else 0
            command = build_command(item.delivery, settings.account, repeats=repeats)
            call = self.call(item, command, settings)
            exchanges.append(self.attempt(item, call, secrets=[settings.account.secret]))
        return exchanges

    def _get_settings(self, delivery: Delivery) -> HelpdeskSettings:
        pk = self.get_destination_id(delivery)
        settings = self.settings.get([pk])[pk]
        if settings is None:
            raise ValueError("The helpdesk's key cannot be read.")
        return settings

    # --- the calls ---

    def may_have_arrived(self, item: ClaimedDelivery) -> bool:
        delivery = item.delivery
        is_unknown = delivery.reason == "outcome_unknown"
        return item.interrupted or is_unknown or bool(delivery.payload.get("may_have_arrived"))

    def call(
        self, item: ClaimedDelivery, command: HelpdeskCommand, settings: HelpdeskSettings
    ) -> http_client.Exchange[CallResult]:
        """Look up an earlier attempt if it may have arrived, and send the command if it has not."""
        may_have_arrived, delivery = self.may_have_arrived(item), item.delivery
        request = settings.provider.build_request(command, settings.account)  # if this fails, no call was made
        lookup = (yield from _look_up(command, settings)) if may_have_arrived else None
        if lookup is not None and lookup.arrived:
            return CallResult(outcome=Outcome(verdict=ACCEPTED), remote_ids=lookup.remote_ids)
        if lookup is not None and lookup.arrived is None and delivery.attempts_since_resend < MAX_LOOKUPS:
            return CallResult(outcome=Outcome(verdict=RETRY, reason="outcome_unknown"), may_have_arrived=True)
        is_missing = lookup is not None and lookup.arrived is False
        if not isinstance(request, ApiRequest):
            return CallResult(outcome=request)
        response = yield http_client.Call(request=request)
        try:
            result = settings.provider.read_response(command, response)
        except Exception:  # the request was sent: look it up later
            logger.exception("response not read", extra={"delivery": delivery.pk})
            raise http_client.NoResponse from None
        outcome = result.outcome
        if may_have_arrived and not is_missing and outcome.verdict == ACCEPTED:
            outcome = replace(outcome, reason="helpdesk_possible_duplicate")
        return CallResult(outcome=outcome, response=response, remote_ids=result.remote_ids)

    def name_connection_failure(self, problem: http_client.ConnectionFailed) -> str:
        return "helpdesk_unreachable"

    # --- after the calls ---

    def save_remote_ids(self, attempts: Sequence[AttemptResult]) -> None:
        accepted = [item for item in attempts if item.outcome.verdict == ACCEPTED]
        links = HelpdeskChat.objects.in_bulk({item.claimed.delivery.conversation_id for item in accepted})
        for item in sorted(accepted, key=lambda item: item.claimed.delivery.conversation_id or 0):
            link = links.get(item.claimed.delivery.conversation_id)
            if link is not None and mirroring.has_new_ids(link, item.remote_ids):
                receiving.lock_conversation(link.pk)  # first in the lock order
                link.refresh_from_db()
                mirroring.save_remote_ids(link, item.remote_ids)

    def find_confirmed(self, attempts: Sequence[AttemptResult]) -> set[int]:
        """Return the deliveries that came back as an event during the call."""
        ids = [item.claimed.delivery.pk for item in attempts]
        rows = Delivery.objects.filter(pk__in=ids, payload__is_confirmed=True) if ids else Delivery.objects.none()
        return set(rows.values_list("pk", flat=True))

    def remember_erased(self, attempts: Sequence[AttemptResult]) -> None:
        """Remember the IDs of the chats that the calls may have created there."""
        for item in attempts:
            ids = item.remote_ids
            numbers = {"chat": ids.chat_id, "client": ids.client_id, "ticket": ids.ticket_id}
            known = [(kind, number) for kind, number in numbers.items() if number]
            erased_ids.remember_erased_numbers(self.get_destination_id(item.claimed.delivery), known)

    def on_failed(self, attempt: AttemptResult) -> None:
        """Save whether the command may have arrived. Forget a chat that the helpdesk may have deleted."""
        delivery, reason = attempt.claimed.delivery, attempt.outcome.reason
        payload = Delivery.objects.values_list("payload", flat=True).get(pk=delivery.pk)
        payload |= {"may_have_arrived": attempt.may_have_arrived}
        Delivery.objects.filter(pk=delivery.pk).update(payload=payload)
        if reason == "helpdesk_refused" and delivery.attempts_since_resend >= 2:
            link = HelpdeskChat.objects.filter(conversation=delivery.conversation_id, chat_id__isnull=False)
            link.update(chat_id=None, client_id=None)  # the next attempt creates them

    def on_pause(self, attempt: AttemptResult) -> None:
        """Wait until an admin saves the settings."""

    def get_backoff(self, outcome: Outcome, *, seconds: float) -> float | None:
        if outcome.verdict == PAUSE:
            return SETTINGS_BACKOFF_SECONDS
        is_asked = outcome.reason == "rate_limited" and outcome.retry_after is not None
        return min(outcome.retry_after or 0.0, MAX_RETRY_AFTER) if is_asked else None

    def choose_final_reason(self, outcome: Outcome) -> str:
        return outcome.reason

    def compute_retry_delay(self, attempt: AttemptResult) -> float | None:
        outcome, delivery = attempt.outcome, attempt.claimed.delivery
        is_refused = outcome.reason == "helpdesk_refused"
        if is_refused and delivery.attempts_since_resend >= MAX_REFUSALS:
            return None
        seconds = super().compute_retry_delay(attempt)
        return max(seconds, LOOKUP_DELAY_SECONDS) if seconds is not None and outcome.verdict == UNKNOWN else seconds

    def is_destination_ok(self, outcome: Outcome) -> bool | None:
        if outcome.reason in NOT_CALLED:
            return None
        return outcome.verdict == ACCEPTED or outcome.reason not in CONNECTION_FAILURES

    def on_recorded(self, attempts: Sequence[AttemptResult], *, opened: Collection[int]) -> None:
        by_channel: dict[int, list[Outcome]] = {}
        for item in attempts:
            by_channel.setdefault(self.get_destination_id(item.claimed.delivery), []).append(item.outcome)
        for pk, outcomes in sorted(by_channel.items()):
            connections.record_outcomes(pk, outcomes)


def _look_up(command: HelpdeskCommand, settings: HelpdeskSettings) -> http_client.Exchange[LookupResult | None]:
    """Return whether an earlier attempt arrived, or None if the helpdesk offers no look-up."""
    request, lookup = settings.provider.build_lookup_request(command, settings.account), None
    while request is not None:
        try:
            response = yield http_client.Call(request=request, max_bytes=MAX_LOOKUP_BYTES)
        except http_client.NoResponse:
            return LookupResult(arrived=None)
        try:
            lookup = settings.provider.read_lookup(command, response, settings.account)
        except Exception:
            logger.exception("look-up not read")
            return LookupResult(arrived=None)
        request = lookup.next_request
    return lookup
