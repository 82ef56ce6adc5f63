"""Django's migrate, which refuses databases made before the first release's migrations."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.core.management.commands import migrate
from django.db import connections

# Migrations were squashed into one per app before the first release. A database that has applied this one of the old
# migrations cannot go on: its user table is another one.
OBSOLETE = ("bridge", "0002_draft_details_heldreply")
REFUSAL = (
    "This database was made by an unreleased version of Okno, and this version cannot upgrade it. "
    "With the code that made it, save what you need: `manage.py templates export` writes the templates; channels and "
    "users are set up again with `manage.py channel add` and `manage.py user add`. "
    "Then start with an empty database (with `make up`: another DATA_DIR, or an empty one)."
)


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        if has_obsolete_migrations(options["database"]):
            raise CommandError(REFUSAL)
        super().handle(*args, **options)


def has_obsolete_migrations(database: str) -> bool:
    """Tell whether the database has a migration that was squashed before the first release."""
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT count(*) FROM django_migrations WHERE (app, name) = (%s, %s)", OBSOLETE)
        return bool(cursor.fetchone()[0])
