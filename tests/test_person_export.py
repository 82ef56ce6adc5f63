"""Export of one person's data: complete, readable, safe to open, and only for people with the permission."""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import translation

from bridge.maintenance import erasure, person_export
from bridge.maintenance.person_export.file_names import build_file_names, make_safe_name
from bridge.maintenance.person_export.sections import SECTIONS, Scope
from bridge.models import Attachment, Contact, Message, Ticket, TicketField, WebhookEvent
from channels_setup.roles import Role, assign_role
from tests.channel_worlds import World, make_world
from tests.factories import MessageFactory, UserFactory, token_of, vera

pytestmark = pytest.mark.django_db

# Models of the project that hold no rows of one person, or none with personal data.
NOT_EXPORTED = {
    "AlertNotice": "which route told the staff of an alert",
    "RetentionRule": "a setting",
    "StorageSnapshot": "sizes of tables",
    "Erasure": "a record without personal data",
    "ErasedMessage": "fingerprints of erased messages",
    "ErasedHelpdeskNumber": "fingerprints of erased numbers",
    "LoggedErasure": "IDs of lines of the erasure log",
    "FileDeletion": "random paths of files to delete",
    "BulkAction": "counts of an admin's action on many deliveries",
    "CannedResponse": "a text for all clients",
    "ChatPin": "which chats an operator keeps at the top of a list",
    "ChannelAutomation": "settings of a channel",
    "Macro": "actions and a text for all clients",
    "ContactImport": "an uploaded file of many people, deleted when it was imported or after a day",
    "CircuitBreaker": "the state of a channel",
    "DeskSettings": "settings of an operator",
    "DeadLetter": "the same rows as Delivery",
    "Heartbeat": "the state of a component",
    "OperatorAvailability": "the status of an operator",
    "NotificationSettings": "settings of an operator",
    "PushKey": "a key of the portal",
    "SavedView": "filters of an operator; an erasure deletes those that name the person",
    "PushMessage": "which device was notified of a message, for ten minutes",
    "PushSubscription": "a device of an operator",
    "HelpdeskConnection": "the state of a channel",
    "TicketTag": "tag names of all requests",
    "WriteProbe": "a test row",
}
SCOPE = Scope(contacts=[], chats=[])


@pytest.fixture(autouse=True)
def files_in_a_folder(tmp_path: Path, settings: Any) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def world() -> World:
    return make_world("a", text="quokka bilby", phone="+79005550177")


