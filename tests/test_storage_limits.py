"""Files never fill the disk: quotas per operator and per chat, and reserved free space."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from bridge.files import attachment_files, inbound_downloads, storage_limits, uploads
from bridge.models import Attachment, Upload
from tests.factories import ApiChannelFactory, ConversationFactory, MessageFactory, boris, vera
from tests.uapi_calls import post

pytestmark = pytest.mark.django_db

MEGABYTE = storage_limits.MEGABYTE


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    settings.UPLOAD_LIMIT_PER_OPERATOR_DAY_MB, settings.UPLOAD_LIMIT_PER_CHAT_DAY_MB = 3, 2


@pytest.fixture
def free_space(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """Return a function that sets the free megabytes; ten of them are reserved."""
    settings.MIN_FREE_DISK_MB = 10

    def megabytes(number: float) -> None:
        monkeypatch.setattr(storage_limits, "get_free_bytes", lambda: int(number * MEGABYTE))

    return megabytes


def text_file(megabytes: float) -> SimpleUploadedFile:
    return SimpleUploadedFile("words.txt", b"x" * int(megabytes * MEGABYTE))


def stored_files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


def test_an_operator_has_a_quota_over_all_chats(in_english: None) -> None:
    first, second = ConversationFactory(), ConversationFactory()
    uploads.save_upload(first, text_file(1.5), author=boris())
    uploads.save_upload(second, text_file(1.5), author=boris())

    with pytest.raises(uploads.UploadRefused, match=r"exceeds your limit of 3\.0.MB"):
        uploads.save_upload(ConversationFactory(), text_file(0.1), author=boris())

    uploads.save_upload(ConversationFactory(), text_file(0.1), author=vera())


def test_a_chat_has_a_quota_over_all_operators(in_english: None, tmp_path: Path) -> None:
    chat = ConversationFactory()
    uploads.save_upload(chat, text_file(1.5), author=boris())

    with pytest.raises(uploads.UploadRefused, match=r"exceeds the limit of 2\.0.MB of attached files in this chat"):
        uploads.save_upload(chat, text_file(0.6), author=vera())

    assert stored_files(tmp_path) == 1
    uploads.save_upload(chat, text_file(0.5), author=vera())  # exactly the rest


def test_the_quota_counts_stored_files_of_one_day() -> None:
    chat = ConversationFactory()
    old = uploads.save_upload(chat, text_file(1.5), author=boris())
    Upload.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=25))
    taken_back = uploads.save_upload(chat, text_file(1.5), author=boris())
    uploads.delete_upload(taken_back)

    uploads.save_upload(chat, text_file(2), author=boris())


def test_a_setting_of_0_disables_the_quota(settings: Any) -> None:
    settings.UPLOAD_LIMIT_PER_OPERATOR_DAY_MB = settings.UPLOAD_LIMIT_PER_CHAT_DAY_MB = 0

    uploads.save_upload(ConversationFactory(), text_file(4), author=boris())


def test_the_desk_shows_the_refusal(desk: Client, channel: Any, in_english: None) -> None:
    chat = ConversationFactory(api_channel=channel, chat_channel=channel.default_chat_channel)

    answers = [desk.post(f"/chats/{chat.pk}/files/", {"file": text_file(1.5)}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 422]
    assert answers[1].json()["sentence"]


@pytest.mark.parametrize(("megabytes", "is_taken"), [(11.1, True), (10.9, False), (9, False), (0, False)])
def test_reserved_space_stays_free(free_space: Any, tmp_path: Path, megabytes: float, is_taken: bool) -> None:
    free_space(megabytes)
    chat = ConversationFactory()
    with suppress(uploads.UploadRefused):
        uploads.save_upload(chat, text_file(1), author=boris())

    assert stored_files(tmp_path) == Upload.objects.count() == is_taken


def test_a_programs_file_is_refused_with_a_reason_and_a_retry_time(
    client: Client, free_space: Any, tmp_path: Path
) -> None:
    channel = ApiChannelFactory(secret=True)
    free_space(10)
    flat = {
        "api_token": channel.current_secret().reveal(),
        "channel_id": channel.default_chat_channel.pk,
        "message[text]": "see",
        "message[from][name]": "Anna",
        "file": SimpleUploadedFile("a.txt", b"words"),
    }

    answer = post(client, "chat/addMessage", flat, "multipart")

    assert answer.status_code == 503 and int(answer["Retry-After"]) > 0
    assert answer.json()["code"] == 503 and "диск" in answer.json()["error"]
    assert stored_files(tmp_path) == 0


def test_a_clients_file_waits_at_the_provider(free_space: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    free_space(9)
    row = Attachment.objects.create(
        message=MessageFactory(), name="a.jpg", external_id="77", state=Attachment.State.WAITING, due_at=timezone.now()
    )
    monkeypatch.setattr(inbound_downloads.http_client, "send", lambda *_, **__: pytest.fail("called"))

    inbound_downloads.download_due_files()

    row.refresh_from_db()
    assert (row.state, row.error) == (Attachment.State.WAITING, "no_disk_space")


def test_a_long_full_disk_loses_no_file(free_space: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt is used up, and the download runs a minute after there is space again."""
    free_space(9)
    row = Attachment.objects.create(
        message=MessageFactory(), name="a.jpg", external_id="77", state=Attachment.State.WAITING, tries=2
    )
    for _ in range(len(inbound_downloads.RETRY_DELAYS) + 1):
        Attachment.objects.update(due_at=timezone.now())
        inbound_downloads.download_due_files()

    row.refresh_from_db()
    assert (row.state, row.tries, row.error) == (Attachment.State.WAITING, 2, "no_disk_space")
    assert row.due_at - timezone.now() <= timedelta(seconds=60)


def test_health_fails_before_the_disk_is_full(client: Client, free_space: Any) -> None:
    free_space(9)
    assert client.get("/health/ready").json()["components"]["disk"] == {"state": "red", "free_mb": 9}
    free_space(11)
    assert client.get("/health/ready").json()["components"]["disk"] == {"state": "ok", "free_mb": 11}


def test_a_missing_folder_is_measured_by_its_parent(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "not" / "yet"

    assert storage_limits.get_free_bytes() > 0
    assert attachment_files.storage_limits is storage_limits
