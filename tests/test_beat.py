"""Beat, which runs without Django's apps."""

import os
import signal
import subprocess
import sys
import time

import redis
from django.conf import settings

from config.celery import QUEUES
from tests.faults.gate import TcpGate
from tests.processes import eventually


def test_beat_writes_its_log_lines() -> None:
    """A log line is redacted by the secrets that Django's models know, where there are models."""
    program = (
        "import logging, config.beat; config.beat.configure_logging();"
        " logging.getLogger('celery.beat').error('broker gone: %r', OSError(111, 'refused'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "broker gone" in run.stderr and "Traceback" not in run.stderr


def test_sigterm_ends_beat_while_the_broker_hangs() -> None:
    """Celery's own handler closes the connection of the running call, which then fails, and beat goes on."""
    address, _, database = settings.REDIS_URL.rpartition("/")
    gate, broker = TcpGate(int(address.rpartition(":")[2])), redis.Redis.from_url(settings.REDIS_URL)
    beat = subprocess.Popen(
        [sys.executable, "-m", "config.beat"],
        cwd=settings.BASE_DIR,
        env=os.environ | {"REDIS_URL": f"{address.rpartition(':')[0]}:{gate.port}/{database}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: broker.llen("inbound") >= 2)  # the first at the start, the second by the schedule
        gate.hang()
        time.sleep(2.5)  # it calls every two seconds, and waits for five
        beat.send_signal(signal.SIGTERM)
        _, words = beat.communicate(timeout=3)
    finally:
        beat.kill()
        gate.open()
        broker.delete(*QUEUES)

    assert beat.returncode == 0
    assert "Traceback" not in words
