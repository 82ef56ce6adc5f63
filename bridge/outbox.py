"""Station 5: claim due deliveries, hand them over, record the attempt, plan the retry.

The claim is one statement: of each conversation, destination and kind only the oldest unfinished delivery is due, a
destination has at most so many calls in flight, and rows that somebody else is claiming are skipped. Claimed rows
carry a lease; the calls are made outside of any transaction, by threads; results are written back only under
one's own lease token. A worker that dies leaves its rows to the lease, and beat to the sweep.
"""

from __future__ import annotations

import logging
import random
import time
import traceback
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from channels_setup import outgoing as outside
from channels_setup.models import UnknownPolicy
from channels_setup.providers.base import (
    ACCEPTED,
    PERMANENT,
    RETRY,
    UNKNOWN,
    Account,
    ContactInfo,
    FileInfo,
    HttpAnswer,
    Outcome,
    Outgoing,
)

from . import conversations, reasons, recognising, windows
from .models import Attempt, Delivery, Draft, Message

logger = logging.getLogger(__name__)

# Seconds after each failed try. A contact's message is given up after the last, and never outlives its window.
MESSAGE_TIMETABLE = (5, 15, 60, 180, 600, 1_800, 3_600, 7_200, 14_400)
EVENT_TIMETABLE = (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 50_400, 86_400)
JITTER = 0.2  # ±20 %
LONGEST_RETRY_AFTER = 3_600.0
SHORTEST_WHEN_OVERLOADED = 60.0  # 429, 502, 503, 504

LEASE_SECONDS = 60  # longer than any call may last (outgoing.DEADLINE_SECONDS)
IN_FLIGHT = 32  # calls to one destination at once, all workers together
THREADS = 64  # calls at once of one worker process
RUN_SECONDS = 20.0  # a task stops claiming after this and leaves the rest to the next
KEPT_ANSWER = 2_000  # characters of an answer that are kept with the attempt


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A claimed delivery. ``interrupted``: a worker died over an earlier try, whose outcome nobody knows."""

    delivery: Delivery
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One try, made: what to write down."""

    claimed: Claimed
    outcome: Outcome
    started_at: datetime
    duration_ms: int
    http_status: int | None = None
    answer: str = ""


def drain() -> int:
    """Hand over until nothing is due or the time is up; how many tries were made.

    A slow destination keeps its own calls waiting and nobody else's: as each call ends, more is claimed.
    """
    token = uuid.uuid4()
    until = time.monotonic() + RUN_SECONDS
    made = 0
    accounts: dict[int, Account] = {}
    running: set[Future[Tried]] = set()
    with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="outbox") as pool:
        while True:
            claimed = claim(token, limit=THREADS - len(running)) if time.monotonic() < until else []
            for item in _admitted(claimed, token):
                account = _account(accounts, item.delivery)
                running.add(pool.submit(attempt, item, account))
            if not running:
                return made
            done, running = wait(running, return_when=FIRST_COMPLETED)
            record([future.result() for future in done], token)
            made += len(done)


def _account(accounts: dict[int, Account], delivery: Delivery) -> Account:
    """Channel settings are read once a run: a change takes effect within RUN_SECONDS."""
    if delivery.api_channel_id not in accounts:
        accounts[delivery.api_channel_id] = delivery.api_channel.account()
    return accounts[delivery.api_channel_id]


# --- claim -----------------------------------------------------------------------------------------------

# Destination by destination, so that a long queue before one never hides what is due for another; each gives at most
# its fair share of the places asked for.
CLAIM = """
WITH destination AS (
    SELECT c.id, least(
        %(in_flight)s - (SELECT count(*) FROM bridge_delivery busy
                         WHERE busy.api_channel_id = c.id AND busy.state = 'sending'
                           AND busy.next_attempt_at > clock_timestamp()),
        ceil(%(limit)s::numeric / count(*) OVER ())) AS free
    FROM channels_setup_apichannel c
    WHERE c.state <> 'paused' AND EXISTS (
        SELECT 1 FROM bridge_delivery d
        WHERE d.api_channel_id = c.id AND d.state IN ('pending', 'sending') AND d.next_attempt_at <= clock_timestamp())
), due AS (
    SELECT head.id, head.was FROM destination, LATERAL (
        SELECT d.id, d.state AS was FROM bridge_delivery d
        WHERE d.api_channel_id = destination.id
          AND d.state IN ('pending', 'sending') AND d.next_attempt_at <= clock_timestamp()
          AND NOT EXISTS (
              SELECT 1 FROM bridge_delivery older
              WHERE older.api_channel_id = d.api_channel_id AND older.conversation_id = d.conversation_id
                AND older.kind = d.kind AND older.id < d.id AND older.state IN ('pending', 'sending'))
        ORDER BY d.next_attempt_at, d.id LIMIT greatest(destination.free, 0)
        FOR UPDATE SKIP LOCKED
    ) head LIMIT %(limit)s
)
UPDATE bridge_delivery d
SET state = 'sending', attempts = attempts + 1, lease_token = %(token)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due
WHERE d.id = due.id
RETURNING d.id, due.was
"""


