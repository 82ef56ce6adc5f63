"""Which data folder a manage.py command uses, and which portals of this checkout run.

`manage.py up` leaves a note in .portals for each data folder. A portal runs as long as it holds the lock in its
folder, so notes of ended portals do no harm.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .processes import is_locked, read_json, write_json
from .servers import PROJECT_DIR

NOTES = PROJECT_DIR / ".portals"
DEFAULT_FOLDER = PROJECT_DIR / "var"
UP_LOCK = ".up.lock"


class NoDataFolder(Exception):
    """Error message for the terminal."""


def resolve_data_dir() -> Path:
    """Return DATA_DIR as an absolute path. A relative one starts at the project folder, not at the current folder."""
    return Path(os.path.normpath(PROJECT_DIR / (os.environ.get("DATA_DIR") or DEFAULT_FOLDER)))


def choose_data_dir() -> tuple[Path, str]:
    """Return the data folder of a command, and a sentence about it if nobody has named the folder.

    Without DATA_DIR, it is the default folder if a portal runs there, or the folder of the only running portal.
    """
    if os.environ.get("DATA_DIR"):
        return resolve_data_dir(), ""
    running = sorted(list_running())
    others = [folder for folder in running if folder != DEFAULT_FOLDER]
    if DEFAULT_FOLDER in running:
        listed = f" Also running: {join(others)} (set DATA_DIR to use it)." if others else ""
        return DEFAULT_FOLDER, f"Using the portal on {DEFAULT_FOLDER}.{listed}" if others else ""
    if len(others) > 1:
        raise NoDataFolder(
            f"Several portals of this checkout are running: {join(others)}. Set DATA_DIR to one of them."
        )
    if others:
        return others[0], f"Using the running portal on {others[0]}."
    return DEFAULT_FOLDER, f"Using the data folder {DEFAULT_FOLDER} (no portal is running)."


def record_portal(data_dir: Path) -> None:
    """Leave a note that a portal runs on the folder, and delete the notes of ended portals."""
    with suppress(OSError):  # a read-only checkout: commands then need DATA_DIR
        NOTES.mkdir(mode=0o700, exist_ok=True)
        for note in NOTES.glob("*.json"):
            if not is_running(Path(read_json(note).get("data_dir", ""))):
                note.unlink(missing_ok=True)
        name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        write_json(NOTES / f"{name}.json", {"data_dir": str(data_dir)})


def list_running() -> Iterator[Path]:
    folders = {DEFAULT_FOLDER}
    with suppress(OSError):
        folders |= {Path(text) for note in NOTES.glob("*.json") if (text := read_json(note).get("data_dir"))}
    yield from (folder for folder in folders if is_running(folder))


def is_running(data_dir: Path) -> bool:
    """Return whether a portal runs on the folder; False if this user may not know."""
    with suppress(OSError):
        return (data_dir / UP_LOCK).exists() and is_locked(data_dir / UP_LOCK)
    return False


def read_running_environment(data_dir: Path) -> dict[str, str]:
    """Return the environment of the running portal's web process; empty where it cannot be read (not Linux).

    It is not written to a file, because it contains passwords.
    """
    processes = {one.get("name"): one.get("pid") for one in read_json(data_dir / "stack.json").get("processes", [])}
    environment: dict[str, str] = {}
    with suppress(OSError):
        for entry in Path(f"/proc/{processes.get('web')}/environ").read_bytes().split(b"\0"):
            name, _, text = os.fsdecode(entry).partition("=")
            environment[name] = text
    if environment.get("DATA_DIR") != str(data_dir):
        return {}  # a program that got the PID of a web process that has ended
    local = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
    for name in (local[kind] for kind in local if kind in processes):
        environment.pop(name, None)  # commands attach to local servers, so that these wait for them at the end
    return environment


def has_database(data_dir: Path) -> bool:
    return any((data_dir / "postgres").glob("data-*"))


def join(folders: list[Path]) -> str:
    return ", ".join(map(str, folders))
