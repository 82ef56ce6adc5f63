"""Write the list of alerts in docs/alerts.md from the catalog. A test compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand
from django.utils import translation

from bridge.alert_catalog import CATALOG
from bridge.models import Alert
from channels_setup.models import AlertSeverity

PAGE_PATH = settings.BASE_DIR / "docs" / "alerts.md"
BEGIN, END = "<!-- alerts_page: begin -->\n", "<!-- alerts_page: end -->"


class Command(BaseCommand):
    help = "Write the list of alerts in docs/alerts.md."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        PAGE_PATH.write_text(render_page(PAGE_PATH.read_text()))


def render_page(page: str) -> str:
    """Return the page with its list replaced by the catalog's."""
    before, _begin, rest = page.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    with translation.override("en"):
        return "".join([before, BEGIN, *_render_table(), END, after])


def _render_table() -> Iterator[str]:
    yield "| kind | alert | severity | raised when | resolved when | what to do |\n|---|---|---|---|---|---|\n"
    for severity in reversed(AlertSeverity):
        for kind, definition in CATALOG.items():
            if definition.severity == severity:
                label = str(Alert.Kind(kind).label)
                texts = (definition.raised_when, definition.resolved_when, str(definition.action))
                yield f"| `{kind}` | {label} | {severity.value} | {' | '.join(texts)} |\n"
