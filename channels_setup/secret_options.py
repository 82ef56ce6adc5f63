"""Secrets for management commands: from the environment, a file, stdin or a prompt rather than the command line.

Whoever may list the processes of a machine reads their command lines, and the shell keeps them in its history.
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
    return f"--{name.replace('_', '-')}"


def add_secret_option(parser: CommandParser, name: str, *, variable: str, help_text: str) -> None:
    """Add ``--name`` (with a warning), ``--name-file`` and the environment variable."""
    parser.add_argument(
        option_flag(name),
        dest=name,
        metavar="VALUE",
        help=f"{help_text} Others see it here: better {variable} or a file.",
    )
    parser.add_argument(
        option_flag(f"{name}_file"),
        dest=f"{name}_file",
        metavar="FILE",
        help=f"A file with it; - reads a line from stdin, or asks. In the environment: {variable}.",
    )


def read_secret_option(command: BaseCommand, options: Mapping[str, Any], name: str, *, variable: str) -> str:
    """Return the secret, wherever it was given; empty where it was not. Warns if it was on the command line."""
    value, file = options.get(name), options.get(f"{name}_file")
    if value is not None and file is not None:
        raise CommandError(f"Give either {option_flag(name)} or {option_flag(f'{name}_file')}, not both.")
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
    """Return the first line of a file or of stdin; on a terminal, ask."""
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
    except UnicodeError:  # quoted in its own text: the secret must not come into a log
        raise CommandError(f"{option_flag(f'{name}_file')}: a secret in UTF-8 is expected.") from None
    except OSError as problem:
        raise CommandError(f"{option_flag(f'{name}_file')}: the file cannot be read.") from problem
    text = text.rstrip("\r\n")
    if not text.strip() or len(text) > MAX_SECRET_LENGTH or "\0" in text:
        raise CommandError(
            f"{option_flag(f'{name}_file')}: a secret of 1 to {MAX_SECRET_LENGTH} characters is expected."
        )
    return text
