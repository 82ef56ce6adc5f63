"""Write docs/outcomes.md from the catalog of outcomes. A test compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand
from django.utils import translation

from bridge.outcomes import CATALOG, OutcomeClass, Reason, SuggestedAction

PAGE_PATH = settings.BASE_DIR / "docs" / "outcomes.md"
PAGE_HEAD = """# Outcomes

Every outcome that is not the usual one has a code: API answers carry it as `reason`, stored messages, deliveries and
attempts keep it, and it never changes its meaning. Pages show its sentence in the reader's language, with the button
that helps. An admin reads another sentence where there is something else for an admin to do.

This page is written by `manage.py outcomes_page` from `bridge/outcomes/` and the `reasons.py` of each provider.
"""


class Command(BaseCommand):
    help = "Write docs/outcomes.md."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        PAGE_PATH.write_text(render_page())


def render_page() -> str:
    with translation.override("en"):
        return PAGE_HEAD + "".join(part for kind in OutcomeClass for part in render_chapter(kind))


def render_chapter(kind: OutcomeClass) -> Iterator[str]:
    found = {code: reason for code, reason in CATALOG.items() if reason.outcome_class == kind}
    if found:
        yield f"\n## {kind.value}: {kind.label}\n\n"
        yield "| code | the operator reads | the admin reads | button |\n|---|---|---|---|\n"
        yield from (render_row(code, reason) for code, reason in found.items())


def render_row(code: str, reason: Reason) -> str:
    for_admin = format_sentence(reason.admin_sentence) if reason.admin_sentence else "·"
    return f"| `{code}` | {format_sentence(reason.sentence)} | {for_admin} | {format_buttons(reason)} |\n"


def format_sentence(text: Any) -> str:
    """Write placeholders in braces: ``{why}`` instead of ``%(why)s``."""
    return str(text).replace("%(", "{").replace(")s", "}")


def format_buttons(reason: Reason) -> str:
    found = [str(reason.action.label)] if reason.action else []
    if reason.admin_action and reason.admin_action != reason.action:
        found.append(f"admin: {SuggestedAction(reason.admin_action).label}")
    return "; ".join(found) or "·"
