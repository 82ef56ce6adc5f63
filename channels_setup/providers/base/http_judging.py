"""Outcome of an HTTP response by its status alone."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from django.utils import timezone

from .deliveries import ACCEPTED, PAUSE, PERMANENT, RETRY, Outcome
from .http_messages import ApiResponse


def judge_http(response: ApiResponse) -> Outcome:
    """Judge a response by its HTTP status. Redirects are failures, because they are never followed.

    4xx is permanent, except 408, 409, 425 and 429 (retry), 401 and 403 (wrong key: pause) and 410 (gone: pause).
    """
    status = response.status
    if 200 <= status < 300:
        return Outcome(verdict=ACCEPTED)
    if status in (408, 409, 425, 429) or status >= 500:
        return Outcome(
            verdict=RETRY,
            reason="rate_limited" if status == 429 else "destination_error",
            retry_after=retry_after_seconds(response),
        )
    if 300 <= status < 400:
        return Outcome(verdict=PERMANENT, reason="redirected")
    if status in (401, 403):
        return Outcome(verdict=PAUSE, reason="unauthorized")
    if status == 410:
        return Outcome(verdict=PAUSE, reason="gone")
    return Outcome(verdict=PERMANENT, reason="rejected")


def retry_after_seconds(response: ApiResponse) -> float | None:
    """Return Retry-After in seconds, given as a number or as a date; None if absent or unreadable."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        return None
    return max(0.0, (until - timezone.now()).total_seconds())
