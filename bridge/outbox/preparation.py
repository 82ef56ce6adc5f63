"""From claimed deliveries to exchanges: admission, rate limits, and what the calls need.

A failure counts as a failed attempt of its own delivery only. What was claimed and not attempted is released.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence

from django.db import Error
from django.db.models import F
from django.utils import timezone

from bridge import service_window
from bridge.channel_health import rate_limits
from bridge.channel_health.rate_limits import RateRequest
from bridge.models import Delivery
from channels_setup import http_client
from channels_setup.codecs.error_descriptions import describe_traceback
from channels_setup.providers.base import RETRY, Outcome

from . import results
from .attempts import AttemptResult, ClaimedDelivery
from .policies import UNKNOWN_OUTCOME

logger = logging.getLogger(__name__)

PreparedExchanges = list[http_client.Exchange[AttemptResult]]


def prepare_exchanges(claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> PreparedExchanges:
    """Return the exchanges of the claimed deliveries that may be sent now. The deliveries have one policy."""
    if not claimed:
        return []
    try:
        try:
            return _prepare(claimed, token)
        except Error:
            raise
        except Exception:
            logger.warning(
                "claim not prepared as a batch, preparing each delivery alone", extra={"count": len(claimed)}
            )
        return [exchange for item in claimed for exchange in _prepare_one(item, token)]
    except Exception:
        _release_claims(claimed, token)
        raise


def _prepare(claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> PreparedExchanges:
    policy = claimed[0].policy
    admitted = policy.admit(claimed, token)
    requests = _collect_rate_requests(admitted, token)
    admitted_ids = {item.delivery.pk for item in requests} - rate_limits.postpone_limited(requests, token)
    return _start([item for item in admitted if item.delivery.pk in admitted_ids], token)


def _start(ready: Sequence[ClaimedDelivery], token: uuid.UUID) -> PreparedExchanges:
    """Return the exchanges. They have taken their tokens of the rate limits, so a failure prepares nothing again."""
    if not ready:
        return []
    policy = ready[0].policy
    try:
        return policy.start(ready)
    except Error:
        raise
    except Exception:
        logger.warning("calls not built as a batch, building each alone", extra={"count": len(ready)})
    exchanges: PreparedExchanges = []
    for item in ready:
        try:
            exchanges += policy.start([item])
        except Error:
            raise
        except Exception as problem:
            _save_preparation_failure(item, token, problem)
    return exchanges


def _prepare_one(item: ClaimedDelivery, token: uuid.UUID) -> PreparedExchanges:
    """Prepare one delivery. A failure counts as a failed attempt of this delivery only."""
    ours = Delivery.objects.filter(pk=item.delivery.pk, lease_token=token, state=Delivery.State.SENDING)
    if not ours.exists():  # already settled or released before another delivery failed
        return []
    try:
        return _prepare([item], token)
    except Error:
        raise
    except Exception as problem:
        _save_preparation_failure(item, token, problem)
        return []


def _collect_rate_requests(admitted: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[RateRequest]:
    """Pair each delivery with its rate limits. Unreadable channel settings fail that delivery only."""
    requests = []
    for item in admitted:
        try:
            requests.append(item.policy.build_rate_request(item))
        except Error:
            raise
        except Exception as problem:
            _save_preparation_failure(item, token, problem)
    return requests


def _save_preparation_failure(item: ClaimedDelivery, token: uuid.UUID, problem: Exception) -> None:
    logger.exception("delivery not prepared", extra={"delivery": item.delivery.pk})
    outcome = Outcome(verdict=RETRY, reason="internal_error")
    if item.interrupted and not item.policy.can_repeat_unknown(item.delivery):
        outcome = UNKNOWN_OUTCOME  # the interrupted attempt may have sent it
    result = AttemptResult(
        claimed=item,
        outcome=outcome,
        may_have_arrived=item.policy.may_have_arrived(item),
        started_at=timezone.now(),
        duration_ms=0,
        answer=describe_traceback(problem, limit=-3),
    )
    results.save_results([result], token)


def _release_claims(claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> None:
    """Release deliveries whose call was not made, so that they do not look like interrupted attempts."""
    not_attempted = [item.delivery.pk for item in claimed if not item.interrupted]
    ours = Delivery.objects.filter(pk__in=not_attempted, lease_token=token, state=Delivery.State.SENDING)

    def set_pending() -> None:
        now, attempts = service_window.database_now(), F("attempts") - 1
        ours.update(state=Delivery.State.PENDING, attempts=attempts, lease_token=None, next_attempt_at=now)

    try:
        results.retry_db_errors(set_pending)
    except Error:
        logger.warning("claim not released", extra={"count": len(not_attempted)})
