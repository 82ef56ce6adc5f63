"""Traces: the way of a message as spans, if OTEL_EXPORTER_OTLP_ENDPOINT is set. Otherwise `recorder` is None.

Nothing is stored for them. The ID of a trace follows from the ID of its message, so that each step adds its spans to
the same trace, in any process. A step records its spans when it is done, with their times. A webhook can contain many
messages and is not read before it is stored, so it has a trace of its own, to which the messages link.
Spans have IDs and codes, never texts, phones or names.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from django.db import transaction
from django.utils import timezone

from bridge.models import Message, WebhookEvent

Value = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Span:
    """One finished step. `trace` names what the trace is about; `is_root`: the first span, the parent of the others."""

    trace: str
    name: str
    start: datetime
    end: datetime
    attributes: Mapping[str, Value] = field(default_factory=dict)
    links: tuple[str, ...] = ()  # traces whose first spans this span links to
    is_root: bool = False
    is_error: bool = False


class Recorder(Protocol):
    def __call__(self, spans: Iterable[Span]) -> None:
        """Queue spans for their export."""

    def flush(self) -> None:
        """Export what is queued, at the end of a process."""


recorder: Recorder | None = None  # set by `config.monitoring.trace_export`


def compute_trace_id(trace: str) -> int:
    return int.from_bytes(hashlib.blake2b(trace.encode(), digest_size=16).digest()) or 1


def compute_root_span_id(trace: str) -> int:
    return int.from_bytes(hashlib.blake2b(trace.encode(), digest_size=8, person=b"root span").digest()) or 1


def name_message(pk: int) -> str:
    return f"message {pk}"


def name_event(event: WebhookEvent) -> str:
    """Return what identifies a stored webhook before its row has an ID: channel, time of arrival and content."""
    body = hashlib.blake2b(bytes(event.body), digest_size=16).hexdigest()
    channel = event.api_channel_id or -(event.chat_channel_id or 0)
    return f"webhook {channel} {event.received_at.timestamp():.6f} {body}"


def _record_after_commit(spans: Sequence[Span]) -> None:
    if recorder is not None and spans:
        transaction.on_commit(partial(recorder, spans), robust=True)


def record_stored_event(event: WebhookEvent) -> None:
    """Record a webhook from its arrival until its commit."""
    if recorder is None:
        return
    channels = {"okno.api_channel": event.api_channel_id, "okno.chat_channel": event.chat_channel_id}
    recorder(
        [
            Span(
                trace=name_event(event),
                name="store webhook",
                start=event.received_at,
                end=timezone.now(),
                attributes={name: pk for name, pk in channels.items() if pk is not None},
                is_root=True,
            )
        ]
    )


def record_inbox(messages: Iterable[tuple[WebhookEvent, int]], *, seconds: float, batch: int) -> None:
    """Record the arrival and the processing of clients' messages. `seconds`: how long the batch took so far."""
    if recorder is None:
        return
    now = timezone.now()
    begun = now - timedelta(seconds=seconds)
    spans = []
    for event, pk in messages:
        trace = name_message(pk)
        links = (name_event(event),)
        attributes: dict[str, Value] = {"okno.message": pk, "okno.event": event.pk}
        start = min(event.received_at, begun)
        spans += [
            Span(
                trace=trace,
                name="receive message",
                start=start,
                end=now,
                attributes=attributes,
                links=links,
                is_root=True,
            ),
            Span(trace=trace, name="wait for inbox", start=start, end=begun),
            Span(trace=trace, name="process webhook", start=begun, end=now, attributes={"okno.batch": batch}),
        ]
    _record_after_commit(spans)


def record_reply(message: Message, *, started: float) -> None:
    """Record a reply that was accepted for sending. `started`: time of the submission, by `time.time`."""
    if recorder is None:
        return
    start = datetime.fromtimestamp(started, tz=timezone.get_current_timezone())
    attributes: dict[str, Value] = {"okno.message": message.pk, "okno.kind": str(message.kind)}
    trace = name_message(message.pk)
    span = Span(trace=trace, name="submit reply", start=start, end=timezone.now(), attributes=attributes, is_root=True)
    _record_after_commit([span])


def record_statuses(messages: Iterable[Message]) -> None:
    """Record statuses that the provider has reported."""
    if recorder is None:
        return
    now, failed = timezone.now(), Message.Status.FAILED
    statuses = [(name_message(row.pk), str(row.status)) for row in messages]
    _record_after_commit(
        [
            Span(trace=trace, name=f"status {status}", start=now, end=now, is_error=status == failed)
            for trace, status in statuses
        ]
    )


def start_clock() -> float:
    """Return the time for `record_reply`, or 0 without traces."""
    return time.time() if recorder is not None else 0.0


def flush() -> None:
    """Export what is queued, at the end of a process."""
    if recorder is not None:
        recorder.flush()
