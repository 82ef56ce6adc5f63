"""The answer of /health/ready for a terminal or a container's health check."""

import json
from typing import Any

from django.core.management import BaseCommand, CommandParser

from config.monitoring.health import look_at_parts


class Command(BaseCommand):
    help = "Show the state of the portal's parts; exit code 1 when one of those asked for is red."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", nargs="*", help="database, broker, beat, inbound, …; all when none is named")

    def handle(self, *args: Any, **options: Any) -> None:
        parts = look_at_parts()
        wanted = {name: parts[name] for name in options["part"] or parts if name in parts}
        self.stdout.write(json.dumps(wanted, indent=1))
        if set(options["part"]) - set(parts) or any(part["state"] == "red" for part in wanted.values()):
            raise SystemExit(1)
