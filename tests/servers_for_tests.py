"""PostgreSQL and Valkey of one test run, in a temporary folder.

The suite ignores the caller's DATABASE_URL and REDIS_URL, so it can run during `make up`, as root or not. The pytest
process that the user started owns the servers; the xdist workers inherit their URLs. The servers of a killed run stop
by themselves (see config.devstack.server_daemon), and the next run removes its folder.
"""

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from config.devstack.local_secrets import fresh_secrets
from config.devstack.processes import is_locked
from config.devstack.servers import LocalServers, attach_servers

PREFIX = "okno-tests-"
NO_DURABILITY = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    # Autovacuum could record an emptied table as having no rows. The planner would then join the ten thousand rows of
    # the next test by nested sequential scans.
    "autovacuum=off",
)
IS_ATTACHED = "OKNO_TEST_SERVERS"  # in the environment of the xdist workers
attached_servers: LocalServers | None = None


def set_environment() -> None:
    """Start the servers, unless a parent process has, and put their URLs into the environment."""
    global attached_servers
    if IS_ATTACHED not in os.environ:
        remove_old_folders()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        for name in ("DATABASE_URL", "REDIS_URL", "PORT", "PUBLIC_URL", "DEBUG", "DEMO", "ALLOWED_HOSTS"):
            os.environ.pop(name, None)
        attached_servers = attach_servers(
            data_dir=folder, kinds=("postgres", "valkey"), postgres_settings=NO_DURABILITY
        )
        os.environ.update(attached_servers.urls, DATA_DIR=str(folder), **{IS_ATTACHED: "1"})
        os.environ.update({name: fresh_secrets()[name] for name in ("SECRET_KEY", "FIELD_KEYS")})


def own_valkey_database(url: str) -> str:
    """Return the URL of this process's Valkey database: 1 for gw0, 2 for gw1, 0 without xdist."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")) + 1
    return f"{url.rpartition('/')[0]}/{number}"


def release_servers() -> None:
    global attached_servers
    if attached_servers is not None:
        attached_servers.release()
        shutil.rmtree(attached_servers.data_dir, ignore_errors=True)
        attached_servers = None


def remove_old_folders() -> None:
    """Remove the folders of killed runs: folders whose servers have no user left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            status = folder.stat()
            # A folder that another run has just created is not locked yet.
            is_old = time.time() - status.st_ctime > 60
            if is_old and status.st_uid == os.getuid() and not is_locked(folder / "valkey" / "users"):
                shutil.rmtree(folder, ignore_errors=True)
