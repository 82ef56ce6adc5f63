"""Log lines without secrets, phones or words of clients, whichever logger wrote them."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from structlog.typing import EventDict, ExcInfo

_PHONE = re.compile(r"(?<![\w.:/-])\+?\d(?:[ ()-]{0,2}\d){9,14}(?![\w.:-])")
_CELERY_DATA = ("args", "kwargs", "return_value")
# Exceptions whose text comes from a machine, never from a request.
_PLAIN = (OSError, ImproperlyConfigured, ImportError, NameError, AttributeError, NotImplementedError, MemoryError)


def exception_text(error: BaseException) -> str:
    """Return the type, and the text where it cannot hold words of clients: ``int("…")`` quotes its argument."""
    error = unwrapped(error)
    name = type(error).__name__
    if settings.DEBUG:
        return f"{name}: {error}"
    diagnostic = getattr(error, "diag", None) or getattr(error.__cause__, "diag", None)
    if diagnostic is not None:  # PostgreSQL: its sentence may quote the row
        told = [diagnostic.sqlstate, diagnostic.constraint_name or diagnostic.table_name]
        return f"{name}: {' '.join(filter(None, told)) or 'no connection'}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: [Errno {error.errno}] {error.strerror}"  # not the file's name
    if isinstance(error, UnicodeError):
        return f"{name}: {getattr(error, 'reason', '')}"
    if isinstance(error, _PLAIN):
        return f"{name}: {str(error).splitlines()[0] if str(error) else ''}"
    return name


def unwrapped(error: BaseException) -> BaseException:
    """Return the exception inside the wrapper that Celery puts around exceptions of its child processes."""
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def render_trace(exc_info: ExcInfo) -> str:
    """Render a traceback: every frame, and of each exception in the chain what ``exception_text`` lets through."""
    return "\n".join(_chain(exc_info[1], frozenset())) + "\n"


def _chain(error: BaseException, seen: frozenset[int]) -> Iterator[str]:
    error = unwrapped(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        yield from _chain(cause, seen | {id(error)})
        yield "\nThe exception above led to:\n" if error.__cause__ else "\nDuring its handling:\n"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    yield exception_text(error)
    for part in getattr(error, "exceptions", ()):
        yield from _chain(part, seen | {id(error)})


def redact_line(logger: Any, method: str, event: EventDict) -> EventDict:
    """Mask secrets and phones in every text of a log line. Asks no database."""
    from channels_setup.codecs.redaction import redact_text
    from channels_setup.models.known_secrets import cached

    known = cached()
    for name, value in event.items():
        if isinstance(value, str) and name not in ("timestamp", "level", "logger"):
            event[name] = _PHONE.sub("•••", redact_text(value, known.others, tokens=known.words))
    return event


class PlainArguments(logging.Filter):
    """Write types for exceptions and nothing for task data: their texts hold what was being worked on."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):  # its text quotes the request
            record.msg, record.args = record.name.rpartition(".")[2], ()
        elif isinstance(record.args, Mapping):
            record.args = {name: _plain(name, value) for name, value in record.args.items()}
        elif isinstance(record.args, tuple):
            record.args = tuple(_plain("", value) for value in record.args)
        return True


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, BaseException):
        return exception_text(value)
    if name == "exc":  # Celery's: repr of the exception
        return str(value).partition("(")[0]
    if name == "traceback":
        return ""
    return "…" if name in _CELERY_DATA and value else value
