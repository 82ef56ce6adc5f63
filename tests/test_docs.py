"""The pages under docs/ and README: figures, links, commands, buttons and examples are those of the program."""

import argparse
import ast
import importlib
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.test import Client
from django.utils import timezone, translation

from channels_setup.handover import example_event
from channels_setup.providers.base import Account, DeliveryRequest, SuggestedAction, signed_event_request
from config import environment
from tests.factories import ApiChannelFactory

PROJECT: Path = settings.BASE_DIR
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CHANGELOG.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / "docs").rglob("*.md")),
]
PROVIDER_PAGES = [PROJECT / "docs" / f"provider.{language}.md" for language in ("ru", "en")]
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
UNITS = {"": 1, "ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400, "KB": 1024, "MB": 1024 * 1024, "%": 0.01}

SETTING = "config.environment.SETTINGS_BY_NAME.{}.default"
# Page, sentence with a figure, the figure, its place in the code.
FIGURES = (
    ("guide-operator.en.md", "amber below 4 hours", "4 h", "bridge.desk.presentation.WARNING_BELOW"),
    ("guide-operator.en.md", "red below 1 hour", "1 h", "bridge.desk.presentation.CRITICAL_BELOW"),
    ("guide-operator.en.md", "24 hours after the client's last message", "24 h", "bridge.service_window.WINDOW_LENGTH"),
    ("guide-operator.en.md", "works for 14 days (`FILE_LINK_DAYS`)", "14", SETTING.format("FILE_LINK_DAYS")),
    ("guide-operator.en.md", "up to 25 MB each (`UPLOAD_LIMIT_MB`)", "25", SETTING.format("UPLOAD_LIMIT_MB")),
    (
        "guide-operator.en.md",
        "1,000 MB (`UPLOAD_LIMIT_PER_OPERATOR_DAY_MB`)",
        "1,000",
        SETTING.format("UPLOAD_LIMIT_PER_OPERATOR_DAY_MB"),
    ),
    (
        "guide-operator.en.md",
        "500 MB (`UPLOAD_LIMIT_PER_CHAT_DAY_MB`)",
        "500",
        SETTING.format("UPLOAD_LIMIT_PER_CHAT_DAY_MB"),
    ),
    ("guide-operator.en.md", "not written after 7 days", "7", SETTING.format("HELD_REPLY_DAYS")),
    (
        "guide-operator.en.md",
        "4 hours, 1 hour and 15 minutes",
        "240, 60, 15",
        SETTING.format("CLOSING_REMINDER_MINUTES"),
    ),
    ("guide-operator.en.md", "last half hour", "30 min", "bridge.conversations.closing_reminders.END_OF_DAY_MARGIN"),
    ("guide-operator.en.md", "takes it back, for 15 minutes", "15 min", "bridge.desk.bulk.changes.UNDO_SECONDS"),
    ("guide-operator.en.md", "within 24 hours. New messages", "24 h", "bridge.merging.undo.UNDO_WITHIN"),
    ("guide-operator.en.md", "more than 4,096 characters", "4,096", "bridge.relay.reply_submission.MAX_TEXT_LENGTH"),
    ("guide-admin.en.md", "15 minutes after five wrong passwords", "0.25", "django.conf.settings.AXES_COOLOFF_TIME"),
    ("guide-admin.en.md", "after five wrong passwords", "5", "django.conf.settings.AXES_FAILURE_LIMIT"),
    ("guide-admin.en.md", "can send ten an hour", "10", "bridge.relay.template_tests.MAX_TESTS_PER_HOUR"),
    ("guide-admin.en.md", "after five days of failures", "5 d", "bridge.channel_health.alerts.SWITCHED_OFF_AFTER"),
    ("guide-admin.en.md", "at 50, 70 and 90 %", "90, 70, 50", "bridge.channel_health.alerts.ALERT_PERCENTAGES"),
    ("guide-admin.en.md", "Both keys work for 24 hours", "24 h", "channels_setup.admin.channel_page.KEY_OVERLAP"),
    (
        "guide-admin.en.md",
        "works for seven more days",
        "7 d",
        "channels_setup.models.webhook_addresses.ADDRESS_OVERLAP",
    ),
    (
        "guide-admin.en.md",
        "which works for 24 more hours",
        "24 h",
        "channels_setup.models.api_channels.CREDENTIAL_OVERLAP",
    ),
    ("guide-admin.en.md", "not sent for six hours", "6", SETTING.format("MISMATCH_AFTER_HOURS")),
    ("guide-admin.en.md", "for 24 hours and one message", "24 h", "bridge.fanout.template_links.LIFETIME"),
    ("install.md", "ends request headers after 10 s", "10,000", "config.serving.server.HEADER_TIMEOUT_MS"),
    ("install.md", "bodies after 60 s", "60 s", "config.serving.arrival_limits.BODY_TIMEOUT"),
    ("install.md", "128 per address", "128", "config.serving.arrival_limits.MAX_BODIES_PER_ADDRESS"),
    (
        "scaling.md",
        "more than 128 calls in flight",
        "128",
        "bridge.outbox.destinations.api_channels.IN_FLIGHT",
    ),
    ("scaling.md", "up to 256 calls at once", "256", "bridge.outbox.dispatcher.MAX_CALLS"),
    ("scaling.md", "more than 4 (`WEB_THREADS`)", "4", SETTING.format("WEB_THREADS")),
    ("scaling.md", "in batches of 500", "500", "bridge.service_window.EXPIRE_BATCH"),
    ("provider.en.md", "up to 20 MB here", "20 MB", "bridge.raw_requests.MAX_BYTES_WITH_FILES"),
    ("provider.en.md", "up to 4 MB in other calls", "4 MB", "bridge.raw_requests.MAX_BYTES"),
    ("provider.en.md", "at most 30 links", "30", "channels_setup.codecs.values.MAX_FILES"),
    ("provider.en.md", "follow `Retry-After`, up to an hour", "1 h", "bridge.outbox.policies.MAX_RETRY_AFTER"),
    ("decisions.md", "A signed token of 90 seconds", "90 s", "bridge.desk.live.polling.TOKEN_SECONDS"),
    ("decisions.md", "expires after eight seconds", "8 s", "bridge.desk.live.presence.PRESENT_SECONDS"),
    ("decisions.md", "answers 120 calls a minute", "120", "bridge.fanout.template_links.MAX_CALLS_PER_MINUTE"),
    ("decisions.md", "A signed cookie (180 days)", "180", "config.accounts.known_device.DAYS"),
    (
        "decisions.md",
        "one limit, 20 s for the whole exchange",
        "20 s",
        "channels_setup.http_client.concurrent_calls.DEADLINE_SECONDS",
    ),
    ("decisions.md", "longest of fourteen days", "14", "bridge.channel_health.webhook_inactivity.RHYTHM_DAYS"),
    (
        "decisions.md",
        "so 128 calls to one destination",
        "128",
        "bridge.outbox.destinations.api_channels.IN_FLIGHT",
    ),
    ("decisions.md", "The attempt waits 30 s", "30 s", "bridge.outbox.destinations.helpdesks.LOOKUP_DELAY_SECONDS"),
)


def blocks(page: Path, kind: str) -> list[str]:
    return [dedent(text) for language, text in FENCED.findall(page.read_text()) if language == kind]


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
def test_the_table_of_limits_matches_the_code(what: str, value: str, place: str) -> None:
    assert read(value) == pytest.approx(plain(constant(place))), f"{what}: docs/operations.md says {value}"


@pytest.mark.parametrize(("page", "sentence", "value", "place"), FIGURES)
def test_figures_in_sentences_are_those_of_the_code(page: str, sentence: str, value: str, place: str) -> None:
    assert sentence in " ".join((PROJECT / "docs" / page).read_text().split())
    assert read(value) == pytest.approx(plain(constant(place))), f"docs/{page}: {sentence}"


@pytest.mark.parametrize(
    ("sentence", "place"),
    [
        ("a message 10 times over about 8 hours", "bridge.outbox.destinations.messages.MessagePolicy.retry_delays"),
        ("other events 11 times over more than two days", "bridge.outbox.destinations.events.EventPolicy.retry_delays"),
    ],
)
def test_the_provider_page_says_how_often_a_delivery_is_tried(sentence: str, place: str) -> None:
    delays = plain(constant(place))

    assert sentence in " ".join((PROJECT / "docs/provider.en.md").read_text().split())
    assert f" {len(delays) + 1} times" in sentence
    assert ("8 hours" in sentence) == (round(sum(delays) / 3600) == 8)
    assert ("two days" in sentence) == (2 < sum(delays) / 86_400 < 3)


# --- links -----------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_relative_link_has_a_target(page: Path) -> None:
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
    variables = {*environment.SETTINGS_BY_NAME, "ARGS", *re.findall(r"^(\w+) \?=", makefile, re.MULTILINE)}
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
def test_every_shown_command_exists(page: Path) -> None:
    checks = {"make": check_make, "manage.py": check_manage, "docker compose": check_compose}

    for program, words in commands(page):
        if words or program == "make":
            checks[program](words)


# --- buttons ---------------------------------------------------------------------------------------------


GUIDES = ("guide-operator", "guide-admin", "personal-data")


def labels(guide: str, language: str) -> list[str]:
    """Return what the guide prints in bold: the words of buttons, fields and states, and nothing else."""
    found = re.findall(r"\*\*([^*]+)\*\*", (PROJECT / f"docs/{guide}.{language}.md").read_text())
    return [" ".join(label.split()) for label in found]


def catalog() -> list[tuple[str, str]]:
    """Return the translations, English and Russian: all entries without plural forms, one for each context."""
    text = (PROJECT / "config/locale/ru/LC_MESSAGES/django.po").read_text()
    pairs = re.findall(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n)+)', text, re.MULTILINE)
    return [
        ("".join(map(ast.literal_eval, source.splitlines())), "".join(map(ast.literal_eval, words.splitlines())))
        for source, words in pairs
    ]


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
def test_a_russian_guide_uses_the_translated_button_names(guide: str) -> None:
    names: dict[str, set[str]] = {}
    for source, words in catalog():
        names.setdefault(source, set()).add(words.lower())

    pairs = zip(labels(guide, "en"), labels(guide, "ru"), strict=True)
    wrong = [(ru, names[en]) for en, ru in pairs if en in names and ru.lower() not in names[en]]

    assert wrong == [], "guide, catalog"


