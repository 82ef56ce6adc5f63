"""Downloads of clients' files: an expired claim changes nothing. For the download itself see test_cloud_journeys."""

from __future__ import annotations

import re
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.utils import timezone

from bridge.files import inbound_downloads
from bridge.models import Attachment
from channels_setup.models import ApiChannel, ChannelState
from channels_setup.providers.base import ACCEPTED, ApiRequest, ApiResponse, FileLocation, Outcome
from tests.factories import ApiChannelFactory, MessageFactory
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting_attachment() -> Attachment:
    message = MessageFactory(conversation__api_channel=ApiChannelFactory(kind="acebot"))
    return Attachment.objects.create(message=message, external_id="m1", state="waiting", due_at=timezone.now())


def expire_lease(attachment: Attachment) -> None:
    Attachment.objects.filter(pk=attachment.pk).update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_late_failure_does_not_end_the_next_attempt(waiting_attachment: Attachment) -> None:
    (stale,) = inbound_downloads._claim_attachments()
    expire_lease(waiting_attachment)
    (current,) = inbound_downloads._claim_attachments()

    inbound_downloads._save_result(stale, inbound_downloads.DownloadFailed("wa_token", is_permanent=True))

    waiting_attachment.refresh_from_db()
    assert (waiting_attachment.state, waiting_attachment.error, waiting_attachment.due_at) == (
        "waiting",
        "",
        current.due_at,
    )
    assert not ApiChannel.objects.filter(state=ChannelState.FAILING).exists()


def test_a_late_failure_does_not_end_an_operators_later_request(waiting_attachment: Attachment) -> None:
    (stale,) = inbound_downloads._claim_attachments()
    Attachment.objects.update(state="failed")
    assert inbound_downloads.retry_download(
        waiting_attachment.pk, conversation_id=waiting_attachment.message.conversation_id
    )

    inbound_downloads._save_result(stale, inbound_downloads.DownloadFailed("file_gone", is_permanent=True))

    waiting_attachment.refresh_from_db()
    assert (waiting_attachment.state, waiting_attachment.tries) == ("waiting", 0)


def test_the_claim_holders_failure_plans_the_next_attempt(waiting_attachment: Attachment) -> None:
    (held,) = inbound_downloads._claim_attachments()

    inbound_downloads._save_result(held, inbound_downloads.DownloadFailed("destination_error"))

    waiting_attachment.refresh_from_db()
    assert (waiting_attachment.state, waiting_attachment.error, waiting_attachment.tries) == (
        "waiting",
        "destination_error",
        1,
    )
    assert waiting_attachment.due_at
    assert waiting_attachment.due_at < timezone.now() + inbound_downloads.DOWNLOAD_LEASE


class ConnectionsThatEnd:
    """A provider whose file addresses lead to a server of the test. It announces neither a size nor a digest."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def build_file_location_request(self, _external_id: str, _account: Any) -> ApiRequest:
        return ApiRequest(method="GET", url=self.receiver.url("/location"), headers={}, body=b"")

    def judge_response(self, _response: ApiResponse) -> Outcome:
        return Outcome(verdict=ACCEPTED)

    def read_file_location(self, _response: ApiResponse, _account: Any) -> FileLocation:
        return FileLocation(url=self.receiver.url("/file"))

    def build_file_download_request(self, location: FileLocation, _account: Any) -> ApiRequest:
        return ApiRequest(method="GET", url=location.url, headers={}, body=b"")


@pytest.mark.parametrize("problem", ["cut off", "disk full"])
def test_a_part_of_a_file_is_not_stored_as_the_file(
    waiting_attachment: Attachment, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """Nothing but the connection shows that the rest is missing, as no size is announced."""
    expected = "file_corrupted"
    if problem == "cut off":
        headers = {"Transfer-Encoding": "chunked", "Connection": "close"}
        receiver.answer("/file", body=b"8\r\nhalf", headers=headers)
    else:
        receiver.answer("/file", body=b"whole")
        monkeypatch.setattr(inbound_downloads, "SpooledTemporaryFile", FullDisk)
        expected = "no_disk_space"

    with pytest.raises(inbound_downloads.DownloadFailed) as failed:
        inbound_downloads._download_file(
            waiting_attachment, waiting_attachment.message.api_channel.account(), ConnectionsThatEnd(receiver)
        )
    assert (failed.value.reason, failed.value.is_permanent) == (expected, False)


class FullDisk(BytesIO):
    def __init__(self, **_options: Any) -> None:
        super().__init__()

    def write(self, _data: Any) -> int:
        raise OSError(28, "No space left on device")


NAMES = [
    "a." + "x" * 190,
    "a." + "😀" * 45,
    "😀" * 90,
    "-rf",
    "../../etc/passwd",
    "a/b\\c",
    ".",
    "..",
    "",
    "\0",
    "CON",
    " ",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_senders_file_name_never_reaches_the_disk(
    waiting_attachment: Attachment, name: str, media_root: Path
) -> None:
    waiting_attachment.name = name.replace("\0", "")
    content = BytesIO(b"words")

    assert inbound_downloads._save_result_safely(
        waiting_attachment, inbound_downloads.DownloadedFile(content=content, size=5, mime="text/plain")
    )

    (stored,) = [path for path in media_root.rglob("*") if path.is_file()]
    assert re.fullmatch(r"[0-9a-f]{32}", stored.name)
    assert (stored.stat().st_mode & 0o777, stored.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    waiting_attachment.refresh_from_db()
    assert (waiting_attachment.state, media_root / waiting_attachment.file.name) == ("available", stored)


def test_a_file_that_cannot_be_stored_stops_no_other(
    waiting_attachment: Attachment, monkeypatch: pytest.MonkeyPatch, media_root: Path
) -> None:
    good = Attachment.objects.create(
        message=waiting_attachment.message, external_id="m2", state="waiting", due_at=timezone.now(), name="good"
    )
    save = FileSystemStorage._save

    def full_disk(storage: FileSystemStorage, name: str, content: Any) -> str:
        if content.read() == b"bad":
            raise OSError(28, "No space left on device")
        content.seek(0)
        return save(storage, name, content)

    monkeypatch.setattr(FileSystemStorage, "_save", full_disk)
    monkeypatch.setattr(
        inbound_downloads,
        "_try_download",
        lambda row, account: inbound_downloads.DownloadedFile(
            content=BytesIO(b"bad" if row == waiting_attachment else b"good"), size=4, mime=""
        ),
    )

    assert inbound_downloads.download_due_files() == 1
    waiting_attachment.refresh_from_db()
    good.refresh_from_db()
    assert (waiting_attachment.state, waiting_attachment.error, good.state) == (
        "waiting",
        "internal_error",
        "available",
    )


@pytest.fixture
def media_root(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path
