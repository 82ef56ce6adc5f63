"""Django's migrate command, which rejects databases with migrations from before the first release."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.core.management.commands import migrate
from django.db import connections

# Migrations were squashed into one per app before the first release. A database with this old migration cannot be
# upgraded, because its user table is a different one.
OBSOLETE = ("bridge", "0002_draft_details_heldreply")
REFUSAL = (
    "This database was created by an unreleased version of Okno and cannot be upgraded. "
    "The old code can export only the templates, with `manage.py templates export`. Add channels and users again with "
    "`manage.py channel add` and `manage.py user add`. "
    "Then start with an empty database (with `make up`: another or an empty DATA_DIR)."
)


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        if has_obsolete_migrations(options["database"]):
            raise CommandError(REFUSAL)
        super().handle(*args, **options)


def has_obsolete_migrations(database: str) -> bool:
    """Return whether the database has a migration from before the first release."""
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT count(*) FROM django_migrations WHERE (app, name) = (%s, %s)", OBSOLETE)
        return bool(cursor.fetchone()[0])
