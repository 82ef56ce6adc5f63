"""`manage.py doctor`: each check finds its fault."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from bridge.maintenance import backup_status, housekeeping
from bridge.models import Alert, Delivery
from channels_setup.models import AlertRoute, ChannelState
from config.monitoring import doctor
from config.monitoring.doctor import data_checks, findings, network_checks, server_checks, settings_checks
from tests.factories import ApiChannelFactory, ChatChannelFactory, DeliveryFactory, boris, vera

pytestmark = pytest.mark.django_db


def codes(check: Callable[[], Iterator[findings.Finding]]) -> list[tuple[str, str]]:
    found = list(check())
    assert all(finding.problem.endswith((".", "?")) or ": " in finding.problem for finding in found)
    return [(finding.code, finding.severity) for finding in found]


# --- settings and files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"PUBLIC_HOST": "127.0.0.1", "IS_HTTPS": False}, [("settings.public_url", "note")]),
        ({"PUBLIC_HOST": "okno.example", "IS_HTTPS": False}, [("settings.public_url", "error")]),
        ({"PUBLIC_HOST": "okno.example", "IS_HTTPS": True, "BEHIND_PROXY": False}, [("settings.proxy", "error")]),
        ({"PUBLIC_HOST": "okno.example", "IS_HTTPS": True, "BEHIND_PROXY": True}, []),
    ],
)
def test_the_public_url(settings: Any, values: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    settings.SECURE_HSTS_SECONDS = 1
    for name, value in values.items():
        setattr(settings, name, value)

    assert codes(settings_checks.check_public_url) == expected


def test_hsts_that_is_off_is_a_note(settings: Any) -> None:
    settings.PUBLIC_HOST, settings.IS_HTTPS, settings.BEHIND_PROXY = "okno.example", True, True
    settings.SECURE_HSTS_SECONDS = 0

    assert codes(settings_checks.check_public_url) == [("settings.hsts", "note")]


@pytest.mark.parametrize(("is_https", "severity"), [(True, "error"), (False, "note")])
def test_debug(settings: Any, is_https: bool, severity: str) -> None:
    settings.DEBUG, settings.IS_HTTPS = True, is_https

    assert codes(settings_checks.check_mode) == [("settings.debug", severity)]


def test_misspelled_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_ULR", "x")

    assert ("settings.unknown_name", "warning") in codes(settings_checks.check_names)


def test_a_full_disk_and_open_files(settings: Any, tmp_path: Path) -> None:
    settings.MIN_FREE_DISK_MB = 10**9
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o755)

    assert codes(settings_checks.check_disk) == [("disk.low", "error")]
    assert ("files.permissions", "warning") in codes(settings_checks.check_data_folder)


def test_a_folder_that_cannot_be_written(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(settings_checks.os, "access", lambda path, mode: path != tmp_path)  # root may write everywhere
    tmp_path.chmod(0o700)

    assert codes(settings_checks.check_data_folder) == [("files.not_writable", "error")]


def test_backups(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR, settings.IS_HTTPS = tmp_path, True
    assert codes(settings_checks.check_backup) == [("backup.none", "warning")]

    old = timezone.now() - timedelta(hours=settings.BACKUP_MAX_AGE_HOURS + 1)
    backup_status.save_created(backup_status.BackupStatus(name="b", made_at=old, place="/b", bytes=1))

    assert codes(settings_checks.check_backup) == [("backup.old", "error"), ("backup.unverified", "note")]


# --- servers -----------------------------------------------------------------------------------------------


def test_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> None:
    from django.db import OperationalError

    class Away:
        def cursor(self) -> AbstractContextManager[Any]:
            raise OperationalError('connection to server at "db" failed\nmore')

    monkeypatch.setattr(server_checks, "connection", Away())

    found = doctor.examine()

    assert [finding.code for finding in found if finding.code.startswith(("database", "worker", "users"))] == [
        "database.unreachable"
    ]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, []),
        ({"fsync": "off"}, [("database.unsafe", "error")]),
        ({"server_encoding": "SQL_ASCII"}, [("database.encoding", "error")]),
    ],
)
def test_unsafe_parameters(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    safe = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "server_encoding": "UTF8"}
    safe["server_version_num"] = "180001"
    monkeypatch.setattr(server_checks, "read_parameter", lambda name: (safe | parameters)[name])

    assert codes(server_checks.check_database_server) == expected


def test_old_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_checks, "OLDEST_POSTGRES", 99)

    assert ("database.version", "error") in codes(server_checks.check_database_server)


def test_too_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(server_checks.check_connections) == []

    monkeypatch.setenv("WORKERS", "500")

    assert codes(server_checks.check_connections) == [("database.connections", "error")]


def test_clocks_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(server_checks.check_clock) == []
    now = timezone.now().timestamp()
    monkeypatch.setattr(server_checks, "time", SimpleNamespace(time=lambda: now + 100))

    assert codes(server_checks.check_clock) == [("database.clock", "warning")]


def test_migrations_that_are_missing_or_newer() -> None:
    assert codes(server_checks.check_migrations) == []
    MigrationRecorder(connection).record_applied("bridge", "9999_newer")
    assert codes(server_checks.check_migrations) == [("database.newer", "warning")]

    MigrationRecorder.Migration.objects.filter(app="audit").order_by("-id").first().delete()

    assert ("database.migrations", "error") in codes(server_checks.check_migrations)


def test_redis_that_evicts_or_is_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(server_checks.check_redis) == []
    facts = {"maxmemory_policy": "allkeys-lru", "redis_version": "6.2.1"}
    monkeypatch.setattr(server_checks.redis.Redis, "info", lambda self: facts)
    assert codes(server_checks.check_redis) == [("redis.policy", "error"), ("redis.version", "error")]

    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert codes(server_checks.check_redis) == [("redis.unreachable", "error")]


def test_workers_and_beat() -> None:
    for name in ("beat", "inbound", "outbound"):
        housekeeping.record_heartbeat(name)

    assert codes(server_checks.check_workers) == [("worker.events", "error")]


# --- stored data -------------------------------------------------------------------------------------------


def test_a_lost_key_and_an_old_one(settings: Any) -> None:
    ApiChannelFactory(name="WhatsApp", secret=True)
    assert codes(data_checks.check_secrets) == []

    settings.FIELD_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_KEYS]
    assert codes(data_checks.check_secrets) == [("keys.old", "note")]

    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    assert codes(data_checks.check_secrets) == [("keys.lost", "error")]


@pytest.mark.parametrize("what", ["address", "helpdesk", "alert route", "second factor"])
def test_each_kind_of_secret_is_looked_at(settings: Any, what: str) -> None:
    if what == "second factor":
        TOTP.activate(vera(), "JBSWY3DPEHPK3PXP")
    elif what == "alert route":
        route = AlertRoute(name="ops", kind="webhook")
        route.set_secret("word")
        route.save()
    else:
        channel = ChatChannelFactory()
        channel.set_secret("word" if what == "helpdesk" else "")
        channel.save()
    settings.FIELD_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_KEYS]

    assert codes(data_checks.check_secrets) == [("keys.old", "note")]
    call_command("rotate_field_keys", stdout=StringIO())
    assert codes(data_checks.check_secrets) == []


def test_channels_and_alerts() -> None:
    assert codes(data_checks.check_channels) == [("channels.none", "note")]
    failing = ApiChannelFactory(state=ChannelState.FAILING, last_error="cannot_connect")
    ApiChannelFactory(state=ChannelState.PAUSED, paused_from="live")
    Alert.objects.create(kind=Alert.Kind.MISMATCH, api_channel=failing, details={"count": 1})

    assert codes(data_checks.check_channels) == [("channels.failing", "error"), ("channels.paused", "warning")]
    assert codes(data_checks.check_alerts) == [("alerts.open", "warning")]


def test_dead_letters() -> None:
    assert codes(data_checks.check_dead_letters) == []
    DeliveryFactory(state=Delivery.State.DEAD)

    assert codes(data_checks.check_dead_letters) == [("deliveries.dead", "note")]


def test_users(settings: Any) -> None:
    boris()
    assert codes(data_checks.check_users) == [("users.no_admin", "error")]
    admin = vera()
    assert codes(data_checks.check_users) == []
    assert codes(data_checks.check_demo) == []

    admin.set_password("korabl-i-more-7")
    admin.save()
    settings.DEMO_PASSWORDS = {"admin": "korabl-i-more-7", "operator": ""}
    settings.IS_HTTPS = True

    assert codes(data_checks.check_demo) == [("users.demo_password", "error")]


def test_erased_people_who_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(data_checks.check_erasures) == []
    monkeypatch.setattr(data_checks.erasure_log, "find_restored_contacts", lambda entries: {"a": [1, 2]})

    assert codes(data_checks.check_erasures) == [("erasures.restored", "error")]


# --- network and the command -------------------------------------------------------------------------------


def test_the_public_address(settings: Any) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:1"

    assert codes(network_checks.check_public_address) == [("network.public_url", "error")]


def test_a_test_mail(settings: Any) -> None:
    settings.EMAIL_HOST = ""
    assert codes(lambda: network_checks.send_test_mail("a@shop.example")) == [("network.email", "error")]
    settings.EMAIL_HOST = "mail.example"

    assert codes(lambda: network_checks.send_test_mail("a@shop.example")) == [("network.email", "note")]
    assert mail.outbox[0].to == ["a@shop.example"]


def test_the_command_prints_one_line_each_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--output", "json")
    rows = json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit):
        call_command("doctor")
    lines = capsys.readouterr().out.splitlines()

    assert ended.value.code == 1
    assert {row["code"] for row in rows} >= {"worker.beat", "users.no_admin", "channels.none"}
    assert len(lines) == len(rows) + 1 and lines[-1].startswith("errors: ")
    assert lines[0].startswith("error   ")


def test_every_code_is_documented() -> None:
    page = (Path(settings.BASE_DIR) / "docs" / "commands.md").read_text()
    sources = (Path(settings.BASE_DIR) / "config" / "monitoring" / "doctor").glob("*.py")
    used = {code for path in sources for code in re.findall(r'\((?:\n\s*)?f?"([a-z]+\.[a-z_{}.]+)"', path.read_text())}
    documented = re.findall(r"^\| `([a-z]+\.[a-z_…]+)` \|", page, flags=re.MULTILINE)

    assert sorted({re.sub(r"\{.*\}", "…", code) for code in used}) == sorted(documented)


@pytest.mark.parametrize("problem", [OSError("gone"), ImproperlyConfigured("no key"), ValueError("Anna")])
def test_a_check_that_fails_is_a_finding(problem: Exception) -> None:
    def check_broken() -> Iterator[findings.Finding]:
        raise problem

    (finding,) = doctor.run([check_broken])

    assert finding.code == "doctor.failed" and "Anna" not in finding.problem
