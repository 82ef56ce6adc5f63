"""Events that failed because the database had the schema of another release.

Workers wait for the schema (`channels_setup.database_schema`). Events fail only if that check did not recognize the
error, or if they were processed by an older release, which did not wait.
"""

from __future__ import annotations

from bridge.models import WebhookEvent

from .processing import reprocess_events

# As `codecs.error_descriptions` writes them: class 42 (undefined column, table …) and a value that is missing.
# Workers of releases up to November 2026 write PostgreSQL's sentence instead, until they are replaced.
SCHEMA_ERRORS = (
    r"^(ProgrammingError|IntegrityError|SchemaMismatch): "
    r"(42|23502|null value in|(column|relation|function) .* does not exist)"
)
MAX_EVENTS = 100_000


def reprocess_schema_failures() -> int:
    """Queue the failed webhook events of this cause again. Return their number."""
    failed = WebhookEvent.objects.filter(state=WebhookEvent.State.FAILED, error__regex=SCHEMA_ERRORS)
    return reprocess_events(list(failed.order_by("pk").values_list("pk", flat=True)[:MAX_EVENTS]))
