"""A Celery worker as a child process of the tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import connection

from config.celery import QUEUES
from config.devstack.processes import kill_process_group, spawn_process
from config.devstack.supervisor import worker_command

START_SECONDS = 60
APPLICATION_NAME = "okno-test-worker"


class Worker:
    """``concurrency``: with 2 places for all queues, no run waits for wake-ups, so an idle worker runs no task."""

    def __init__(
        self, *, log: Path, concurrency: int = 2, name: str = "worker", broker_url: str = settings.REDIS_URL
    ) -> None:
        self.log, self.concurrency, self.name, self.broker_url = log, concurrency, name, broker_url
        self.process: subprocess.Popen[bytes] | None = None
        self.broker: Any = redis.Redis.from_url(settings.REDIS_URL)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the worker unless it is running, and wait until it consumes its queues."""
        if self.is_running:
            return
        self.broker.flushdb()
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        # A queue has a binding in the broker once its consumer has declared it.
        while not self.broker.exists("_kombu.binding.outbound") or not self.is_listening():
            assert self.is_running and time.monotonic() < deadline, self.log_tail()
            time.sleep(0.05)

    def launch(self) -> None:
        database = connection.settings_dict
        address = f"{database['HOST']}:{database['PORT']}/{database['NAME']}"
        with open(self.log, "ab") as log:
            self.process = spawn_process(
                [sys.executable, *worker_command(queues=QUEUES, concurrency=self.concurrency, name=self.name)[1:]],
                on_parent_death=signal.SIGKILL,
                env=os.environ
                | {
                    "DATABASE_URL": f"postgres://{database['USER']}:{database['PASSWORD']}@{address}",
                    "REDIS_URL": self.broker_url,
                    "PGAPPNAME": APPLICATION_NAME,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def is_listening(self) -> bool:
        return any(client["cmd"] == "brpop" for client in self.broker.client_list())

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-5000:]

    def settle(self, *, seconds: float = 90) -> None:
        """Wait until no task is queued or running and the worker runs no SQL statement."""
        deadline = time.monotonic() + seconds
        idle_checks = 0
        while idle_checks < 2:
            assert time.monotonic() < deadline, f"The worker is still busy after {seconds} s:\n{self.log_tail()}"
            idle_checks = idle_checks + 1 if self.is_idle() else 0
            time.sleep(0.02)

    def is_idle(self) -> bool:
        if any(self.broker.llen(queue) for queue in QUEUES) or self.broker.hlen("unacked"):
            return False
        with connection.cursor() as cursor:
            cursor.execute(
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and application_name = %s and state <> 'idle'",
                [APPLICATION_NAME],
            )
            return cursor.fetchone() == (0,)

    def stop(self) -> None:
        """Kill the worker. It is idle, so a warm shutdown would only cost time."""
        if self.process is not None:
            kill_process_group(self.process)
            self.process.wait()
        self.broker.close()
