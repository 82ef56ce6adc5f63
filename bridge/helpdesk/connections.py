"""State of the connection to a helpdesk, as its page shows it, and the end of a backoff."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bridge import service_window, wakeups
from bridge.channel_health import circuit_breaker
from bridge.models import CircuitBreaker, HelpdeskConnection
from channels_setup.providers.base import ACCEPTED, Outcome

LAST_ACCEPTED_PRECISION = timedelta(seconds=1)  # of "last message accepted" on the channel's page


def record_outcomes(chat_channel_id: int, outcomes: Sequence[Outcome]) -> None:
    """Record the outcomes of attempts: the last error, or that the helpdesk accepts what we send."""
    now = service_window.database_now()
    if all(outcome.verdict == ACCEPTED for outcome in outcomes) and _is_healthy(chat_channel_id, now=now):
        return
    connection, _made = HelpdeskConnection.objects.select_for_update(no_key=True).get_or_create(
        chat_channel_id=chat_channel_id
    )
    for outcome in outcomes:
        if outcome.verdict == ACCEPTED:
            connection.last_error, connection.last_accepted_at = "", now
        elif outcome.reason != "request_unknown":
            connection.last_error, connection.last_error_at = outcome.reason, now
    connection.save(update_fields=["last_error", "last_error_at", "last_accepted_at"])


def _is_healthy(chat_channel_id: int, *, now: datetime) -> bool:
    """Return whether the connection was healthy a moment ago, so that nothing needs to be stored."""
    return HelpdeskConnection.objects.filter(
        chat_channel=chat_channel_id, last_error="", last_accepted_at__gt=now - LAST_ACCEPTED_PRECISION
    ).exists()


def get_backoff_end(chat_channel_id: int) -> datetime | None:
    """Return the time before which nothing is sent to the helpdesk, or None."""
    breaker, now = CircuitBreaker.objects.filter(chat_channel=chat_channel_id).first(), service_window.database_now()
    ends = [breaker.backoff_until, breaker.probe_at if breaker.is_open else None] if breaker else []
    return max((at for at in ends if at is not None and at > now), default=None)


def end_backoff(chat_channel_ids: Sequence[int]) -> None:
    """End the backoff of these chat channels after a change of settings."""
    circuit_breaker.reset_breakers("chat_channel", chat_channel_ids)
    wakeups.notify_after_commit(wakeups.EVENTS)
