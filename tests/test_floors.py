"""The house stands: imports go only downwards, and a provider's name stays in its file."""

import ast
import re
from pathlib import Path

import pytest

from channels_setup.providers import all_providers

ROOT = Path(__file__).resolve().parent.parent
FLOORS = [
    "channels_setup.codecs",
    "channels_setup.providers",
    "channels_setup",
    "templates_registry",
    "bridge",
    "config",
]


def floor_of(module: str) -> int | None:
    """The highest-numbered floor is the roof. The longest prefix wins: providers are their own floor."""
    fitting = [floor for floor in FLOORS if module == floor or module.startswith(floor + ".")]
    return FLOORS.index(max(fitting, key=len)) if fitting else None


def modules() -> list[Path]:
    apps = ("channels_setup", "templates_registry", "bridge", "config")
    return [path for app in apps for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts]


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(path: Path) -> list[tuple[int, str]]:
    """Every import in a file, also inside functions, with its line."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{prefix}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_go_only_downwards(path: Path) -> None:
    here = floor_of(dotted(path))
    assert here is not None

    upward = [
        f"line {line}: {name}" for line, name in imports(path) if (there := floor_of(name)) is not None and there > here
    ]

    assert upward == []


@pytest.mark.parametrize("path", sorted((ROOT / "channels_setup" / "providers").glob("*.py")), ids=dotted)
def test_providers_know_no_models(path: Path) -> None:
    touched = [name for _line, name in imports(path) if re.search(r"\.models\b|django\.db|requests\b", name)]

    assert touched == []


def test_a_provider_is_named_only_in_its_own_file() -> None:
    strangers = []
    for path in modules():
        text = _code_without_docstrings(path)
        for kind in all_providers():
            if path.name == f"{kind}.py" and path.parent.name == "providers":
                continue
            # As a value or an import; "desk" and "sandbox" are ordinary words elsewhere (pages, a CSP keyword).
            pattern = rf"[\"']{kind}[\"']|\bproviders\.{kind}\b|\bimport {kind}\b"
            strangers += [f"{dotted(path)}: {kind}" for _hit in re.findall(pattern, text)]

    assert strangers == []


def _code_without_docstrings(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree).lower()