def claim(token: uuid.UUID, *, limit: int) -> list[Claimed]:
    """Lease up to ``limit`` due deliveries under ``token``. Committed before it returns."""
    if limit <= 0:
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "window": limit * 4,
                "in_flight": IN_FLIGHT,
                "limit": limit,
                "token": token,
                "lease": LEASE_SECONDS,
            },
        )
        was = dict(cursor.fetchall())
    rows = Delivery.objects.filter(pk__in=was).select_related("api_channel", "message").order_by("pk")
    return [Claimed(delivery=row, interrupted=was[row.pk] == Delivery.State.SENDING) for row in rows]


def _admitted(claimed: Sequence[Claimed], token: uuid.UUID) -> list[Claimed]:
    """Those that may go out now: the second look at the window, at the template, and at tries that were cut off."""
    if not claimed:
        return []
    now = windows.database_now()
    texts = [item for item in claimed if item.delivery.free_text]
    shut = windows.shut_among({item.delivery.conversation_id for item in texts}, now=now) if texts else set()
    templates = {item.delivery.pk: template for item in claimed if (template := _template_of(item.delivery))}
    asleep = recognising.not_sendable(templates.values())
    admitted = []
    for item in claimed:
        delivery = item.delivery
        if delivery.free_text and delivery.conversation_id in shut:
            cancel(delivery.pk, token=token, reason="window_shut_before_sending")
        elif templates.get(delivery.pk, {}).get("id") in asleep:
            cancel(delivery.pk, token=token, reason="template_not_sendable")
        elif item.interrupted and not _may_repeat(delivery):
            _settle_unknown(delivery, token)
        else:
            admitted.append(item)
    sending = [
        pk for item in admitted if item.delivery.kind == Delivery.Kind.MESSAGE and (pk := item.delivery.message_id)
    ]
    if sending:
        Message.objects.filter(pk__in=sending, status=Message.Status.PENDING).update(status=Message.Status.SENDING)
    return admitted


def _template_of(delivery: Delivery) -> dict[str, Any]:
    """The template that a message delivery sends; empty for everything else."""
    message = delivery.message if delivery.kind == Delivery.Kind.MESSAGE else None
    return (message.template or {}) if message else {}


def _may_repeat(delivery: Delivery) -> bool:
    """May a try whose outcome nobody knows be made again? Events always: receivers know them by their key."""
    if delivery.kind == Delivery.Kind.EVENT:
        return True
    channel = delivery.api_channel
    return channel.on_unknown == UnknownPolicy.RESEND and channel.provider.unknown_is_safe_to_repeat


# --- attempt ---------------------------------------------------------------------------------------------


def attempt(claimed: Claimed, account: Account) -> Tried:
    """Make one call, in a thread: no database here, and nothing raised."""
    started_at, started = timezone.now(), time.monotonic()
    answer: HttpAnswer | None = None
    note = ""
    try:
        outcome, answer = _call(claimed.delivery, account)
    except outside.Forbidden:
        outcome = Outcome(verdict=RETRY, reason="forbidden")
    except outside.NotSent as problem:
        outcome = Outcome(verdict=RETRY, reason=problem.reason)
    except outside.OutcomeUnknown:
        outcome = Outcome(verdict=UNKNOWN, reason="outcome_unknown")
    except Exception:
        logger.exception("attempt failed", extra={"delivery": claimed.delivery.pk})
        outcome = Outcome(verdict=RETRY, reason="internal_error")
        note = traceback.format_exc(limit=-3)
    return Tried(
        claimed=claimed,
        outcome=outcome,
        started_at=started_at,
        duration_ms=int((time.monotonic() - started) * 1000),
        http_status=answer.status if answer else None,
        answer=_redacted(answer, account) if answer else note,
    )


