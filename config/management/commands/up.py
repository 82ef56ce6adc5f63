"""Run the whole portal from one terminal, for trying out and development. Production uses docker-compose.yml."""

import errno
import io
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connection

from config.celery import QUEUES
from config.devstack import environment_setup, up
from config.devstack.data_folders import UP_LOCK, record_portal
from config.devstack.printed_commands import up_command
from config.devstack.processes import (
    acquire_lock,
    file_lock,
    find_bind_problem,
    is_port_free,
    read_json,
    write_json,
)
from config.devstack.supervisor import stop_leftovers, watch_parent
from config.environment import read_setting

FIRST_PORT_FOR_USERS, DEFAULT_PORT, LAST_PORT = 1024, 8000, 65535


class Command(BaseCommand):
    help = "Start the portal: web, worker, beat, and local servers if no others are configured."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--die-with-parent", action="store_true", help="Stop when the calling process (make) ends.")

    def handle(self, *args: Any, **options: Any) -> None:
        should_stop = watch_parent() if options["die_with_parent"] else lambda: False
        data_dir: Path = settings.DATA_DIR
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = lock_data_dir(data_dir)
        stop_leftovers(read_json(data_dir / "stack.json").get("processes", []))
        require_address(host=read_setting("HOST"), port=read_setting("PORT"))
        record_portal(data_dir)
        with file_lock(data_dir / ".migrate.lock"):
            call_command("migrate", verbosity=0, interactive=False)
        has_demo = self.load_demo(data_dir)
        connection.close()
        if not should_stop():
            up.replace_process(
                queues=QUEUES,
                lock=lock,
                servers=environment_setup.servers,
                has_demo=has_demo,
                die_with_parent=options["die_with_parent"],
            )

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


def lock_data_dir(data_dir: Path) -> int:
    if (lock := acquire_lock(data_dir / UP_LOCK, wait=False)) is not None:
        return lock
    raise CommandError(
        f"The portal is already running on {data_dir} (stack.json there lists its processes). "
        "Stop it first, or start another one: make up DATA_DIR=… PORT=…"
    )


def require_address(*, host: str, port: int) -> None:
    """Raise CommandError with the reason if the portal cannot listen on the address."""
    problem = find_bind_problem(host=host, port=port)
    if problem is None:
        return
    if problem.errno not in (errno.EADDRINUSE, errno.EACCES):
        raise CommandError(f"HOST: cannot listen on {host} ({problem.strerror}). Use an address of this machine.")
    candidates = range(max(port + 1, FIRST_PORT_FOR_USERS), LAST_PORT + 1)
    free = next((other for other in candidates if is_port_free(host=host, port=other)), DEFAULT_PORT)
    reason = f"Port {port} is in use." if problem.errno == errno.EADDRINUSE else f"This user may not use port {port}."
    raise CommandError(f"{reason} Choose another one: {up_command(PORT=str(free))}")
