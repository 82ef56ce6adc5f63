"""Export of spans by OpenTelemetry (OTLP over HTTP), if OTEL_EXPORTER_OTLP_ENDPOINT is set.

The exporter reads the other standard variables itself, such as OTEL_EXPORTER_OTLP_HEADERS. It runs in a thread of each
process, with a queue of limited length: a collector that is slow or down costs spans and delays nothing.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.util import Finalize
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from bridge import tracing
from config.version import VERSION

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0

MISSING_PACKAGE = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the packages for it are not installed. "
    "Install config/monitoring/requirements.txt, or remove the setting."
)


def start_tracing() -> None:
    """Record spans from now on, if the setting is there. Raises ImproperlyConfigured without the packages."""
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401  # loaded before the workers are forked
    except ImportError as error:
        raise ImproperlyConfigured(MISSING_PACKAGE) from error
    tracing.recorder = SpanExport(settings.OTEL_EXPORTER_OTLP_ENDPOINT)


class SpanExport:
    """Turns spans into those of OpenTelemetry and queues them. Each process has its own queue and thread."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self.lock = threading.Lock()
        self.processor: Any = None

    def __call__(self, spans: Iterable[tracing.Span]) -> None:
        """Queue spans for their export. Never raises: the work that they are about is done."""
        try:
            with self.lock:
                if self.processor is None:
                    self._start()
            for span in spans:
                converted = self._convert(span)
                if converted is not None:
                    self.processor.on_end(converted)
        except Exception:
            logger.exception("spans not recorded")

    def _start(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import sampling
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        defaults = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "okno"}
        self.resource = Resource.create({**defaults, "service.version": VERSION})
        self.sampler = sampling._get_from_env_or_default()
        self.random = random.SystemRandom()
        exporter = OTLPSpanExporter(endpoint=f"{self.endpoint.rstrip('/')}/v1/traces")
        self.processor = BatchSpanProcessor(exporter)
        Finalize(None, self.flush, exitpriority=1)

    def flush(self) -> None:
        """Export what is queued, for FLUSH_SECONDS at most. At the end of a process.

        The processor ignores its own time limit: with a collector that does not answer, it would take 40 s.
        """
        if self.processor is not None:
            with suppress(Exception):
                thread = threading.Thread(target=self.processor.force_flush, name="last spans", daemon=True)
                thread.start()
                thread.join(FLUSH_SECONDS)

    def _convert(self, span: tracing.Span) -> Any:
        """Return the span of OpenTelemetry, or None if its trace is not sampled. All processes sample the same ones."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def build_context(trace: str, span_id: int) -> SpanContext:
            return SpanContext(tracing.compute_trace_id(trace), span_id, False, TraceFlags(TraceFlags.SAMPLED))

        root = build_context(span.trace, tracing.compute_root_span_id(span.trace))
        if not self.sampler.should_sample(None, root.trace_id, span.name).decision.is_sampled():
            return None
        return ReadableSpan(
            name=span.name,
            context=root if span.is_root else build_context(span.trace, self.random.getrandbits(64) or 1),
            parent=None if span.is_root else root,
            resource=self.resource,
            attributes=dict(span.attributes),
            links=[Link(build_context(trace, tracing.compute_root_span_id(trace))) for trace in span.links],
            kind=SpanKind.CLIENT if span.name.startswith("deliver") else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR if span.is_error else StatusCode.UNSET),
            start_time=int(span.start.timestamp() * 1_000_000_000),
            end_time=int(span.end.timestamp() * 1_000_000_000),
        )