def _call(delivery: Delivery, account: Account) -> tuple[Outcome, HttpAnswer | None]:
    provider = delivery.api_channel.provider
    handed = _outgoing(delivery)
    if delivery.kind == Delivery.Kind.EVENT:
        request: object = provider.event(handed, account)
    else:
        request = provider.message(handed, account)
    if isinstance(request, Outcome):
        return request, None
    if not request.url:  # type: ignore[attr-defined]  # anything else is an HttpRequest
        return Outcome(verdict=PERMANENT, reason="no_redirect_url"), None
    answer = outside.send(request)  # type: ignore[arg-type]  # as above
    judge = provider.judge_event if delivery.kind == Delivery.Kind.EVENT else provider.judge
    return judge(answer), answer


def _outgoing(delivery: Delivery) -> Outgoing:
    payload = delivery.payload
    contact = payload.get("contact") or {}
    return Outgoing(
        key=delivery.key,
        attempt=delivery.attempts,
        at=timezone.now(),
        event=payload["event"],
        text=payload.get("text", ""),
        template=payload.get("template"),
        contact=ContactInfo(external_id=contact.get("external_id", ""), phone=contact.get("phone", "")),
        files=tuple(FileInfo(url=url) for url in payload.get("files", [])),
    )


def _redacted(answer: HttpAnswer, account: Account) -> str:
    text = answer.body[: KEPT_ANSWER * 4].decode("utf-8", "replace").replace("\0", "\ufffd")
    for secret in account.secrets:
        text = text.replace(secret, "•" * 8)
    return text[:KEPT_ANSWER]


# --- record ----------------------------------------------------------------------------------------------


@transaction.atomic
def record(tried: Sequence[Tried], token: uuid.UUID) -> None:
    """Write down what became of these tries: only where the lease is still ours."""
    mine = set(
        Delivery.objects.select_for_update(no_key=True)
        .filter(
            pk__in=[item.claimed.delivery.pk for item in tried],
            lease_token=token,
            state=Delivery.State.SENDING,
        )
        .values_list("pk", flat=True)
    )
    Attempt.objects.bulk_create([_attempt_row(item) for item in tried])
    ours = [item for item in tried if item.claimed.delivery.pk in mine]
    _accepted([item for item in ours if item.outcome.verdict == ACCEPTED])
    for item in ours:
        if item.outcome.verdict != ACCEPTED:
            _not_accepted(item, token)


def _attempt_row(item: Tried) -> Attempt:
    return Attempt(
        delivery=item.claimed.delivery,
        number=item.claimed.delivery.attempts,
        started_at=item.started_at,
        duration_ms=item.duration_ms,
        http_status=item.http_status,
        verdict=item.outcome.verdict,
        reason=item.outcome.reason,
        answer=item.answer,
    )


def _accepted(items: Sequence[Tried]) -> None:
    if not items:
        return
    now = timezone.now()
    Delivery.objects.filter(pk__in=[item.claimed.delivery.pk for item in items]).update(
        state=Delivery.State.DELIVERED, finished_at=now, reason="", lease_token=None
    )
    by_message = {
        item.claimed.delivery.message_id: item
        for item in items
        if item.claimed.delivery.kind == Delivery.Kind.MESSAGE and item.claimed.delivery.message_id
    }
    messages = list(Message.objects.select_for_update(no_key=True).filter(pk__in=by_message).order_by("pk"))
    for message in messages:
        outcome = by_message[message.pk].outcome
        message.external_id = message.external_id or outcome.external_id
        if Message.RANK[outcome.status] > Message.RANK[message.status]:
            message.status, message.status_at, message.reason = outcome.status, now, ""
    Message.objects.bulk_update(messages, ["status", "status_at", "external_id", "reason"])
    for channel in {item.claimed.delivery.api_channel for item in items}:
        mine = [message for message in messages if message.api_channel_id == channel.pk]
        if mine and any(message.external_id for message in mine):
            conversations.join_strays(channel.pk, mine)
        if channel.last_error or (mine and channel.first_outbound_at is None):
            channel.succeeded()


def _not_accepted(item: Tried, token: uuid.UUID) -> None:
    delivery, outcome = item.claimed.delivery, item.outcome
    if outcome.verdict == UNKNOWN and not _may_repeat(delivery):
        _settle_unknown(delivery, token)
        return
    seconds = retry_in(delivery, outcome, http_status=item.http_status)
    if outcome.verdict == PERMANENT or seconds is None:
        reason = outcome.reason if outcome.verdict == PERMANENT else "gave_up"
        give_up(delivery, token, reason=reason)
        delivery.api_channel.failed(outcome.reason)
        return
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.PENDING,
        next_attempt_at=windows.database_now() + timedelta(seconds=seconds),
        reason=outcome.reason,
        lease_token=None,
    )
    if delivery.attempts >= 2:
        delivery.api_channel.failed(outcome.reason)


