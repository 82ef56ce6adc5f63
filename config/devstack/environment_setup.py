"""What manage.py does before Django: the data folder, its secrets, its servers.

So every command works beside a running `make up` (it finds the servers) and alone (it starts them while it
runs). In production DATABASE_URL, REDIS_URL and the keys are set and nothing of this happens.
"""

import atexit
import os
import sys
from pathlib import Path

from config.file_permissions import restrict_permissions, set_umask

from .local_secrets import fresh_secrets, local_secrets
from .processes import file_lock, is_locked, read_json, write_json
from .servers import PROJECT_DIR, EmbeddedServers, ServersFailedToStart, attach_servers

# Commands that never touch the database: they start nothing and leave no data folder behind.
COMMANDS_WITHOUT_SERVERS = {
    "",
    "check",
    "collectstatic",
    "compilemessages",
    "help",
    "makemessages",
    "messages",
    "settings_page",
    "version",
}
# Commands that write sources, which others may read.
SOURCE_WRITING_COMMANDS = {"makemigrations", "outcomes_page"}
# Commands that have a word of their own on migrations.
COMMANDS_WITHOUT_MIGRATION = {
    "up",
    "migrate",
    "makemigrations",
    "showmigrations",
    "sqlmigrate",
    "squashmigrations",
    "test",
}
ENVIRONMENT_SECRETS = ("SECRET_KEY", "FIELD_KEYS", "DEMO_ADMIN_PASSWORD", "DEMO_OPERATOR_PASSWORD")
SETTINGS_SHARED_BY_UP = ("PORT", "PUBLIC_URL", "COMPANY_ID", "RELAY_ALLOWED_PRIVATE_CIDRS", "RELAY_ALLOWED_PORTS")
SERVER_BY_SETTING = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey"}

servers: EmbeddedServers | None = None


def is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def set_defaults(values: dict[str, str]) -> None:
    os.environ.update({name: text for name, text in values.items() if not is_set(name)})


def resolve_data_dir() -> Path:
    """A relative DATA_DIR is meant from the project's folder, whatever folder the command is called in."""
    folder = PROJECT_DIR / (os.environ.get("DATA_DIR") or "var")
    os.environ["DATA_DIR"] = str(folder)
    return folder


def prepare_environment(arguments: list[str]) -> None:
    """Complete the environment for one manage.py command."""
    global servers
    command = arguments[1] if len(arguments) > 1 else ""
    data_dir = resolve_data_dir()
    if command in COMMANDS_WITHOUT_SERVERS or command.startswith("-") or {"--help", "-h"} & set(arguments):
        set_defaults({name: fresh_secrets()[name] for name in ENVIRONMENT_SECRETS})
        set_defaults({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"})
        return
    if command not in SOURCE_WRITING_COMMANDS:
        set_umask()
    restrict_permissions(data_dir)
    wanted = tuple(kind for name, kind in SERVER_BY_SETTING.items() if not is_set(name))
    if wanted or command in {"up", "demo"} or not (is_set("SECRET_KEY") and is_set("FIELD_KEYS")):
        known = local_secrets(data_dir)
        set_defaults({name: known[name] for name in ENVIRONMENT_SECRETS})
    share_up_settings(data_dir, is_up=command == "up")
    if wanted:
        try:
            servers = attach_servers(data_dir=data_dir, kinds=wanted)
        except ServersFailedToStart as error:
            sys.exit(str(error))
        atexit.register(servers.release)
        set_defaults(servers.urls)
        if "postgres" in wanted and command not in COMMANDS_WITHOUT_MIGRATION:
            migrate_empty_database(data_dir)


def share_up_settings(data_dir: Path, *, is_up: bool) -> None:
    """What `make up` was started with (its port, say) holds for the commands beside it too."""
    path = data_dir / "up.json"
    if not is_up:
        for name, text in read_json(path).items():
            os.environ.setdefault(name, text)
        return
    # An empty list given by hand stays empty.
    os.environ.setdefault("RELAY_ALLOWED_PRIVATE_CIDRS", "127.0.0.0/8")
    if not is_locked(data_dir / ".up.lock"):
        write_json(path, {name: os.environ[name] for name in SETTINGS_SHARED_BY_UP if name in os.environ})


def migrate_empty_database(data_dir: Path) -> None:
    """A lone command on a fresh folder finds its tables; an older folder is migrated by `make up` alone."""
    import django
    from django.core.management import call_command
    from django.db import connection

    with file_lock(data_dir / ".migrate.lock"):
        django.setup()
        if "django_migrations" not in connection.introspection.table_names():
            call_command("migrate", verbosity=0, interactive=False)
        connection.close()
