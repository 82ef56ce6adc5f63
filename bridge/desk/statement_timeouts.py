"""Statement timeouts of reads that may be slow."""

from __future__ import annotations

from django.db import OperationalError

QUERY_CANCELED = "57014"


def raise_unless_timeout(problem: OperationalError) -> None:
    """Raise the error again unless PostgreSQL canceled the statement. A lost connection is no slow search."""
    if getattr(problem.__cause__, "pgcode", None) != QUERY_CANCELED:
        raise problem
