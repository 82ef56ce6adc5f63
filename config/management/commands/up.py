"""Run the whole portal from one terminal, for trying out and development. Production uses docker-compose.yml."""

import io
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connection

from config.celery import QUEUES
from config.devstack import environment_setup
from config.devstack.processes import acquire_lock, file_lock, open_listening_sockets, read_json, write_json
from config.devstack.supervisor import (
    ManagedProcess,
    StackFailedToStart,
    Supervisor,
    beat_command,
    is_port_taken,
    stop_leftovers,
    watch_parent,
    web_command,
    worker_command,
)
from config.environment import read_setting
from config.monitoring.health import are_workers_hung


class Command(BaseCommand):
    help = "Start the portal: web, worker, beat, and local servers if no others are configured."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--die-with-parent", action="store_true", help="Stop when the calling process (make) ends.")

    def handle(self, *args: Any, **options: Any) -> None:
        should_stop = watch_parent() if options["die_with_parent"] else lambda: False
        data_dir: Path = settings.DATA_DIR
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if acquire_lock(data_dir / ".up.lock", wait=False) is None:
            raise CommandError(
                f"The portal is already running on {data_dir} (stack.json there lists its processes). "
                "Stop it first, or choose another folder: make up DATA_DIR=…"
            )
        stop_leftovers(read_json(data_dir / "stack.json").get("processes", []))
        host, port = read_setting("HOST"), read_setting("PORT")
        if is_port_taken(host=host, port=port):
            raise CommandError(f"Port {port} is in use. Choose another one: make up PORT={port + 1}")
        with file_lock(data_dir / ".migrate.lock"):
            call_command("migrate", verbosity=0, interactive=False)
        has_demo = self.load_demo(data_dir)
        connection.close()
        supervisor = Supervisor(
            data_dir=data_dir,
            processes=build_processes(data_dir),
            servers=environment_setup.servers,
            report=self.report,
            should_stop=should_stop,
            are_workers_hung=are_workers_hung,
        )
        try:
            supervisor.run(when_ready=lambda: self.report(ready_line(host=host, port=port, has_demo=has_demo)))
        except StackFailedToStart as error:
            raise CommandError(str(error)) from error

    def report(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()

    def load_demo(self, data_dir: Path) -> bool:
        """Load the demo at the first start of a data folder, or if DEMO is set explicitly. Return whether it exists."""
        mark = data_dir / "first-start.json"
        known = read_json(mark)
        has_demo = bool(known.get("demo"))
        if not has_demo and read_setting("DEMO") and (not known or environment_setup.is_set("DEMO")):
            call_command("load_demo", stdout=io.StringIO())
            has_demo = True
        write_json(mark, {"demo": has_demo})
        return has_demo


def build_processes(data_dir: Path) -> list[ManagedProcess]:
    logs = data_dir / "logs"
    for folder in (logs, settings.MEDIA_ROOT):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # logs and clients' files are private
    workers: int = read_setting("WORKERS")
    names = ["worker"] if workers == 1 else [f"worker-{number}" for number in range(1, workers + 1)]
    port: int = read_setting("PORT")
    host, processes, concurrency = (
        read_setting("HOST"),
        read_setting("WEB_PROCESSES"),
        read_setting("WORKER_CONCURRENCY"),
    )
    return [
        ManagedProcess(
            name="web",
            command=web_command(host=host, port=port, processes=processes),
            port=port,
            sockets=open_listening_sockets(host=host, port=port, count=processes),
            log=logs / "web.log",
        ),
        *(
            ManagedProcess(
                name=name,
                command=worker_command(queues=QUEUES, concurrency=concurrency, name=name),
                log=logs / f"{name}.log",
            )
            for name in names
        ),
        ManagedProcess(name="beat", command=beat_command(), log=logs / "beat.log"),
    ]


def ready_line(*, host: str, port: int, has_demo: bool) -> str:
    address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    if not has_demo:
        return f"ready {address}  create the first user: .venv/bin/python manage.py user add vera --role admin"
    admin, operator = settings.DEMO_PASSWORDS["admin"], settings.DEMO_PASSWORDS["operator"]
    return f"ready {address}  admin: vera / {admin}  operator: boris / {operator}"
