"""The program that `manage.py up` becomes after the migrations: it starts and supervises the portal's processes.

It does not load Django, which saves 130 MB of memory. `replace_process` keeps the PID, the locks and the parent, so
make, terminals and the local servers notice no difference.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from config.environment import read_setting

from .printed_commands import manage_command
from .processes import open_listening_sockets
from .servers import PROJECT_DIR, LocalServers, attach_servers
from .supervisor import (
    ManagedProcess,
    StackFailedToStart,
    Supervisor,
    beat_command,
    watch_parent,
    web_command,
    worker_command,
)
from .web_probe import are_workers_hung


def replace_process(
    *, queues: Sequence[str], lock: int, servers: LocalServers | None, has_demo: bool, die_with_parent: bool
) -> None:
    """Replace the current process by this program. It inherits the locks of the data folder and of its servers."""
    locks = [lock, *(servers.locks.values() if servers else ())]
    for descriptor in locks:
        os.set_inheritable(descriptor, True)
    command = [sys.executable, "-m", __name__, "--queues", ",".join(queues)]
    command += ["--locks", ",".join(map(str, locks)), "--servers", ",".join(servers.kinds if servers else ())]
    command += [*(["--demo"] if has_demo else ()), *(["--die-with-parent"] if die_with_parent else ())]
    sys.stdout.flush()
    os.chdir(PROJECT_DIR)
    os.execv(sys.executable, command)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queues", required=True)
    parser.add_argument("--locks", required=True)
    parser.add_argument("--servers", required=True)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--die-with-parent", action="store_true")
    options = parser.parse_args(arguments)
    should_stop = watch_parent() if options.die_with_parent else lambda: False
    data_dir = Path(read_setting("DATA_DIR"))
    lock, *server_locks = map(int, options.locks.split(","))
    os.set_inheritable(lock, False)  # held until this process ends
    kinds = tuple(options.servers.split(",")) if options.servers else ()
    servers = attach_servers(data_dir=data_dir, kinds=kinds) if kinds else None
    for descriptor in server_locks:
        os.close(descriptor)
    try:
        run_portal(data_dir, options.queues.split(","), servers, has_demo=options.demo, should_stop=should_stop)
    except StackFailedToStart as error:
        sys.exit(str(error))


def run_portal(
    data_dir: Path,
    queues: Sequence[str],
    servers: LocalServers | None,
    *,
    has_demo: bool,
    should_stop: Callable[[], bool],
) -> None:
    port = read_setting("PORT")
    supervisor = Supervisor(
        data_dir=data_dir,
        processes=build_processes(data_dir, queues),
        servers=servers,
        report=report,
        should_stop=should_stop,
        are_workers_hung=lambda: are_workers_hung(port),
    )
    line = ready_line(data_dir, host=read_setting("HOST"), port=port, has_demo=has_demo)
    supervisor.run(when_ready=lambda: report(line))


def report(sentence: str) -> None:
    print(sentence, flush=True)


def build_processes(data_dir: Path, queues: Sequence[str]) -> list[ManagedProcess]:
    logs = data_dir / "logs"
    for folder in (logs, data_dir / "media"):
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
                command=worker_command(queues=queues, concurrency=concurrency, name=name),
                log=logs / f"{name}.log",
            )
            for name in names
        ),
        ManagedProcess(name="beat", command=beat_command(), log=logs / "beat.log"),
    ]


def ready_line(data_dir: Path, *, host: str, port: int, has_demo: bool) -> str:
    """Return the line that says where the portal is and how to sign in."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    local, public = f"http://{name}:{port}", read_setting("PUBLIC_URL")
    address = local if public in ("", local) else f"{local} (public URL: {public})"
    if not has_demo:
        return f"ready {address}  create the first user: {manage_command(data_dir, 'user add vera --role admin')}"
    admin, operator = read_setting("DEMO_ADMIN_PASSWORD"), read_setting("DEMO_OPERATOR_PASSWORD")
    return f"ready {address}  admin: vera / {admin}  operator: boris / {operator}"


if __name__ == "__main__":
    main(sys.argv[1:])
