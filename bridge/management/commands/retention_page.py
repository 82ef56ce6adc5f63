"""Write the tables of docs/retention.md from the rules. A test compares the two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand
from django.utils import translation

from bridge.maintenance import retention_rules, table_rules

PAGE_PATH = settings.BASE_DIR / "docs" / "retention.md"
BEGIN, END = "<!-- {name}: written by `manage.py retention_page` -->\n", "<!-- end -->\n"


class Command(BaseCommand):
    help = "Write the tables of docs/retention.md."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        PAGE_PATH.write_text(render_page(PAGE_PATH.read_text()))


def render_page(text: str) -> str:
    """Return the page with its tables replaced."""
    with translation.override("en"):
        for name, lines in {"rules": render_rules(), "tables": render_tables()}.items():
            begin = BEGIN.format(name=name)
            before, _begin, rest = text.partition(begin)
            text = before + begin + "".join(f"{line}\n" for line in lines) + END + rest.partition(END)[2]
    return text


def render_rules() -> Iterator[str]:
    yield "| kind | what | default, days | why | per channel | shortest | fixed by |"
    yield "|---|---|---|---|---|---|---|"
    for kind, spec in retention_rules.KINDS.items():
        default = spec.default or "no limit"
        channel = "yes" if spec.channel_field else ""
        setting = f"`{spec.setting}`" if spec.setting else ""
        yield f"| {kind.label} | {spec.what} | {default} | {spec.reason} | {channel} | {spec.minimum} | {setting} |"


def render_tables() -> Iterator[str]:
    yield "| tables | rows stay |"
    yield "|---|---|"
    by_rule: dict[str, list[str]] = defaultdict(list)
    for label, rule in table_rules.PRUNED.items():
        by_rule[f"by the rule for {str(rule.kind.label).lower()}"].append(label)
    for label, reason in (table_rules.CLEANED | table_rules.KEPT).items():
        by_rule[reason].append(label)
    for reason, labels in by_rule.items():
        yield f"| {', '.join(f'`{label}`' for label in labels)} | {reason} |"
