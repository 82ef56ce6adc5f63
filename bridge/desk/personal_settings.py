"""Settings and status of the signed-in user that every page shows, read once with one query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection, models
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from bridge.models import DeskSettings, NotificationSettings, OperatorAvailability
from channels_setup.prepared_statements import execute_read

TABLES: tuple[type[models.Model], ...] = (DeskSettings, NotificationSettings, OperatorAvailability)
SELECT_SQL = "SELECT {columns} FROM (SELECT %s::bigint AS id) u {joins}".format(
    columns=", ".join(f"{model._meta.db_table}.{field.column}" for model in TABLES for field in model._meta.fields),
    joins=" ".join(f"LEFT JOIN {model._meta.db_table} ON {model._meta.db_table}.user_id = u.id" for model in TABLES),
)


@dataclass(frozen=True, kw_only=True)
class PersonalSettings:
    """Rows of one user. Without a row, an unsaved object with the defaults."""

    desk: DeskSettings
    notifications: NotificationSettings
    availability: OperatorAvailability


def load_settings(user: Any) -> PersonalSettings:
    """Load the rows of the user."""
    with connection.cursor() as cursor:
        execute_read(cursor, SELECT_SQL, [user.pk])
        values = iter(cursor.fetchone())
    rows: list[Any] = []
    for model in TABLES:
        found = {field.attname: next(values) for field in model._meta.fields}
        is_saved = found["user_id"] is not None
        rows.append(model.from_db("default", list(found), list(found.values())) if is_saved else model(user_id=user.pk))
    return PersonalSettings(desk=rows[0], notifications=rows[1], availability=rows[2])


def context_processor(request: HttpRequest) -> dict[str, Any]:
    """Add ``personal`` to every page. It is read when a template first uses it."""
    return {"personal": SimpleLazyObject(lambda: load_settings(request.user))}