def read_archive(content: bytes) -> tuple[dict[str, Any], str, dict[str, bytes]]:
    """Return data.json, index.html, and the files by path."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist() if name.startswith("files/")}
        return json.loads(archive.read("data.json")), archive.read("index.html").decode(), files


def export_person(contact: Contact, *, user: Any = None) -> tuple[dict[str, Any], str, dict[str, bytes]]:
    with person_export.build_export(contact, user=user).file as file:
        return read_archive(file.read())


def test_every_row_of_the_person_is_in_the_archive(world: World) -> None:
    data, page, files = export_person(world["contact"])

    sections = {section.select(SCOPE).model._meta.model_name: section.name for section in SECTIONS}
    for model in ("contact", "conversation", "ticket", "message", "attachment", "upload", "heldreply", "delivery"):
        assert world[model].pk in [row["id"] for row in data["data"][sections[model]]], model
    filled = {name for name, rows in data["data"].items() if rows}
    assert filled >= {
        *("contacts", "conversations", "tickets", "messages", "attachments", "uploads", "contact_notes"),
        *("contact_changes", "drafts", "held_replies", "deliveries", "attempts", "alerts", "mismatches"),
        *("service_windows", "contact_merges", "template_links"),
    }
    assert {two["id"] for two in data["data"]["contacts"]} == {world["contact"].pk, world["contactmerge"].source_id}
    assert sorted(files.values()) == sorted([b"%PDF-quokka bilby", b"quokka bilby"])
    assert "quokka bilby" in page and "+79005550177" in page


def test_every_key_is_explained_and_every_model_is_exported_or_exempt(world: World) -> None:
    data, _page, _files = export_person(world["contact"])

    assert data["format"] == "okno-person-export" and data["version"] == 1
    assert list(data["keys"]) == list(data["data"]) == [section.name for section in SECTIONS]
    for name, rows in data["data"].items():
        assert data["keys"][name]["about"]
        for row in rows:
            assert list(row) == list(data["keys"][name]["fields"]), name
    exported = {section.select(SCOPE).model.__name__ for section in SECTIONS}
    models = {model.__name__ for model in apps.get_app_config("bridge").get_models()}
    assert models - exported - NOT_EXPORTED.keys() == set()
    assert not exported & NOT_EXPORTED.keys()


def test_nothing_of_another_person_is_in_the_archive(world: World) -> None:
    make_world("b", text="wombat", phone="+79005550188", api_channel=world.api_channel)

    data, page, files = export_person(world["contact"])

    assert "wombat" not in json.dumps(data) + page and not [name for name in files if "wombat" in name]


@pytest.mark.parametrize("language, word", [("ru", "Данные клиента"), ("en", "Data of a client")])
def test_the_page_is_self_contained_and_in_the_language_of_its_reader(world: World, language: str, word: str) -> None:
    Message.objects.filter(pk=world["message"].pk).update(text="<script>alert(1)</script>", reactions=[{"emoji": "👍"}])
    Attachment.objects.filter(pk=world["attachment"].pk).update(name="../Счёт №1?.html")
    field = TicketField.objects.create(name="Размер")
    Ticket.objects.filter(pk=world["ticket"].pk).update(custom_fields={str(field.pk): "XL"})

    with translation.override(language):
        _data, page, files = export_person(world["contact"])

    assert word in page and f'<html lang="{language}">' in page and "👍" in page and "Размер" in page and "XL" in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"<script|<img|<link|\son\w+=|src=|https?://(?!testserver|127)", page)
    links = {unquote(link) for link in re.findall(r'href="([^"#][^"]*)"', page)}
    assert links == set(files)
    assert any(name.endswith("Счёт №1_.html.bin") for name in files)


def test_raw_requests_are_included_if_they_name_nobody_else(world: World) -> None:
    other = make_world("b", text="wombat", phone="+79005550188", api_channel=world.api_channel)["contact"].pk
    person, merged = world["contact"].pk, world["contactmerge"].source_id
    made = {
        ids: WebhookEvent.objects.create(
            api_channel=world.api_channel, endpoint="webhook", state="processed", body=body, contact_ids=list(ids)
        ).pk
        for ids, body in (
            ((person,), b'{"a": 1}'),
            ((person, merged), b"\xff\x00"),
            ((person, other), b"{}"),
            ((), b"{}"),
        )
    }

    rows = {row["id"]: row for row in export_person(world["contact"])[0]["data"]["webhook_events"]}

    assert rows.keys() == {made[person,], made[person, merged]}
    assert rows[made[person,]]["body"] == '{"a": 1}' and rows[made[person, merged]]["body"] == {"base64": "/wA="}


def test_a_person_with_limited_channels_gets_only_what_they_may_see(world: World) -> None:
    elsewhere = make_world("b", text="wombat", phone="+79005550177")
    limited = UserFactory(username="limited")
    limited.user_permissions.add(Permission.objects.get(codename="export_contact"))
    assign_role(limited, role=Role.OPERATOR, chat_channels=[world.chat_channel])

    everything = json.dumps(export_person(world["contact"])[0])
    data, page, _files = export_person(world["contact"], user=limited)

    assert elsewhere["contact"].pk in [row["id"] for row in json.loads(everything)["data"]["contacts"]]
    assert "wombat" in everything and "wombat" not in json.dumps(data) + page
    assert world["message"].pk in [row["id"] for row in data["data"]["messages"]]


def test_only_the_permission_opens_the_download(world: World, client: Client) -> None:
    desk, api = f"/chats/{world['conversation'].pk}/client/export/", f"/api/v1/contacts/{world['contact'].pk}/export/"
    admin = f"/admin/bridge/contact/{world['contact'].pk}/export/"
    client.force_login(world.operator)
    assert [client.post(path).status_code for path in (desk, api)] == [403, 405]
    assert client.get(api).status_code == 403
    assert "client/export/" not in client.get(f"/chats/{world['conversation'].pk}/").content.decode()

    client.force_login(vera())
    assert "client/export/" in client.get(f"/chats/{world['conversation'].pk}/").content.decode()
    assert "bilby" in client.get(desk).content.decode()
    assert "/export/" in client.get(f"/admin/bridge/contact/{world['contact'].pk}/change/").content.decode()
    zip_header = {"accept": "application/zip"}
    for answer in (
        client.post(desk),
        client.post(admin),
        client.get(api),
        Client().get(api, headers=token_of(vera()) | zip_header),
    ):
        assert answer.status_code == 200 and answer["Content-Type"] == "application/zip"
        assert re.fullmatch(r'attachment; filename="client-\d+-\d{4}-\d\d-\d\d\.zip"', answer["Content-Disposition"])
        assert "no-store" in answer["Cache-Control"]
        assert world["message"].pk in [row["id"] for row in read_archive(answer.getvalue())[0]["data"]["messages"]]


def test_an_erased_person_is_answered_clearly(world: World, client: Client, tmp_path: Path) -> None:
    erasure.erase_person(world["contact"].pk, by=vera())
    client.force_login(vera())

    page = client.post(f"/chats/{world['conversation'].pk}/client/export/")
    answer = client.get(f"/api/v1/contacts/{world['contact'].pk}/export/")

    assert page.status_code == 410 and "удалены" in page.content.decode()
    assert (answer.status_code, answer.json()["reason"]) == (410, "person_erased")
    with pytest.raises(CommandError, match="has been erased"):
        call_command("export_contact", str(world["contact"].pk), to=tmp_path)


def test_the_command_writes_a_file_that_only_its_owner_reads(world: World, tmp_path: Path, capsys: Any) -> None:
    call_command("export_contact", str(world["contact"].pk), to=tmp_path)

    (target,) = tmp_path.glob("client-*.zip")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600 and str(target) in capsys.readouterr().out
    assert read_archive(target.read_bytes())[0]["data"]["messages"]
    with pytest.raises(CommandError, match="File exists"):
        call_command("export_contact", str(world["contact"].pk), to=tmp_path)
    with pytest.raises(CommandError, match="does not exist"):
        call_command("export_contact", "999999", to=tmp_path)


def test_no_copy_stays_on_disk_and_missing_files_are_named(world: World, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    Path(world["attachment"].file.path).unlink()

    data, page, files = export_person(world["contact"])

    row = next(one for one in data["data"]["attachments"] if one["id"] == world["attachment"].pk)
    assert row["file"] == "" and row["name"] == "quokka bilby.txt"
    assert "quokka bilby.txt" in page and len(files) == 1
    assert list(settings.DATA_DIR.iterdir()) == []


@pytest.mark.parametrize(
    "name, safe",
    [
        ("Счёт.pdf", "Счёт.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\a\\b.txt", "C__a_b.txt"),
        ("photo\u202egpj.exe", "photo_gpj.exe.bin"),
        ("x.SVG", "x.SVG.bin"),
        ("a\0b\n.txt", "a_b_.txt"),
        ("", "file"),
        (" . ", "file"),
        ("\ud800.txt", "_.txt"),
    ],
)
def test_names_of_files_are_safe(name: str, safe: str) -> None:
    assert make_safe_name(name) == safe


def test_long_and_equal_names_of_files_stay_unique() -> None:
    names = build_file_names([("in/1", "ф" * 300 + ".pdf"), ("in/2", "ф" * 300 + ".pdf"), ("in/1", "другое.pdf")])

    assert len(names) == len(set(names.values())) == 2
    assert all(name.endswith(".pdf") and len(name.encode()) < 150 for name in names.values())


def test_the_number_of_queries_does_not_grow_with_the_messages(
    world: World, django_assert_max_num_queries: Any
) -> None:
    for number in range(150):
        MessageFactory(conversation=world["conversation"], text=f"words {number}")

    with django_assert_max_num_queries(150):
        data, page, _files = export_person(world["contact"])

    assert len(data["data"]["messages"]) >= 150 and "words 149" in page
