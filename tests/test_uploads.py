"""Operators' uploads: validated, shared by link, or sent as files where the route supports files."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, TestCase
from django.utils import timezone

from bridge.conversations import receiving
from bridge.files import uploads
from bridge.models import Conversation, Delivery, Message, Upload
from bridge.outbox.destinations.api_channels import build_request
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from channels_setup.providers.sandbox import messenger as sandbox
from tests.factories import boris, gleb, vera
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import move_windows_back

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
PDF = b"%PDF-1.7 bill"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, settings: Any) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    fact = MessageReceived(contact=ContactInfo(external_id="anna", name="Анна"), text="Пришлите счёт")
    made = receiving.receive_messages(
        channel, [receiving.IncomingMessage(fact=fact, chat_channel=channel.default_chat_channel)]
    )
    return made[0].conversation


@pytest.fixture
def desk(chat: Conversation, client: Client) -> Client:
    return signed_in(client, boris(chat.chat_channel))


@pytest.fixture
def files_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.Sandbox, "sends_files", True)


def upload_file(desk: Client, chat: Conversation, name: str = "счёт.pdf", content: bytes = PDF) -> Any:
    return desk.post(f"/chats/{chat.pk}/files/", {"file": SimpleUploadedFile(name, content)}, headers=SCRIPT)


def link_in(answer: Any) -> str:
    found = re.search(r"(/shared/\S+/)$", answer.json()["text"])
    assert found
    return found[1]


# --- by link ---------------------------------------------------------------------------------------------


def test_a_file_becomes_a_line_with_a_link_to_its_page(desk: Client, chat: Conversation) -> None:
    answer = upload_file(desk, chat)

    assert answer.status_code == 201 and answer.json()["text"].startswith("счёт.pdf: http")
    page = Client(headers={"accept-language": "en"}).get(link_in(answer))
    html = page.content.decode()
    assert page.status_code == 200 and "счёт.pdf" in html and "13\u00a0bytes" in html and "Download" in html
    assert page["X-Robots-Tag"] == "noindex, nofollow" and "no-store" in page["Cache-Control"]
    assert Upload.objects.get().downloads == 0


def test_a_download_is_counted_and_never_shown_inline(desk: Client, chat: Conversation) -> None:
    address = link_in(upload_file(desk, chat)) + "file"

    Client().head(address)
    file = Client().get(address)

    assert b"".join(file.streaming_content) == PDF
    assert file["Content-Disposition"].startswith("attachment")
    assert file["X-Content-Type-Options"] == "nosniff"
    assert file["Content-Security-Policy"] == "default-src 'none'; sandbox"
    upload = Upload.objects.get()
    assert upload.downloads == 1 and upload.downloaded_at is not None


def test_an_expired_link_says_so_and_returns_no_file(desk: Client, chat: Conversation) -> None:
    address = link_in(upload_file(desk, chat))
    Upload.objects.update(expires_at=timezone.now())

    for path in (address, f"{address}file"):
        answer = Client(headers={"accept-language": "en"}).get(path)
        assert answer.status_code == 410 and "This link has expired" in answer.content.decode()
        assert PDF not in answer.content
    assert Upload.objects.get().downloads == 0


@pytest.mark.parametrize("made_up", ["1", "1:abc", "x", "1:" + "a" * 43])
def test_an_unsigned_link_is_not_found(desk: Client, chat: Conversation, made_up: str) -> None:
    upload_file(desk, chat)

    page = Client(headers={"Accept-Language": "en"}).get(f"/shared/{made_up}/")
    assert page.status_code == 404 and "ask there for a new one" in page.content.decode()
    assert Client().get(f"/shared/{made_up}/file").status_code == 404


def test_expired_files_are_deleted_from_the_disk(desk: Client, chat: Conversation, own_folder: Path) -> None:
    with_disk = upload_file(desk, chat)
    assert with_disk.status_code == 201 and [path for path in own_folder.rglob("*") if path.is_file()]
    Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    with TestCase.captureOnCommitCallbacks(execute=True):
        assert sum(uploads.prune_uploads()) == 1

    assert not Upload.objects.exists() and not [path for path in own_folder.rglob("*") if path.is_file()]


# --- validation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("virus.exe", b"MZ\x90", "cannot be sent"),
        ("page.html", b"<script>alert(1)</script>", "cannot be sent"),
        ("picture.svg", b"<svg onload=alert(1)>", "cannot be sent"),
        ("macro.docm", b"PK\x03\x04", "cannot be sent"),
        ("счёт", PDF, "cannot be sent"),
        ("счёт.pdf", b"MZ\x90\x00", "does not match its file type"),
        ("фото.jpg", b"<html>", "does not match its file type"),
        ("список.csv", b"a;b\0c", "does not match its file type"),
        ("пусто.txt", b"", "is empty"),
        ("../../etc/passwd", b"root", "cannot be sent"),
    ],
)
def test_a_refused_file_has_a_reason(
    desk: Client, chat: Conversation, own_folder: Path, name: str, content: bytes, sentence: str
) -> None:
    answer = upload_file(desk, chat, name, content)

    assert answer.status_code == 422 and sentence in answer.json()["sentence"]
    assert not Upload.objects.exists() and not [path for path in own_folder.rglob("*") if path.is_file()]


def test_an_oversized_file_is_refused(desk: Client, chat: Conversation, settings: Any) -> None:
    settings.UPLOAD_LIMIT_MB = 0

    assert "is too large" in upload_file(desk, chat).json()["sentence"]


def test_a_file_name_keeps_its_extension_and_no_dangerous_characters() -> None:
    assert uploads.clean_name("C:\\Users\\Boris\\счёт.pdf") == "счёт.pdf"
    assert uploads.clean_name("a\u202etxt.pdf\n") == "atxt.pdf"
    assert uploads.clean_name("я" * 400 + ".pdf") == "я" * 150 + ".pdf"


def test_another_operator_can_neither_upload_nor_remove(
    desk: Client, chat: Conversation, files_supported: None
) -> None:
    upload_file(desk, chat)
    upload = Upload.objects.get()
    for stranger, status in ((gleb(), 404), (vera(), 204)):
        other = Client()
        other.force_login(stranger)
        assert other.post(f"/chats/{chat.pk}/files/{upload.pk}/delete/").status_code == status
    gleb_client = Client()
    gleb_client.force_login(gleb())

    assert upload_file(gleb_client, chat).status_code == 404
    assert Upload.objects.get() == upload


# --- as files --------------------------------------------------------------------------------------------


def test_where_the_route_supports_files_they_are_sent_as_files(
    desk: Client, chat: Conversation, files_supported: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("счёт.pdf", "план.pdf"):
        assert f">{name}<" in upload_file(desk, chat, name).json()["chip"]
    first, second = Upload.objects.order_by("pk")
    assert 'name="upload"' in desk.get(f"/chats/{chat.pk}/").content.decode()

    form = {"text": "Вот счёт и план", "upload": [first.pk, second.pk], "key": "abcdefgh1234"}
    responses = [desk.post(f"/chats/{chat.pk}/send/", form, headers=SCRIPT).json() for _ in "12"]

    assert responses == [{"sent": True, "sentence": ""}] * 2
    with_words, alone = Message.objects.filter(direction="outbound").order_by("pk")
    assert (with_words.text, with_words.kind, alone.text, alone.kind) == ("Вот счёт и план", "text", "", "file")
    assert [message.attachments.get().name for message in (with_words, alone)] == ["счёт.pdf", "план.pdf"]
    outgoing = [build_request(delivery) for delivery in Delivery.objects.filter(kind="message").order_by("pk")]
    assert [(one.files[0].name, one.files[0].mime) for one in outgoing] == [
        ("счёт.pdf", "application/pdf"),
        ("план.pdf", "application/pdf"),
    ]
    fetched = Client().get("/" + outgoing[0].files[0].url.split("/", 3)[3])
    assert b"".join(fetched.streaming_content) == PDF and fetched["Content-Type"] == "application/pdf"
    assert 'name="upload"' not in page_html(desk, f"/chats/{chat.pk}/")


def test_text_too_long_for_a_caption_is_sent_before_the_file(
    desk: Client, chat: Conversation, files_supported: None
) -> None:
    upload_file(desk, chat)
    form = {"text": "я" * 1500, "upload": [Upload.objects.get().pk]}

    desk.post(f"/chats/{chat.pk}/send/", form, headers=SCRIPT)

    words, file = Message.objects.filter(direction="outbound").order_by("pk")
    assert len(words.text) == 1500 and not words.attachments.exists() and file.attachments.exists()


def test_a_closed_window_keeps_the_file_in_the_composer(
    desk: Client, chat: Conversation, files_supported: None
) -> None:
    upload_file(desk, chat)
    move_windows_back(timedelta(hours=25))

    response = desk.post(f"/chats/{chat.pk}/send/", {"text": "", "upload": [Upload.objects.get().pk]}, headers=SCRIPT)

    assert not response.json()["sent"] and "window is closed" in response.json()["sentence"]
    assert Upload.objects.get().message is None


def test_another_users_file_is_not_sent(desk: Client, chat: Conversation, files_supported: None) -> None:
    admin = Client()
    admin.force_login(vera())
    upload_file(admin, chat)

    form = {"text": "Вот", "upload": [Upload.objects.get().pk]}
    response = desk.post(f"/chats/{chat.pk}/send/", form, headers=SCRIPT).json()

    assert response["sent"] is False and "no longer available" in response["sentence"]
    assert not Message.objects.filter(text="Вот").exists()


def test_a_form_without_javascript_uploads_its_files(desk: Client, chat: Conversation) -> None:
    form = {"text": "Вот", "files": [SimpleUploadedFile("счёт.pdf", PDF)]}

    assert desk.post(f"/chats/{chat.pk}/send/", form).status_code == 302

    assert Message.objects.latest("pk").text.startswith("Вот\nсчёт.pdf: http")
    wrong = desk.post(f"/chats/{chat.pk}/send/", {"text": "И вот", "files": [SimpleUploadedFile("a.exe", b"MZ")]})
    assert wrong.status_code == 422 and "cannot be sent" in wrong.content.decode()


@pytest.mark.usefixtures("files_supported")
def test_an_unsent_file_is_shown_to_its_author_and_renamed(desk: Client, chat: Conversation) -> None:
    posted = upload_file(desk, chat, "фото.png", b"\x89PNG\r\n\x1a\n picture")
    upload = Upload.objects.get()
    address = f"/chats/{chat.pk}/files/{upload.pk}/"

    shown: Any = desk.get(address)
    renamed = desk.post(f"{address}rename/", {"name": "../Чек за 30.11.png"}, headers=SCRIPT)
    unchanged = desk.post(f"{address}rename/", {"name": " ."}, headers=SCRIPT)

    assert f'src="{address}"' in posted.json()["chip"]
    assert (b"".join(shown), shown["Content-Type"]) == (b"\x89PNG\r\n\x1a\n picture", "image/png")
    assert renamed.json() == unchanged.json() == {"name": "Чек за 30.11.png"}
    other = signed_in(Client(), vera())
    assert other.get(address).status_code == 404
    assert other.post(f"{address}rename/", {"name": "x"}, headers=SCRIPT).status_code == 404
