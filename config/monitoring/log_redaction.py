"""Redaction of secrets, phones and message texts in log lines of all loggers."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from structlog.typing import EventDict, ExcInfo

from channels_setup.codecs.phone_masking import mask_phones, mask_value

# Written by the logging itself. ``exc_info`` is rendered by ``render_traceback``.
KEPT_FIELDS = ("timestamp", "level", "logger", "exc_info", "_record", "_from_structlog")
CELERY_DATA = ("args", "kwargs", "return_value")
# Exceptions whose message never contains request data.
SAFE_EXCEPTIONS = (
    OSError,
    ImproperlyConfigured,
    ImportError,
    NameError,
    AttributeError,
    NotImplementedError,
    MemoryError,
)


def describe_exception(error: BaseException) -> str:
    """Return the type, and the message only if it cannot contain request data, as that of ``int("…")`` does."""
    if settings.DEBUG:
        error = unwrap_exception(error)
        return f"{type(error).__name__}: {error}"
    # The traceback is written after the other parts of an event were masked.
    return mask_phones(_describe(unwrap_exception(error)))


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    diagnostic = getattr(error, "diag", None) or getattr(error.__cause__, "diag", None)
    if diagnostic is not None:  # PostgreSQL; its message can quote the row
        details = [diagnostic.sqlstate, diagnostic.constraint_name or diagnostic.table_name]
        return f"{name}: {' '.join(filter(None, details)) or 'no connection'}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: [Errno {error.errno}] {error.strerror}"  # without the file name
    if isinstance(error, UnicodeError):
        return f"{name}: {getattr(error, 'reason', '')}"
    if isinstance(error, SAFE_EXCEPTIONS):
        return f"{name}: {str(error).splitlines()[0] if str(error) else ''}"
    return name


def unwrap_exception(error: BaseException) -> BaseException:
    """Return the original exception of a worker process, which Celery wraps."""
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def render_traceback(exc_info: ExcInfo) -> str:
    """Render a traceback: all frames, and ``describe_exception`` of each exception in the chain."""
    return "\n".join(_format_chain(exc_info[1], frozenset())) + "\n"


def _format_chain(error: BaseException, seen: frozenset[int]) -> Iterator[str]:
    error = unwrap_exception(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        yield from _format_chain(cause, seen | {id(error)})
        yield "\nThe exception above led to:\n" if error.__cause__ else "\nDuring its handling:\n"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    yield describe_exception(error)
    for part in getattr(error, "exceptions", ()):
        yield from _format_chain(part, seen | {id(error)})


def redact_event(logger: Any, method: str, event: EventDict) -> EventDict:
    """Mask secrets and phones in all values of a log event, at any depth. It runs no database query."""
    from channels_setup.codecs.redaction import redact_json

    values, tokens = _find_known_secrets()
    for name, value in event.items():
        if name in KEPT_FIELDS or value is None:
            continue
        clean = render_value(value)
        event[name] = mask_value(redact_json(clean, values, tokens=tokens), name)
    return event


def _find_known_secrets() -> tuple[Collection[str], Collection[bytes]]:
    if not apps.models_ready:  # beat runs without Django's apps, and handles no secret
        return (), ()
    from channels_setup.models.known_secrets import cached

    known = cached()
    return known.other_values, known.tokens


def render_value(value: Any) -> Any:
    """Return a value as text, numbers and containers of them, as the log would write it."""
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(name): render_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [render_value(item) for item in value]
    return describe_exception(value) if isinstance(value, BaseException) else repr(value)


class ArgumentRedactor(logging.Filter):
    """Replace exceptions with their description, and drop task arguments and results from log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):  # the message quotes the request
            record.msg, record.args = record.name.rpartition(".")[2], ()
        elif isinstance(record.args, Mapping):
            record.args = {name: _redact_argument(name, value) for name, value in record.args.items()}
        elif isinstance(record.args, tuple):
            record.args = tuple(_redact_argument("", value) for value in record.args)
        return True


def _redact_argument(name: str, value: Any) -> Any:
    if isinstance(value, BaseException):
        return describe_exception(value)
    if name == "exc":  # the repr of an exception, from Celery
        return str(value).partition("(")[0]
    if name == "traceback":
        return ""
    return "…" if name in CELERY_DATA and value else value
