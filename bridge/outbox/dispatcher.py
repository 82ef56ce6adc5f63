"""Sending of due deliveries: claim, check again, call, save the result.

`claims` claims deliveries under a lease. Their calls run at once in this thread, outside of any transaction, and
`results` saves each result only while its lease is still valid. If a worker dies, the lease expires and the periodic
task claims the delivery again. A delivery over which workers crashed twice is a poison message: it is sent alone, and
given up after its last attempt.
"""

from __future__ import annotations

import logging
import time
import traceback
import uuid
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache

from django.conf import settings
from django.db import DatabaseError, Error
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from bridge import service_window, wakeups
from bridge.channel_health import rate_limits
from bridge.files import provider_uploads
from bridge.files.provider_uploads import CachedUpload
from bridge.models import Delivery, Message
from bridge.relay import template_decisions
from channels_setup import http_client
from channels_setup.advisory_locks import LockSpace, release, try_acquire
from channels_setup.providers.base import (
    PERMANENT,
    RETRY,
    UNKNOWN,
    Account,
    ApiResponse,
    CallRate,
    ContactInfo,
    DeliveryRequest,
    FileInfo,
    Outcome,
    channel_call_rate,
)

from . import recipient_addresses, results, retry_schedule
from .claims import claim_deliveries
from .response_excerpt import excerpt_response
from .results import AttemptResult, ClaimedDelivery

logger = logging.getLogger(__name__)

MAX_CALLS = 192  # concurrent calls of one worker process, more than any one destination may use
RUN_SECONDS = 20.0  # a run stops claiming after this; the next run continues
RESULT_BATCH_SECONDS = 0.004  # results that arrive within this time are saved in one transaction
POLL_SECONDS = 0.05  # while only slow calls run, look for new deliveries this often
LONGEST_LIMIT_WAIT = 1.5  # wait for a rate limit at most this long; the periodic task covers longer waits
POISON_SECONDS = 5.0  # longest share of a run for poison messages, plus the last call


@contextmanager
def acquire_run_slot(worker: str) -> Iterator[bool]:
    """Yield whether this worker may start one more run. All of its processes but one may send at a time.

    The remaining process handles incoming events even while every outgoing call hangs. The slot is a session lock in
    PostgreSQL, so a process that dies releases it.
    """
    number = next((number for number in _slot_numbers(worker) if try_acquire(LockSpace.OUTBOX, number)), None)
    try:
        yield number is not None
    finally:
        if number is not None:
            release(LockSpace.OUTBOX, number)


def _slot_numbers(worker: str) -> list[int]:
    first = zlib.crc32(worker.encode()) % 2**30
    return [first + number for number in range(max(settings.WORKER_CONCURRENCY - 1, 1))]


# Channel ID → (time of the channel's last failure, settings). Settings are read again after a failure, so that a new
# access token takes effect at once.
AccountCache = dict[int, tuple[datetime | None, Account]]
PreparedDelivery = tuple[ClaimedDelivery, Account, str]  # last: the provider's ID of an uploaded file, or ""


def send_due_deliveries() -> int:
    """Send until nothing is due or RUN_SECONDS are over. Return the number of attempts.

    New deliveries are claimed as each call ends, so a slow destination delays only its own. If claiming fails, running
    calls are finished and saved before the error is raised. The wake-up flag is cleared only before the run waits or
    ends: a commit during a busy run needs no other worker.
    """
    token = uuid.uuid4()
    until = time.monotonic() + RUN_SECONDS
    accounts: AccountCache = {}
    attempts = _send_poison_messages(token, accounts)
    running: http_client.RunningExchanges[AttemptResult] = http_client.RunningExchanges()
    error: Exception | None = None
    is_cleared = is_slow = False
    try:
        while True:
            try:
                if error is None and time.monotonic() < until:
                    for item, account, file_id in _claim_prepared(token, accounts, limit=MAX_CALLS - len(running)):
                        running.start(attempt_delivery(item, account, file_id=file_id))
                        is_cleared = is_slow = False
            except Exception as problem:
                error = problem
            if not running:
                if error is not None:
                    raise error
                if not is_cleared:  # look once more: commits since the last look woke no worker
                    wakeups.clear_notification(wakeups.OUTBOUND)
                    is_cleared = True
                    continue
                if _wait_for_rate_limit(until):
                    continue
                if time.monotonic() >= until:
                    wakeups.notify_workers(wakeups.OUTBOUND)  # the next run continues
                return attempts
            done = running.wait(POLL_SECONDS)
            if done and running:
                done += running.wait(RESULT_BATCH_SECONDS)
            if done:
                results.save_results(done, token)
            elif not is_slow:  # let new work wake another worker; off-thread, so a slow broker delays no result
                _get_wakeup_thread().submit(wakeups.clear_notification, wakeups.OUTBOUND)
                is_slow = True
            attempts += len(done)
    finally:
        running.cancel()


