"""Session engine: Django's sessions in the database, read with a prepared statement."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends import db
from django.db import connection
from django.utils import timezone

from channels_setup.prepared_statements import execute_read

SELECT_SQL = """
SELECT session_key, session_data, expire_date FROM django_session WHERE session_key = %s AND expire_date > %s
"""


class SessionStore(db.SessionStore):
    """Django's store. Each page reads a session, and its query took longer to build than to run."""

    def _get_session_from_db(self) -> Any:
        with connection.cursor() as cursor:
            execute_read(cursor, SELECT_SQL, [self.session_key, timezone.now()])
            row = cursor.fetchone()
        if row is None:
            self._session_key = None
            return None
        return self.model.from_db(connection.alias, ["session_key", "session_data", "expire_date"], row)
