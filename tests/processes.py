"""Helpers for tests on real processes: waiting for a condition, free ports, and production's settings."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from config.devstack.local_secrets import fresh_secrets

# Variables of the test run that a stack under test must not see.
TEST_RUN_VARIABLES = ("DATABASE_URL", "REDIS_URL", "DATA_DIR", "DJANGO_SETTINGS_MODULE", "SECRET_KEY", "FIELD_KEYS")
PRODUCTION = fresh_secrets() | {
    "PUBLIC_URL": "https://okno.example",
    "BEHIND_PROXY": "yes",
    "DATABASE_URL": "postgres://okno:word@db.example:5432/okno",
    "REDIS_URL": "redis://:word@redis.example:6379/0",
}


def eventually(condition: Callable[[], Any], *, seconds: float = 120) -> Any:
    """Return the condition's first true result. Fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"The condition did not become true in {seconds:.0f} s."
        time.sleep(0.05)
    return result


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def in_production(code: str, **environment: str) -> Any:
    """Evaluate an expression on the settings in a process with only production's environment."""
    program = f"import json; from config import settings as s; print(json.dumps({code}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"]} | PRODUCTION | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
