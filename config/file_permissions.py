"""Modes of what the portal writes: nobody but its own user may read the data folder.

Standard library only: the keeper of the embedded servers never loads Django.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

# Folders of ours in the data folder. PostgreSQL looks after the modes of its data, and may run as another user.
MANAGED_FOLDERS = ("media", "logs", "postgres", "valkey")
POSTGRES_DATA_PREFIX = "data-"  # …18: PostgreSQL's data
GROUP_AND_OTHERS = 0o077


def set_umask() -> None:
    """Have all new files and folders of this process and its children readable by their owner alone."""
    os.umask(GROUP_AND_OTHERS)


def private_opener(path: str, flags: int) -> int:
    """For `open(…, opener=)`: a new file is its owner's alone, whatever the umask."""
    return os.open(path, flags, 0o600)


def restrict_permissions(data_dir: Path) -> None:
    """Correct a data folder of an earlier version. Costs a few looks where nothing is to be done.

    A folder is closed after all that is in it, so that a correction that was cut off is done again at the next start.
    """
    try:
        is_shared = _is_shared_folder(data_dir)
        if not is_shared and not data_dir.stat().st_mode & 0o066:
            return
    except FileNotFoundError:
        return
    for name in MANAGED_FOLDERS:
        if _needs_restricting(data_dir / name):
            _restrict_tree(data_dir / name)
    for path in data_dir.glob("*.json"):
        if not path.is_symlink():
            _restrict(path)
    if not is_shared:
        _restrict(data_dir, leave=0o011 if _has_server_of_another_user(data_dir) else 0)


def _is_shared_folder(data_dir: Path) -> bool:
    """Return whether the folder serves others, too: a home, /tmp, the project itself."""
    folder = data_dir.resolve()
    project = Path(__file__).resolve().parent.parent
    is_sticky = bool(folder.stat().st_mode & stat.S_ISVTX)
    return is_sticky or folder in (project, Path.home().resolve(), Path(folder.anchor))


def _has_server_of_another_user(data_dir: Path) -> bool:
    """Return whether PostgreSQL runs as "nobody" here (see embedded_servers) and must reach its own folder."""
    folder = data_dir / "postgres"
    return folder.is_dir() and folder.stat().st_uid != data_dir.stat().st_uid


def _needs_restricting(folder: Path) -> bool:
    """Return whether the folder is open and ours. Nobody reaches what lies in a closed one.

    A folder of somebody else (a mount, say) stays open whatever we do, so it must not be walked at each start.
    """
    with suppress(FileNotFoundError, PermissionError):
        found = folder.stat()
        return bool(found.st_mode & GROUP_AND_OTHERS) and os.geteuid() in (0, found.st_uid)
    return False


def _restrict_tree(folder: Path) -> None:
    """Close what is in the folder, then the folder. Media may hold a million files: one look at each."""
    with suppress(FileNotFoundError, PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                continue
            if not entry.is_dir():
                _restrict(entry)
            elif not entry.name.startswith(POSTGRES_DATA_PREFIX):
                _restrict_tree(Path(entry.path))
    _restrict(folder)


def _restrict(path: Path | os.DirEntry[str], *, leave: int = 0) -> None:
    """Take away what others may do, but `leave`. What vanishes meanwhile or belongs to others stays as it is."""
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if (wanted := mode & ~GROUP_AND_OTHERS | leave) != mode:
            os.chmod(path, wanted)
