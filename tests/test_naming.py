"""Naming rules for tests: a name says the behavior and is at most 70 characters long."""

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parent
MOST_CHARACTERS = 70


def test_names_of_tests_are_short() -> None:
    names = [
        f"{path.relative_to(TESTS)}:{node.lineno} {node.name}"
        for path in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    longer = [name for name in names if len(name.rpartition(" ")[2]) > MOST_CHARACTERS]

    assert len(names) > 1_000
    assert not longer, "\n".join(longer)
