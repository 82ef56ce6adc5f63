"""Collect the texts of the sources in config/locale, and compile the translations."""

from typing import Any

from django.core.management import BaseCommand, CommandError, call_command
from django.core.management.utils import find_command

LANGUAGE = "ru"  # the sources are English
OPTIONS: dict[str, Any] = {
    "locale": [LANGUAGE],
    "ignore_patterns": [".venv/*", "var/*", "build/*", "tests/*", "static/*"],
    "no_obsolete": True,
    "no_wrap": True,
    "add_location": "file",
    "verbosity": 0,
}


class Command(BaseCommand):
    help = "Update and compile the translations (needs gettext)."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if find_command("xgettext") is None:
            raise CommandError("xgettext is missing: `apt-get install gettext`.")
        call_command("makemessages", **OPTIONS)
        call_command("compilemessages", locale=[LANGUAGE], ignore_patterns=[".venv/*", "var/*", "build/*"], verbosity=0)
