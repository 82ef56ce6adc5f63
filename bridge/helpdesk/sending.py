"""Station 5 towards an outside helpdesk: claim, tell, judge, write down, plan the next try.

A helpdesk is a destination like any other, with the manners of ``outbox``: order per conversation and kind, a lease
with a fencing token, calls outside of any transaction. What differs is its account: one drainer at a time speaks with
it (an advisory lock), which keeps its rate without a bucket; a line that fails as a whole rests; tries go on for days;
and a try of unknown outcome is looked for before it is made again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
import uuid
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from channels_setup import outgoing as outside
from channels_setup.models import ChatChannel
from channels_setup.one_at_a_time import Space, give_back, take
from channels_setup.providers import base_helpdesk as contract
from channels_setup.providers.base import (
    ACCEPTED,
    PAUSE,
    PERMANENT,
    RETRY,
    UNKNOWN,
    ContactInfo,
    FileInfo,
    HttpAnswer,
    HttpRequest,
    Outcome,
)
from channels_setup.providers.base_helpdesk import Answered, DeskAccount, Helpdesk, Known, Telling

from .. import conversations, doorbell, windows
from ..kept_answers import kept_answer
from ..models import Attachment, Attempt, Delivery, HelpdeskChat, HelpdeskLine
from . import mirroring

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60
IN_FLIGHT = 8  # calls to one account at once
RUN_SECONDS = 20.0
TICK_SECONDS = 0.25
LOOK_AFTER = 30  # seconds for our own message to come back before anybody looks
LARGEST_UPLOAD = 20 * 1024 * 1024

# Seconds after each failed try: five days in all. A helpdesk that is away over a weekend loses nothing.
TIMETABLE = (5, 15, 60, 300, 900, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400, 86_400, 86_400, 86_400)
REFUSALS = 6  # tries of something that the helpdesk itself refuses, for reasons it does not make clear
JITTER = 0.2
FAILURES_TO_REST, FIRST_REST, LONGEST_REST = 3, 5, 300
REST_UNTIL_MENDED = 600  # nothing is taken until an admin has been there; saving the settings ends it
TOLD_PRECISION = timedelta(seconds=1)  # of «last taken» on the channel's page
LINE_FAILURES = ("helpdesk_unreachable", "rate_limited", "outcome_unknown")


@dataclass(frozen=True, kw_only=True)
class Item:
    """A claimed delivery with all that its thread needs. ``unsure``: an earlier try may have arrived."""

    delivery: Delivery
    provider: Helpdesk
    account: DeskAccount
    telling: Telling
    unsure: bool
    may_look: bool


@dataclass(frozen=True, kw_only=True)
class Tried:
    item: Item
    answered: Answered
    started_at: datetime
    duration_ms: int
    http_status: int | None = None
    answer: str = ""


class Pacer:
    """One call each ``every`` seconds, whichever thread makes it."""

    def __init__(self, every: float) -> None:
        self.every, self.next_at, self.lock = every, 0.0, threading.Lock()

    def turn(self) -> None:
        with self.lock:
            at = max(self.next_at, time.monotonic())
            self.next_at = at + self.every
        time.sleep(max(0.0, at - time.monotonic()))

    def rest(self) -> None:
        """Whoever speaks with the account next keeps to the rate, too."""
        time.sleep(max(0.0, min(self.next_at - time.monotonic(), self.every)))


@dataclass
class Line:
    """One account: the chat channels that speak through it, and what is under way."""

    channels: dict[int, tuple[Helpdesk, DeskAccount]]
    pacer: Pacer
    running: set[Future[Tried]] = field(default_factory=set)


def drain() -> int:
    """Tell until nothing is due or the time is up; how many tries were made."""
    token, until, made = uuid.uuid4(), time.monotonic() + RUN_SECONDS, 0
    with _lines() as lines:
        if not lines:
            return 0
        with ThreadPoolExecutor(max_workers=IN_FLIGHT * len(lines), thread_name_prefix="helpdesk") as pool:
            while True:
                if time.monotonic() < until:
                    for line in lines:
                        for item in claim(line, token, limit=IN_FLIGHT - len(line.running)):
                            line.running.add(pool.submit(attempt, item, line.pacer))
                running = {future for line in lines for future in line.running}
                if not running:
                    break
                done, _rest = wait(running, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
                for line in lines:
                    line.running -= done
                for future in done:
                    record(future.result(), token)
                made += len(done)
        for line in lines:
            line.pacer.rest()
    if time.monotonic() >= until:
        doorbell.ring(doorbell.HELPDESK)
    return made


@contextmanager
def _lines() -> Iterator[list[Line]]:
    """The accounts with something due that nobody else is speaking with."""
    accounts: dict[int, list[ChatChannel]] = {}
    for chat_channel in _channels_due():
        account = chat_channel.desk_account()
        spoken_to = f"{sorted(account.options.get(name, '') for name in ('base_url',))} {account.secret}"
        accounts.setdefault(zlib.crc32(spoken_to.encode()) % 2**31, []).append(chat_channel)
    held: list[int] = []
    try:
        lines = []
        for number, chat_channels in sorted(accounts.items()):
            if take(Space.HELPDESK, number):
                held.append(number)
                channels = {each.pk: (each.provider, each.desk_account()) for each in chat_channels}
                every = max(provider.rate(account).every for provider, account in channels.values())
                lines.append(Line(channels=channels, pacer=Pacer(every)))
        yield lines
    finally:
        for number in held:
            give_back(Space.HELPDESK, number)


def _channels_due() -> list[ChatChannel]:
    now = windows.database_now()
    due = Delivery.objects.filter(
        chat_channel__isnull=False, state__in=Delivery.UNFINISHED, next_attempt_at__lte=now
    ).order_by()
    rows = ChatChannel.objects.filter(pk__in=due.values("chat_channel"))
    awake = rows.filter(
        Q(helpdesk_line=None) | Q(helpdesk_line__rests_until=None) | Q(helpdesk_line__rests_until__lte=now)
    )
    return [each for each in awake if not each.provider.built_in]


# --- claim -----------------------------------------------------------------------------------------------

# The first of a line is asked for as in ``claims``, for the reason given there.
CLAIM = """
WITH due AS (
    SELECT d.id, d.state AS was FROM bridge_delivery d
    LEFT JOIN bridge_helpdeskline line ON line.chat_channel_id = d.chat_channel_id
    WHERE d.chat_channel_id = ANY(%(channels)s) AND d.state IN ('pending', 'sending')
      AND d.next_attempt_at <= clock_timestamp()
      AND (line.rests_until IS NULL OR line.rests_until <= clock_timestamp())
      AND d.id = (
          SELECT min(ahead.id) FROM bridge_delivery ahead
          WHERE ahead.api_channel_id = d.api_channel_id AND ahead.conversation_id = d.conversation_id
            AND ahead.kind = d.kind AND ahead.state IN ('pending', 'sending'))
    ORDER BY d.next_attempt_at, d.id LIMIT %(limit)s
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE bridge_delivery d
SET state = 'sending', attempts = attempts + 1, lease_token = %(token)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due WHERE d.id = due.id RETURNING d.id, due.was
"""


def claim(line: Line, token: uuid.UUID, *, limit: int) -> list[Item]:
    """Lease up to ``limit`` due deliveries to this account. Committed before it returns."""
    if limit <= 0:
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        values: dict[str, Any] = {
            "channels": list(line.channels),
            "limit": limit,
            "token": token,
            "lease": LEASE_SECONDS,
        }
        cursor.execute(CLAIM, values)
        was = dict(cursor.fetchall())
    rows = Delivery.objects.filter(pk__in=was).select_related("message").order_by("pk")
    return [_item(row, line, interrupted=was[row.pk] == Delivery.State.SENDING) for row in rows]


def _item(delivery: Delivery, line: Line, *, interrupted: bool) -> Item:
    assert delivery.chat_channel_id is not None
    provider, account = line.channels[delivery.chat_channel_id]
    unsure = interrupted or delivery.reason == "outcome_unknown"
    return Item(
        delivery=delivery,
        provider=provider,
        account=account,
        telling=telling_of(delivery, account),
        unsure=unsure,
        may_look=unsure and not _repeats_the_last(delivery),
    )


def telling_of(delivery: Delivery, account: DeskAccount) -> Telling:
    payload = delivery.payload
    link = HelpdeskChat.objects.filter(conversation=delivery.conversation_id).first()
    at = payload.get("at")
    return Telling(
        what=delivery.track,
        key=delivery.key,
        text=payload.get("text", ""),
        contact=ContactInfo(**payload.get("contact", {})),
        at=datetime.fromisoformat(at) if at else None,
        external_id=payload.get("external_id", ""),
        files=tuple(FileInfo(url=url) for url in payload.get("files", [])),
        uploads=tuple(_uploads(delivery)) if account.options.get("files") == "comment" else (),
        known=Known(chat_id=link.chat_id, client_id=link.client_id, ticket_id=link.ticket_id) if link else Known(),
    )


def _uploads(delivery: Delivery) -> Iterator[contract.Upload]:
    """The files themselves, where all of them are stored here and small enough; else they go by link."""
    if delivery.message_id is None or not delivery.payload.get("files"):
        return
    attachments = list(Attachment.objects.filter(message=delivery.message_id).order_by("pk"))
    if not all(each.file and each.file.size <= LARGEST_UPLOAD for each in attachments):
        return
    for each in attachments:
        with each.file.open("rb") as stored:
            yield contract.Upload(name=each.name, mime=each.mime, content=stored.read())


def _repeats_the_last(delivery: Delivery) -> bool:
    """Does it say what was said right before? Then the helpdesk's last comment proves nothing of it."""
    before = (
        Delivery.objects.filter(conversation=delivery.conversation_id, kind=delivery.kind, pk__lt=delivery.pk)
        .exclude(track=contract.CLIENT)
        .order_by("-pk")
        .first()
    )
    return before is not None and before.payload.get("text") == delivery.payload.get("text")


# --- attempt ---------------------------------------------------------------------------------------------


def attempt(item: Item, pacer: Pacer) -> Tried:
    """Look if need be, and make the call, in a thread: no database here, and nothing raised."""
    started_at, started = timezone.now(), time.monotonic()
    answer: HttpAnswer | None = None
    note = ""
    try:
        answered, answer = _told(item, pacer)
    except outside.Forbidden:
        answered = Answered(outcome=Outcome(verdict=PAUSE, reason="helpdesk_wrong_address"))
    except outside.NotSent:
        answered = Answered(outcome=Outcome(verdict=RETRY, reason="helpdesk_unreachable"))
    except outside.OutcomeUnknown:
        answered = Answered(outcome=Outcome(verdict=UNKNOWN, reason="outcome_unknown"))
    except Exception:
        logger.exception("attempt failed", extra={"delivery": item.delivery.pk})
        answered = Answered(outcome=Outcome(verdict=RETRY, reason="internal_error"))
        note = traceback.format_exc(limit=-3)
    return Tried(
        item=item,
        answered=answered,
        started_at=started_at,
        duration_ms=int((time.monotonic() - started) * 1000),
        http_status=answer.status if answer else None,
        answer=kept_answer(answer, [item.account.secret]) if answer else note,
    )


def _told(item: Item, pacer: Pacer) -> tuple[Answered, HttpAnswer | None]:
    if item.may_look and (looking := item.provider.look(item.telling, item.account)) is not None:
        pacer.turn()
        try:
            seen = item.provider.saw(item.telling, outside.send(looking, most_bytes=4 * 1024 * 1024))
        except outside.OutcomeUnknown:
            seen = None
        if seen is None:
            return Answered(outcome=Outcome(verdict=RETRY, reason="outcome_unknown")), None
        if seen:
            return Answered(outcome=Outcome(verdict=ACCEPTED)), None
    request = item.provider.tell(item.telling, item.account)
    if not isinstance(request, HttpRequest):
        return Answered(outcome=request), None
    pacer.turn()
    answer = outside.send(request)
    return item.provider.read(item.telling, answer), answer


# --- what became of it -----------------------------------------------------------------------------------


@transaction.atomic
def record(tried: Tried, token: uuid.UUID) -> None:
    """Write down one try, under the lease alone, with its consequences for the line."""
    given = tried.item.delivery
    outcome = tried.answered.outcome
    link = HelpdeskChat.objects.filter(conversation=given.conversation_id).first()
    if link is not None and outcome.verdict == ACCEPTED and mirroring.is_news(link, tried.answered.known):
        conversations.lock(given.conversation_id)  # the first of the locks
        link.refresh_from_db()
        mirroring.learn(link, tried.answered.known)
    delivery = (
        Delivery.objects.select_for_update(no_key=True)
        .filter(pk=given.pk, lease_token=token, state=Delivery.State.SENDING)
        .first()
    )
    Attempt.objects.create(
        delivery=given,
        number=given.attempts,
        started_at=tried.started_at,
        duration_ms=tried.duration_ms,
        http_status=tried.http_status,
        verdict=outcome.verdict,
        reason=outcome.reason,
        answer=tried.answer,
    )
    if delivery is not None:
        if outcome.verdict == UNKNOWN and delivery.payload.get("came_back"):
            outcome = Outcome(verdict=ACCEPTED)
        _settle(delivery, outcome, link=link)
    _note_line(given.chat_channel_id or 0, outcome)


def _settle(delivery: Delivery, outcome: Outcome, *, link: HelpdeskChat | None) -> None:
    now = windows.database_now()
    delivery.lease_token, delivery.reason = None, outcome.reason
    tries = delivery.attempts - delivery.attempts_before
    if outcome.verdict == ACCEPTED:
        delivery.state, delivery.finished_at = Delivery.State.DELIVERED, now
    elif outcome.verdict == PAUSE:
        delivery.state, delivery.next_attempt_at, delivery.attempts = Delivery.State.PENDING, now, delivery.attempts - 1
    elif outcome.verdict == UNKNOWN:
        delivery.state, delivery.next_attempt_at = Delivery.State.PENDING, now + timedelta(seconds=LOOK_AFTER)
    elif outcome.verdict == PERMANENT or _is_worn_out(outcome, tries):
        delivery.state, delivery.finished_at = Delivery.State.DEAD, now
    else:
        seconds = TIMETABLE[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        seconds = max(seconds, min(outcome.retry_after or 0.0, 3_600.0))
        delivery.state, delivery.next_attempt_at = Delivery.State.PENDING, now + timedelta(seconds=seconds)
    if outcome.reason == "helpdesk_refused" and link is not None and link.chat_id and tries >= 2:
        # Perhaps they no longer know the chat or the client that we name: the next try names none.
        link.chat_id, link.client_id = None, None
        link.save(update_fields=["chat_id", "client_id"])
    delivery.save(
        update_fields=["state", "finished_at", "next_attempt_at", "attempts", "reason", "lease_token", "payload"]
    )


def _is_worn_out(outcome: Outcome, tries: int) -> bool:
    return tries > len(TIMETABLE) or (outcome.reason == "helpdesk_refused" and tries >= REFUSALS)


def _note_line(chat_channel_id: int, outcome: Outcome) -> None:
    """A line that fails as a whole rests, longer each time; the first success ends it."""
    now = windows.database_now()
    if outcome.verdict == ACCEPTED and _is_well(chat_channel_id, now=now):
        return
    line, _made = HelpdeskLine.objects.select_for_update(no_key=True).get_or_create(chat_channel_id=chat_channel_id)
    if outcome.verdict == ACCEPTED:
        line.in_a_row, line.rests_until, line.last_error, line.last_told_at = 0, None, "", now
    else:
        if outcome.reason != "request_unknown":
            line.last_error, line.last_error_at = outcome.reason, now
        if outcome.verdict == PAUSE:
            line.rests_until = now + timedelta(seconds=REST_UNTIL_MENDED)
        elif outcome.reason in LINE_FAILURES:
            line.in_a_row += 1
            line.rests_until = _rest(line, outcome, now=now)
    line.save(update_fields=["in_a_row", "rests_until", "last_error", "last_error_at", "last_told_at"])


def _is_well(chat_channel_id: int, *, now: datetime) -> bool:
    """Nothing to write of a line that was well, and was seen to be a moment ago."""
    return HelpdeskLine.objects.filter(
        chat_channel=chat_channel_id,
        in_a_row=0,
        rests_until=None,
        last_error="",
        last_told_at__gt=now - TOLD_PRECISION,
    ).exists()


def _rest(line: HelpdeskLine, outcome: Outcome, *, now: datetime) -> datetime | None:
    if outcome.retry_after is not None and outcome.reason == "rate_limited":
        return now + timedelta(seconds=min(outcome.retry_after, 3_600.0))
    if line.in_a_row < FAILURES_TO_REST:
        return line.rests_until
    doublings = min(line.in_a_row - FAILURES_TO_REST, 8)
    return now + timedelta(seconds=min(FIRST_REST * 2**doublings, LONGEST_REST))


def wake(chat_channel_ids: Sequence[int]) -> None:
    """The settings were mended: what waits is tried at once."""
    HelpdeskLine.objects.filter(chat_channel__in=chat_channel_ids).update(rests_until=None, in_a_row=0)
    doorbell.ring_after_commit(doorbell.HELPDESK)
