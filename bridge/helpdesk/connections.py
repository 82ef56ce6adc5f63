"""Connections to helpdesk accounts: one worker per account, call rate, backoff after failures."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.db.models import Q

from bridge import service_window, wakeups
from bridge.models import Delivery, HelpdeskConnection
from channels_setup.advisory_locks import LockSpace, release, try_acquire
from channels_setup.models import ChatChannel
from channels_setup.providers.base import ACCEPTED, PAUSE, Outcome
from channels_setup.providers.base.helpdesk import Helpdesk, HelpdeskAccount

from .attempts import CommandResult

logger = logging.getLogger(__name__)

FAILURES_BEFORE_BACKOFF, FIRST_BACKOFF, MAX_BACKOFF = 3, 5, 300
SETTINGS_BACKOFF_SECONDS = 600  # the helpdesk refuses us until an admin acts; saving the settings ends it
LAST_ACCEPTED_PRECISION = timedelta(seconds=1)  # of "last message accepted" on the channel's page
CONNECTION_FAILURES = ("helpdesk_unreachable", "rate_limited", "outcome_unknown")


class CallPacer:
    """Allow one call per `every` seconds across threads."""

    def __init__(self, every: float) -> None:
        self.every, self.next_at, self.lock = every, 0.0, threading.Lock()

    def acquire(self) -> None:
        """Wait until the next call is allowed."""
        with self.lock:
            at = max(self.next_at, time.monotonic())
            self.next_at = at + self.every
        time.sleep(max(0.0, at - time.monotonic()))

    def wait_for_interval(self) -> None:
        """Wait out the current interval, so that the account's next user keeps the rate."""
        time.sleep(max(0.0, min(self.next_at - time.monotonic(), self.every)))


@dataclass
class AccountConnection:
    """One account: the chat channels that use it, and its running calls."""

    channels: dict[int, tuple[Helpdesk, HelpdeskAccount]]
    pacer: CallPacer
    running: set[Future[CommandResult]] = field(default_factory=set)


@contextmanager
def open_connections() -> Iterator[list[AccountConnection]]:
    """Yield the accounts that have something due and that no other worker uses."""
    accounts: dict[int, list[ChatChannel]] = {}
    for chat_channel in _find_due_channels():
        try:
            account = chat_channel.helpdesk_account()
        except DatabaseError:
            raise
        except Exception:  # unreadable credentials must not block other channels
            logger.exception("settings not read", extra={"chat_channel": chat_channel.pk})
            continue
        account_key = f"{sorted(account.options.get(name, '') for name in ('base_url',))} {account.secret}"
        accounts.setdefault(zlib.crc32(account_key.encode()) % 2**31, []).append(chat_channel)
    locked: list[int] = []
    try:
        accounts_in_use = []
        for number, chat_channels in sorted(accounts.items()):
            if try_acquire(LockSpace.HELPDESK, number):
                locked.append(number)
                channels = {each.pk: (each.provider, each.helpdesk_account()) for each in chat_channels}
                every = max(provider.call_rate(account).every for provider, account in channels.values())
                accounts_in_use.append(AccountConnection(channels=channels, pacer=CallPacer(every)))
        yield accounts_in_use
    finally:
        for number in locked:
            release(LockSpace.HELPDESK, number)


def _find_due_channels() -> list[ChatChannel]:
    now = service_window.database_now()
    due = Delivery.objects.filter(
        chat_channel__isnull=False, state__in=Delivery.UNFINISHED, next_attempt_at__lte=now
    ).order_by()
    rows = ChatChannel.objects.filter(pk__in=due.values("chat_channel"))
    not_paused = rows.filter(
        Q(helpdesk_connection=None)
        | Q(helpdesk_connection__backoff_until=None)
        | Q(helpdesk_connection__backoff_until__lte=now)
    )
    return [each for each in not_paused if not each.provider.built_in]


def record_connection_outcome(chat_channel_id: int, outcome: Outcome) -> None:
    """Record an outcome. Connection failures delay the next call, longer each time; a success ends the backoff."""
    now = service_window.database_now()
    if outcome.verdict == ACCEPTED and _is_healthy(chat_channel_id, now=now):
        return
    connection, _made = HelpdeskConnection.objects.select_for_update(no_key=True).get_or_create(
        chat_channel_id=chat_channel_id
    )
    if outcome.verdict == ACCEPTED:
        connection.consecutive_failures, connection.backoff_until = 0, None
        connection.last_error, connection.last_accepted_at = "", now
    else:
        if outcome.reason != "request_unknown":
            connection.last_error, connection.last_error_at = outcome.reason, now
        if outcome.verdict == PAUSE:
            connection.backoff_until = now + timedelta(seconds=SETTINGS_BACKOFF_SECONDS)
        elif outcome.reason in CONNECTION_FAILURES:
            connection.consecutive_failures += 1
            connection.backoff_until = _compute_backoff_end(connection, outcome, now=now)
    connection.save(
        update_fields=["consecutive_failures", "backoff_until", "last_error", "last_error_at", "last_accepted_at"]
    )


def _is_healthy(chat_channel_id: int, *, now: datetime) -> bool:
    """Return whether the connection was healthy a moment ago, so that nothing needs to be stored."""
    return HelpdeskConnection.objects.filter(
        chat_channel=chat_channel_id,
        consecutive_failures=0,
        backoff_until=None,
        last_error="",
        last_accepted_at__gt=now - LAST_ACCEPTED_PRECISION,
    ).exists()


def _compute_backoff_end(connection: HelpdeskConnection, outcome: Outcome, *, now: datetime) -> datetime | None:
    if outcome.retry_after is not None and outcome.reason == "rate_limited":
        return now + timedelta(seconds=min(outcome.retry_after, 3_600.0))
    if connection.consecutive_failures < FAILURES_BEFORE_BACKOFF:
        return connection.backoff_until
    doublings = min(connection.consecutive_failures - FAILURES_BEFORE_BACKOFF, 8)
    return now + timedelta(seconds=min(FIRST_BACKOFF * 2**doublings, MAX_BACKOFF))


def end_backoff(chat_channel_ids: Sequence[int]) -> None:
    """End the backoff of these chat channels after a change of settings."""
    HelpdeskConnection.objects.filter(chat_channel__in=chat_channel_ids).update(
        backoff_until=None, consecutive_failures=0
    )
    wakeups.notify_after_commit(wakeups.HELPDESK)
