"""No logger writes secrets, phones or words of clients: not in messages, arguments, tracebacks or task data."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.app import trace
from django.db import connection, transaction
from django.test import override_settings

from bridge.models import Contact
from channels_setup.models import known_secrets
from config.monitoring.log_format import build_formatter
from config.monitoring.log_redaction import ArgumentRedactor, describe_exception
from config.web.request_log import RouteFilter
from tests.factories import ApiChannelFactory, ContactFactory

WORDS = "Здравствуйте, мой номер"
PHONE = "+7 921 555-01-77"
CANARY = "Bearer zq81-canary-4417"
BOTH = f"{WORDS} {PHONE} {CANARY}"


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """The output of the settings' console handler."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(build_formatter(request.param))
    handler.addFilter(RouteFilter())
    handler.addFilter(ArgumentRedactor())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def read_int() -> None:
    int(BOTH)


def read_key() -> None:
    {}[BOTH]  # type: ignore[index]  # it raises


def read_in_chain() -> None:
    try:
        int(BOTH)
    except ValueError as problem:
        raise RuntimeError(BOTH) from problem


def read_file() -> None:
    with open(f"/no/such/{BOTH}"):
        pass


def read_bytes() -> None:
    BOTH.encode("ascii")


def read_group() -> None:
    raise ExceptionGroup(BOTH, [ValueError(BOTH), KeyError(BOTH)])


def read_noted() -> None:
    error = RuntimeError("x")
    error.add_note(BOTH)
    raise error


@pytest.mark.parametrize(
    "broken",
    [read_int, read_key, read_in_chain, read_file, read_bytes, read_group, read_noted],
    ids=lambda one: one.__name__,
)
def test_an_exception_is_logged_without_what_it_quotes(log: io.StringIO, broken: Callable[[], None]) -> None:
    try:
        broken()
    except Exception as problem:
        logging.getLogger("bridge.x").exception("not worked off")
        logging.getLogger("bridge.x").warning("failed: %s", problem)
        structlog.get_logger("x").exception("failed too")

    written = log.getvalue()
    for canary in (WORDS, PHONE, CANARY.split()[1]):
        assert canary not in written
    assert f"in {broken.__name__}" in written
    assert "Error" in written or "ExceptionGroup" in written


@pytest.mark.django_db
def test_a_database_error_is_logged_without_the_row(log: io.StringIO) -> None:
    contact: Contact = ContactFactory(external_id=BOTH)
    for statement, values in (
        ("SELECT %s::int", [BOTH]),
        ("INSERT INTO bridge_contact SELECT * FROM bridge_contact WHERE external_id = %s", [BOTH]),
    ):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, values)
        except Exception:
            logging.getLogger("bridge.x").exception("not stored")

    written = log.getvalue()
    assert written.count("not stored") == 2
    assert "22P02" in written
    assert "23505" in written
    for canary in (WORDS, PHONE, contact.phone):
        assert canary not in written


def test_tasks_are_logged_without_their_data(log: io.StringIO) -> None:
    for policy in (trace.LOG_RECEIVED, trace.LOG_SUCCESS, trace.LOG_FAILURE, trace.LOG_INTERNAL_ERROR, trace.LOG_RETRY):
        text = policy if isinstance(policy, str) else policy.format
        context = {"id": "id1", "name": "bridge.tasks.x", "exc": f"ValueError('{BOTH}')", "args": BOTH, "kwargs": BOTH}
        context |= {"return_value": BOTH, "runtime": 1, "hostname": "h", "traceback": BOTH, "description": "failed"}
        logging.getLogger("celery.app.trace").error(text, context, exc_info=None)

    written = log.getvalue()
    assert written.count("bridge.tasks.x") == 5
    for canary in (WORDS, PHONE, CANARY.split()[1]):
        assert canary not in written


@pytest.mark.django_db
def test_known_secrets_and_phones_are_masked_in_any_line(log: io.StringIO) -> None:
    secret = ApiChannelFactory(secret=True).current_secret().reveal()
    known_secrets.current()

    logging.getLogger("somebody.else").warning("posting %s for %s", f"x?api_token={secret}", PHONE)
    logging.getLogger("somebody.else").warning(f"found {secret} and 79215550177")
    structlog.get_logger("x").warning("said", answer=f"authorization: {CANARY}", chat=1234567)

    written = log.getvalue()
    for canary in (secret, PHONE, "79215550177", CANARY.split()[1]):
        assert canary not in written
    assert "1234567" in written


def test_a_suspicious_request_is_logged_by_its_kind(log: io.StringIO) -> None:
    logging.getLogger("django.security.DisallowedHost").error("Invalid HTTP_HOST header: %r", BOTH)

    assert "DisallowedHost" in log.getvalue()
    assert WORDS not in log.getvalue()


def test_times_ids_and_ports_are_kept(log: io.StringIO) -> None:
    line = "task 0198f1c2-1111-7000-8000-123456789012 at 2026-11-29T01:02:03.123456 on 127.0.0.1:54321 pid 4194304"

    logging.getLogger("x").warning(line)

    assert line in log.getvalue()


def test_log_settings_exclude_sql_and_urls_at_every_level() -> None:
    from django.conf import settings

    loggers = settings.LOGGING["loggers"]
    for name in ("django.db.backends", "django.template", "urllib3"):
        assert loggers[name]["level"] != "DEBUG"
    assert settings.LOGGING["handlers"]["console"]["filters"] == ["routes", "plain"]


@override_settings(DEBUG=True)
def test_debug_mode_shows_the_full_text() -> None:
    assert describe_exception(ValueError("why")) == "ValueError: why"


def test_operating_system_errors_keep_their_text() -> None:
    try:
        raise ConnectionRefusedError(111, "Connection refused")
    except OSError:
        error = sys.exc_info()[1]

    assert error is not None
    assert describe_exception(error) == "ConnectionRefusedError: [Errno 111] Connection refused"


def test_a_lost_worker_is_logged_by_its_name(log: io.StringIO) -> None:
    """Celery wraps exceptions of its child processes in a class of billiard."""
    try:
        raise WorkerLostError(f"Worker exited prematurely: signal 9 (SIGKILL) {BOTH}")
    except WorkerLostError:
        wrapped = ExceptionInfo()

    logging.getLogger("celery.app.trace").error("Task handler raised error", exc_info=wrapped.exc_info)

    assert "WorkerLostError" in log.getvalue()
    assert "ExceptionWithTraceback" not in log.getvalue() and CANARY not in log.getvalue()
