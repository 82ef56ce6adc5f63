"""Environment of manage.py commands: data folder, generated secrets, local servers.

A command uses the settings and servers of a running `make up`, or starts its own servers until it ends. In production
DATABASE_URL, REDIS_URL and the keys are set, and nothing is started or generated.
"""

import atexit
import os
import sys
from contextlib import suppress
from pathlib import Path

from config.environment import SETTINGS_BY_NAME
from config.environment_check import EXIT_CODE, exit_if_invalid
from config.file_permissions import restrict_permissions, set_umask

from .data_folders import (
    UP_LOCK,
    NoDataFolder,
    choose_data_dir,
    has_database,
    is_running,
    read_running_environment,
    resolve_data_dir,
)
from .local_secrets import fresh_secrets, local_secrets
from .printed_commands import manage_command
from .processes import file_lock, is_locked, read_json, write_json
from .servers import LocalServers, ServersFailedToStart, attach_servers

# Commands that use no database. They start no servers and create no data folder.
COMMANDS_WITHOUT_SERVERS = {
    "",
    "alerts_page",
    "check",
    "collectstatic",
    "compilemessages",
    "help",
    "makemessages",
    "messages",
    "outcomes_page",
    "retention_page",
    "settings_page",
    "verify_backup",
    "version",
}
# Commands that write source files, which need not be private.
SOURCE_WRITING_COMMANDS = {"makemigrations"}
# Commands that handle migrations themselves, or must run without them.
COMMANDS_WITHOUT_MIGRATION = {
    "up",
    "migrate",
    "makemigrations",
    "showmigrations",
    "restore",
    "sqlmigrate",
    "squashmigrations",
    "test",
}
# Commands for which a new database in an empty data folder is wanted. Others are probably meant for another folder.
CREATING_COMMANDS = COMMANDS_WITHOUT_MIGRATION - {"showmigrations"} | {"generate_demo_data", "load_demo"}
ENVIRONMENT_KEYS = ("SECRET_KEY", "FIELD_KEYS")
ENVIRONMENT_SECRETS = (*ENVIRONMENT_KEYS, "DEMO_ADMIN_PASSWORD", "DEMO_OPERATOR_PASSWORD")
SETTINGS_SHARED_BY_UP = ("PORT", "PUBLIC_URL", "COMPANY_ID", "RELAY_ALLOWED_PRIVATE_CIDRS", "RELAY_ALLOWED_PORTS")
SERVER_BY_SETTING = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey"}

servers: LocalServers | None = None


def is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def set_defaults(values: dict[str, str]) -> None:
    os.environ.update({name: text for name, text in values.items() if not is_set(name)})


def prepare_environment(arguments: list[str]) -> None:
    """Set missing environment variables of a manage.py command, and start or find the local servers.

    Ends the program with a sentence if a setting is wrong, or if an ordinary command would create a new database.
    """
    command = arguments[1] if len(arguments) > 1 else ""
    exit_if_invalid(is_complete=False)
    if command in COMMANDS_WITHOUT_SERVERS or command.startswith("-") or {"--help", "-h"} & set(arguments):
        data_dir = resolve_data_dir()
        os.environ["DATA_DIR"] = str(data_dir)
        # `verify_backup` compares the keys of the data folder, if it has some.
        known = fresh_secrets()
        with suppress(OSError):  # another user's data folder
            known |= read_json(data_dir / "secrets.json")
        set_defaults({name: known[name] for name in ENVIRONMENT_SECRETS})
        set_defaults({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"})
        return
    if command not in SOURCE_WRITING_COMMANDS:
        set_umask()
    try:
        data_dir = use_data_dir(command)
        prepare_data_dir(data_dir, command)
    except (NoDataFolder, ServersFailedToStart) as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CODE)
    except OSError as error:
        print(f"The data folder {os.environ['DATA_DIR']} cannot be used: {describe(error)}.", file=sys.stderr)
        sys.exit(EXIT_CODE)


def describe(error: OSError) -> str:
    return f"{error.strerror} ({error.filename})" if error.filename else str(error)


def use_data_dir(command: str) -> Path:
    """Choose the data folder, and set DATA_DIR to its absolute path. Say which one is used if nobody has named it."""
    if command == "up" or not needs_data_dir():
        data_dir, sentence = resolve_data_dir(), ""
    else:
        data_dir, sentence = choose_data_dir()
    os.environ["DATA_DIR"] = str(data_dir)
    if command != "up":
        if is_running(data_dir):
            running = read_running_environment(data_dir)
            known = [*SETTINGS_BY_NAME, *(f"{name}_FILE" for name in SETTINGS_BY_NAME)]
            set_defaults({name: running[name] for name in known if name in running})
        if needs_data_dir() and command not in CREATING_COMMANDS:
            require_existing(data_dir)
    if sentence:
        print(sentence, file=sys.stderr)
    return data_dir


def needs_data_dir() -> bool:
    """Return whether a server or a key of the data folder is used."""
    return not all(map(is_set, (*SERVER_BY_SETTING, *ENVIRONMENT_KEYS)))


def require_existing(data_dir: Path) -> None:
    """Reject a folder in which the command would create a database or keys: the user probably means another one."""
    if has_database(data_dir) if not is_set("DATABASE_URL") else (data_dir / "secrets.json").exists():
        return
    missing = "keys" if is_set("DATABASE_URL") else "database"
    raise NoDataFolder(
        f"The data folder {data_dir} has no {missing} yet. Start a portal with `make up`, or create an empty one with "
        f"`{manage_command(data_dir, 'migrate')}`. For a portal elsewhere, set DATA_DIR to its data folder"
        + (", or DATABASE_URL, REDIS_URL, SECRET_KEY and FIELD_KEYS." if missing == "database" else ".")
    )


def prepare_data_dir(data_dir: Path, command: str) -> None:
    """Read the keys of the data folder, and start or find its servers."""
    global servers
    restrict_permissions(data_dir)
    server_kinds = tuple(kind for name, kind in SERVER_BY_SETTING.items() if not is_set(name))
    if needs_data_dir() or command in {"up", "load_demo"}:
        known = local_secrets(data_dir)
        set_defaults({name: known[name] for name in ENVIRONMENT_SECRETS})
    share_up_settings(data_dir, is_up=command == "up")
    if server_kinds:
        servers = attach_servers(data_dir=data_dir, kinds=server_kinds)
        atexit.register(servers.release)
        set_defaults(servers.urls)
        if "postgres" in server_kinds and command not in COMMANDS_WITHOUT_MIGRATION:
            migrate_empty_database(data_dir)


def share_up_settings(data_dir: Path, *, is_up: bool) -> None:
    """Save the settings of `make up`, such as its port, or apply them to another command."""
    path = data_dir / "up.json"
    if not is_up:
        for name, text in read_json(path).items():
            os.environ.setdefault(name, text)
        return
    # An empty value set by the user stays empty.
    os.environ.setdefault("RELAY_ALLOWED_PRIVATE_CIDRS", "127.0.0.0/8")
    if not is_locked(data_dir / UP_LOCK):
        write_json(path, {name: os.environ[name] for name in SETTINGS_SHARED_BY_UP if name in os.environ})


def migrate_empty_database(data_dir: Path) -> None:
    """Create the tables of a new data folder. Only `make up` and `migrate` migrate an existing one."""
    import django
    from django.core.management import call_command
    from django.db import connection

    with file_lock(data_dir / ".migrate.lock"):
        django.setup()
        if "django_migrations" not in connection.introspection.table_names():
            call_command("migrate", verbosity=0, interactive=False)
        connection.close()
