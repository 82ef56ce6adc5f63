"""Drill: a portal is backed up while it works, a person is erased, and the backup is restored on another machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from bridge.maintenance import erasure
from bridge.models import Attachment, BulkAction, Contact, HeldReply
from config.devstack.processes import kill_process_group, spawn_process
from config.devstack.servers import LocalServers, attach_servers
from tests.backups import find_unlisted, hash_tables, query
from tests.factories import (
    ApiChannelFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    TemplateFactory,
    boris,
    vera,
)
from tests.processes import TEST_RUN_VARIABLES, eventually, free_port

PHONES = {"Анна": "79215550104", "Пётр": "79215550105", "Ольга": "79215550106"}
# Everybody signs in again, and the restore itself is recorded.
CHANGED_BY_RESTORE = {
    *("accounts_user", "django_session", "usersessions_usersession", "accounts_sharedcacheentry"),
    *("audit_record", "bridge_loggederasure"),
}


@dataclass
class Portal:
    """The portal that is backed up, and where its files are."""

    folder: Path
    contacts: dict[str, Contact] = field(default_factory=dict)
    files: dict[str, Attachment] = field(default_factory=dict)

    @property
    def backups(self) -> list[Path]:
        return sorted((self.folder / "backups").glob("*.tar"))


@pytest.fixture
def portal(transactional_db: None, tmp_path: Path, settings: Any) -> Portal:
    """Three clients with files, of whom one is erased; waiting deliveries; a held reply; an unfinished bulk action."""
    folder = tmp_path / "portal"
    settings.DATA_DIR, settings.MEDIA_ROOT = folder, folder / "media"
    settings.ERASURE_LOG, settings.BACKUP_DIR = str(folder / "erasures.jsonl"), str(folder / "backups")
    folder.mkdir()
    portal, channel, user = Portal(folder), ApiChannelFactory(secret=True), vera()
    TemplateFactory(api_channel=channel)
    boris(channel.default_chat_channel)
    for name, phone in PHONES.items():
        chat = ConversationFactory(api_channel=channel, contact__phone=phone, contact__name=name)
        message = MessageFactory(conversation=chat, text=f"Пишет {name}")
        attachment = Attachment(message=message, name="фото.jpg", state=Attachment.State.AVAILABLE)
        attachment.file.save("photo", ContentFile(f"фото {name}".encode()))
        portal.contacts[name], portal.files[name] = chat.contact, attachment
    DeliveryFactory(conversation=chat, api_channel=channel, state="pending")
    DeliveryFactory(conversation=chat, api_channel=channel, state="delivered")
    BulkAction.objects.create(action="resend", selection={}, total=1, last_delivery_id=1)
    HeldReply.objects.create(conversation=chat, author=user, text="Позже", drop_at=timezone.now() + timedelta(days=7))
    erasure.erase_person(portal.contacts["Пётр"].pk, by=user)
    return portal


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LocalServers]:
    """Another machine: an empty data folder with a PostgreSQL and a Valkey of its own."""
    servers = attach_servers(data_dir=tmp_path / "machine", kinds=("postgres", "valkey"))
    yield servers
    servers.release()


def environment_on(machine: LocalServers) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if name not in TEST_RUN_VARIABLES}
    keys = {"SECRET_KEY": django_settings.SECRET_KEY, "FIELD_KEYS": ",".join(django_settings.FIELD_KEYS)}
    return kept | keys | {"DATA_DIR": str(machine.data_dir), "DEMO": "0"}


def manage(machine: LocalServers, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=django_settings.BASE_DIR,
        env=environment_on(machine),
        capture_output=True,
        text=True,
        timeout=120,
    )


def database_url() -> str:
    values = connection.settings_dict
    return f"postgres://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"


def test_restored_portal_equals_its_backup_without_the_erased(
    portal: Portal, machine: LocalServers, capsys: pytest.CaptureFixture[str]
) -> None:
    before, lost = hash_tables(database_url()), portal.files["Ольга"].file.path
    Path(lost).unlink()
    log_at_backup = (portal.folder / "erasures.jsonl").read_text()

    call_command("backup", "--output", "json")
    assert "Missing: 1 files" in capsys.readouterr().out
    erasure.erase_person(portal.contacts["Анна"].pk, by=None)
    (backup,), url = portal.backups, machine.urls["DATABASE_URL"]

    verified = manage(machine, "verify-backup", str(backup))
    assert "the keys of this portal open it" in verified.stdout, verified.stderr
    # Without the newer log: exactly what was backed up.
    plain = manage(machine, "restore", str(backup), "--without-erasure-log", "--portal-was-stopped")
    assert plain.returncode == 0, plain.stderr
    after = hash_tables(url)
    assert {name: rows for name, rows in after.items() if name not in CHANGED_BY_RESTORE} == {
        name: rows for name, rows in before.items() if name not in CHANGED_BY_RESTORE
    }
    assert {name: rows[0] for name, rows in after.items()} == {
        **{name: rows[0] for name, rows in before.items()},
        "audit_record": before["audit_record"][0] + 1,
    }
    assert log_at_backup in (machine.data_dir / "erasures.jsonl").read_text()

    # With the newest log: Anna was erased after the backup and is gone, from rows and from files.
    query(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; SELECT 1")
    log = str(portal.folder / "erasures.jsonl")
    done = manage(machine, "restore", str(backup), "--erasure-log", log, "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["erased"] == 1
    ids = ", ".join(str(contact.pk) for contact in portal.contacts.values())
    names = f"SELECT name, phone FROM bridge_contact WHERE id IN ({ids}) ORDER BY id"
    assert query(url, names) == [("", ""), ("", ""), ("Ольга", PHONES["Ольга"])]
    assert not list_files(machine.data_dir / "media")
    check_nothing_is_repeated(url, portal)
    check_portal_answers(machine)
    assert find_unlisted(path.name for path in machine.data_dir.iterdir()) == []


def list_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def check_nothing_is_repeated(url: str, portal: Portal) -> None:
    """The waiting delivery counts as interrupted, the bulk action and the held reply end, numbers are not reused."""
    states = query(url, "SELECT state, next_attempt_at <= now(), lease_token IS NULL FROM bridge_delivery ORDER BY id")
    assert states == [("sending", True, False), ("delivered", True, True)]
    assert query(url, "SELECT count(*) FROM bridge_bulkaction WHERE finished_at IS NULL") == [(0,)]
    assert query(url, "SELECT drop_at <= now() FROM bridge_heldreply") == [(True,)]
    newest = max(attachment.pk for attachment in portal.files.values())
    sequence = "pg_get_serial_sequence('bridge_attachment', 'id')"
    assert query(url, f"SELECT nextval({sequence}) > {newest} + 10000") == [(True,)]


def check_portal_answers(machine: LocalServers) -> None:
    port = free_port()
    command = [sys.executable, "-m", "config.serving.server", "--host", "127.0.0.1", "--port", str(port)]
    process = spawn_process(
        [*command, "--processes", "1"],
        on_parent_death=signal.SIGKILL,
        cwd=django_settings.BASE_DIR,
        env=environment_on(machine) | machine.urls,
    )

    def answers() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/login/", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    try:
        eventually(answers)
    finally:
        kill_process_group(process)
        process.wait()
