"""Requests of the supervisor to the web process: does it respond, and are the workers hung?"""

import http.client
import json
from typing import Any

HUNG_SECONDS = 120  # without a heartbeat, although database and broker respond
RECOVERY_SECONDS = 60  # time for a heartbeat once database and broker respond again


def is_web_live(port: int) -> bool:
    return read_answer(port, "/health/live")[0] == 200


def are_workers_hung(port: int) -> bool:
    """Return whether the workers do nothing although database and broker respond; False without an answer."""
    return is_every_worker_silent(read_answer(port, "/health/ready")[1].get("components", {}))


def is_every_worker_silent(components: dict[str, Any]) -> bool:
    """Return whether the health of the components shows workers that do not just wait for one of the others."""
    states = {name: components.get(name, {}).get("state") for name in ("database", "broker", "schema")}
    if states["database"] != "ok" or states["broker"] != "ok" or states["schema"] == "red":
        return False
    # null: no worker has ever worked on this database.
    return all((components.get(name, {}).get("seconds_ago") or 0) > HUNG_SECONDS for name in ("inbound", "outbound"))


def read_answer(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of a page; (0, {}) without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        content = json.loads(response.read())
        return response.status, content if isinstance(content, dict) else {}
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()
