"""Import rules: modules import downwards only, and a provider is named only inside its own package."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation

from bridge.outcomes import CATALOG
from bridge.outcomes.alert_reasons import ALERT_REASONS
from bridge.outcomes.delivery_reasons import DELIVERY_REASONS
from bridge.outcomes.helpdesk_reasons import HELPDESK_REASONS
from bridge.outcomes.notice_reasons import NOTICE_REASONS
from bridge.outcomes.reply_reasons import REPLY_REASONS
from channels_setup.providers import all_providers

ROOT = Path(__file__).resolve().parent.parent
APPS = ("channels_setup", "templates_registry", "bridge", "config")
# Listed from the bottom up: a package or module may import from itself and from the entries above it in its list. The
# longest matching name decides, so `channels_setup.providers` is a layer of its own.
LAYERS = {
    "": [
        "config.audit",
        "channels_setup.codecs",
        "channels_setup.providers",
        "channels_setup",
        "templates_registry",
        "bridge",
        "config",
    ],
    "bridge": [
        "call_limits",
        "outcomes",
        "decisions",
        "message_text",
        "phone_visibility",
        "person_erased",
        "models",
        "optional_redis",
        "metrics",
        "tracing",
        "wakeups",
        "worker_runs",
        "service_window",
        "row_inserts",
        "row_reads",
        "settings_cache",
        "idempotency",
        "raw_requests",
        "ticket_properties",
        "files",
        "alert_catalog",
        "channel_health",
        "alert_routes",
        "fanout",
        "notices",
        "notifications",
        "conversations",
        "canned_variables",
        "merging",
        "relay",
        "automation",
        "helpdesk",
        "outbox",
        "inbox",
        "intake",
        "maintenance",
        "desk",
        "uapi",
        "api",
        "admin",
        "templatetags",
        "tasks",
        "apps",
        "management",
    ],
    "bridge.desk": [
        "parameters",
        "first_rows",
        "statement_timeouts",
        "refusals",
        "command_catalog",
        "presentation",
        "urls",
        "html",
        "access",
        "settings",
        "teams",
        "tags",
        "filters",
        "bulk",
        "forms",
        "canned_responses",
        "snooze_menu",
        "macro_menu",
        "reply_forms",
        "notification_settings",
        "personal_settings",
        "availability",
        "live",
        "push",
        "client",
        "chat_list",
        "request_table",
        "reply_times",
        "saved_views",
        "contacts",
        "thread",
        "composer",
        "views",
        "template_link_page",
    ],
    "templates_registry": [
        "message_catalog",
        "content",
        "matching",
        "models",
        "lifecycle",
        "history",
        "index_cache",
        "pasteable",
        "provider",
        "timeline",
        "linting",
        "transfer",
        "preview",
        "selection",
        "admin",
        "views",
        "apps",
        "management",
    ],
    "channels_setup": [
        "advisory_locks",
        "prepared_statements",
        "prepared_queries",
        "database_schema",
        "schema_pauses",
        "failing_items",
        "secret_options",
        "codecs",
        "working_hours",
        "time_zones",
        "encryption",
        "providers",
        "http_client",
        "permissions",
        "models",
        "shown_secrets",
        "roles",
        "account_settings",
        "onboarding",
        "admin_history",
        "checks",
        "provisioning",
        "handover",
        "admin",
        "views",
        "apps",
        "management",
    ],
    "config": [
        "audit",
        "version",
        "file_permissions",
        "setting_kinds",
        "account_environment",
        "monitoring_environment",
        "environment",
        "environment_check",
        "storage",
        "shared_memory",
        "admin_site",
        "web",
        "devstack",
        "accounts",
        "serving",
        "backup",
        "celery",
        "monitoring",
        "beat",
        "settings",
        "formats",
        "apps",
        "urls",
        "wsgi",
        "management",
    ],
}


def modules() -> list[Path]:
    return [path for app in APPS for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


KNOWN = {dotted(path) for path in modules()}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every module that a file imports, also inside functions."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield node.lineno, name if name in KNOWN else source


def layer_of(module: str, layers: list[str]) -> int | None:
    """Return the position of the longest layer name that the module's name begins with; None outside all layers."""
    fitting = [layer for layer in layers if module == layer or module.startswith(layer + ".")]
    return layers.index(max(fitting, key=len)) if fitting else None


def members(parent: str) -> list[str]:
    depth = parent.count(".") + 1
    return sorted({".".join(name.split(".")[: depth + 1]) for name in KNOWN if name.startswith(parent + ".")})


@pytest.mark.parametrize("parent", [parent for parent in LAYERS if parent])
def test_every_package_and_module_has_a_layer(parent: str) -> None:
    assert sorted(f"{parent}.{name}" for name in LAYERS[parent]) == members(parent)


