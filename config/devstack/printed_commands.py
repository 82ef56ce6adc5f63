"""Commands that `make up` prints. They work as printed, in the folder of the project."""

import os
import re
import shlex
import sys
from pathlib import Path

from config.environment import SETTINGS_BY_NAME

from .data_folders import DEFAULT_FOLDER
from .servers import PROJECT_DIR

MAKE_VARIABLE = re.compile(r"(?:^|(?<!\\)\s)([A-Z][A-Z0-9_]*)=")


def manage_command(data_dir: Path, words: str) -> str:
    """Return a manage.py command that uses the data folder."""
    virtualenv = PROJECT_DIR / ".venv"
    python = ".venv/bin/python" if Path(sys.prefix) == virtualenv else shlex.quote(sys.executable)
    folder = "" if data_dir == DEFAULT_FOLDER else f"DATA_DIR={shlex.quote(str(data_dir))} "
    return f"{folder}{python} manage.py {words}"


def up_command(**changed: str) -> str:
    """Return `make up` with the variables of the present call of make, except for those that change.

    Secrets are not repeated.
    """
    given = {}
    for name in MAKE_VARIABLE.findall(os.environ.get("MAKEFLAGS", "").partition(" -- ")[2]):
        if name in SETTINGS_BY_NAME and name in os.environ:
            given[name] = "…" if SETTINGS_BY_NAME[name].is_secret else shlex.quote(os.environ[name])
    return " ".join(["make up", *(f"{name}={text}" for name, text in (given | changed).items())])
