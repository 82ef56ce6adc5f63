"""Descriptions of exceptions that never contain request data, for logs and for errors stored with events and attempts.

The message of an exception often quotes what failed: PostgreSQL quotes the row, ``int("…")`` the text, ``KeyError`` the
key. So the message is kept only for types that never quote data.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator

from billiard.einfo import ExceptionWithTraceback
from django.core.exceptions import ImproperlyConfigured

from .phone_masking import mask_phones

# Exceptions whose message never contains request data.
SAFE_EXCEPTIONS = (
    OSError,
    ImproperlyConfigured,
    ImportError,
    NameError,
    AttributeError,
    NotImplementedError,  # raised by our base classes, with the name of the class and of the missing method
    MemoryError,
)

# Libraries whose exceptions are OSErrors that quote what was sent: email addresses, URLs with keys.
QUOTING_LIBRARIES = ("smtplib", "requests.", "urllib3.")


def describe_error(error: BaseException) -> str:
    """Return the type, and the message only if it cannot contain request data."""
    # The traceback of a log line is written after its other parts were masked.
    return mask_phones(_describe(unwrap_exception(error)))


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    if described := getattr(error, "safe_description", ""):
        return f"{name}: {described}"
    diagnostic = getattr(error, "diag", None) or getattr(error.__cause__, "diag", None)
    if diagnostic is not None:  # PostgreSQL; its message can quote the row
        place = ".".join(filter(None, [diagnostic.table_name, diagnostic.column_name]))
        details = [diagnostic.sqlstate, diagnostic.constraint_name or place]
        return f"{name}: {' '.join(filter(None, details)) or 'no connection'}"
    if type(error).__module__.startswith(QUOTING_LIBRARIES):
        return f"{name}: {code}" if (code := getattr(error, "smtp_code", "")) else name
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


def describe_traceback(
    error: BaseException, *, describe: Callable[[BaseException], str] = describe_error, limit: int | None = None
) -> str:
    """Return the frames and descriptions of the exception and its causes, without any value of a variable.

    ``limit``: as in the standard library, for example -3 for the last three frames.
    """
    return "\n".join(_format_chain(error, frozenset(), describe, limit)) + "\n"


def _format_chain(
    error: BaseException, seen: frozenset[int], describe: Callable[[BaseException], str], limit: int | None
) -> Iterator[str]:
    error = unwrap_exception(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        yield from _format_chain(cause, seen | {id(error)}, describe, limit)
        yield "\nThe exception above led to:\n" if error.__cause__ else "\nDuring its handling:\n"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__, limit)).rstrip("\n")
    yield describe(error)
    for part in getattr(error, "exceptions", ()):
        yield from _format_chain(part, seen | {id(error)}, describe, limit)
