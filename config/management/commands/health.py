"""Show the result of /health/ready in a terminal or for a container's health check."""

import json
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from config.monitoring.health import check_components


class Command(BaseCommand):
    help = "Show the state of the portal's components. The exit code is 1 if one of the selected ones is red."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("component", nargs="*", help="database, broker, beat, inbound, …; all if omitted")

    def handle(self, *args: Any, **options: Any) -> None:
        components = check_components()
        if unknown := sorted(set(options["component"]) - set(components)):
            raise CommandError(f"There is no component {', '.join(unknown)}. Components: {', '.join(components)}.")
        selected = {name: components[name] for name in options["component"] or components}
        self.stdout.write(json.dumps(selected, indent=1))
        if any(component["state"] == "red" for component in selected.values()):
            raise SystemExit(1)
