"""Stored files over HTTP: byte ranges, validators, types and access."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from bridge.files import attachment_files, file_responses, media_types
from bridge.models import Attachment, Conversation, Message
from channels_setup.codecs.byte_ranges import ByteRange, RangeNotSatisfiable, RequestedRange, parse_range
from channels_setup.models import ApiChannel
from tests.factories import ChatChannelFactory, UserFactory, boris
from tests.pages import signed_in
from tests.scenarios.sending import receive_text

CONTENT = bytes(range(256)) * 1_000


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return receive_text(channel, "Вот запись").conversation


@pytest.fixture
def voice(chat: Conversation, settings: Any, tmp_path: Path) -> Attachment:
    return store(chat, settings, tmp_path, name="voice.ogg", mime="audio/ogg; codecs=opus")


def store(chat: Conversation, settings: Any, folder: Path, **values: Any) -> Attachment:
    settings.MEDIA_ROOT = folder
    (folder / "inbound").mkdir(exist_ok=True)
    path = f"inbound/{values['name']}"
    (folder / path).write_bytes(CONTENT)
    return Message.objects.filter(conversation=chat).latest("pk").attachments.create(file=path, **values)


def body(response: Any) -> bytes:
    return b"".join(response) if response.streaming else response.content


# --- reading a range -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-1", RequestedRange(0, 1)),
        ("Bytes = 5-", RequestedRange(5, None)),
        ("bytes=-7", RequestedRange(None, 7)),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-3", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=0x1-2", None),
        ("bytes=٣-٤", None),
        (f"bytes={'9' * 19}-", None),
    ],
)
def test_a_range_is_read_or_ignored(header: str, found: RequestedRange | None) -> None:
    assert parse_range(header) == found


@pytest.mark.parametrize(
    ("requested", "part"),
    [
        (RequestedRange(0, 1), ByteRange(0, 2)),
        (RequestedRange(90, 500), ByteRange(90, 100)),
        (RequestedRange(None, 500), ByteRange(0, 100)),
        (RequestedRange(None, 1), ByteRange(99, 100)),
        (RequestedRange(100, None), None),
        (RequestedRange(None, 0), None),
    ],
)
def test_a_range_is_cut_to_the_file_or_refused(requested: RequestedRange, part: ByteRange | None) -> None:
    if part is None:
        with pytest.raises(RangeNotSatisfiable):
            requested.resolve(100)
    else:
        assert requested.resolve(100) == part


# --- responses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status", "start", "end"),
    [
        ("bytes=0-", 206, 0, 256_000),
        ("bytes=0-1", 206, 0, 2),
        ("bytes=70000-140000", 206, 70_000, 140_001),
        ("bytes=-5", 206, 255_995, 256_000),
        ("bytes=0-1,4-5", 200, 0, 256_000),
        ("", 200, 0, 256_000),
    ],
)
def test_a_file_is_served_whole_or_in_part(voice: Attachment, header: str, status: int, start: int, end: int) -> None:
    operator = signed_in(Client(), boris(voice.message.conversation.chat_channel))

    answer: Any = operator.get(f"/files/{voice.pk}/", headers={"Range": header} if header else {})

    assert (answer.status_code, body(answer)) == (status, CONTENT[start:end])
    assert answer["Content-Length"] == str(end - start) and answer["Accept-Ranges"] == "bytes"
    assert answer.get("Content-Range") == (f"bytes {start}-{end - 1}/256000" if status == 206 else None)
    assert answer["Content-Type"] == "audio/ogg" and answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["Content-Disposition"].startswith("attachment")


def test_head_conditions_and_ranges_behind_the_end(voice: Attachment) -> None:
    operator = signed_in(Client(), boris(voice.message.conversation.chat_channel))
    address = f"/files/{voice.pk}/"

    head: Any = operator.head(address, headers={"Range": "bytes=0-1"})
    tag = head["ETag"]
    same = operator.get(address, headers={"If-None-Match": f'"x", W/{tag}'})
    rest: Any = operator.get(address, headers={"If-Range": tag, "Range": "bytes=5-6"})
    other: Any = operator.get(address, headers={"If-Range": '"other"', "Range": "bytes=5-6"})
    behind = operator.get(address, headers={"Range": f"bytes={len(CONTENT)}-"})

    assert (head.status_code, head["Content-Length"], head.content) == (200, str(len(CONTENT)), b"")
    assert (same.status_code, same.content) == (304, b"")
    assert (rest.status_code, body(rest)) == (206, CONTENT[5:7])
    assert (other.status_code, body(other)) == (200, CONTENT)
    assert (behind.status_code, behind["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


def test_each_range_needs_access_to_the_chat(voice: Attachment) -> None:
    elsewhere = UserFactory()
    elsewhere.chat_channels.add(ChatChannelFactory())
    stranger = signed_in(Client(), elsewhere)

    for client in (stranger, Client()):
        assert client.get(f"/files/{voice.pk}/", headers={"Range": "bytes=0-1"}).status_code == 404
    signed: Any = Client().get(attachment_files.build_signed_link(voice), headers={"Range": "bytes=2-3"})
    assert (signed.status_code, body(signed)) == (206, CONTENT[2:4])


def test_a_stored_copy_is_useless_after_the_sign_out(voice: Attachment) -> None:
    client = signed_in(Client(), boris(voice.message.conversation.chat_channel))
    address = f"/files/{voice.pk}/"
    shown = client.get(address)
    stored = {"if-none-match": shown["ETag"]}
    assert shown["Cache-Control"] == "private, no-cache"
    assert client.get(address, headers=stored).status_code == 304

    signed_out = client.post("/logout/")

    assert signed_out["Clear-Site-Data"] == '"cache"'  # "storage" holds unsent texts and the service worker
    stranger = signed_in(Client(), UserFactory())
    for other in (client, stranger):
        assert other.get(address, headers=stored).status_code in (302, 403, 404)


def test_a_missing_file_is_not_found(voice: Attachment, tmp_path: Path) -> None:
    operator = signed_in(Client(), boris(voice.message.conversation.chat_channel))
    (tmp_path / str(voice.file.name)).unlink()

    assert operator.get(f"/files/{voice.pk}/").status_code == 404
    assert operator.head(f"/files/{voice.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("mime", "name", "kind", "served", "is_inline"),
    [
        ("image/png", "a.png", "picture", "image/png", True),
        ("audio/ogg; codecs=opus", "", "audio", "audio/ogg", False),
        ("Audio/OPUS", "", "audio", "audio/ogg", False),
        ("", "запись.amr", "audio", "audio/amr", False),
        ("application/octet-stream", "movie.MOV", "video", "video/quicktime", False),
        ("application/pdf", "счёт.pdf", "pdf", "application/pdf", False),
        ("text/html", "photo.jpg", "file", "application/octet-stream", False),
        ("image/svg+xml", "a.svg", "file", "application/octet-stream", False),
        ("text/plain", "a.txt", "file", "text/plain", False),
        ("", "", "file", "application/octet-stream", False),
    ],
)
def test_only_listed_types_are_served(mime: str, name: str, kind: str, served: str, is_inline: bool) -> None:
    assert media_types.find_media_type(mime, name) == (kind, served, is_inline)


def test_a_large_file_is_read_in_blocks(chat: Conversation, settings: Any, tmp_path: Path) -> None:
    video = store(chat, settings, tmp_path, name="video.mp4", mime="video/mp4")
    reader = file_responses.open_ranges(video.file)

    blocks = [len(block) for block in reader.read_range(0, reader.size)]
    reader.close()

    assert sum(blocks) == len(CONTENT) and max(blocks) <= file_responses.BLOCK_BYTES
