"""Error reports and traces: what a real receiver gets, what it never gets, and nothing at all without the settings."""

from __future__ import annotations

import gzip
import json
import logging
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge import tracing
from bridge.inbox.processing import process_inbox
from bridge.models import Message
from bridge.outbox import dispatcher
from config.monitoring import error_reports, trace_export
from tests.factories import ApiChannelFactory
from tests.scenarios.inbox import post, says

CANARIES = ("Здравствуйте, это я", "+79215550123", "79215550123", "sk-very-secret", "Vera Petrovna")


class Collector:
    """A receiver on loopback that keeps the bodies of all requests."""

    def __init__(self) -> None:
        bodies: list[bytes] = []
        arrived = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.end_headers()
                arrived.set()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.bodies, self.arrived = bodies, arrived
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.server.shutdown()
    one.server.server_close()


# --- error reports ----------------------------------------------------------------------------------------


@pytest.fixture
def reported(collector: Collector, settings: Any) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    import sentry_sdk

    settings.SENTRY_DSN = f"http://key@{collector.address}/1"
    error_reports.start_error_reports()

    def read() -> list[dict[str, Any]]:
        sentry_sdk.flush(5)
        lines = [line for body in collector.bodies for line in body.splitlines()]
        return [found for line in lines if "exception" in (found := json.loads(line)) or "logentry" in found]

    yield read
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


def fail_with_words(text: str, phone: str) -> None:
    secret = CANARIES[3]
    details = {"body": text, "secret": secret}
    raise ValueError(f"cannot read {details} of {phone}")


def test_an_error_report_has_the_place_and_no_words(reported: Any, collector: Collector) -> None:
    logger = logging.getLogger("bridge.inbox.processing")
    structlog.contextvars.bind_contextvars(request="POST /webhooks/<slug:kind>/<str:token>/", ip="203.0.113.9")
    try:
        try:
            fail_with_words(CANARIES[0], CANARIES[1])
        except ValueError as error:
            raise RuntimeError(CANARIES[4]) from error
    except RuntimeError:
        logger.exception("event not stored for %s", CANARIES[1], extra={"channel": 7, "name_of_client": CANARIES[4]})
    finally:
        structlog.contextvars.clear_contextvars()

    (report,) = reported()

    text = b"".join(collector.bodies).decode() + json.dumps(report, ensure_ascii=False)
    assert [canary for canary in (*CANARIES, "203.0.113.9") if canary in text] == []
    assert report["logentry"]["message"] == "event not stored for %s" and report["tags"]["channel"] == "7"
    assert report["tags"]["route"].startswith("POST /webhooks/")
    kinds = {value["type"]: value["stacktrace"]["frames"][-1]["function"] for value in report["exception"]["values"]}
    assert kinds["ValueError"] == "fail_with_words" and set(kinds) == {"ValueError", "RuntimeError"}
    assert not {"request", "user", "extra", "breadcrumbs", "modules", "contexts"} & set(report)


@pytest.mark.django_db(transaction=True)
def test_a_database_error_is_reported_without_its_row(reported: Any, collector: Collector) -> None:
    from django.db import DatabaseError

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::int", [CANARIES[0] + CANARIES[1]])
    except DatabaseError:
        logging.getLogger("bridge.intake").exception("event not stored")

    (report,) = reported()

    assert all(canary.encode() not in body for canary in CANARIES for body in collector.bodies)
    assert "22P02" in json.dumps(report)