def retry_in(delivery: Delivery, outcome: Outcome, *, http_status: int | None) -> float | None:
    """Seconds until the next try, or None when the timetable is through."""
    timetable = MESSAGE_TIMETABLE if delivery.kind == Delivery.Kind.MESSAGE else EVENT_TIMETABLE
    if delivery.attempts > len(timetable):
        return None
    seconds = timetable[delivery.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    if outcome.retry_after is not None:
        return max(seconds, min(outcome.retry_after, LONGEST_RETRY_AFTER))
    if http_status in (429, 502, 503, 504):
        return max(seconds, SHORTEST_WHEN_OVERLOADED)
    return seconds


def give_up(delivery: Delivery, token: uuid.UUID, *, reason: str) -> None:
    """The delivery is dead. The operator learns it in the chat; the row stays, to be sent again."""
    changed = Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.DEAD, reason=reason, finished_at=timezone.now(), lease_token=None
    )
    if changed and delivery.kind == Delivery.Kind.MESSAGE and delivery.message is not None:
        _fail_message(delivery.message, reason)


def _settle_unknown(delivery: Delivery, token: uuid.UUID) -> None:
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.UNKNOWN, reason="outcome_unknown", finished_at=timezone.now(), lease_token=None
    )
    if delivery.message_id:
        message = Message.objects.select_for_update(no_key=True).get(pk=delivery.message_id)
        if Message.RANK[message.status] < Message.RANK[Message.Status.UNKNOWN]:
            message.status, message.status_at, message.reason = (
                Message.Status.UNKNOWN,
                timezone.now(),
                "outcome_unknown",
            )
            message.save(update_fields=["status", "status_at", "reason"])


@transaction.atomic
def cancel(delivery_id: int, *, reason: str, token: uuid.UUID | None = None) -> bool:
    """Take back a delivery that may no longer go out; the operator's words become a draft again."""
    rows = Delivery.objects.filter(pk=delivery_id)
    rows = rows.filter(lease_token=token) if token else rows.filter(state=Delivery.State.PENDING)
    if not rows.update(state=Delivery.State.CANCELLED, reason=reason, finished_at=timezone.now(), lease_token=None):
        return False
    delivery = Delivery.objects.select_related("message__conversation").get(pk=delivery_id)
    message = delivery.message
    if delivery.kind == Delivery.Kind.MESSAGE and message is not None:
        _fail_message(message, reason)
        if (
            message.author_id
            and not Draft.objects.filter(conversation=message.conversation_id, user=message.author_id).exists()
        ):
            Draft.objects.create(
                conversation_id=message.conversation_id,
                user_id=message.author_id,
                text=message.text,
                reason=reason,
            )
    return True


def _fail_message(message: Message, reason: str) -> None:
    failed = (
        Message.objects.filter(pk=message.pk)
        .exclude(status__in=[Message.Status.DELIVERED, Message.Status.READ, Message.Status.FAILED])
        .update(status=Message.Status.FAILED, status_at=timezone.now(), reason=reason)
    )
    if failed:
        name = (message.template or {}).get("name", "")
        conversations.notice(message.conversation, "not_delivered", why_code=reason, name=name, message_id=message.pk)


def window_has_shut(conversation_ids: Iterable[int]) -> None:
    """Windows expired: free text still waiting for these contacts is taken back at once, and the operator told."""
    waiting = Delivery.objects.filter(
        conversation__in=list(conversation_ids), free_text=True, state=Delivery.State.PENDING
    )
    for pk in waiting.order_by("pk").values_list("pk", flat=True):
        cancel(pk, reason="window_shut_before_sending")


def oldest_due_age(*, now: datetime) -> float:
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
        .exclude(api_channel__state="paused")
        .order_by("next_attempt_at")
        .values_list("next_attempt_at", flat=True)
        .first()
    )
    return (now - oldest).total_seconds() if oldest else 0.0


def sentence(delivery: Delivery) -> str:
    """Why a delivery stands where it stands, in words."""
    return reasons.sentence(delivery.reason) if delivery.reason else ""
