"""Spans of attempts whose results were saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from bridge import tracing
from channels_setup.providers.base import ACCEPTED

from .attempts import AttemptResult


def record_attempts(attempts: Sequence[AttemptResult]) -> None:
    """Record the calls, and how long each delivery waited for its first one."""
    if tracing.recorder is not None:
        tracing.recorder([span for item in attempts for span in _build_spans(item)])


def _build_spans(item: AttemptResult) -> Iterator[tracing.Span]:
    delivery = item.claimed.delivery
    trace = tracing.name_message(delivery.message_id) if delivery.message_id else f"delivery {delivery.pk}"
    attributes: dict[str, tracing.Value] = {
        "okno.delivery": delivery.pk,
        "okno.kind": str(delivery.kind),
        "okno.api_channel": delivery.api_channel_id or 0,
        "okno.attempt": delivery.attempts,
        "okno.verdict": item.outcome.verdict,
        "okno.reason": item.outcome.reason,
        "http.response.status_code": item.http_status or 0,
    }
    if delivery.attempts == 1 and delivery.created_at < item.started_at:
        waited = {"okno.delivery": delivery.pk}
        yield tracing.Span(
            trace=trace, name="wait for delivery", start=delivery.created_at, end=item.started_at, attributes=waited
        )
    yield tracing.Span(
        trace=trace,
        name=f"deliver {delivery.kind}",
        start=item.started_at,
        end=item.started_at + timedelta(milliseconds=item.duration_ms),
        attributes=attributes,
        is_error=item.outcome.verdict != ACCEPTED,
    )