@cache
def _get_wakeup_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="wakeups")


def _claim_prepared(token: uuid.UUID, accounts: AccountCache, *, limit: int) -> list[PreparedDelivery]:
    """Claim deliveries, check them, and load what their calls need."""
    claimed = claim_deliveries(token, limit=limit)
    try:
        try:
            return _prepare(claimed, token, accounts)
        except Error:
            raise
        except Exception:
            logger.warning(
                "claim not prepared as a batch, preparing each delivery alone", extra={"count": len(claimed)}
            )
        return [prepared for item in claimed for prepared in _prepare_one(item, token, accounts)]
    except Exception:
        _release_claims(claimed, token)
        raise


def _prepare(claimed: Sequence[ClaimedDelivery], token: uuid.UUID, accounts: AccountCache) -> list[PreparedDelivery]:
    admitted = _admit(claimed, token, accounts)
    file_ids = provider_uploads.find_cached_uploads(item.delivery for item in admitted)
    return [(item, _get_account(accounts, item.delivery), file_ids.get(item.delivery.pk, "")) for item in admitted]


def _prepare_one(item: ClaimedDelivery, token: uuid.UUID, accounts: AccountCache) -> list[PreparedDelivery]:
    """Prepare one delivery. A failure counts as a failed attempt of this delivery only."""
    ours = Delivery.objects.filter(pk=item.delivery.pk, lease_token=token, state=Delivery.State.SENDING)
    if not ours.exists():  # already settled or released before another delivery failed
        return []
    try:
        return _prepare([item], token, accounts)
    except Error:
        raise
    except Exception:
        _save_preparation_failure(item, token)
        return []


def _save_preparation_failure(item: ClaimedDelivery, token: uuid.UUID) -> None:
    logger.exception("delivery not prepared", extra={"delivery": item.delivery.pk})
    outcome = Outcome(verdict=RETRY, reason="internal_error")
    if item.interrupted and not results.can_retry_unknown(item.delivery):
        outcome = Outcome(verdict=UNKNOWN, reason="outcome_unknown")  # the interrupted attempt may have sent it
    answer = traceback.format_exc(limit=-3)
    results.save_results(
        [AttemptResult(claimed=item, outcome=outcome, started_at=timezone.now(), duration_ms=0, answer=answer)], token
    )


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


def _wait_for_rate_limit(until: float) -> bool:
    """Sleep until a rate-limited channel may send again. Return False if none is free soon."""
    seconds = rate_limits.get_seconds_until_free()
    if seconds is None or seconds > LONGEST_LIMIT_WAIT or time.monotonic() + seconds >= until:
        return False
    time.sleep(max(seconds, 0.02))
    return True


def _send_poison_messages(token: uuid.UUID, accounts: AccountCache) -> int:
    """Send poison messages one at a time, with no other call running in this process."""
    until, attempts = time.monotonic() + POISON_SECONDS, 0
    while time.monotonic() < until and (claimed := claim_deliveries(token, limit=1, poison=True)):
        for item, account, file_id in [ready for each in claimed for ready in _prepare_one(each, token, accounts)]:
            attempt = attempt_delivery(item, account, file_id=file_id)
            results.save_results([http_client.run_exchange(attempt)], token)
            attempts += 1
    return attempts


def _get_account(accounts: AccountCache, delivery: Delivery) -> Account:
    """Return the channel's settings, read once per run. A change takes effect within RUN_SECONDS."""
    channel = delivery.api_channel
    failed_at, account = accounts.get(channel.pk, (None, None))
    if account is None or failed_at != channel.last_error_at:
        account = channel.account()
        accounts[channel.pk] = (channel.last_error_at, account)
    return account


