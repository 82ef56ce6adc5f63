"""Write docs/settings.md and .env.example from the table of settings. A test compares them."""

import textwrap
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand

from config.environment import REQUIRED, SETTINGS, EnvironmentSetting
from config.setting_kinds import LABELS

PAGE_PATH = settings.BASE_DIR / "docs" / "settings.md"
EMPTY_DEFAULTS = ("none", "empty")
PAGE_HEAD = """# Settings

Read from the environment, by every process. `NAME_FILE` in place of `NAME` reads the value from a file.
`make up` and a lone `manage.py` command need none of them: values without a default are generated once and
stored in `DATA_DIR/secrets.json`, and the two servers are local ones.

A wrong value ends every program with a sentence for each wrong setting and exit code 2. Every program warns about
variables whose names resemble a setting, and about unknown ones that begin with `OKNO_`.

This page is written by `manage.py settings_page` from `config/environment.py`.

| name | kind | default | meaning |
|---|---|---|---|
"""


EXAMPLE_PATH = settings.BASE_DIR / ".env.example"
EXAMPLE_HEAD = """# For docker-compose.yml: copy to .env, fill in the first part. Written by manage.py settings_page.
# Meaning of all settings: docs/settings.md.

# Public URL of the portal. The proxy gets a certificate for it.
PUBLIC_URL=https://okno.example.com

# python3 -c "import secrets; print(secrets.token_urlsafe(48))"
SECRET_KEY=

# python3 -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"
# To rotate, insert a new key at the front, separated by a comma.
FIELD_KEYS=

# python3 -c "import secrets; print(secrets.token_urlsafe(24))"  (run it once for each password)
POSTGRES_PASSWORD=
REDIS_PASSWORD=

# Optional settings, with their defaults. Remove the # to change one.
"""
# Set above, in docker-compose.yml, or only used by `make up`.
NOT_IN_EXAMPLE = {
    *("PUBLIC_URL", "SECRET_KEY", "FIELD_KEYS", "DATABASE_URL", "REDIS_URL", "DATA_DIR", "HOST", "PORT"),
    *("BEHIND_PROXY", "LOG_FORMAT", "DEBUG", "DEMO", "DEMO_ADMIN_PASSWORD", "DEMO_OPERATOR_PASSWORD"),
    *("WEB_PROCESSES", "WORKERS", "WORKER_CONCURRENCY"),
}


class Command(BaseCommand):
    help = "Write docs/settings.md and .env.example."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        PAGE_PATH.parent.mkdir(exist_ok=True)
        PAGE_PATH.write_text(render_page())
        EXAMPLE_PATH.write_text(render_example())


def render_example() -> str:
    optional = [setting for setting in SETTINGS if setting.name not in NOT_IN_EXAMPLE]
    return EXAMPLE_HEAD + "".join(render_example_line(setting) for setting in optional)


def render_example_line(setting: EnvironmentSetting) -> str:
    default = format_default(setting.default).strip("`")
    text = textwrap.fill(setting.help, 116, initial_indent="# ", subsequent_indent="# ")
    return f"\n{text}\n# {setting.name}={'' if default in EMPTY_DEFAULTS else default}\n"


def render_page() -> str:
    return PAGE_HEAD + "".join(render_row(setting) for setting in SETTINGS)


def render_row(setting: EnvironmentSetting) -> str:
    return f"| `{setting.name}` | {LABELS[setting.kind]} | {format_default(setting.default)} | {setting.help} |\n"


def format_default(value: Any) -> str:
    if value is REQUIRED:
        return "none"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return f"`{value}`" if value != "" else "empty"
