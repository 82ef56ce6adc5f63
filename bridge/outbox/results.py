"""Saving of attempt results, and planning of the next attempt: the same for all kinds of destination.

An accepted delivery is finished. A failed one is retried by its policy's schedule, or given up. An unknown outcome is
repeated or shown to the operator, as the policy says. A destination that rejects our credentials gets nothing more
until an admin acts; its deliveries are kept.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction

from bridge import service_window
from bridge.channel_health import circuit_breaker
from bridge.files import provider_uploads
from bridge.models import Attempt, Delivery
from bridge.row_inserts import build_row, insert_rows, list_columns
from channels_setup import prepared_statements
from channels_setup.providers.base import ACCEPTED, PAUSE, PERMANENT, UNKNOWN, Outcome

from . import attempt_metrics, attempt_traces, settling
from .attempts import NO_IDS, AttemptResult
from .policies import DestinationPolicy

logger = logging.getLogger(__name__)

# Seconds between attempts to save a result; in total well within the lease.
DB_RETRY_DELAYS = (0.1, 0.5, 2.0, 5.0)


def save_results(attempts: Sequence[AttemptResult], token: uuid.UUID) -> None:
    """Save results, one transaction per policy, retrying transient database errors.

    A lost result would leave the outcome unknown. If the database rejects a batch, each result is saved alone; if it
    rejects one (for example, a duplicate message ID), that result is saved without the destination's texts and IDs.
    """
    by_policy: dict[DestinationPolicy, list[AttemptResult]] = {}
    for item in attempts:
        by_policy.setdefault(item.claimed.policy, []).append(item)
    for batch in by_policy.values():
        try:
            retry_db_errors(partial(record_attempts, batch, token))
            _report_attempts(batch)
        except (OperationalError, InterfaceError):
            raise  # the delivery is claimed again when its lease expires
        except Exception:
            logger.warning("results not saved as a batch, saving each alone", extra={"count": len(batch)})
            for item in batch:
                _save_one_result(item, token)


def _save_one_result(item: AttemptResult, token: uuid.UUID) -> None:
    """Save one result; if the database rejects it, save it without the destination's texts and IDs."""
    outcome = replace(item.outcome, external_id="", title="", details="")
    bare = replace(item, answer="", upload=None, outcome=outcome, remote_ids=NO_IDS)
    for result in (item, bare):
        try:
            retry_db_errors(partial(record_attempts, [result], token))
            return _report_attempts([item])
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("result not saved", extra={"delivery": item.claimed.delivery.pk})


def _report_attempts(attempts: Sequence[AttemptResult]) -> None:
    """Count attempts whose results are saved, and trace them. An error here must not look like an unsaved result."""
    try:
        attempt_metrics.count_attempts(attempts)
        attempt_traces.record_attempts(attempts)
    except Exception:
        logger.exception("attempts not counted")


def retry_db_errors(write: Callable[[], None]) -> None:
    """Call `write`, retrying when the database is unreachable or chose this transaction as a deadlock victim."""
    for seconds in DB_RETRY_DELAYS:
        try:
            return write()
        except (OperationalError, InterfaceError) as problem:
            logger.warning("results not saved yet", extra={"error": type(problem).__name__})
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            time.sleep(seconds)
    write()


@transaction.atomic
def record_attempts(attempts: Sequence[AttemptResult], token: uuid.UUID) -> None:
    """Record attempts of one policy and their effects, for deliveries whose lease is still ours.

    Lock order: conversations, deliveries, breakers, messages, channels, connections to helpdesks.
    """
    policy = attempts[0].claimed.policy
    attempts = sorted(attempts, key=_get_destination)
    policy.save_remote_ids(attempts)
    not_accepted = [item for item in attempts if item.outcome.verdict != ACCEPTED]
    ours = _lock_leased(_list_ids(not_accepted), token) if not_accepted else set()
    unsure = [item for item in not_accepted if item.outcome.verdict == UNKNOWN or item.may_have_arrived]
    confirmed = ours & policy.find_confirmed(unsure)
    accepted = [item for item in attempts if item.outcome.verdict == ACCEPTED or item.claimed.delivery.pk in confirmed]
    delivered, has_trouble = _record_delivered(policy, accepted, token) if accepted else (set(), False)
    others = [item for item in attempts if item.claimed.delivery.pk not in delivered]
    lost_leases = [item for item in others if item.claimed.delivery.pk not in ours]
    erased = _find_erased_meanwhile(_list_ids(lost_leases)) if lost_leases else set()
    policy.remember_erased([item for item in lost_leases if item.claimed.delivery.pk in erased])
    insert_rows([_build_attempt(item, has_answer=item.claimed.delivery.pk not in erased) for item in others])
    for item in attempts:
        if item.upload is not None:
            provider_uploads.cache_upload(_get_destination(item), item.upload)
    if confirmed:
        arrived = Outcome(verdict=ACCEPTED)
        attempts = [
            replace(item, outcome=arrived) if item.claimed.delivery.pk in confirmed else item for item in attempts
        ]
    if not_accepted or has_trouble:  # lock all breakers before a channel is changed
        circuit_breaker.lock_breakers(policy.column, {_get_destination(item) for item in attempts})
    if delivered:
        policy.settle_accepted([item for item in accepted if item.claimed.delivery.pk in delivered])
    for item in not_accepted:
        policy.settings.forget(_get_destination(item))
        if item.claimed.delivery.pk in ours - delivered:
            _settle_failed(item, token)
    opened: set[int] = set()
    if not_accepted or has_trouble:
        outcomes = [(_get_destination(item), policy.is_destination_ok(item.outcome)) for item in attempts]
        known = [(pk, worked) for pk, worked in outcomes if worked is not None]
        opened = circuit_breaker.record_outcomes(policy.column, known, figures=policy.breaker)
    policy.on_recorded(attempts, opened=opened)


