"""Station 5: hand due deliveries over, record the attempt, plan the retry.

What is due is claimed under a lease (``claims``); the calls are made outside of any transaction, by threads; results
are written back only under one's own lease token (``results``). A worker that dies leaves its rows to the lease, and
beat to the sweep. A row over which workers died twice is a suspect: it is tried alone, so that it takes no others with
it, and given up after its timetable.
"""

from __future__ import annotations

import logging
import time
import traceback
import uuid
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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

from . import recipient_addresses, results
from .claims import claim_deliveries
from .response_excerpt import excerpt_response
from .results import AttemptResult, ClaimedDelivery

logger = logging.getLogger(__name__)

THREADS = 96  # calls at once of one worker process: more than one destination may have
RUN_SECONDS = 20.0  # a task stops claiming after this and leaves the rest to the next
RESULT_BATCH_SECONDS = 0.004  # results that come in so close together are written down in one transaction
POLL_SECONDS = 0.05  # a call that takes longer is slow: while only such are under way, look so often for others' work
LONGEST_LIMIT_WAIT = 1.5  # a limit that frees a call so soon is waited for; else beat's sweep comes as soon
POISON_SECONDS = 5.0  # of a run, at most so long for suspects (and the call that is under way then)


@contextmanager
def acquire_run_slot(worker: str) -> Iterator[bool]:
    """Whether one more run may start at this worker: at most all of its processes but one hand over at a time.

    So what comes in is worked off even while every call that goes out hangs until its deadline. The place is a lock
    of the database's session: a process that dies gives it back.
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


# As read in this run, with the time of the channel's last failure then: after a failure they are read anew, so that
# what an admin has mended (a token that ran out) is not tried with the old settings once more.
AccountCache = dict[int, tuple[datetime | None, Account]]
PreparedDelivery = tuple[ClaimedDelivery, Account, str]  # with the provider's id of a file that it has


def send_due_deliveries() -> int:
    """Hand over until nothing is due or the time is up; how many tries were made.

    A slow destination keeps its own calls waiting and nobody else's: as each call ends, more is claimed. Where no more
    can be claimed, the calls under way are waited for and written down before anybody hears of it. The doorbell is
    answered only before one idles or leaves: what is committed while somebody is at it need not call another.
    """
    token = uuid.uuid4()
    until = time.monotonic() + RUN_SECONDS
    accounts: AccountCache = {}
    made = _send_poison_messages(token, accounts)
    running: set[Future[AttemptResult]] = set()
    broken: Exception | None = None
    has_answered = is_slow = False
    try:
        while True:
            try:
                if broken is None and time.monotonic() < until:
                    for item, account, file_id in _claim_prepared(token, accounts, limit=THREADS - len(running)):
                        running.add(_get_thread_pool().submit(attempt_delivery, item, account, file_id=file_id))
                        has_answered = is_slow = False
            except Exception as problem:
                broken = problem
            if not running:
                if broken is not None:
                    raise broken
                if not has_answered:  # once more: what came meanwhile has called nobody
                    wakeups.clear_notification(wakeups.OUTBOUND)
                    has_answered = True
                    continue
                if _wait_for_rate_limit(until):
                    continue
                if time.monotonic() >= until:
                    wakeups.notify_workers(wakeups.OUTBOUND)  # whoever comes next goes on
                return made
            done, running = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            if done and running:
                more, running = wait(running, timeout=RESULT_BATCH_SECONDS)
                done |= more
            if done:
                results.save_results([future.result() for future in done], token)
            elif not is_slow:  # whoever comes now need not wait for these; and no result waits for the broker
                _get_thread_pool().submit(wakeups.clear_notification, wakeups.OUTBOUND)
                is_slow = True
            made += len(done)
    finally:
        wait(running)


@cache
def _get_thread_pool() -> ThreadPoolExecutor:
    """This process's, for good: starting them anew for each run cost more than the calls."""
    return ThreadPoolExecutor(max_workers=THREADS + 1, thread_name_prefix="outbox")  # and one for the doorbell


