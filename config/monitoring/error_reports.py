"""Error reports to Sentry, if SENTRY_DSN is set.

A report is built only from what is known to be harmless: the log message before its values are filled in, the types of
the exceptions, the descriptions that the log would show, the lines of code, the route, and IDs. The SDK's own event,
with headers, bodies, variables, users and queries, is discarded. If the report cannot be built, nothing is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing.util import Finalize, register_after_fork
from typing import Any

import structlog
from celery.signals import worker_process_shutdown
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from channels_setup.codecs.error_descriptions import describe_error, unwrap_exception
from channels_setup.codecs.phone_masking import mask_phones
from config.version import VERSION

logger = logging.getLogger(__name__)

MISSING_PACKAGE = (
    "SENTRY_DSN is set, but the package sentry-sdk is not installed. "
    "Install config/monitoring/requirements.txt, or remove the setting."
)
KEPT_FIELDS = ("event_id", "timestamp", "level", "platform", "release", "environment", "sdk")
ID_FIELDS = ("delivery", "channel", "api_channel", "chat_channel", "event", "attachment")  # of log records, if numbers
FLUSH_SECONDS = 2.0
KEPT_FRAME_FIELDS = ("filename", "module", "function", "lineno", "in_app")


def start_error_reports() -> None:
    """Report logged errors from now on, if the setting is there. Raises ImproperlyConfigured without the package."""
    if not settings.SENTRY_DSN:
        return
    try:
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration
        from sentry_sdk.integrations.logging import LoggingIntegration
        from sentry_sdk.utils import BadDsn
    except ImportError as error:
        raise ImproperlyConfigured(MISSING_PACKAGE) from error
    try:
        sentry_sdk.init(
            dsn=settings.SENTRY_DSN,
            release=f"okno@{VERSION}",
            before_send=build_report,  # type: ignore[arg-type]  # its event is a dict
            # Django and Celery log every unhandled exception, so their integrations, which collect requests and
            # arguments, are not needed.
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[
                LoggingIntegration(level=None, event_level=logging.ERROR),
                AtexitIntegration(lambda *_: None),
            ],
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            server_name="okno",
            auto_session_tracking=False,
            send_client_reports=False,
            shutdown_timeout=FLUSH_SECONDS,
        )
    except BadDsn as error:
        raise ImproperlyConfigured(
            "Invalid SENTRY_DSN: expected a URL such as https://key@sentry.example.com/1."
        ) from error
    # The SDK flushes at exit only, which forked processes skip. They lose the report of the error that ended them.
    register_after_fork(flush_reports, lambda flush: Finalize(None, flush, exitpriority=1))
    worker_process_shutdown.connect(flush_reports)


def flush_reports(**_: Any) -> None:
    """Send the reports that are queued, for FLUSH_SECONDS at most. At the end of a process."""
    import sentry_sdk

    with suppress(Exception):
        sentry_sdk.flush(FLUSH_SECONDS)


def build_report(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any] | None:
    """Return the report to send instead of the SDK's event, or None if it cannot be built."""
    try:
        report = {name: event[name] for name in KEPT_FIELDS if name in event}
        record = hint.get("log_record")
        if record is not None and record.name.startswith("django_structlog"):
            return None  # Django logs the same error
        if record is not None:
            report["logger"] = record.name
            report["logentry"] = {"message": _read_message(record)}
        report["tags"] = dict(_find_tags(record))
        error = (hint.get("exc_info") or (None, None, None))[1]
        if error is not None and "exception" in event:
            report["exception"] = {"values": _build_exceptions(error, event["exception"].get("values", []))}
        return report
    except Exception as problem:
        logger.warning("error report not sent", extra={"error": type(problem).__name__})
        return None


def _read_message(record: logging.LogRecord) -> str:
    """Return the message before its values are filled in. Only our own code and Django write constant messages."""
    message = record.msg.get("event", "") if isinstance(record.msg, Mapping) else record.msg
    is_constant = isinstance(message, str) and record.name.partition(".")[0] in (
        *("bridge", "channels_setup", "config", "templates_registry", "django", "celery"),
    )
    return mask_phones(message)[:200] if is_constant else f"({record.name})"


def _find_tags(record: logging.LogRecord | None) -> Iterator[tuple[str, str]]:
    context = structlog.contextvars.get_contextvars()
    if "request" in context:
        yield "route", str(context["request"])  # a pattern, not a path
    for name in ("request_id", "task_id"):
        if name in context:
            yield name, str(context[name])
    for name in ID_FIELDS:
        if isinstance(value := getattr(record, name, None), int):
            yield name, str(value)


def _build_exceptions(error: BaseException, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the exceptions of the chain with their frames, described as the log describes them without DEBUG.

    Sentry's list has no reference to the exceptions, so the texts are looked up by type; an unknown type has none.
    """
    descriptions: dict[str, str] = {}
    pending, seen = [error], set()
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each = unwrap_exception(each)
        descriptions.setdefault(type(each).__name__, describe_error(each).partition(": ")[2])
        pending += [linked for linked in (each.__cause__, each.__context__) if linked is not None]
        pending += getattr(each, "exceptions", ())
    values = []
    for item in found:
        frames = (item.get("stacktrace") or {}).get("frames", [])
        values.append(
            {
                "type": item.get("type"),
                "module": item.get("module"),
                "value": descriptions.get(str(item.get("type")), ""),
                "stacktrace": {
                    "frames": [{name: frame[name] for name in KEPT_FRAME_FIELDS if name in frame} for frame in frames]
                },
            }
        )
    return values
