"""``python -m tests.migration_lint``: check new migrations against the policy in CONTRIBUTING.md.

Runs django-migration-linter on the SQL of each migration except the initial ones, with a PostgreSQL of its own.
"""

from __future__ import annotations

import os
import sys

import django

from tests import servers_for_tests

APPS = ["accounts", "audit", "bridge", "channels_setup", "templates_registry"]


def main() -> int:
    servers_for_tests.set_environment()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django_migration_linter import MigrationLinter

    linter = MigrationLinter(
        include_apps=APPS,
        ignore_initial_migrations=True,
        no_cache=True,
        all_warnings_as_errors=True,
        quiet=["ignore", "ok"],
    )
    try:
        linter.lint_all_migrations()
        linter.print_summary()
    finally:
        servers_for_tests.release_servers()
    return 1 if linter.has_errors else 0


if __name__ == "__main__":
    sys.exit(main())