# --- admission -------------------------------------------------------------------------------------------


def _admit(claimed: Sequence[ClaimedDelivery], token: uuid.UUID, accounts: AccountCache) -> list[ClaimedDelivery]:
    """Return the claimed deliveries that may be sent now.

    Checks the window, the contact's address, the template, interrupted attempts, and finally the rate limits.
    """
    if not claimed:
        return []
    texts = {results.get_window_key(item.delivery) for item in claimed if item.delivery.free_text}
    closed = service_window.find_closed_windows(texts, now=service_window.database_now()) if texts else set()
    templates = {item.delivery.pk: template for item in claimed if (template := item.delivery.template)}
    unsendable = template_decisions.find_unsendable_templates(templates.values())
    moved_ids = recipient_addresses.refresh_addresses([item.delivery for item in claimed])
    admitted = []
    for item in claimed:
        delivery = item.delivery
        is_closed = delivery.free_text and results.get_window_key(delivery) in closed
        is_unsendable = templates.get(delivery.pk, {}).get("id") in unsendable
        has_moved = delivery.pk in moved_ids
        if item.interrupted and (is_closed or is_unsendable or has_moved or not results.can_retry_unknown(delivery)):
            results.mark_delivery_unknown(delivery, token)  # it may have been sent, so it cannot be canceled
        elif is_closed:
            results.cancel_delivery(delivery.pk, token=token, reason="window_closed_before_sending")
        elif has_moved:
            results.cancel_delivery(delivery.pk, token=token, reason="contact_moved_before_sending")
        elif is_unsendable:
            results.cancel_delivery(delivery.pk, token=token, reason="template_not_sendable")
        elif item.interrupted and retry_schedule.has_exhausted_attempts(delivery):
            results.give_up_delivery(delivery, token, reason="retries_exhausted")
        else:
            admitted.append(item)
    requests = _collect_rate_requests(admitted, token, accounts)
    admitted_ids = {item.delivery.pk for item in requests} - rate_limits.postpone_limited(requests, token)
    admitted = [item for item in admitted if item.delivery.pk in admitted_ids]
    message_ids = [
        pk for item in admitted if item.delivery.kind == Delivery.Kind.MESSAGE and (pk := item.delivery.message_id)
    ]
    if message_ids:
        Message.objects.filter(pk__in=message_ids, status=Message.Status.PENDING).update(status=Message.Status.SENDING)
    return admitted


def _collect_rate_requests(
    admitted: Sequence[ClaimedDelivery], token: uuid.UUID, accounts: AccountCache
) -> list[rate_limits.RateRequest]:
    """Pair each delivery with its rate limits. Unreadable channel settings fail that delivery only."""
    requests = []
    for item in admitted:
        try:
            requests.append(rate_limits.RateRequest(delivery=item.delivery, rates=_get_rates(item.delivery, accounts)))
        except DatabaseError:
            raise
        except Exception:
            _save_preparation_failure(item, token)
    return requests


def _get_rates(delivery: Delivery, accounts: AccountCache) -> tuple[CallRate, ...]:
    account = _get_account(accounts, delivery)
    if delivery.kind == Delivery.Kind.EVENT:
        return channel_call_rate(account)
    return delivery.api_channel.provider.call_rates(_build_request(delivery), account)


# --- attempt ---------------------------------------------------------------------------------------------


def attempt_delivery(
    claimed: ClaimedDelivery, account: Account, *, file_id: str = ""
) -> http_client.Exchange[AttemptResult]:
    """Make the calls of one attempt, without the database. Never raises. `file_id`: the provider's ID of the file."""
    started_at, started = timezone.now(), time.monotonic()
    response: ApiResponse | None = None
    trace = ""
    upload: CachedUpload | None = None
    try:
        request = _build_request(claimed.delivery, file_id=file_id)
        failure, request, upload = yield from _upload_file(claimed.delivery, request, account)
        if failure is not None:
            outcome = failure
        else:
            outcome, response = yield from _call_destination(claimed.delivery, request, account)
    except http_client.ForbiddenAddress:
        outcome = Outcome(verdict=RETRY, reason="forbidden")
    except http_client.ConnectionFailed as problem:
        outcome = Outcome(verdict=RETRY, reason=problem.reason)
    except http_client.NoResponse:
        outcome = Outcome(verdict=UNKNOWN, reason="outcome_unknown")
    except Exception:
        logger.exception("attempt failed", extra={"delivery": claimed.delivery.pk})
        outcome = Outcome(verdict=RETRY, reason="internal_error")
        trace = traceback.format_exc(limit=-3)
    return AttemptResult(
        claimed=claimed,
        outcome=outcome,
        started_at=started_at,
        duration_ms=int((time.monotonic() - started) * 1000),
        http_status=response.status if response else None,
        answer=excerpt_response(response, account.all_secrets()) if response else trace,
        upload=upload,
        contact_rates=_get_contact_rates(claimed.delivery, account) if outcome.contact_backoff_base is not None else (),
    )


