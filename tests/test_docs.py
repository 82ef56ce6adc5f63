"""The pages under docs/ and README: figures, links, commands, buttons and examples are those of the program."""

import argparse
import ast
import importlib
import json
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.test import Client
from django.utils import timezone

from channels_setup.handover import example_event
from channels_setup.providers.base import Account, DeliveryRequest, signed_event_request
from config import environment
from tests.factories import ApiChannelFactory

PROJECT: Path = settings.BASE_DIR
PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]
PROVIDER_PAGES = [PROJECT / "docs" / f"provider.{language}.md" for language in ("ru", "en")]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
UNITS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86_400, "KB": 1024, "MB": 1024 * 1024, "%": 0.01}


def blocks(page: Path, kind: str) -> list[str]:
    return [text for language, text in FENCED.findall(page.read_text()) if language == kind]


def by_name(page: Path) -> str:
    return page.name


# --- figures ---------------------------------------------------------------------------------------------


def limits() -> list[tuple[str, str, str]]:
    """What, value, where in the code: the rows of the table of limits."""
    section = (PROJECT / "docs/operations.md").read_text().split("## Time-outs, pools and limits")[1]
    rows = [line.strip("| \n").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [(what, value, place.strip("`")) for _system, what, value, place in rows[1:]]


def constant(place: str) -> Any:
    """The object at a dotted place: a module, then attributes, keys of mappings, or both."""
    words = place.split(".")
    depth = max(n for n in range(1, len(words)) if (PROJECT / Path(*words[:n])).with_suffix(".py").exists() or n == 2)
    found: Any = importlib.import_module(".".join(words[:depth]))
    for word in words[depth:]:
        found = found[word] if isinstance(found, Mapping) else getattr(found, word)
    return found[1] if place.startswith("config.celery.SCHEDULE.") else found


def plain(value: Any) -> list[float]:
    if isinstance(value, tuple | list):
        return [number for item in value for number in plain(item)]
    return [value.total_seconds() if isinstance(value, timedelta) else float(value)]


def read(cell: str) -> list[float]:
    """``5 s, 1 min`` as 5 and 60; ``1,000`` is one number."""
    parts = [re.fullmatch(r"([\d.,]+) ?(\S*)", part) for part in cell.split(", ")]
    return [float(part[1].replace(",", "")) * UNITS[part[2]] for part in parts if part]


@pytest.mark.parametrize(("what", "value", "place"), limits())
def test_the_table_of_limits_is_what_the_code_does(what: str, value: str, place: str) -> None:
    assert read(value) == pytest.approx(plain(constant(place))), f"{what}: docs/operations.md says {value}"


# --- links -----------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text()))

    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


# --- commands --------------------------------------------------------------------------------------------

STARTS = re.compile(r"(?:^|[\s;&`])((?:make|docker compose)(?= |$)|manage\.py)((?: [^\s`|<>;#]+)*)")


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Every command that the page shows in a block or between backticks: program, words."""
    text = page.read_text()
    shown = [block.replace("\\\n", " ") for block in blocks(page, "sh")]
    shown += [found for found in re.findall(r"`([^`\n]+)`", FENCED.sub("", text)) if " " in found]
    for piece in shown:
        for line in piece.splitlines():
            line = line.partition(" # ")[0]
            for program, words in STARTS.findall(line):
                yield program, shlex.split(words.replace("…", ""))


@cache
def compose_services() -> set[str]:
    return set(yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"])


def check_make(words: list[str]) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
    variables = {*environment.SETTINGS_BY_NAME, *re.findall(r"^(\w+) \?=", makefile, re.MULTILINE)}
    for word in words:
        name, is_variable, _value = word.partition("=")
        assert name in (variables if is_variable else targets), f"make {word}"


def check_manage(words: list[str]) -> None:
    if not words:
        return
    name, *rest = words
    app = get_commands().get(name)
    assert app is not None, f"manage.py {name}"
    command = load_command_class(app, name) if isinstance(app, str) else app
    parser: argparse.ArgumentParser = command.create_parser("manage.py", name)
    known = set(parser._option_string_actions)
    choices = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if choices and rest:
        assert rest[0] in choices[0], f"manage.py {name} {rest[0]}"
        known |= set(choices[0][rest[0]]._option_string_actions)
    for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
        assert option in known, f"manage.py {name} {option}"


def check_compose(words: list[str]) -> None:
    """The services that a command names, and the manage.py command inside one of them."""
    verb, *rest = words
    assert verb in ("up", "build", "exec", "run", "stop", "restart", "logs", "config"), verb
    scaled = [word.partition("=")[0] for word in rest if "=" in word]
    named = [word for word in rest if not word.startswith("-") and "=" not in word]
    if "manage.py" in words:
        check_manage(words[words.index("manage.py") + 1 :])
    named = named[:1] if verb in ("exec", "run") else named
    assert {*scaled, *named} <= compose_services(), f"docker compose {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_command_shown_exists(page: Path) -> None:
    checks = {"make": check_make, "manage.py": check_manage, "docker compose": check_compose}

    for program, words in commands(page):
        if words or program == "make":
            checks[program](words)


# --- buttons ---------------------------------------------------------------------------------------------


GUIDES = ("guide-operator", "guide-admin")


def labels(guide: str, language: str) -> list[str]:
    """Return what the guide prints in bold: the words of buttons, fields and states, and nothing else."""
    found = re.findall(r"\*\*([^*]+)\*\*", (PROJECT / f"docs/{guide}.{language}.md").read_text())
    return [" ".join(label.split()) for label in found]


def catalog() -> dict[str, str]:
    """Return the translations, English → Russian: all entries without plural forms."""
    text = (PROJECT / "config/locale/ru/LC_MESSAGES/django.po").read_text()
    pairs = re.findall(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n)+)', text, re.MULTILINE)
    return {
        "".join(map(ast.literal_eval, source.splitlines())): "".join(map(ast.literal_eval, words.splitlines()))
        for source, words in pairs
    }


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_names_buttons_as_the_pages_do(guide: str) -> None:
    apps = ("config", "bridge", "templates_registry", "channels_setup")
    files = [path for app in apps for kind in ("*.py", "*.html") for path in (PROJECT / app).rglob(kind)]
    sources = "\n".join(path.read_text() for path in files)

    missing = [
        label
        for label in labels(guide, "en")
        if not re.search(rf"[\"'>]{re.escape(label)}[\"'<]", sources, re.IGNORECASE)
    ]

    assert missing == []


@pytest.mark.parametrize("guide", GUIDES)
def test_a_russian_guide_names_the_same_buttons_in_the_words_of_the_catalog(guide: str) -> None:
    pairs, words = list(zip(labels(guide, "en"), labels(guide, "ru"), strict=True)), catalog()

    wrong = [(ru, words[en]) for en, ru in pairs if words.get(en, ru).lower() != ru.lower()]

    assert wrong == [], "guide, catalog"


def shape(page: Path) -> list[str]:
    """Return what two translations of a page have in common: headings, tables, steps, links and pictures."""
    lines = FENCED.sub("", page.read_text()).splitlines()
    marks = [re.match(r"(#+ |\s*\||\s*\d+\. |\s*- |!\[)", line) for line in lines]
    return [mark[0].strip() for mark in marks if mark]


@pytest.mark.parametrize("guide", GUIDES)
def test_both_languages_of_a_guide_have_the_same_chapters_steps_and_pictures(guide: str) -> None:
    pages = [PROJECT / f"docs/{guide}.{language}.md" for language in ("en", "ru")]

    assert shape(pages[0]) == shape(pages[1])


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_table_of_contents_of_a_guide_lists_every_chapter(guide: str, language: str) -> None:
    text = (PROJECT / f"docs/{guide}.{language}.md").read_text()

    assert re.findall(r"^- \[(.+)\]\(#", text, re.MULTILINE) == re.findall(r"^## (.+)$", text, re.MULTILINE)


# --- the provider's page ---------------------------------------------------------------------------------


def first_json(page: Path, key: str) -> dict[str, Any]:
    return next(found for found in map(json.loads, blocks(page, "json")) if key in found)


@pytest.mark.parametrize("page", PROVIDER_PAGES, ids=by_name)
def test_the_python_given_to_providers_knows_our_requests_from_others(page: Path) -> None:
    code: dict[str, Any] = {}
    exec(blocks(page, "python")[0], code)
    secret, event = "0" * 40, {"text": "Заказ готов"}
    account = Account(id=1, name="", app_id="1", redirect_url="https://hooks.example/x", secrets=("f" * 40, secret))

    sent = signed_event_request(DeliveryRequest(key="msg_1", attempt=1, at=timezone.now(), event=event), account)

    assert code["is_genuine"](sent.headers, sent.body, secret)
    assert not code["is_genuine"](sent.headers, sent.body + b" ", secret)
    assert not code["is_genuine"](sent.headers, sent.body, "a" * 40)
    stale = sent.headers | {"webhook-timestamp": str(int(time.time()) - 3600)}  # type: ignore[operator]  # a dict it is
    assert not code["is_genuine"](stale, sent.body, secret)


@pytest.mark.django_db
@pytest.mark.parametrize("page", PROVIDER_PAGES, ids=by_name)
def test_the_event_shown_to_providers_has_the_fields_that_we_send(page: Path) -> None:
    channel: Any = ApiChannelFactory()
    sent = example_event(channel, channel.watched.get())
    shown = first_json(page, "from")

    assert shown.keys() == sent.keys()
    assert shown["client"].keys() == sent["client"].keys()
    assert shown["ticket"].keys() == sent["ticket"].keys()


@pytest.mark.django_db
@pytest.mark.parametrize("page", PROVIDER_PAGES, ids=by_name)
def test_the_call_shown_to_providers_is_taken_and_answered_as_shown(page: Path, client: Client) -> None:
    channel: Any = ApiChannelFactory(secret=True)
    secret = channel.current_secret()
    assert secret is not None
    call = first_json(page, "api_token") | {
        "api_token": secret.reveal(),
        "channel_id": channel.watched.get().pk,
        "company_id": channel.watched.get().company_id,
    }

    answer = client.post("/uapi/chat/addMessage", call, content_type="application/json").json()

    assert answer.keys() == first_json(page, "ticket_id").keys()
    assert answer["ticket_id"] is None


def test_the_two_provider_pages_have_the_same_chapters_and_tables() -> None:
    assert shape(PROVIDER_PAGES[0]) == shape(PROVIDER_PAGES[1])


def test_nowhere_is_it_said_that_answers_in_the_window_cost_nothing() -> None:
    """WhatsApp charges for them since October 2026."""
    said = re.compile(r"бесплатн|free of charge|\bfor free\b|at no (?:cost|charge)", re.IGNORECASE)
    looked_at = [*PAGES, *PROJECT.glob("*/locale/**/*.po"), *PROJECT.glob("*/templates/**/*.html")]

    assert len(looked_at) > 60
    assert [path.name for path in looked_at if said.search(path.read_text())] == []


def test_the_security_page_names_tests_that_exist() -> None:
    named = set(re.findall(r"`((?:tests|config)/[\w/.]+)`", (PROJECT / "docs/security.md").read_text()))

    assert len(named) > 20
    assert [path for path in sorted(named) if not (PROJECT / path).exists()] == []
