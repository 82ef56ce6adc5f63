"""One throw-away PostgreSQL and Valkey for a whole test run, in a temporary folder of its own.

So the suite runs beside `make up`, as root and as an ordinary user, and never against a server of yours:
DATABASE_URL and REDIS_URL of the caller are put aside. The pytest that the user started holds the servers;
xdist's processes inherit their addresses. A killed run's servers stop by themselves (see
config.devstack.server_daemon) and its folder is swept by the next run.
"""

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from config.devstack.local_secrets import fresh_secrets
from config.devstack.processes import is_locked
from config.devstack.servers import EmbeddedServers, attach_servers

PREFIX = "okno-tests-"
NO_DURABILITY = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    # Autovacuum could record a table that a test has just emptied as having no rows. The planner would then join the
    # next test's ten thousand rows by nested sequential scans.
    "autovacuum=off",
)
MARK = "OKNO_TEST_SERVERS"
held: EmbeddedServers | None = None


def set_environment() -> None:
    global held
    if MARK not in os.environ:
        sweep()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        for name in ("DATABASE_URL", "REDIS_URL", "PORT", "PUBLIC_URL", "DEBUG", "DEMO", "ALLOWED_HOSTS"):
            os.environ.pop(name, None)
        held = attach_servers(data_dir=folder, kinds=("postgres", "valkey"), postgres_settings=NO_DURABILITY)
        os.environ.update(held.urls, DATA_DIR=str(folder), **{MARK: "1"})
        os.environ.update({name: fresh_secrets()[name] for name in ("SECRET_KEY", "FIELD_KEYS")})


def own_valkey_database(url: str) -> str:
    """Each xdist process has its own: gw0 has 1, gw1 has 2; a run without xdist has 0."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")) + 1
    return f"{url.rpartition('/')[0]}/{number}"


def release_servers() -> None:
    global held
    if held is not None:
        held.release()
        shutil.rmtree(held.data_dir, ignore_errors=True)
        held = None


def sweep() -> None:
    """Remove the folders of killed runs: those whose servers have no user any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            about = folder.stat()
            # One that another run has only just made is not locked yet.
            is_old = time.time() - about.st_ctime > 60
            if is_old and about.st_uid == os.getuid() and not is_locked(folder / "valkey" / "users"):
                shutil.rmtree(folder, ignore_errors=True)
