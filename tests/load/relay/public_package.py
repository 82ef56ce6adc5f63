"""django-webhook, a public package that stores and delivers webhooks with Celery, in its own virtual environment."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import psycopg2

from config.devstack.supervisor import worker_command
from tests.processes import eventually, free_port

from .stack import CONCURRENCY, PROJECT, WEB_PROCESSES, Stack, is_listening

REQUIREMENTS = PROJECT / "tests/load/public/requirements.txt"
DATABASE = "okno_bench_public"


class NotInstalled(Exception):
    """Reason for the table."""


def find_python(given: str) -> str:
    """Return the interpreter of an environment with the package: the given one, or one created in build/."""
    if given:
        return given
    key = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = PROJECT / "build" / f"bench-public-{key}"
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        commands = (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", str(REQUIREMENTS)],
        )
        for command in commands:
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=180)
            except (OSError, subprocess.TimeoutExpired) as problem:
                raise NotInstalled(f"the environment could not be created: {problem}") from problem
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["no message"]
                raise NotInstalled(f"the environment could not be created: {lines[-1][:200]}")
        (folder / "complete").touch()
    return str(python)


class PublicPackage:
    """A project with the package, on the same servers and with the same numbers of processes as the portal."""

    def __init__(self, python: str, stack: Stack) -> None:
        self.python, self.port = python, free_port()
        database, _, _name = os.environ["DATABASE_URL"].rpartition("/")
        broker, _, _number = os.environ["REDIS_URL"].rpartition("/")
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.load.public.settings",
            "DATABASE_URL": f"{database}/{DATABASE}",
            "REDIS_URL": f"{broker}/1",
            "WEBHOOK_URL": stack.receiver.url("/hook"),
        }
        self._recreate_database()
        done = subprocess.run(
            [python, "-m", "tests.load.public.setup"],
            cwd=PROJECT,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise NotInstalled(f"its project does not start: {lines[-1][:200]}")

    def _recreate_database(self) -> None:
        connection = psycopg2.connect(os.environ["DATABASE_URL"])
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {DATABASE}")
        connection.close()

    def start(self, stack: Stack) -> None:
        web = ["python", "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port)]
        web += ["--workers", str(WEB_PROCESSES), "--backpressure", "16", "--blocking-threads", "16"]
        worker = worker_command(queues=("celery",), concurrency=CONCURRENCY, name="public")
        worker[worker.index("config.celery")] = "tests.load.public.celery_app"
        stack.start("public web", [*web, "tests.load.public.wsgi:application"], python=self.python, **self.environment)
        stack.start("public worker", worker, python=self.python, **self.environment)
        eventually(lambda: is_listening(self.port), seconds=60)
