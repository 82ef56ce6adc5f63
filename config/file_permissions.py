"""File permissions of the data folder: only the portal's user may read it.

Standard library only, because the daemons of the local servers do not load Django.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

# Folders in the data folder. PostgreSQL manages the modes of its own data and can run as another user.
MANAGED_FOLDERS = ("media", "logs", "postgres", "valkey")
POSTGRES_DATA_PREFIX = "data-"  # data-18 is PostgreSQL's data folder
GROUP_AND_OTHERS = 0o077


def set_umask() -> None:
    """Make new files and folders of this process and its children accessible to their owner only."""
    os.umask(GROUP_AND_OTHERS)


def private_opener(path: str, flags: int) -> int:
    """Create files with mode 0600 regardless of the umask. Pass it as the `opener` of `open`."""
    return os.open(path, flags, 0o600)


def restrict_permissions(data_dir: Path) -> None:
    """Restrict the modes of an existing data folder. It costs a few stat calls if nothing is to be done.

    A folder is restricted after its contents, so that an interrupted run is completed at the next start.
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
    """Return whether other programs use the folder, too: a home folder, /tmp, the project itself."""
    folder = data_dir.resolve()
    project = Path(__file__).resolve().parent.parent
    is_sticky = bool(folder.stat().st_mode & stat.S_ISVTX)
    return is_sticky or folder in (project, Path.home().resolve(), Path(folder.anchor))


def _has_server_of_another_user(data_dir: Path) -> bool:
    """Return whether PostgreSQL runs as "nobody" here (see postgres_and_valkey) and must reach its data folder."""
    folder = data_dir / "postgres"
    return folder.is_dir() and folder.stat().st_uid != data_dir.stat().st_uid


def _needs_restricting(folder: Path) -> bool:
    """Return whether others have access to the folder and this process may change that.

    The contents of a restricted folder are out of reach anyway. A folder of another owner, such as a mount, cannot be
    restricted, so it must not be walked at each start.
    """
    with suppress(FileNotFoundError, PermissionError):
        found = folder.stat()
        return bool(found.st_mode & GROUP_AND_OTHERS) and os.geteuid() in (0, found.st_uid)
    return False


def _restrict_tree(folder: Path) -> None:
    """Restrict the contents of the folder, then the folder. Media can have a million files: one stat for each."""
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
    """Remove the permissions of group and others, except `leave`. Skip missing files and files of other owners."""
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if (wanted := mode & ~GROUP_AND_OTHERS | leave) != mode:
            os.chmod(path, wanted)
