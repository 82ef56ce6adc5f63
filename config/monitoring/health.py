"""Two questions of two askers: is this process alive (restart it), does the portal work (alarm someone)."""

from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from bridge import service_window
from bridge.files import storage_limits
from bridge.maintenance import housekeeping, write_probe
from bridge.outbox import dispatcher
from config.devstack.supervisor import DEAF_SECONDS

from . import metrics

# Seconds after which a silent part is taken for dead: three rings of beat, several turns of a worker.
LONGEST_SILENCE = {"beat": 30, "inbound": 60, "outbound": 60}
LONGEST_DELAY = 300


def ready(request: HttpRequest) -> JsonResponse:
    """View: details are for this machine and for staff tokens, as in /metrics; others learn the sum alone."""
    parts = look_at_parts()
    is_red = any(part["state"] == "red" for part in parts.values())
    details = {"parts": parts} if may_see_details(request) else {}
    response = JsonResponse({"status": "red" if is_red else "ok", **details}, status=503 if is_red else 200)
    # Without the database no token is known, so none is wrong.
    is_asked = parts["database"]["state"] == "ok" and "HTTP_AUTHORIZATION" in request.META
    response.is_token_refused = is_asked and not details  # type: ignore[attr-defined]
    return response


def may_see_details(request: HttpRequest) -> bool:
    try:
        return metrics.is_from_this_machine(request) or metrics.is_staff_token(request)
    except DatabaseError:
        return False  # nobody's token can be looked up


def look_at_parts() -> dict[str, dict[str, Any]]:
    """Part -> {"state": "ok" | "red", and what was measured or went wrong}."""
    parts = {"database": asked(ask_database), "broker": asked(ask_broker), "disk": look_at_disk()}
    measured_parts = [*LONGEST_SILENCE, "oldest_due_delivery"]
    if parts["database"]["state"] == "red":
        unknown = {"state": "red", "error": "unknown without the database"}
        return parts | dict.fromkeys(["writes", *measured_parts], unknown)
    parts["writes"] = asked(write_probe.check_writable)
    try:
        silence = housekeeping.get_heartbeat_ages()
        delay = dispatcher.get_oldest_due_age(now=service_window.database_now())
    except DatabaseError as error:  # a table is missing, or may not be read
        return parts | {name: {"state": "red", "error": type(error).__name__} for name in measured_parts}
    for name, longest in LONGEST_SILENCE.items():
        parts[name] = measured("seconds_ago", silence.get(name), longest)
    return parts | {"oldest_due_delivery": measured("seconds", delay, LONGEST_DELAY)}


def look_at_disk() -> dict[str, Any]:
    """Red while files are refused for want of room."""
    return {
        "state": "red" if storage_limits.is_disk_low() else "ok",
        "free_mb": storage_limits.get_free_bytes() // storage_limits.MEGABYTE,
    }


def is_deaf() -> bool:
    """Whether the workers hear nothing though database and broker answer. The supervisor starts such ones again."""
    if any(asked(question)["state"] == "red" for question in (ask_database, ask_broker)):
        connection.close()
        return False
    silence = housekeeping.get_heartbeat_ages()
    connection.close()
    return all(silence.get(name, 0) > DEAF_SECONDS for name in ("inbound", "outbound"))


def asked(question: Callable[[], None]) -> dict[str, Any]:
    try:
        question()
    except write_probe.CannotWrite as error:
        return {"state": "red", "error": str(error)}
    except (DatabaseError, redis.RedisError) as error:
        return {"state": "red", "error": type(error).__name__}  # its text may name hosts and users
    return {"state": "ok"}


def ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def ask_broker() -> None:
    """A full one still answers a ping, so it is asked to take something."""
    with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1) as broker:
        broker.set("okno:health", 1, px=1_000)


def measured(what: str, seconds: float | None, longest: float) -> dict[str, Any]:
    is_red = seconds is None or seconds > longest
    return {"state": "red" if is_red else "ok", what: None if seconds is None else round(seconds, 1)}
