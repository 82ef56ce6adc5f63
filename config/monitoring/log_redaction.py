"""Redaction of secrets, phones and message texts in log lines of all loggers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from structlog.typing import EventDict, ExcInfo

from channels_setup.codecs.error_descriptions import describe_error, describe_traceback, unwrap_exception
from channels_setup.codecs.phone_masking import mask_value

# Written by the logging itself. ``exc_info`` is rendered by ``render_traceback``.
KEPT_FIELDS = ("timestamp", "level", "logger", "exc_info", "_record", "_from_structlog")
CELERY_DATA = ("args", "kwargs", "return_value")


def describe_exception(error: BaseException) -> str:
    """Return the type, and the message only if it cannot contain request data, as that of ``int("…")`` does."""
    if settings.DEBUG:
        error = unwrap_exception(error)
        return f"{type(error).__name__}: {error}"
    return describe_error(error)


def render_traceback(exc_info: ExcInfo) -> str:
    """Render a traceback: all frames, and the description of each exception in the chain."""
    return describe_traceback(exc_info[1], describe=describe_exception)


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


def _find_known_secrets() -> tuple[Collection[str], frozenset[bytes]]:
    if not apps.models_ready:  # beat runs without Django's apps, and handles no secret
        return (), frozenset()
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
