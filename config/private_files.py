"""Modes of what the portal writes: nobody but its own user may read the data folder.

Standard library only: the keeper of the embedded servers never loads Django.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

# Folders of ours in the data folder. PostgreSQL looks after the modes of its data, and may run as another user.
FOLDERS = ("media", "logs", "postgres", "valkey")
NOT_OURS = "data-"  # …18: PostgreSQL's data
OTHERS = 0o077


def set_umask() -> None:
    """Have all new files and folders of this process and its children readable by their owner alone."""
    os.umask(OTHERS)


def private_opener(path: str, flags: int) -> int:
    """For `open(…, opener=)`: a new file is its owner's alone, whatever the umask."""
    return os.open(path, flags, 0o600)


def make_private(data_dir: Path) -> None:
    """Correct a data folder of an earlier version. Costs one look where nothing is to be done.

    The folder itself comes last, so that a correction that was cut off is done again at the next start.
    """
    try:
        is_shared = _is_shared(data_dir)
        if not is_shared and not data_dir.stat().st_mode & 0o066:
            return
    except FileNotFoundError:
        return
    for name in FOLDERS:
        _close_all(data_dir / name)
    for path in data_dir.glob("*.json"):
        _close(path)
    if not is_shared:
        _close(data_dir, leave=0o011 if _has_server_of_another_user(data_dir) else 0)


def _is_shared(data_dir: Path) -> bool:
    """Return whether the folder serves others, too: a home, /tmp, the project itself."""
    folder = data_dir.resolve()
    project = Path(__file__).resolve().parent.parent
    is_sticky = bool(folder.stat().st_mode & stat.S_ISVTX)
    return is_sticky or folder in (project, Path.home().resolve(), Path(folder.anchor))


def _has_server_of_another_user(data_dir: Path) -> bool:
    """Return whether PostgreSQL runs as "nobody" here (see embedded_servers) and must reach its own folder."""
    folder = data_dir / "postgres"
    return folder.is_dir() and folder.stat().st_uid != data_dir.stat().st_uid


def _close_all(folder: Path) -> None:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(NOT_OURS)]
        for name in files:
            _close(Path(place, name))
        _close(Path(place))


def _close(path: Path, *, leave: int = 0) -> None:
    """Take away what others may do, but `leave`. What vanishes meanwhile or belongs to others stays as it is."""
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not path.is_symlink() or path.is_dir():
            path.chmod(mode & ~OTHERS | leave)