@pytest.mark.parametrize("parent", LAYERS)
def test_imports_go_only_downwards(parent: str) -> None:
    layers = [f"{parent}.{name}" if parent else name for name in LAYERS[parent]]
    upward = []
    for path in modules():
        here = layer_of(dotted(path), layers)
        if here is None:
            continue
        for line, name in imports(path):
            there = layer_of(name, layers)
            if there is not None and there > here:
                upward.append(f"{dotted(path)}, line {line}: {name}")

    assert upward == []


def private_names(path: Path) -> Iterator[str]:
    """Yield each private name of another module that a file imports or reads as an attribute."""
    tree = ast.parse(path.read_text())
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    imported = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom | ast.Import):
            continue
        base = ""
        if isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
        for alias in node.names:
            name = f"{base}.{alias.name}" if base else alias.name
            if name.partition(".")[0] in APPS:
                imported.add(alias.asname or alias.name)
                if is_private(alias.name):
                    yield f"{dotted(path)}, line {node.lineno}: {name}"
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in imported and is_private(attribute):
                yield f"{dotted(path)}, line {node.lineno}: {name}.{attribute}"


def is_private(name: str) -> bool:
    return (
        name.startswith("_")
        and not name.startswith("__")
        and name not in ("_meta", "_base_manager", "_default_manager")
    )


def test_no_module_uses_private_names_of_another() -> None:
    assert [name for path in modules() for name in private_names(path)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "channels_setup" / "providers").rglob("*.py")), ids=dotted)
def test_providers_know_no_models_and_make_no_calls(path: Path) -> None:
    touched = [name for _line, name in imports(path) if re.search(r"\.models\b|django\.db|requests\b", name)]

    assert touched == []


def sources_outside(kind: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of every Python, HTML and JS file outside a provider's package."""
    for path in modules():
        if not dotted(path).startswith(f"channels_setup.providers.{kind}"):
            yield dotted(path), _code_without_docstrings(path)
    pages = [path for app in APPS for path in sorted((ROOT / app).rglob("templates/**/*.html"))]
    for path in [*pages, *sorted((ROOT / "static").glob("*.js"))]:
        yield str(path.relative_to(ROOT)), path.read_text()


@pytest.mark.parametrize("kind", all_providers())
def test_a_provider_is_named_only_in_its_own_package(kind: str) -> None:
    # As a value or an import; "desk" and "sandbox" are ordinary words elsewhere (pages, a CSP keyword).
    in_python = re.compile(rf"[\"']{kind}[\"']|\bproviders\.{kind}\b|\bimport {kind}\b", re.IGNORECASE)
    in_pages = re.compile(rf"[=!]=+ *[\"']{kind}[\"']", re.IGNORECASE)
    named = [
        name
        for name, text in sources_outside(kind)
        if (in_pages if name.endswith((".html", ".js")) else in_python).search(text)
    ]

    assert named == []


# Companies that a provider's package serves besides its own kind: only its texts may name them.
VENDORS = {"whatsapp_cloud": ("360dialog", "Gupshup")}


@pytest.mark.parametrize("kind", VENDORS)
def test_a_vendor_is_named_only_in_its_providers_package(kind: str) -> None:
    vendor = re.compile("|".join(VENDORS[kind]), re.IGNORECASE)

    assert [name for name, text in sources_outside(kind) if vendor.search(text)] == []


WITH_REASONS = [kind for kind, provider in all_providers().items() if provider.reasons]


@pytest.mark.parametrize("kind", WITH_REASONS)
def test_a_providers_codes_and_sentences_are_only_in_its_own_package(kind: str) -> None:
    reasons = all_providers()[kind].reasons
    prefix = next(iter(reasons)).partition("_")[0] + "_"
    with translation.override("en"):
        sentences = {
            str(text) for reason in reasons.values() for text in (reason.sentence, reason.admin_sentence) if text
        }
    code = re.compile(rf"[\"']{prefix}\w+[\"']")

    assert all(each.startswith(prefix) for each in reasons)
    assert [name for name, text in sources_outside(kind) if code.search(text)] == []
    assert [name for name, text in sources_outside(kind) if any(each in text for each in sentences)] == []


def test_no_two_tables_define_the_same_code() -> None:
    tables = [REPLY_REASONS, DELIVERY_REASONS, HELPDESK_REASONS, NOTICE_REASONS, ALERT_REASONS]
    tables += [provider.reasons for provider in all_providers().values()]

    assert sum(len(table) for table in tables) == len(CATALOG)


def _code_without_docstrings(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
