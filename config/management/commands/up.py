"""The whole portal from one terminal, for newcomers and developers; production is docker-compose.yml."""

import io
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connection

from config.celery import QUEUES
from config.devstack import launch
from config.devstack.processes import listening, locked, read_json, take_lock, write_json
from config.devstack.supervisor import (
    Part,
    StackDoesNotStart,
    Supervisor,
    beat_command,
    end_leftovers,
    follow_parent,
    is_taken,
    web_command,
    worker_command,
)
from config.environment import value
from config.monitoring.health import is_deaf


class Command(BaseCommand):
    help = "Start the portal: embedded servers where none are given, web, worker and beat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--die-with-parent", action="store_true", help="Stop when the caller (make) dies.")

    def handle(self, *args: Any, **options: Any) -> None:
        is_called_off = follow_parent() if options["die_with_parent"] else lambda: False
        data_dir: Path = settings.DATA_DIR
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if take_lock(data_dir / ".up.lock", wait=False) is None:
            raise CommandError(
                f"The portal runs already on {data_dir} (stack.json there lists its processes). "
                "Stop it first, or choose another folder: make up DATA_DIR=…"
            )
        end_leftovers(read_json(data_dir / "stack.json").get("processes", []))
        host, port = value("HOST"), value("PORT")
        if is_taken(host=host, port=port):
            raise CommandError(f"Port {port} is taken by another program. Choose another: make up PORT={port + 1}")
        with locked(data_dir / ".migrate.lock"):
            call_command("migrate", verbosity=0, interactive=False)
        has_demo = self.load_demo(data_dir)
        connection.close()
        supervisor = Supervisor(
            data_dir=data_dir,
            parts=parts(data_dir),
            servers=launch.servers,
            say=self.say,
            is_called_off=is_called_off,
            is_deaf=is_deaf,
        )
        try:
            supervisor.run(when_ready=lambda: self.say(ready_line(host=host, port=port, has_demo=has_demo)))
        except StackDoesNotStart as error:
            raise CommandError(str(error)) from error

    def say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()

    def load_demo(self, data_dir: Path) -> bool:
        """At a folder's first start, or when DEMO=1 asks for it by name; once deleted it stays away."""
        mark = data_dir / "first-start.json"
        known = read_json(mark)
        has_demo = bool(known.get("demo"))
        if not has_demo and value("DEMO") and (not known or launch.is_given("DEMO")):
            call_command("demo", stdout=io.StringIO())
            has_demo = True
        write_json(mark, {"demo": has_demo})
        return has_demo


def parts(data_dir: Path) -> list[Part]:
    logs = data_dir / "logs"
    for folder in (logs, settings.MEDIA_ROOT):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # clients' files, and what is said of them: nobody else on this machine reads them
    workers: int = value("WORKERS")
    names = ["worker"] if workers == 1 else [f"worker-{number}" for number in range(1, workers + 1)]
    port: int = value("PORT")
    host, processes, concurrency = value("HOST"), value("WEB_PROCESSES"), value("WORKER_CONCURRENCY")
    return [
        Part(
            name="web",
            command=web_command(host=host, port=port, processes=processes),
            port=port,
            sockets=listening(host=host, port=port, count=processes),
            log=logs / "web.log",
        ),
        *(
            Part(
                name=name,
                command=worker_command(queues=QUEUES, concurrency=concurrency, name=name),
                log=logs / f"{name}.log",
            )
            for name in names
        ),
        Part(name="beat", command=beat_command(), log=logs / "beat.log"),
    ]


def ready_line(*, host: str, port: int, has_demo: bool) -> str:
    address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    if not has_demo:
        return f"ready {address}  make the first user: .venv/bin/python manage.py user add vera --role admin"
    admin, operator = settings.DEMO_PASSWORDS["admin"], settings.DEMO_PASSWORDS["operator"]
    return f"ready {address}  admin: vera / {admin}  operator: boris / {operator}"