def _claim_prepared(token: uuid.UUID, accounts: AccountCache, *, limit: int) -> list[PreparedDelivery]:
    """Claimed, admitted, and with all that the call needs."""
    claimed = claim_deliveries(token, limit=limit)
    try:
        try:
            return _prepare(claimed, token, accounts)
        except Error:
            raise
        except Exception:
            logger.warning("claim not prepared together, each by itself", extra={"count": len(claimed)})
        return [ready for item in claimed for ready in _prepare_one(item, token, accounts)]
    except Exception:
        _release_claims(claimed, token)
        raise


def _prepare(claimed: Sequence[ClaimedDelivery], token: uuid.UUID, accounts: AccountCache) -> list[PreparedDelivery]:
    admitted = _admit(claimed, token, accounts)
    given = provider_uploads.find_cached_uploads(item.delivery for item in admitted)
    return [(item, _get_account(accounts, item.delivery), given.get(item.delivery.pk, "")) for item in admitted]


def _prepare_one(item: ClaimedDelivery, token: uuid.UUID, accounts: AccountCache) -> list[PreparedDelivery]:
    """Prepare one delivery; one that cannot be prepared is a failed try, and no other's."""
    ours = Delivery.objects.filter(pk=item.delivery.pk, lease_token=token, state=Delivery.State.SENDING)
    if not ours.exists():  # settled, or put back, before another one of the claim failed
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
    why, outcome = traceback.format_exc(limit=-3), Outcome(verdict=RETRY, reason="internal_error")
    if item.interrupted and not results.can_retry_unknown(item.delivery):
        outcome = Outcome(verdict=UNKNOWN, reason="outcome_unknown")  # the try before may have sent it
    results.save_results(
        [AttemptResult(claimed=item, outcome=outcome, started_at=timezone.now(), duration_ms=0, answer=why)], token
    )


