"""Health of the portal's components, for /health/ready and `manage.py health`."""

from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from bridge import service_window
from bridge.files import storage_limits
from bridge.maintenance import housekeeping, write_probe
from bridge.maintenance.portal_checks import MAX_DELAY, MAX_HEARTBEAT_AGE
from bridge.outbox import dispatcher
from channels_setup import database_schema
from config.version import VERSION

from . import metrics, server_versions


def readiness(request: HttpRequest) -> JsonResponse:
    """View of /health/ready. Only this machine and staff tokens get details, as in /metrics; others get the status."""
    components = check_components()
    is_red = any(component["state"] == "red" for component in components.values())
    details = {"version": VERSION, "components": components} if may_see_details(request) else {}
    response = JsonResponse({"status": "red" if is_red else "ok", **details}, status=503 if is_red else 200)
    # Without the database, tokens cannot be checked, so none counts as wrong.
    has_token = components["database"]["state"] == "ok" and "HTTP_AUTHORIZATION" in request.META
    response.is_token_refused = has_token and not details  # type: ignore[attr-defined]
    return response


def may_see_details(request: HttpRequest) -> bool:
    try:
        return metrics.is_local_request(request) or metrics.has_metrics_token(request)
    except DatabaseError:
        return False  # tokens cannot be checked


def check_components() -> dict[str, dict[str, Any]]:
    """Return for each component its state, "ok" or "red", with the measured value or the error."""
    components = {"database": run_check(check_database), "broker": run_check(check_broker), "disk": check_disk()}
    measured_components = [*MAX_HEARTBEAT_AGE, "oldest_due_delivery"]
    if components["database"]["state"] == "red":
        unknown = {"state": "red", "error": "unknown without the database"}
        return components | dict.fromkeys(["schema", "writes", *measured_components], unknown)
    components["schema"] = check_schema()
    components["writes"] = run_check(write_probe.check_writable)
    try:
        ages = housekeeping.get_heartbeat_ages()
        delay = dispatcher.get_oldest_due_age(now=service_window.database_now())
    except DatabaseError as error:  # a table is missing or not readable
        return components | {name: {"state": "red", "error": type(error).__name__} for name in measured_components}
    for name, max_age in MAX_HEARTBEAT_AGE.items():
        components[name] = age_status("seconds_ago", ages.get(name), max_age)
    return components | {"oldest_due_delivery": age_status("seconds", delay, MAX_DELAY)}


def check_schema() -> dict[str, Any]:
    """Return red if the database lacks migrations of this code, which then waits.

    Migrations that this code does not know are reported only: during an upgrade the release before works on.
    """
    try:
        state = database_schema.read_schema_state()
    except DatabaseError as error:
        return {"state": "red", "error": type(error).__name__}
    sentence = {"error" if state.missing else "note": state.sentence} if state.sentence else {}
    return {"state": "red" if state.missing else "ok", **sentence}


def check_disk() -> dict[str, Any]:
    """Return red if files are refused because the disk is almost full."""
    return {
        "state": "red" if storage_limits.is_disk_low() else "ok",
        "free_mb": storage_limits.get_free_bytes() // storage_limits.MEGABYTE,
    }


def run_check(check: Callable[[], None]) -> dict[str, Any]:
    try:
        check()
    except (write_probe.CannotWrite, server_versions.ServerTooOld) as error:
        return {"state": "red", "error": str(error)}
    except (DatabaseError, redis.RedisError) as error:
        return {"state": "red", "error": type(error).__name__}  # the message can contain hosts and users
    return {"state": "ok"}


def check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    server_versions.check_postgres(connection)


def check_broker() -> None:
    """Write a value, because a full broker still answers a ping."""
    with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1) as broker:
        broker.set("okno:health", 1, px=1_000)
        server_versions.check_broker(broker)


def age_status(key: str, seconds: float | None, max_seconds: float) -> dict[str, Any]:
    is_red = seconds is None or seconds > max_seconds
    return {"state": "red" if is_red else "ok", key: None if seconds is None else round(seconds, 1)}