@pytest.mark.parametrize("action", [SuggestedAction.TEMPLATE, SuggestedAction.EDIT, SuggestedAction.RESEND])
def test_the_outcomes_page_names_the_buttons_under_a_message(action: SuggestedAction) -> None:
    buttons = (PROJECT / "bridge/templates/bridge/message_actions.html").read_text()

    with translation.override("en"):
        assert f'{{% translate "{action.label}" %}}' in buttons


def notices(language: str) -> list[list[str]]:
    """Return the quoted parts of each notice in the operators' table of notices, split at each "…"."""
    rows = (PROJECT / f"docs/guide-operator.{language}.md").read_text().split("\n| notice |")[-1]
    rows = rows.split("\n| уведомление |")[-1].split("\n\n")[0]
    cells = [line.split(" | ")[0].removeprefix("| ") for line in rows.splitlines()[2:]]
    return [[part.strip() for part in cell.split("…") if part.strip()] for cell in cells]


def test_the_notices_in_the_guides_are_those_of_the_catalog() -> None:
    pairs = list(zip(notices("en"), notices("ru"), strict=True))

    wrong = [
        (en, ru)
        for en, ru in pairs
        if not any(
            all(part in source for part in en) and all(part in words for part in ru) for source, words in catalog()
        )
    ]

    assert len(pairs) > 10
    assert wrong == []