def _release_claims(claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> None:
    """Nothing was called for these: left to their lease, they would look as if it had been."""
    untried = [item.delivery.pk for item in claimed if not item.interrupted]
    ours = Delivery.objects.filter(pk__in=untried, lease_token=token, state=Delivery.State.SENDING)

    def give_back() -> None:
        now, attempts = service_window.database_now(), F("attempts") - 1
        ours.update(state=Delivery.State.PENDING, attempts=attempts, lease_token=None, next_attempt_at=now)

    try:
        results.retry_db_errors(give_back)
    except Error:
        logger.warning("claim not given back", extra={"count": len(untried)})


def _wait_for_rate_limit(until: float) -> bool:
    """Sleep until a channel that keeps to its own limit may go on, where that is soon. False where none is."""
    seconds = rate_limits.get_seconds_until_free()
    if seconds is None or seconds > LONGEST_LIMIT_WAIT or time.monotonic() + seconds >= until:
        return False
    time.sleep(max(seconds, 0.02))
    return True


def _send_poison_messages(token: uuid.UUID, accounts: AccountCache) -> int:
    """One after another, with nothing else under way in this process that could die with it."""
    until, made = time.monotonic() + POISON_SECONDS, 0
    while time.monotonic() < until and (claimed := claim_deliveries(token, limit=1, suspects=True)):
        for item, account, file_id in [each for one in claimed for each in _prepare_one(one, token, accounts)]:
            results.save_results([attempt_delivery(item, account, file_id=file_id)], token)
            made += 1
    return made


def _get_account(accounts: AccountCache, delivery: Delivery) -> Account:
    """Channel settings are read once a run: a change takes effect within RUN_SECONDS."""
    channel = delivery.api_channel
    failed_at, account = accounts.get(channel.pk, (None, None))
    if account is None or failed_at != channel.last_error_at:
        account = channel.account()
        accounts[channel.pk] = (channel.last_error_at, account)
    return account


# --- admit -------------------------------------------------------------------------------------------


def _admit(claimed: Sequence[ClaimedDelivery], token: uuid.UUID, accounts: AccountCache) -> list[ClaimedDelivery]:
    """Those that may go out now.

    The second look at the window, at the contact's number, at the template, at tries that were cut off, and last at
    the channel's limits.
    """
    if not claimed:
        return []
    texts = {results.get_window_key(item.delivery) for item in claimed if item.delivery.free_text}
    shut = service_window.find_closed_windows(texts, now=service_window.database_now()) if texts else set()
    templates = {item.delivery.pk: template for item in claimed if (template := item.delivery.template)}
    asleep = template_decisions.find_unsendable_templates(templates.values())
    moved = recipient_addresses.refresh_addresses([item.delivery for item in claimed])
    admitted = []
    for item in claimed:
        delivery = item.delivery
        too_late = delivery.free_text and results.get_window_key(delivery) in shut
        not_sendable = templates.get(delivery.pk, {}).get("id") in asleep
        has_moved = delivery.pk in moved
        if item.interrupted and (too_late or not_sendable or has_moved or not results.can_retry_unknown(delivery)):
            results.mark_delivery_unknown(delivery, token)  # what may have been sent is not taken back
        elif too_late:
            results.cancel_delivery(delivery.pk, token=token, reason="window_closed_before_sending")
        elif has_moved:
            results.cancel_delivery(delivery.pk, token=token, reason="contact_moved_before_sending")
        elif not_sendable:
            results.cancel_delivery(delivery.pk, token=token, reason="template_not_sendable")
        elif item.interrupted and results.has_exhausted_attempts(delivery):
            results.give_up_delivery(delivery, token, reason="retries_exhausted")
        else:
            admitted.append(item)
    asked = _collect_rate_requests(admitted, token, accounts)
    going = {item.delivery.pk for item in asked} - rate_limits.postpone_limited(asked, token)
    admitted = [item for item in admitted if item.delivery.pk in going]
    sending = [
        pk for item in admitted if item.delivery.kind == Delivery.Kind.MESSAGE and (pk := item.delivery.message_id)
    ]
    if sending:
        Message.objects.filter(pk__in=sending, status=Message.Status.PENDING).update(status=Message.Status.SENDING)
    return admitted


def _collect_rate_requests(
    admitted: Sequence[ClaimedDelivery], token: uuid.UUID, accounts: AccountCache
) -> list[rate_limits.RateRequest]:
    """With each the limits under which it stands. One whose settings cannot be read is a failed try, and no other's."""
    asked = []
    for item in admitted:
        try:
            asked.append(rate_limits.RateRequest(delivery=item.delivery, rates=_get_rates(item.delivery, accounts)))
        except DatabaseError:
            raise
        except Exception:
            _save_preparation_failure(item, token)
    return asked


def _get_rates(delivery: Delivery, accounts: AccountCache) -> tuple[CallRate, ...]:
    account = _get_account(accounts, delivery)
    if delivery.kind == Delivery.Kind.EVENT:
        return channel_call_rate(account)
    return delivery.api_channel.provider.call_rates(_build_request(delivery), account)


# --- attempt ---------------------------------------------------------------------------------------------


def attempt_delivery(claimed: ClaimedDelivery, account: Account, *, file_id: str = "") -> AttemptResult:
    """Make one call, in a thread: no database here, and nothing raised. ``file_id``: of a file that they have."""
    started_at, started = timezone.now(), time.monotonic()
    answer: ApiResponse | None = None
    note = ""
    given: CachedUpload | None = None
    try:
        handed = _build_request(claimed.delivery, file_id=file_id)
        refused, handed, given = _upload_file(claimed.delivery, handed, account)
        outcome, answer = (refused, None) if refused else _call_destination(claimed.delivery, handed, account)
    except http_client.ForbiddenAddress:
        outcome = Outcome(verdict=RETRY, reason="forbidden")
    except http_client.ConnectionFailed as problem:
        outcome = Outcome(verdict=RETRY, reason=problem.reason)
    except http_client.NoResponse:
        outcome = Outcome(verdict=UNKNOWN, reason="outcome_unknown")
    except Exception:
        logger.exception("attempt failed", extra={"delivery": claimed.delivery.pk})
        outcome = Outcome(verdict=RETRY, reason="internal_error")
        note = traceback.format_exc(limit=-3)
    return AttemptResult(
        claimed=claimed,
        outcome=outcome,
        started_at=started_at,
        duration_ms=int((time.monotonic() - started) * 1000),
        http_status=answer.status if answer else None,
        answer=excerpt_response(answer, account.all_secrets()) if answer else note,
        given=given,
        pair=_get_contact_rates(claimed.delivery, account) if outcome.contact_backoff_base is not None else (),
    )


def _get_contact_rates(delivery: Delivery, account: Account) -> tuple[CallRate, ...]:
    """The limits of this contact alone."""
    limits = delivery.api_channel.provider.call_rates(_build_request(delivery), account)
    return tuple(rate for rate in limits if not rate.whole_channel)


def _upload_file(
    delivery: Delivery, handed: DeliveryRequest, account: Account
) -> tuple[Outcome | None, DeliveryRequest, CachedUpload | None]:
    """The file is given to the provider first, where it wants it so: why not, or what goes out then."""
    provider = delivery.api_channel.provider
    file = next(iter(handed.files), None)
    if delivery.kind == Delivery.Kind.EVENT or not provider.accepts_uploads or file is None:
        return None, handed, None
    if not file.stored or file.external_id:
        return None, handed, None
    given = provider_uploads.upload_file(file, provider, account)
    if not isinstance(given, CachedUpload):
        return given, handed, None
    return None, replace(handed, files=(replace(file, external_id=given.external_id), *handed.files[1:])), given


def _call_destination(
    delivery: Delivery, handed: DeliveryRequest, account: Account
) -> tuple[Outcome, ApiResponse | None]:
    provider = delivery.api_channel.provider
    if delivery.kind == Delivery.Kind.EVENT:
        request: object = provider.build_event_request(handed, account)
    else:
        request = provider.build_message_request(handed, account)
    if isinstance(request, Outcome):
        return request, None
    if not request.url:  # type: ignore[attr-defined]  # anything else is an HttpRequest
        return Outcome(verdict=PERMANENT, reason="no_redirect_url"), None
    answer = http_client.send(request)  # type: ignore[arg-type]  # as above
    judge = provider.judge_event_response if delivery.kind == Delivery.Kind.EVENT else provider.judge_message_response
    try:
        return judge(answer), answer
    except Exception:  # it went out: what they did with it is what nobody knows
        logger.exception("answer not judged", extra={"delivery": delivery.pk})
        return Outcome(verdict=UNKNOWN, reason="outcome_unknown"), answer


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
    """Seconds that the oldest due delivery has been waiting; 0 where none is.

    One that stands behind an older one of its conversation is not due, however long the older one takes.
    """
    ahead = Delivery.objects.filter(
        api_channel=OuterRef("api_channel"),
        conversation=OuterRef("conversation"),
        kind=OuterRef("kind"),
        pk__lt=OuterRef("pk"),
        state__in=Delivery.UNFINISHED,
    )
    oldest = (
        Delivery.objects.filter(~Exists(ahead), state__in=Delivery.UNFINISHED, next_attempt_at__lte=now)
        .filter(chat_channel=None)
        .exclude(api_channel__state="paused")
        .exclude(api_channel__breaker__is_open=True)
        .exclude(api_channel__breaker__paused_until__gt=now)
        .exclude(api_channel__in=rate_limits.find_limited_channels(now=now))
        .order_by("next_attempt_at")
        .values_list("next_attempt_at", flat=True)
        .first()
    )
    return (now - oldest).total_seconds() if oldest else 0.0
