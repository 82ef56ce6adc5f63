"""Write docs/settings.md from the table of settings. A test compares the two."""

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand

from config.environment import REQUIRED, SETTINGS, EnvironmentSetting
from config.setting_kinds import LABELS

PAGE_PATH = settings.BASE_DIR / "docs" / "settings.md"
PAGE_HEAD = """# Settings

Read from the environment, by every process. `NAME_FILE` in place of `NAME` reads the value from a file.
`make up` and a lone `manage.py` command need none of them: values without a default are generated once and
stored in `DATA_DIR/secrets.json`, and the two servers are local ones.

This page is written by `manage.py settings_page` from `config/environment.py`.

| name | kind | default | meaning |
|---|---|---|---|
"""


class Command(BaseCommand):
    help = "Write docs/settings.md."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        PAGE_PATH.parent.mkdir(exist_ok=True)
        PAGE_PATH.write_text(render_page())


def render_page() -> str:
    return PAGE_HEAD + "".join(render_row(setting) for setting in SETTINGS)


def render_row(setting: EnvironmentSetting) -> str:
    return f"| `{setting.name}` | {LABELS[setting.kind]} | {format_default(setting.default)} | {setting.help} |\n"


def format_default(value: Any) -> str:
    if value is REQUIRED or value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return f"`{value}`" if value != "" else "empty"