def test_a_report_that_cannot_be_built_is_not_sent(reported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise TypeError

    monkeypatch.setattr(error_reports, "_find_tags", fail)
    logging.getLogger("bridge").error(CANARIES[0])

    assert reported() == []


def test_debug_adds_no_words_to_a_report(reported: Any, collector: Collector, settings: Any) -> None:
    settings.DEBUG = True
    try:
        fail_with_words(CANARIES[0], CANARIES[1])
    except ValueError:
        logging.getLogger("bridge").exception("event not stored")

    (report,) = reported()

    assert report["exception"]["values"][0]["value"] == ""
    assert all(canary.encode() not in body for canary in CANARIES for body in collector.bodies)


def test_the_error_that_ends_a_forked_process_is_reported(reported: Any) -> None:
    def child() -> None:
        logging.getLogger("bridge").error("last words")
        raise SystemExit

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(10)

    assert [report["logentry"]["message"] for report in reported()] == ["last words"]


def test_a_wrong_dsn_stops_the_start_without_showing_it(settings: Any) -> None:
    settings.SENTRY_DSN = "https://sentry.example.com/sk-very-secret"

    with pytest.raises(ImproperlyConfigured, match="Invalid SENTRY_DSN") as raised:
        error_reports.start_error_reports()

    assert "sk-very-secret" not in str(raised.value)


# --- traces -----------------------------------------------------------------------------------------------


@pytest.fixture
def exported(collector: Collector, settings: Any) -> Iterator[Callable[[], list[Any]]]:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = f"http://{collector.address}"
    trace_export.start_tracing()
    recorder = tracing.recorder

    def read() -> list[Any]:
        recorder.flush()  # type: ignore[union-attr]  # it is a SpanExport
        spans = []
        for body in collector.bodies:
            message = ExportTraceServiceRequest.FromString(body)
            spans += [span for group in message.resource_spans for scope in group.scope_spans for span in scope.spans]
        return spans

    yield read
    recorder.processor and recorder.processor.shutdown()  # type: ignore[union-attr]  # as above
    tracing.recorder = None


@pytest.mark.django_db(transaction=True)
def test_the_way_of_a_message_is_one_trace(exported: Any, collector: Collector, client: Any, receiver: Any) -> None:
    owner = ApiChannelFactory()
    flags = {f"track_{kind}": kind == "message" for kind in owner.EVENT_KINDS}
    hook = receiver.url("/hook")
    ApiChannelFactory(kind="acebot", watched=owner.watched.get(), secret=True, redirect_url=hook, **flags)
    post(client, owner, says(CANARIES[0], name=CANARIES[4], phone=CANARIES[1]))
    process_inbox()
    dispatcher.send_due_deliveries()

    spans = exported()

    message = Message.objects.get(direction=Message.Direction.INBOUND)
    by_name = {span.name: span for span in spans}
    root, webhook = by_name["receive message"], by_name["store webhook"]
    own = [span for span in spans if span.trace_id == root.trace_id]
    assert int.from_bytes(root.trace_id) == tracing.compute_trace_id(tracing.name_message(message.pk))
    assert {span.name for span in own} >= {"receive message", "wait for inbox", "process webhook", "deliver event"}
    assert all(span.parent_span_id == root.span_id for span in own if span is not root) and not root.parent_span_id
    assert [link.trace_id for link in root.links] == [webhook.trace_id]
    assert [link.span_id for link in root.links] == [webhook.span_id]
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    assert root.start_time_unix_nano <= by_name["process webhook"].start_time_unix_nano
    assert all(canary.encode() not in body for canary in CANARIES for body in collector.bodies)


def test_a_collector_that_hangs_does_not_delay_the_end(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "6")
    from django.utils import timezone

    now = timezone.now()
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        export = trace_export.SpanExport(f"http://127.0.0.1:{hanging.getsockname()[1]}")
        export([tracing.Span(trace="message 1", name="deliver event", start=now, end=now)])
        started = time.monotonic()
        export.flush()
        seconds = time.monotonic() - started

    assert 1.5 < seconds < 3.5


def test_all_processes_sample_the_same_traces(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    from django.utils import timezone

    now = timezone.now()
    assert tracing.recorder is not None
    for _process in range(2):
        tracing.recorder(
            tracing.Span(trace=f"message {number}", name="deliver event", start=now, end=now) for number in range(200)
        )

    traces = [span.trace_id for span in exported()]
    assert 50 < len(set(traces)) < 150 and len(traces) == 2 * len(set(traces))


# --- off, and not installed -------------------------------------------------------------------------------


def test_nothing_is_imported_without_the_settings() -> None:
    """redis-py imports OpenTelemetry's SDK by itself where it is installed."""
    program = (
        "import sys, django; django.setup()\n"
        "from bridge import tracing\n"
        "assert tracing.recorder is None\n"
        "assert not {'sentry_sdk', 'opentelemetry.exporter'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize(
    ("setting", "value", "module", "start", "sentence"),
    [
        ("SENTRY_DSN", "https://k@s.example/1", "sentry_sdk", error_reports.start_error_reports, "SENTRY_DSN is set"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://127.0.0.1:4318",
            "opentelemetry.exporter.otlp.proto.http.trace_exporter",
            trace_export.start_tracing,
            "OTEL_EXPORTER_OTLP_ENDPOINT is set",
        ),
    ],
)
def test_a_setting_without_its_package_stops_the_start(
    setting: str, value: str, module: str, start: Any, sentence: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(settings, setting, value)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ImproperlyConfigured, match=sentence):
        start()


def test_a_trace_needs_nothing_but_the_id_of_its_message() -> None:
    assert tracing.compute_trace_id("message 1") != tracing.compute_trace_id("message 2")
    assert 0 < tracing.compute_trace_id("message 1") < 2**128