def shape(page: Path) -> list[str]:
    """Return what two translations of a page have in common: headings, tables, steps, links and pictures."""
    lines = FENCED.sub("", page.read_text()).splitlines()
    marks = [re.match(r"(#+ |\s*\||\s*\d+\. |\s*- |!\[)", line) for line in lines]
    return [mark[0].strip() for mark in marks if mark]


@pytest.mark.parametrize("guide", GUIDES)
def test_both_languages_of_a_guide_have_the_same_structure(guide: str) -> None:
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
def test_the_python_example_for_providers_recognizes_our_requests(page: Path) -> None:
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
def test_the_example_event_for_providers_has_the_fields_that_we_send(page: Path) -> None:
    channel: Any = ApiChannelFactory()
    sent = example_event(channel, channel.watched.get())
    shown = first_json(page, "from")

    assert shown.keys() == sent.keys()
    assert shown["client"].keys() == sent["client"].keys()
    assert shown["ticket"].keys() == sent["ticket"].keys()


@pytest.mark.django_db
@pytest.mark.parametrize("page", PROVIDER_PAGES, ids=by_name)
def test_the_example_call_for_providers_gets_the_shown_response(page: Path, client: Client) -> None:
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


def test_the_docs_never_call_replies_in_the_window_free() -> None:
    """WhatsApp charges for them since October 2026."""
    claim = re.compile(r"бесплатн|free of charge|\bfor free\b|at no (?:cost|charge)", re.IGNORECASE)
    looked_at = [*PAGES, *PROJECT.glob("*/locale/**/*.po"), *PROJECT.glob("*/templates/**/*.html")]

    assert len(looked_at) > 60
    assert [path.name for path in looked_at if claim.search(path.read_text())] == []


PATH = re.compile(r"`([\w.-]*/?(?:[\w.-]+/)*[\w-]+\.(?:py|toml|yml|html|js|css|in|txt))`")


@cache
def project_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


@pytest.mark.parametrize("page", [*PAGES, PROJECT / "SECURITY.md"], ids=by_name)
def test_every_file_named_in_the_docs_exists(page: Path) -> None:
    """Named whole, or by the end of its path: ``codecs/facts.py``."""
    named = sorted(set(PATH.findall(page.read_text())))

    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in project_files())] == []


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_package_named_in_the_docs_exists(page: Path) -> None:
    apps = "tests|config|bridge|templates_registry|channels_setup|static|docs"
    named = re.findall(rf"`((?:{apps})(?:/[\w-]+)+)/?`", page.read_text())

    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_the_security_page_names_a_test_for_its_promises() -> None:
    assert len(set(re.findall(r"`tests/[\w/.]+`", (PROJECT / "docs/security.md").read_text()))) > 20
