"""Environment of manage.py commands: data folder, generated secrets, local servers.

A command uses the servers of a running `make up`, or starts its own until it ends. In production DATABASE_URL,
REDIS_URL and the keys are set, and nothing is started or generated.
"""

import atexit
import os
import sys
from pathlib import Path

from config.file_permissions import restrict_permissions, set_umask

from .local_secrets import fresh_secrets, local_secrets
from .processes import file_lock, is_locked, read_json, write_json
from .servers import PROJECT_DIR, LocalServers, ServersFailedToStart, attach_servers

# Commands that use no database. They start no servers and create no data folder.
COMMANDS_WITHOUT_SERVERS = {
    "",
    "check",
    "collectstatic",
    "compilemessages",
    "help",
    "makemessages",
    "messages",
    "settings_page",
    "verify_backup",
    "version",
}
# Commands that write source files, which need not be private.
SOURCE_WRITING_COMMANDS = {"makemigrations", "outcomes_page"}
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
ENVIRONMENT_SECRETS = ("SECRET_KEY", "FIELD_KEYS", "DEMO_ADMIN_PASSWORD", "DEMO_OPERATOR_PASSWORD")
SETTINGS_SHARED_BY_UP = ("PORT", "PUBLIC_URL", "COMPANY_ID", "RELAY_ALLOWED_PRIVATE_CIDRS", "RELAY_ALLOWED_PORTS")
SERVER_BY_SETTING = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey"}

servers: LocalServers | None = None


def is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def set_defaults(values: dict[str, str]) -> None:
    os.environ.update({name: text for name, text in values.items() if not is_set(name)})


def resolve_data_dir() -> Path:
    """Return DATA_DIR as an absolute path. A relative one starts at the project folder, not at the current folder."""
    folder = PROJECT_DIR / (os.environ.get("DATA_DIR") or "var")
    os.environ["DATA_DIR"] = str(folder)
    return folder


def prepare_environment(arguments: list[str]) -> None:
    """Set missing environment variables of a manage.py command, and start or find the local servers."""
    global servers
    command = arguments[1] if len(arguments) > 1 else ""
    data_dir = resolve_data_dir()
    if command in COMMANDS_WITHOUT_SERVERS or command.startswith("-") or {"--help", "-h"} & set(arguments):
        # `verify_backup` compares the keys of the data folder, if it has some.
        known = fresh_secrets() | read_json(data_dir / "secrets.json")
        set_defaults({name: known[name] for name in ENVIRONMENT_SECRETS})
        set_defaults({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"})
        return
    if command not in SOURCE_WRITING_COMMANDS:
        set_umask()
    restrict_permissions(data_dir)
    server_kinds = tuple(kind for name, kind in SERVER_BY_SETTING.items() if not is_set(name))
    if server_kinds or command in {"up", "load_demo"} or not (is_set("SECRET_KEY") and is_set("FIELD_KEYS")):
        known = local_secrets(data_dir)
        set_defaults({name: known[name] for name in ENVIRONMENT_SECRETS})
    share_up_settings(data_dir, is_up=command == "up")
    if server_kinds:
        try:
            servers = attach_servers(data_dir=data_dir, kinds=server_kinds)
        except ServersFailedToStart as error:
            sys.exit(str(error))
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
    if not is_locked(data_dir / ".up.lock"):
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