def _get_contact_rates(delivery: Delivery, account: Account) -> tuple[CallRate, ...]:
    """Return the rate limits of this contact only."""
    limits = delivery.api_channel.provider.call_rates(_build_request(delivery), account)
    return tuple(rate for rate in limits if not rate.whole_channel)


def _upload_file(
    delivery: Delivery, request: DeliveryRequest, account: Account
) -> http_client.Exchange[tuple[Outcome | None, DeliveryRequest, CachedUpload | None]]:
    """Upload the request's file if the provider accepts uploads.

    Return the failure or None, the request to send, and the upload if one was made.
    """
    provider = delivery.api_channel.provider
    file = next(iter(request.files), None)
    if delivery.kind == Delivery.Kind.EVENT or not provider.accepts_uploads or file is None:
        return None, request, None
    if not file.stored or file.external_id:
        return None, request, None
    result = yield from provider_uploads.upload_file(file, provider, account)
    if not isinstance(result, CachedUpload):
        return result, request, None
    files = (replace(file, external_id=result.external_id), *request.files[1:])
    return None, replace(request, files=files), result


def _call_destination(
    delivery: Delivery, request: DeliveryRequest, account: Account
) -> http_client.Exchange[tuple[Outcome, ApiResponse | None]]:
    provider = delivery.api_channel.provider
    if delivery.kind == Delivery.Kind.EVENT:
        http_request: object = provider.build_event_request(request, account)
    else:
        http_request = provider.build_message_request(request, account)
    if isinstance(http_request, Outcome):
        return http_request, None
    if not http_request.url:  # type: ignore[attr-defined]  # anything else is an HttpRequest
        return Outcome(verdict=PERMANENT, reason="no_redirect_url"), None
    response = yield http_client.Call(request=http_request)  # type: ignore[arg-type]  # as above
    judge = provider.judge_event_response if delivery.kind == Delivery.Kind.EVENT else provider.judge_message_response
    try:
        return judge(response), response
    except Exception:  # the request was sent, so the outcome is unknown
        logger.exception("response not judged", extra={"delivery": delivery.pk})
        return Outcome(verdict=UNKNOWN, reason="outcome_unknown"), response


def _build_request(delivery: Delivery, *, file_id: str = "") -> DeliveryRequest:
    payload = delivery.payload
    files = [FileInfo(**file) for file in payload.get("files", [])]
    if file_id and files:
        files[0] = replace(files[0], external_id=file_id)
    contact = payload.get("contact") or {}
    return DeliveryRequest(
        key=delivery.key,
        attempt=delivery.attempts,
        at=timezone.now(),
        event=payload["event"],
        text=payload.get("text", ""),
        template=payload.get("template"),
        components=tuple(payload.get("components") or ()),
        quoted_id=payload.get("quoted_id", ""),
        contact=ContactInfo(
            external_id=contact.get("external_id", ""),
            phone=contact.get("phone", ""),
            user_id=contact.get("user_id", ""),
        ),
        files=tuple(files),
    )


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
        .filter(chat_channel=None)
        .exclude(api_channel__state="paused")
        .exclude(api_channel__breaker__is_open=True)
        .exclude(api_channel__breaker__backoff_until__gt=now)
        .exclude(api_channel__in=rate_limits.find_limited_channels(now=now))
        .order_by("next_attempt_at")
        .values_list("next_attempt_at", flat=True)
        .first()
    )
    return (now - oldest).total_seconds() if oldest else 0.0
