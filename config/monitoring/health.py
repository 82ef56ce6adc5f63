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
from config.devstack.supervisor import HUNG_SECONDS
from config.version import VERSION

from . import metrics

# Seconds after which a silent part is taken for dead: three rings of beat, several turns of a worker.
MAX_HEARTBEAT_AGE = {"beat": 30, "inbound": 60, "outbound": 60}
MAX_DELIVERY_DELAY = 300


def readiness(request: HttpRequest) -> JsonResponse:
    """View: details are for this machine and for staff tokens, as in /metrics; others learn the sum alone."""
    components = check_components()
    is_red = any(part["state"] == "red" for part in components.values())
    details = {"version": VERSION, "components": components} if may_see_details(request) else {}
    response = JsonResponse({"status": "red" if is_red else "ok", **details}, status=503 if is_red else 200)
    # Without the database no token is known, so none is wrong.
    is_asked = components["database"]["state"] == "ok" and "HTTP_AUTHORIZATION" in request.META
    response.is_token_refused = is_asked and not details  # type: ignore[attr-defined]
    return response


def may_see_details(request: HttpRequest) -> bool:
    try:
        return metrics.is_local_request(request) or metrics.has_staff_token(request)
    except DatabaseError:
        return False  # nobody's token can be looked up


def check_components() -> dict[str, dict[str, Any]]:
    """Part -> {"state": "ok" | "red", and what was measured or went wrong}."""
    components = {"database": run_check(check_database), "broker": run_check(check_broker), "disk": check_disk()}
    measured_components = [*MAX_HEARTBEAT_AGE, "oldest_due_delivery"]
    if components["database"]["state"] == "red":
        unknown = {"state": "red", "error": "unknown without the database"}
        return components | dict.fromkeys(["writes", *measured_components], unknown)
    components["writes"] = run_check(write_probe.check_writable)
    try:
        silence = housekeeping.get_heartbeat_ages()
        delay = dispatcher.get_oldest_due_age(now=service_window.database_now())
    except DatabaseError as error:  # a table is missing, or may not be read
        return components | {name: {"state": "red", "error": type(error).__name__} for name in measured_components}
    for name, longest in MAX_HEARTBEAT_AGE.items():
        components[name] = age_status("seconds_ago", silence.get(name), longest)
    return components | {"oldest_due_delivery": age_status("seconds", delay, MAX_DELIVERY_DELAY)}


def check_disk() -> dict[str, Any]:
    """Red while files are refused for want of room."""
    return {
        "state": "red" if storage_limits.is_disk_low() else "ok",
        "free_mb": storage_limits.get_free_bytes() // storage_limits.MEGABYTE,
    }


def are_workers_hung() -> bool:
    """Whether the workers hear nothing though database and broker answer. The supervisor starts such ones again."""
    if any(run_check(question)["state"] == "red" for question in (check_database, check_broker)):
        connection.close()
        return False
    silence = housekeeping.get_heartbeat_ages()
    connection.close()
    return all(silence.get(name, 0) > HUNG_SECONDS for name in ("inbound", "outbound"))


def run_check(question: Callable[[], None]) -> dict[str, Any]:
    try:
        question()
    except write_probe.CannotWrite as error:
        return {"state": "red", "error": str(error)}
    except (DatabaseError, redis.RedisError) as error:
        return {"state": "red", "error": type(error).__name__}  # its text may name hosts and users
    return {"state": "ok"}


def check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_broker() -> None:
    """A full one still answers a ping, so it is asked to take something."""
    with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1) as broker:
        broker.set("okno:health", 1, px=1_000)


def age_status(key: str, seconds: float | None, longest: float) -> dict[str, Any]:
    is_red = seconds is None or seconds > longest
    return {"state": "red" if is_red else "ok", key: None if seconds is None else round(seconds, 1)}
