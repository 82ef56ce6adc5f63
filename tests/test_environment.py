"""Wrong settings: one sentence each, all at once, exit code 2, in every program. Misspelled names are warned about."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from config import environment, environment_check, setting_kinds
from config.setting_kinds import LABELS, REQUIRED, EnvironmentSetting

# A wrong value of each kind that has one.
WRONG_BY_KIND = {
    setting_kinds.parse_bool: "vielleicht",
    setting_kinds.parse_networks: "10.0.0.0/99",
    setting_kinds.parse_time_zone: "Europe/Atlantis",
    setting_kinds.parse_language: "fr",
    setting_kinds.parse_origin: "okno.example",
    setting_kinds.parse_url: "id.company.example",
    setting_kinds.parse_database_url: "mysql://okno:word@db/okno",
    setting_kinds.parse_redis_url: "amqp://redis",
    setting_kinds.parse_email_url: "gopher://mail",
    setting_kinds.parse_secret_key: "short",
    setting_kinds.parse_field_keys: "not-a-key",
}
ANY_TEXT = (str, setting_kinds.parse_list)
PROGRAMS = {
    "check": ["manage.py", "check"],
    "up": ["manage.py", "up"],
    "migrate": ["manage.py", "migrate"],
    "web": ["-m", "config.serving.server", "--host", "127.0.0.1", "--port", "1", "--processes", "1"],
    "worker": ["-m", "celery", "-A", "config.celery", "--skip-checks", "worker"],
    "beat": ["-m", "config.beat"],
}


def wrong_value(setting: EnvironmentSetting) -> str | None:
    """Return a wrong value for a setting; None if every text is right. Other kinds are numbers or lists of words."""
    return None if setting.kind in ANY_TEXT else WRONG_BY_KIND.get(setting.kind, "x-1")


CHECKED = [setting for setting in environment.SETTINGS if wrong_value(setting) is not None]


@pytest.mark.parametrize("setting", CHECKED, ids=lambda setting: setting.name)
def test_a_wrong_value_is_one_sentence_with_the_name(
    monkeypatch: pytest.MonkeyPatch, setting: EnvironmentSetting
) -> None:
    text = wrong_value(setting)
    assert text is not None
    monkeypatch.setenv(setting.name, text)

    (problem,) = environment_check.find_problems()

    assert problem.startswith(f"Invalid {setting.name}: expected {LABELS[setting.kind]}")
    assert (text in problem) is not setting.is_secret
    assert problem.count("\n") == 0 and problem.endswith(".")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_names_all_wrong_settings_and_ends(program: str, tmp_path: Path) -> None:
    wrong = {setting.name: str(wrong_value(setting)) for setting in CHECKED}
    names = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "var"), "PUBLIC_ULR": "x"}

    ended = subprocess.run(
        [sys.executable, *PROGRAMS[program]],
        cwd=settings.BASE_DIR,
        env=names | wrong,
        capture_output=True,
        text=True,
        timeout=60,
    )

    warning, *sentences = ended.stderr.splitlines()
    assert ended.returncode == environment_check.EXIT_CODE
    assert warning == "Warning: PUBLIC_ULR is not a setting of the portal. Is PUBLIC_URL meant?"
    assert [sentence.split()[1].rstrip(":") for sentence in sentences] == list(wrong)
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[("PORT", text) for text in ("abc", "0", "99999", "80.0")],
        *[("PUBLIC_URL", text) for text in ("https://", "https://okno.example/path", "https://a:b@okno.example")],
        ("PUBLIC_URL", "https://okno.example:port"),
        ("DATABASE_URL", "postgres://okno:word@db:5432"),
        ("DATABASE_URL", "postgres://okno:w/ord@db:5432/okno"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("FIELD_KEYS", ","),
        ("TIME_ZONE", "Europe"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("OIDC_GROUP_ROLES", "support"),
        ("OIDC_GROUP_ROLES", "support=chief"),
        ("SECOND_FACTOR_ROLES", "chief"),
        ("RELAY_ALLOWED_PORTS", "443,70000"),
    ],
)
def test_values_that_look_right_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)

    assert [problem.split()[1] for problem in environment_check.find_problems()] == [f"{name}:"]


@pytest.mark.parametrize(
    ("text", "language"),
    [("ru", "ru"), ("EN", "en"), ("en_US:en", "en"), ("de_DE:ru:en", "ru"), ("de_DE:de", "ru"), ("en-GB", "en")],
)
def test_the_shells_list_of_languages_is_accepted(monkeypatch: pytest.MonkeyPatch, text: str, language: str) -> None:
    monkeypatch.setenv("LANGUAGE", text)

    assert environment.read_setting("LANGUAGE") == language


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_an_unreadable_file_of_a_setting_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "value"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe")
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.setenv("SECRET_KEY_FILE", str(path))

    (problem,) = environment_check.find_problems()

    assert problem.startswith(f"SECRET_KEY_FILE: {path} cannot be read (")


def test_names_that_resemble_a_setting_are_warned_about() -> None:
    meant = {
        "PUBLIC_ULR": "PUBLIC_URL",
        "FIELD_KEY": "FIELD_KEYS",
        "FIELD_KEY_FILE": "FIELD_KEYS",
        "TIMEZONE": "TIME_ZONE",
        "REDIS_URI": "REDIS_URL",
        "WORKER": "WORKERS",
        "WEB_PROCESE": "WEB_PROCESSES",
        "OKNO_PORT": "PORT",
    }

    found = environment_check.find_unknown_names(dict.fromkeys([*meant, "OKNO_UNHEARD_OF"], "1"))

    expected = [f"{name} is not a setting of the portal. Is {known} meant?" for name, known in meant.items()]
    assert sorted(found) == sorted(
        [*expected, "OKNO_UNHEARD_OF is not a setting of the portal. docs/settings.md lists all."]
    )


def test_ordinary_variables_of_a_machine_cause_no_warning() -> None:
    usual = (
        "PATH HOME USER SHELL TERM LANG LC_ALL LANGUAGE HOSTNAME PWD OLDPWD EDITOR MAIL DISPLAY SSH_TTY XDG_DATA_DIRS"
    )
    usual += " CI VIRTUAL_ENV PYTHONPATH MAKEFLAGS MAKELEVEL POSTGRES_PASSWORD REDIS_PASSWORD KUBERNETES_PORT PORTAGE"
    usual += " OKNO_IMAGE"
    usual += " OKNO_WEB_SERVICE_HOST OKNO_SERVICE_PORT_HTTP OKNO_PORT_8000_TCP_ADDR OKNO_PORT DEMO PORT SECRET_KEY_FILE"

    assert environment_check.find_unknown_names(dict.fromkeys(usual.split(), "tcp://10.0.0.1:80")) == []


def test_every_value_that_may_be_a_secret_is_marked() -> None:
    words = ("KEY", "SECRET", "PASSWORD", "TOKEN", "DSN", "DATABASE_URL", "REDIS_URL", "EMAIL_URL")
    # The names contain such a word but are no secrets: counts, roles and file names.
    harmless = ("OWN_TOKEN_ROLES", "OWN_TOKEN_MAX_DAYS")
    unmarked = [
        setting.name
        for setting in environment.SETTINGS
        if any(word in setting.name for word in words) and not setting.is_secret and setting.name not in harmless
    ]

    assert unmarked == []
    assert all(setting.is_secret for setting in environment.SETTINGS if setting.default is REQUIRED)


@pytest.fixture(autouse=True)
def no_other_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove settings of the machine that would add problems of their own."""
    for setting in environment.SETTINGS:
        if setting.default is not REQUIRED and setting.name != "DATA_DIR":
            monkeypatch.delenv(setting.name, raising=False)
    yield
