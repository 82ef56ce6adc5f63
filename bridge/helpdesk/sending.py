"""Sending to external helpdesks: claim, call, save the result, plan the next attempt.

The rules of `outbox.dispatcher` apply: order per conversation and kind, a lease with a fencing token, calls outside of
any transaction. The differences: one worker at a time uses an account (an advisory lock), which keeps its rate without
a bucket; a failing connection is paused; attempts continue for days; and a lookup at the helpdesk precedes the repeat
of an attempt with an unknown outcome.
"""

from __future__ import annotations

import logging
import random
import time
import traceback
import uuid
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from bridge import service_window, wakeups
from bridge.conversations import erased_ids, receiving
from bridge.outbox import results
from channels_setup.providers.base import ACCEPTED, PAUSE, PERMANENT, RETRY, UNKNOWN, Outcome
from channels_setup.providers.base.helpdesk import HelpdeskCommand, HelpdeskResult

from ..models import Attempt, Delivery, HelpdeskChat
from . import connections, mirroring
from .attempts import ClaimedCommand, CommandResult, attempt_command, build_command, count_repeats
from .connections import AccountConnection

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60
IN_FLIGHT = 8  # concurrent calls to one account
RUN_SECONDS = 20.0
TICK_SECONDS = 0.25
LOOKUP_DELAY_SECONDS = 30  # time for the helpdesk to send our message's event, before a lookup

# Seconds after each failed attempt. Five days in total cover an outage over a weekend.
RETRY_DELAYS = (5, 15, 60, 300, 900, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400, 86_400, 86_400, 86_400)
MAX_REFUSALS = 6  # attempts of a command that the helpdesk rejects without a clear reason
JITTER = 0.2


