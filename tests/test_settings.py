"""Settings: one table, a generated page, clear errors, safe defaults."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from config import environment, environment_check
from config.management.commands import settings_page
from tests.factories import boris
from tests.guard import LeftLoopback
from tests.processes import PRODUCTION, in_production


def test_the_settings_page_matches_the_table() -> None:
    assert settings_page.PAGE_PATH.read_text() == settings_page.render_page(), "run: manage.py settings_page"
    assert settings_page.EXAMPLE_PATH.read_text() == settings_page.render_example(), "run: manage.py settings_page"


def test_the_example_names_every_setting_that_compose_passes_on() -> None:
    example = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", settings_page.EXAMPLE_PATH.read_text(), flags=re.MULTILINE)
    names = {setting.name for setting in environment.SETTINGS}

    assert names - set(example) == settings_page.NOT_IN_EXAMPLE - {"PUBLIC_URL", "SECRET_KEY", "FIELD_KEYS"}
    assert set(example) - names == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}


@pytest.mark.parametrize(
    ("name", "text"),
    [("PORT", "many"), ("DEBUG", "perhaps"), ("RELAY_ALLOWED_PRIVATE_CIDRS", "10.0.0.0/99"), ("COMPANY_ID", "1.5")],
)
def test_an_invalid_value_stops_the_start_with_its_name(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)

    with pytest.raises(ImproperlyConfigured, match=name):
        environment.read_setting(name)


def test_a_missing_secret_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY")

    with pytest.raises(ImproperlyConfigured, match="Set SECRET_KEY"):
        environment.read_setting("SECRET_KEY")


def test_a_setting_can_be_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file" * 5 + "\n")
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "secret"))

    assert environment.read_setting("SECRET_KEY") == "from-a-file" * 5


def test_every_setting_that_is_read_is_declared() -> None:
    """A setting that bypasses the table would be undocumented."""
    reading = re.compile(r"environ(\[|\.get)")
    readers = {path.name for path in (settings.BASE_DIR / "config").rglob("*.py") if reading.search(path.read_text())}

    # The web server passes variables of its own to its next program; `make up` repeats those that make was given;
    # OTEL_SERVICE_NAME is OpenTelemetry's.
    assert readers == {
        *("environment.py", "environment_check.py", "environment_setup.py"),
        *("data_folders.py", "printed_commands.py", "server.py", "trace_export.py"),
    }


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"HSTS_SECONDS": "-1"}, "Invalid HSTS_SECONDS: expected "),
        ({"HSTS_PRELOAD": "yes"}, "Invalid HSTS_PRELOAD: browsers accept it only with HSTS_SUBDOMAINS=yes"),
        ({"MEDIA_S3_ENDPOINT_URL": "s3.example"}, "Invalid MEDIA_S3_ENDPOINT_URL: expected "),
        ({"MEDIA_S3_ENDPOINT_URL": "https://s3.example"}, "Set MEDIA_S3_BUCKET too"),
        ({"MEDIA_S3_BUCKET": "okno", "MEDIA_S3_ACCESS_KEY_ID": "a"}, "both, or neither"),
    ],
)
def test_settings_of_deployment_are_checked_together(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], sentence: str
) -> None:
    for name, text in given.items():
        monkeypatch.setenv(name, text)

    problems = environment_check.find_problems(is_complete=False)

    assert len(problems) == 1 and sentence in problems[0]


def test_hsts_is_for_this_host_only_unless_set_otherwise() -> None:
    code = "[s.SECURE_HSTS_SECONDS, s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.SECURE_HSTS_PRELOAD]"

    assert in_production(code) == [31536000, False, False]
    assert in_production(code, HSTS_SUBDOMAINS="yes", HSTS_PRELOAD="yes") == [31536000, True, True]
    assert in_production(code, HSTS_SECONDS="0") == [0, False, False]


def test_production_is_https_only_with_secure_cookies() -> None:
    found = in_production(
        "[s.DEBUG, s.SECURE_SSL_REDIRECT, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,"
        " s.SECURE_HSTS_SECONDS > 0, s.RELAY_ALLOWED_PRIVATE_CIDRS, '*' in s.ALLOWED_HOSTS]"
    )

    assert found == [False, True, True, True, True, [], False]


def test_djangos_deployment_check_is_clean_in_production() -> None:
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"]} | PRODUCTION,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stderr


def test_our_pages_run_no_inline_script_and_the_admin_has_its_own_policy(client: Client) -> None:
    ours = client.get("/health/live")["Content-Security-Policy"]
    admins = client.get("/admin/login/")["Content-Security-Policy"]

    assert "unsafe" not in ours
    assert "default-src 'self'" in ours and "object-src 'none'" in ours and "base-uri 'none'" in ours
    assert "frame-ancestors 'none'" in ours
    assert "unsafe-eval" in admins and "object-src 'none'" in admins


def test_headers_forbid_framing_and_content_type_sniffing(client: Client) -> None:
    answer = client.get("/login/")

    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.django_db
def test_the_sixth_wrong_password_locks_only_this_address(client: Client, django_user_model: Any) -> None:
    django_user_model.objects.create_superuser("vera", password="right horse")
    wrong, right = ({"username": "vera", "password": word} for word in ("wrong", "right horse"))

    for _ in range(5):
        client.post("/admin/login/", wrong, REMOTE_ADDR="127.0.0.6")
    locked = client.post("/admin/login/", right, REMOTE_ADDR="127.0.0.6")
    elsewhere = client.post("/admin/login/", right, REMOTE_ADDR="127.0.0.7")

    assert locked.status_code == 429
    assert elsewhere.status_code == 302


@pytest.mark.django_db
def test_the_admin_uses_the_common_login_page_and_refuses_operators(client: Client) -> None:
    user = boris()
    user.set_password("right horse")
    user.save()

    page = client.get("/admin/login/?next=/admin/")
    refused = client.post("/admin/login/?next=/admin/", {"username": "boris", "password": "right horse"})

    assert "bridge/login.html" in [template.name for template in page.templates]
    assert refused.status_code == 200 and "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_a_body_over_the_limit_is_a_413_in_json(client: Client) -> None:
    body = b"x=" + b"a" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    answer = client.post("/admin/login/", body, content_type="application/x-www-form-urlencoded")

    assert answer.status_code == 413
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("requested", "language"), [("en-US,en", "en"), ("ru", "ru"), ("de-DE,fr;q=0.5", "ru"), ("", "ru")]
)
def test_the_language_follows_the_browser_with_russian_as_default(
    client: Client, requested: str, language: str
) -> None:
    answer = client.get("/health/live", headers={"Accept-Language": requested} if requested else {})

    assert answer["Content-Language"] == language


def test_tests_cannot_leave_loopback_or_query_a_name_server() -> None:
    with pytest.raises(LeftLoopback):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("okno.example", 443)
    assert socket.getaddrinfo("127.1", 80)[0][4][0] == "127.0.0.1"
