"""Files in an S3-compatible bucket: a real server that checks signatures, and an imitation with versions."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from moto import mock_aws

from bridge.files import attachment_files, file_deletions, uploads
from bridge.maintenance import person_export
from bridge.models import Conversation, FileDeletion, Message, Upload
from channels_setup.failing_items import FailingItems
from config.devstack.processes import kill_process_group, spawn_process
from config.storage import private_s3
from config.storage.private_s3 import MAX_MEMORY_BYTES, FileStorageUnavailable, PrivateS3Storage
from tests.factories import boris
from tests.pages import SCRIPT, signed_in
from tests.processes import PRODUCTION, eventually, free_port, in_production
from tests.scenarios.sending import receive_text

KEYS = {"access_key": "okno", "secret_key": "s" * 40}
STATIC = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
PDF = b"%PDF-1.7 bill"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the server and create the bucket."""
    port, folder = free_port(), tmp_path_factory.mktemp("s3")
    environment = {"NANIO_ACCESS_KEY": KEYS["access_key"], "NANIO_SECRET_KEY": KEYS["secret_key"]}
    command = [sys.executable, "-m", "nanio.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = spawn_process(
        [*command, "--data-dir", str(folder), "--no-access-log", "--log-level", "error"],
        on_parent_death=signal.SIGKILL,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: is_listening(port))
    address = f"http://127.0.0.1:{port}"
    storage(address).client.create_bucket(Bucket="okno")
    yield address
    kill_process_group(process)
    process.wait()


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def storage(endpoint: str, **options: Any) -> PrivateS3Storage:
    known = {"bucket_name": "okno", "endpoint_url": endpoint, "region_name": "us-east-1", "location": "files"}
    return PrivateS3Storage(**(known | KEYS | options))


def in_bucket(endpoint: str, **options: Any) -> Any:
    """Use the bucket for the files of the portal."""
    known = {"bucket_name": "okno", "endpoint_url": endpoint, "region_name": "us-east-1", "location": "files"}
    default = {"BACKEND": "config.storage.private_s3.PrivateS3Storage", "OPTIONS": known | KEYS | options}
    return override_settings(STORAGES={"default": default, "staticfiles": STATIC})


@pytest.fixture
def bucket(endpoint: str) -> Iterator[str]:
    with in_bucket(endpoint):
        yield endpoint


@pytest.fixture
def chat(channel: Any) -> Conversation:
    return receive_text(channel, "Пришлите счёт").conversation


# --- the portal's files ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_operators_file_is_stored_shared_and_deleted(
    bucket: str, chat: Conversation, django_capture_on_commit_callbacks: Any
) -> None:
    desk = signed_in(Client(), boris(chat.chat_channel))

    posted = desk.post(f"/chats/{chat.pk}/files/", {"file": SimpleUploadedFile("счёт.pdf", PDF)}, headers=SCRIPT)
    link = re.search(r"(/shared/\S+/)$", posted.json()["text"])
    upload = Upload.objects.get()
    assert link is not None
    response = Client().get(link[1] + "file")

    assert response.getvalue() == PDF and response["Content-Length"] == str(len(PDF))  # type: ignore[attr-defined]
    assert refusal(f"{bucket}/okno/files/{upload.file.name}") == 403  # the bucket answers to nobody else
    with django_capture_on_commit_callbacks(execute=True):
        file_deletions.schedule_file_deletions([upload.file.name])
    assert not default_storage.exists(upload.file.name) and not FileDeletion.objects.exists()
    assert Client().get(link[1] + "file").status_code == 404


@pytest.mark.django_db
def test_a_clients_large_file_opens_by_its_signed_link(bucket: str, chat: Conversation) -> None:
    content = os.urandom(9 * 1024 * 1024)  # more than one part
    message = Message.objects.get()
    file = SimpleUploadedFile("video.mp4", content, "video/mp4")

    stored = attachment_files.store_attachments(message, [file])[0]
    response = Client().get(attachment_files.build_signed_link(stored))

    assert b"".join(response) == content  # type: ignore[call-overload]
    assert stored.file.size == len(content) > MAX_MEMORY_BYTES


@pytest.mark.django_db
def test_a_part_of_a_large_file_costs_one_small_call(
    bucket: str, chat: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3 * MAX_MEMORY_BYTES)
    file = SimpleUploadedFile("video.mp4", content, "video/mp4")
    stored = attachment_files.store_attachments(Message.objects.get(), [file])[0]
    link = attachment_files.build_signed_link(stored)
    sizes: list[int] = []
    read = PrivateS3Storage.read_part

    def count(storage: PrivateS3Storage, name: str, start: int, end: int) -> bytes:
        sizes.append(end - start)
        return read(storage, name, start, end)

    monkeypatch.setattr(PrivateS3Storage, "read_part", count)
    parts = {}
    for wanted in ("0-1", "2999990-", "-5", "999990-1000009", "3000000-"):
        response: Any = Client().get(link, headers={"Range": f"bytes={wanted}"})
        parts[wanted] = (response.status_code, b"".join(response) if response.streaming else b"")
    read_for_parts, sizes[:] = sizes[:], []
    whole: Any = Client().get(link)

    assert parts == {
        "0-1": (206, content[:2]),
        "2999990-": (206, content[-10:]),
        "-5": (206, content[-5:]),
        "999990-1000009": (206, content[999_990:1_000_010]),
        "3000000-": (416, b""),
    }
    assert sorted(read_for_parts) == [2, 5, 10, 20]
    assert whole["Content-Length"] == str(len(content)) and not sizes  # nothing before somebody reads
    assert b"".join(whole) == content and sizes == [private_s3.BLOCK_BYTES] * 3