def send_due_commands() -> int:
    """Send until nothing is due or the time is over. Return the number of attempts."""
    token, until, attempts = uuid.uuid4(), time.monotonic() + RUN_SECONDS, 0
    with connections.open_connections() as open_accounts:
        if not open_accounts:
            return 0
        error: Exception | None = None  # of claiming; it is raised after the running calls are saved
        with ThreadPoolExecutor(max_workers=IN_FLIGHT * len(open_accounts), thread_name_prefix="helpdesk") as pool:
            while True:
                try:
                    if error is None and time.monotonic() < until:
                        for account_connection in open_accounts:
                            _start_attempts(account_connection, pool, token)
                except Exception as problem:
                    error = problem
                running = {future for account_connection in open_accounts for future in account_connection.running}
                if not running:
                    break
                done, _rest = wait(running, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
                for account_connection in open_accounts:
                    account_connection.running -= done
                for future in done:
                    _save_result(future.result(), token)
                attempts += len(done)
        for account_connection in open_accounts:
            account_connection.pacer.wait_for_interval()
    if error is not None:
        raise error
    if time.monotonic() >= until:
        wakeups.notify_workers(wakeups.HELPDESK)
    return attempts


def _start_attempts(account_connection: AccountConnection, pool: ThreadPoolExecutor, token: uuid.UUID) -> None:
    """Claim due deliveries to this account and start their attempts in threads."""
    running = account_connection.running
    for item in claim_commands(account_connection, token, limit=IN_FLIGHT - len(running)):
        running.add(pool.submit(attempt_command, item, account_connection.pacer.acquire))


# --- claiming -----------------------------------------------------------------------------------------------

# The head of a queue is found as in `claims`, for the same reason.
CLAIM_COMMANDS_SQL = """
WITH due AS (
    SELECT d.id, d.state AS previous_state FROM bridge_delivery d
    LEFT JOIN bridge_helpdeskconnection hc ON hc.chat_channel_id = d.chat_channel_id
    WHERE d.chat_channel_id = ANY(%(channels)s) AND d.state IN ('pending', 'sending')
      AND d.next_attempt_at <= (SELECT clock_timestamp())
      AND (hc.backoff_until IS NULL OR hc.backoff_until <= clock_timestamp())
      AND d.id = (
          SELECT min(queued.id) FROM bridge_delivery queued
          WHERE queued.api_channel_id = d.api_channel_id AND queued.conversation_id = d.conversation_id
            AND queued.kind = d.kind AND queued.state IN ('pending', 'sending'))
    ORDER BY d.next_attempt_at, d.id LIMIT %(limit)s
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE bridge_delivery d
SET state = 'sending', attempts = attempts + 1, lease_token = %(token)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due WHERE d.id = due.id RETURNING d.id, due.previous_state
"""


def claim_commands(account_connection: AccountConnection, token: uuid.UUID, *, limit: int) -> list[ClaimedCommand]:
    """Lease up to `limit` due deliveries to this account. Commits before it returns."""
    if limit <= 0:
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        values: dict[str, Any] = {
            "channels": list(account_connection.channels),
            "limit": limit,
            "token": token,
            "lease": LEASE_SECONDS,
        }
        cursor.execute(CLAIM_COMMANDS_SQL, values)
        previous_states = dict(cursor.fetchall())
    rows = Delivery.objects.filter(pk__in=previous_states).select_related("message").order_by("pk")
    items = []
    for row in rows:
        provider, account = account_connection.channels[row.chat_channel_id or 0]
        was_interrupted = previous_states[row.pk] == Delivery.State.SENDING
        may_have_arrived = (
            was_interrupted or bool(row.payload.get("may_have_arrived")) or row.reason == "outcome_unknown"
        )
        item = ClaimedCommand(
            delivery=row,
            provider=provider,
            account=account,
            command=HelpdeskCommand(kind=row.track, key=row.key),
            may_have_arrived=may_have_arrived,
        )
        try:
            command = build_command(row, account, repeats=count_repeats(row) if may_have_arrived else 0)
            items.append(replace(item, command=command))
        except Error:
            raise
        except Exception:  # for example a file missing on disk: fails this delivery only
            logger.exception("command not prepared", extra={"delivery": row.pk})
            _save_result(_build_preparation_failure(item), token)
    return items


def _build_preparation_failure(item: ClaimedCommand) -> CommandResult:
    return CommandResult(
        item=item,
        result=HelpdeskResult(outcome=Outcome(verdict=RETRY, reason="internal_error")),
        may_have_arrived=item.may_have_arrived,
        started_at=timezone.now(),
        duration_ms=0,
        answer=traceback.format_exc(limit=-3),
    )


# --- results -----------------------------------------------------------------------------------


def _save_result(attempt: CommandResult, token: uuid.UUID) -> None:
    """Save one result, retrying database errors. A result that cannot be saved does not affect the others."""
    try:
        results.retry_db_errors(lambda: record_command_result(attempt, token))
    except (OperationalError, InterfaceError):
        raise  # the delivery is claimed again when its lease expires
    except Exception:
        logger.exception("result not saved", extra={"delivery": attempt.item.delivery.pk})


@transaction.atomic
def record_command_result(attempt: CommandResult, token: uuid.UUID) -> None:
    """Record one attempt and its effects on the connection, if the lease is still ours."""
    claimed = attempt.item.delivery
    outcome = attempt.result.outcome
    link = HelpdeskChat.objects.filter(conversation=claimed.conversation_id).first()
    if link is not None and outcome.verdict == ACCEPTED and mirroring.has_new_ids(link, attempt.result.remote_ids):
        receiving.lock_conversation(claimed.conversation_id)  # first in the lock order
        link.refresh_from_db()
        mirroring.save_remote_ids(link, attempt.result.remote_ids)
    delivery = (
        Delivery.objects.select_for_update(no_key=True)
        .filter(pk=claimed.pk, lease_token=token, state=Delivery.State.SENDING)
        .first()
    )
    is_erased = delivery is None and results.find_erased_meanwhile([claimed.pk]) == {claimed.pk}
    if is_erased:  # the call may have created the person's chat there
        remote_ids = attempt.result.remote_ids
        numbers = {"chat": remote_ids.chat_id, "client": remote_ids.client_id, "ticket": remote_ids.ticket_id}
        erased_ids.remember_erased_numbers(
            claimed.chat_channel_id or 0, [(kind, number) for kind, number in numbers.items() if number]
        )
    Attempt.objects.create(
        delivery=claimed,
        number=claimed.attempts,
        started_at=attempt.started_at,
        duration_ms=attempt.duration_ms,
        http_status=attempt.http_status,
        verdict=outcome.verdict,
        reason=outcome.reason,
        answer="" if is_erased else attempt.answer,  # it may name the person
    )
    if delivery is not None:
        if outcome.verdict == UNKNOWN and delivery.payload.get("is_confirmed"):
            outcome = Outcome(verdict=ACCEPTED)
        delivery.payload |= {"may_have_arrived": attempt.may_have_arrived}
        _settle_delivery(delivery, outcome, link=link)
    connections.record_connection_outcome(claimed.chat_channel_id or 0, outcome)


def _settle_delivery(delivery: Delivery, outcome: Outcome, *, link: HelpdeskChat | None) -> None:
    now = service_window.database_now()
    delivery.lease_token, delivery.reason = None, outcome.reason
    attempts = delivery.attempts - delivery.attempts_before
    if outcome.verdict == ACCEPTED:
        delivery.state, delivery.finished_at = Delivery.State.DELIVERED, now
    elif outcome.verdict == PAUSE:
        delivery.state, delivery.next_attempt_at, delivery.attempts = Delivery.State.PENDING, now, delivery.attempts - 1
    elif outcome.verdict == UNKNOWN:
        delivery.state, delivery.next_attempt_at = Delivery.State.PENDING, now + timedelta(seconds=LOOKUP_DELAY_SECONDS)
    elif outcome.verdict == PERMANENT or _has_exhausted_attempts(outcome, attempts):
        delivery.state, delivery.finished_at = Delivery.State.DEAD, now
    else:
        seconds = RETRY_DELAYS[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        seconds = max(seconds, min(outcome.retry_after or 0.0, 3_600.0))
        delivery.state, delivery.next_attempt_at = Delivery.State.PENDING, now + timedelta(seconds=seconds)
    if outcome.reason == "helpdesk_refused" and link is not None and link.chat_id and attempts >= 2:
        # The chat or client may no longer exist there: the next attempt creates them.
        link.chat_id, link.client_id = None, None
        link.save(update_fields=["chat_id", "client_id"])
    delivery.save(
        update_fields=["state", "finished_at", "next_attempt_at", "attempts", "reason", "lease_token", "payload"]
    )


def _has_exhausted_attempts(outcome: Outcome, attempts: int) -> bool:
    return attempts > len(RETRY_DELAYS) or (outcome.reason == "helpdesk_refused" and attempts >= MAX_REFUSALS)
