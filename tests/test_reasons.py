"""The catalog of outcomes is complete: the code uses only listed reasons, and every listed reason is used."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation

from bridge import outcomes
from bridge.management.commands import outcomes_page
from bridge.outcomes import CATALOG, OutcomeClass, SuggestedAction

ROOT = Path(__file__).resolve().parent.parent
CATALOG_FILES = ("bridge/outcomes/*.py", "channels_setup/providers/*/reasons.py")
# Calls whose ``reason`` is something else: an API error, the provider's text, Django's HTTP reason.
OTHER_REASONS = {"ApiError", "TemplateChanged", "By"}
# Calls that take a code by position: function -> index of the argument.
BY_PLACE = {"notice": 1, "NotSent": 0, "failed": 0}


def sources() -> list[Path]:
    apps = ("channels_setup", "bridge", "config")
    paths = [path for app in apps for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts]
    tables = {path for pattern in CATALOG_FILES for path in ROOT.glob(pattern)}
    return [path for path in paths if path not in tables]


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def texts(node: ast.AST) -> Iterator[str]:
    """Return the plain strings that an expression may evaluate to, including both sides of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def used_codes(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (code, where) for every reason in a source file."""
    for node in ast.walk(ast.parse(path.read_text())):
        found: list[str] = []
        if isinstance(node, ast.Call) and called(node) not in OTHER_REASONS:
            for keyword in node.keywords:
                if keyword.arg in ("reason", "why_code"):
                    found += texts(keyword.value)
            place = BY_PLACE.get(called(node))
            if place is not None and len(node.args) > place:
                found += texts(node.args[place])
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.IfExp):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            found += texts(node.value) if {"reason", "code"} & set(names) else []
        elif isinstance(node, ast.Dict) and any(isinstance(key, ast.Attribute) for key in node.keys):
            found += [text for value in node.values for text in texts(value) if "template_" in text]
        yield from ((code, f"{path.relative_to(ROOT)}: {code}") for code in found if code)


def test_every_reason_in_the_code_is_in_the_catalog() -> None:
    uses = [pair for path in sources() for pair in used_codes(path)]

    assert len(uses) > 30
    assert [where for code, where in uses if code not in CATALOG] == []


def test_every_reason_of_the_catalog_is_used() -> None:
    strings = {
        node.value
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert [code for code in CATALOG if code not in strings] == []


@pytest.mark.parametrize("code", CATALOG)
def test_every_reason_has_a_class_a_sentence_and_an_action_if_possible(code: str) -> None:
    reason = CATALOG[code]

    with translation.override("en"):
        assert outcomes.render_sentence(code).endswith((".", "()"))
        assert outcomes.render_sentence(code, for_admin=True)
    if reason.outcome_class in (OutcomeClass.PERMANENT, OutcomeClass.UNKNOWN, OutcomeClass.PAUSE):
        assert reason.action or reason.admin_action
    assert SuggestedAction.RESUME not in (reason.action,) and SuggestedAction.CHANNEL not in (reason.action,)


def test_an_admin_reads_what_an_admin_can_do() -> None:
    with translation.override("en"):
        assert "Redirect URL" not in outcomes.render_sentence("gone")
        assert "Redirect URL" in outcomes.render_sentence("gone", for_admin=True)
        sentence = outcomes.render_sentence("not_delivered", {"why_code": "gone"}, for_admin=True)
    assert "Redirect URL" in sentence


def test_the_page_of_outcomes_matches_the_catalog() -> None:
    assert outcomes_page.PAGE_PATH.read_text() == outcomes_page.render_page()