@pytest.mark.django_db
def test_a_bucket_that_fails_is_a_file_to_ask_for_again(bucket: str, chat: Conversation) -> None:
    file = SimpleUploadedFile("photo.jpg", b"\xff\xd8\xff", "image/jpeg")
    stored = attachment_files.store_attachments(Message.objects.get(), [file])[0]
    link = attachment_files.build_signed_link(stored)

    with in_bucket(bucket, secret_key="w" * 40):
        refused = Client().get(link)
    with in_bucket(f"http://127.0.0.1:{free_port()}"):
        silent = Client().get(link)
    default_storage.delete(str(stored.file.name))

    assert (refused.status_code, silent.status_code) == (503, 503) and refused["Retry-After"]
    assert Client().get(link).status_code == 404


@pytest.mark.django_db
def test_a_shared_file_is_to_be_asked_for_again(bucket: str, chat: Conversation) -> None:
    desk = signed_in(Client(), boris(chat.chat_channel))
    posted = desk.post(f"/chats/{chat.pk}/files/", {"file": SimpleUploadedFile("bill.pdf", PDF)}, headers=SCRIPT)
    link = posted.json()["text"].partition("/shared/")[2]

    with in_bucket(f"http://127.0.0.1:{free_port()}"):
        silent = Client().get(f"/shared/{link}file")

    assert silent.status_code == 503 and silent["Retry-After"]


@pytest.mark.django_db
def test_an_export_without_the_bucket_fails_instead_of_leaving_files_out(bucket: str, chat: Conversation) -> None:
    attachment_files.store_attachments(Message.objects.get(), [SimpleUploadedFile("a.pdf", PDF, "application/pdf")])

    with in_bucket(f"http://127.0.0.1:{free_port()}"), pytest.raises(person_export.FilesUnavailable):
        person_export.build_export(chat.contact)
    person_export.build_export(chat.contact).file.close()


@pytest.mark.django_db
def test_an_upload_is_deleted_when_the_bucket_answers_again(
    bucket: str, chat: Conversation, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_deletions, "FAILING", FailingItems("files to delete"))
    upload = uploads.save_upload(chat, SimpleUploadedFile("bill.pdf", PDF), author=boris(chat.chat_channel))
    path = str(upload.file.name)

    with in_bucket(f"http://127.0.0.1:{free_port()}"), django_capture_on_commit_callbacks(execute=True):
        uploads.delete_upload(upload)
    assert default_storage.exists(path) and not Upload.objects.exists()
    monkeypatch.setattr(file_deletions, "FAILING", FailingItems("files to delete"))  # the back-off is over
    assert sum(file_deletions.delete_scheduled_files()) == 1

    assert not default_storage.exists(path)


def test_a_bucket_that_hangs_holds_one_call_and_not_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call holds one of the web's few slots, or the thread that sends all messages."""
    longest = (private_s3.CONNECT_SECONDS + private_s3.READ_SECONDS) * private_s3.ATTEMPTS
    monkeypatch.setattr(private_s3, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        files = storage(f"http://127.0.0.1:{hanging.getsockname()[1]}")
        with pytest.raises(FileStorageUnavailable):
            files.open("a.pdf")
        hanging.close()
        started = time.monotonic()
        with pytest.raises(FileStorageUnavailable, match="has just not answered"):
            files.save("b.pdf", ContentFile(PDF))

    assert time.monotonic() - started < 0.1 and longest <= 26  # tasks end after 50 s


def test_errors_are_those_of_a_disk_and_name_no_account(endpoint: str) -> None:
    with pytest.raises(FileNotFoundError):
        storage(endpoint).open("nothing.pdf")
    with pytest.raises(FileStorageUnavailable, match=r"^The file storage refused: \w+\.$"):
        storage(endpoint, secret_key="w" * 40).save("a.pdf", ContentFile(PDF))
    with pytest.raises(NotImplementedError):
        storage(endpoint).url("a.pdf")


def test_names_are_never_overwritten(endpoint: str) -> None:
    files = storage(endpoint)

    names = [files.save("same.pdf", ContentFile(PDF)) for _ in range(2)]

    assert len(set(names)) == 2


def refusal(address: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(address, timeout=10)
    failed.value.close()
    return failed.value.code


# --- versions --------------------------------------------------------------------------------------------


def test_a_deleted_file_stays_in_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "imitated")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="okno")
        client.put_bucket_versioning(Bucket="okno", VersioningConfiguration={"Status": "Enabled"})
        for name in ("photo.jpg", "photo.jpg", "photo.jpg.txt"):
            client.put_object(Bucket="okno", Key=f"files/{name}", Body=b"person")
        client.delete_object(Bucket="okno", Key="files/photo.jpg")  # only hides it

        storage("", endpoint_url=None).delete("photo.jpg")

        left = client.list_object_versions(Bucket="okno")
        assert [one["Key"] for one in left["Versions"]] == ["files/photo.jpg.txt"]
        assert left.get("DeleteMarkers", []) == []


# --- settings --------------------------------------------------------------------------------------------


def test_the_secret_key_of_the_bucket_can_be_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden\n")
    given = {"MEDIA_S3_BUCKET": "okno", "MEDIA_S3_ACCESS_KEY_ID": "a", "MEDIA_S3_SECRET_ACCESS_KEY_FILE": str(secret)}

    options = in_production("s.STORAGES['default']['OPTIONS']", **given)

    assert options["secret_key"] == "hidden" and options["endpoint_url"] is None
    assert "MEDIA_S3_BUCKET" not in PRODUCTION  # the default is the disk