def _get_destination(item: AttemptResult) -> int:
    return item.claimed.policy.get_destination_id(item.claimed.delivery)


def _list_ids(attempts: Iterable[AttemptResult]) -> list[int]:
    return [item.claimed.delivery.pk for item in attempts]


# Mark accepted deliveries as delivered, store their attempts, and check whether a breaker must record the success: one
# statement, because nearly every batch of results needs only this. Rows are locked in one order. The result of a worker
# that lost its lease changes nothing; the caller stores its attempt after a check whether the person was erased.
RECORD_DELIVERED_SQL = """
WITH mine AS (
    SELECT id FROM bridge_delivery WHERE id = ANY(%(ids)s) AND lease_token = %(token)s AND state = 'sending'
    ORDER BY id FOR NO KEY UPDATE
), delivered AS (
    UPDATE bridge_delivery d
    SET state = 'delivered', finished_at = clock_timestamp(), reason = '', lease_token = NULL
    FROM mine WHERE d.id = mine.id RETURNING d.id
), recorded AS (
    INSERT INTO bridge_attempt ({names}) SELECT attempt.* FROM unnest({arrays}) AS attempt({names})
    JOIN delivered ON delivered.id = attempt.delivery_id
)
SELECT id, EXISTS (SELECT 1 FROM bridge_circuitbreaker b WHERE b.{column}_id = ANY(%(destinations)s)
                   AND (b.is_open OR b.consecutive_failures > 0 OR b.recent <> '[]')) FROM delivered
"""


@cache
def _build_record_statement(column: str) -> str:
    columns = list_columns(Attempt)
    arrays = ", ".join(f"%({each.name})s::{each.sql_type}[]" for each in columns)
    names = ", ".join(each.name for each in columns)
    return RECORD_DELIVERED_SQL.format(names=names, arrays=arrays, column=column)


def _record_delivered(
    policy: DestinationPolicy, accepted: Sequence[AttemptResult], token: uuid.UUID
) -> tuple[set[int], bool]:
    """Finish accepted deliveries that we still lease. Return their IDs, and whether a breaker has counted failures."""
    rows = [_build_attempt(item) for item in accepted]
    values: dict[str, Any] = {each.name: [each.read(row) for row in rows] for each in list_columns(Attempt)}
    values |= {"ids": _list_ids(accepted), "token": token}
    values["destinations"] = list({_get_destination(item) for item in accepted})
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, _build_record_statement(policy.column), values)
        found = cursor.fetchall()
    return {pk for pk, _has_trouble in found}, any(has_trouble for _pk, has_trouble in found)


def _lock_leased(ids: Sequence[int], token: uuid.UUID) -> set[int]:
    """Lock the deliveries that we still lease. Return their IDs."""
    mine = Delivery.objects.filter(pk__in=ids, lease_token=token, state=Delivery.State.SENDING)
    return set(mine.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))


def _find_erased_meanwhile(ids: Sequence[int]) -> set[int]:
    """Return deliveries of people who were erased during the call: the response may name them."""
    return set(Delivery.objects.filter(pk__in=ids, reason="person_erased").values_list("pk", flat=True))


def _build_attempt(item: AttemptResult, *, has_answer: bool = True) -> Attempt:
    return build_row(
        Attempt,
        delivery=item.claimed.delivery,
        number=item.claimed.delivery.attempts,
        started_at=item.started_at,
        duration_ms=item.duration_ms,
        http_status=item.http_status,
        verdict=item.outcome.verdict,
        reason=item.outcome.reason,
        answer=item.answer if has_answer else "",
    )


def _settle_failed(item: AttemptResult, token: uuid.UUID) -> None:
    """Retry, pause, give up or mark as unknown, by the verdict and the policy."""
    policy, delivery, outcome = item.claimed.policy, item.claimed.delivery, item.outcome
    if outcome.verdict == UNKNOWN and not policy.can_repeat_unknown(delivery):
        settling.mark_delivery_unknown(delivery, token)
        return
    policy.on_failed(item)
    seconds = 0.0 if outcome.verdict == PAUSE else policy.compute_retry_delay(item)
    if outcome.verdict == PERMANENT or seconds is None:
        reason = outcome.reason if outcome.verdict == PERMANENT else policy.choose_final_reason(outcome)
        settling.give_up_delivery(delivery, token, reason=reason, details=_describe_provider_error(outcome))
        policy.on_given_up(item)
        return
    backoff = policy.get_backoff(outcome, seconds=seconds)
    if backoff is not None:
        circuit_breaker.start_backoff(policy.column, _get_destination(item), seconds=backoff)
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.PENDING,
        attempts=delivery.attempts - (outcome.verdict == PAUSE),  # a pause uses up no attempt
        next_attempt_at=service_window.database_now() + timedelta(seconds=seconds),
        reason=outcome.reason,
        lease_token=None,
    )
    if outcome.verdict == PAUSE:
        policy.on_pause(item)
    else:
        policy.on_retry(item, seconds=seconds)


def _describe_provider_error(outcome: Outcome) -> dict[str, str]:
    """Return the provider's error code and texts, to show next to our sentence."""
    error = {"code": outcome.code, "title": outcome.title, "details": outcome.details}
    return {name: value for name, value in error.items() if value}
