"""Memory that forked processes share with their parent, which calls these functions when it has loaded the portal."""

import gc
from contextlib import suppress

from django.db import DatabaseError, connection


def freeze_loaded_objects() -> None:
    """Exclude the loaded objects from garbage collection, which would copy their memory pages in each child."""
    gc.collect()
    gc.freeze()


def initialize_database_driver() -> None:
    """Connect once, because the libraries of the driver then occupy 5 MB, which the children share."""
    with suppress(DatabaseError):
        connection.ensure_connection()
    connection.close()
