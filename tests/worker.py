"""A real Celery worker as a child process of the tests."""

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
    def __init__(self, *, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.broker: Any = redis.Redis.from_url(settings.REDIS_URL)

    def start(self) -> None:
        """Start it, unless it runs, and wait until it listens to its queues."""
        if self.process is not None and self.process.poll() is None:
            return
        self.broker.flushdb()
        database = connection.settings_dict
        place = f"{database['HOST']}:{database['PORT']}/{database['NAME']}"
        with open(self.log, "ab") as log:
            self.process = spawn_process(
                [sys.executable, *worker_command(queues=QUEUES, concurrency=2)[1:]],
                on_parent_death=signal.SIGKILL,
                env=os.environ
                | {
                    "DATABASE_URL": f"postgres://{database['USER']}:{database['PASSWORD']}@{place}",
                    "PGAPPNAME": APPLICATION_NAME,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        # The queues' names appear in the broker when the consumer has declared them.
        while not self.broker.exists("_kombu.binding.outbound") or not self.is_waiting():
            assert self.process.poll() is None and time.monotonic() < deadline, self.words()
            time.sleep(0.05)

    def is_waiting(self) -> bool:
        return any(client["cmd"] == "brpop" for client in self.broker.client_list())

    def words(self) -> str:
        return self.log.read_text(errors="replace")[-5000:]

    def settle(self, *, seconds: float = 90) -> None:
        """Wait until no task is queued or running and no statement is under way."""
        deadline = time.monotonic() + seconds
        quiet = 0
        while quiet < 2:
            assert time.monotonic() < deadline, f"The worker does not come to rest:\n{self.words()}"
            quiet = quiet + 1 if self.is_idle() else 0
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
        """At once, for it is at rest: a warm shutdown only takes its time."""
        if self.process is not None:
            kill_process_group(self.process)
            self.process.wait()
        self.broker.close()
