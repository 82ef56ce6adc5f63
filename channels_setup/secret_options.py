"""Secrets for management commands from the environment, a file, stdin or a prompt.

Other users of the machine can read command lines in the process list, and the shell keeps them in its history.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from getpass import getpass
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

MAX_SECRET_LENGTH = 4_096  # characters


def option_flag(name: str) -> str:
    """Return the command-line flag of an option, for example ``--access-token``."""
    return f"--{name.replace('_', '-')}"


def add_secret_option(parser: CommandParser, name: str, *, variable: str, help_text: str) -> None:
    """Add ``--name`` (with a warning), ``--name-file`` and the environment variable."""
    parser.add_argument(
        option_flag(name),
        dest=name,
        metavar="VALUE",
        help=f"{help_text} Visible to other users of the machine: prefer {variable} or a file.",
    )
    parser.add_argument(
        option_flag(f"{name}_file"),
        dest=f"{name}_file",
        metavar="FILE",
        help=f"File that contains the secret; - reads a line from stdin or prompts. Environment variable: {variable}.",
    )


def read_secret_option(command: BaseCommand, options: Mapping[str, Any], name: str, *, variable: str) -> str:
    """Return the secret from the option, the file or the environment; empty if there is none.

    Warns if the secret was on the command line. Raises CommandError if it was given twice or cannot be read.
    """
    value, file = options.get(name), options.get(f"{name}_file")
    if value is not None and file is not None:
        raise CommandError(f"Use either {option_flag(name)} or {option_flag(f'{name}_file')}, not both.")
    if value:
        command.stderr.write(
            command.style.WARNING(
                f"{option_flag(name)}: other users of this machine can read command lines, and the shell keeps them. "
                f"Next time use {option_flag(f'{name}_file')} or {variable}."
            )
        )
        return str(value)
    if file is not None:
        return _read_line(file, name)
    return os.environ.get(variable, "")


def _read_line(file: str, name: str) -> str:
    """Return the first line of a file or of stdin; prompt on a terminal."""
    try:
        if file == "-":
            text = (
                getpass(f"{option_flag(name)[2:]}: ")
                if sys.stdin.isatty()
                else sys.stdin.readline(MAX_SECRET_LENGTH + 1)
            )
        else:
            with Path(file).open(encoding="utf-8-sig") as stream:
                text = stream.readline(MAX_SECRET_LENGTH + 1)
    except UnicodeError:  # its text quotes the secret, which must not be logged
        raise CommandError(f"{option_flag(f'{name}_file')}: a secret in UTF-8 is expected.") from None
    except OSError as problem:
        raise CommandError(f"{option_flag(f'{name}_file')}: the file cannot be read.") from problem
    text = text.rstrip("\r\n")
    if not text.strip() or len(text) > MAX_SECRET_LENGTH or "\0" in text:
        raise CommandError(
            f"{option_flag(f'{name}_file')}: a secret of 1 to {MAX_SECRET_LENGTH} characters is expected."
        )
    return text
