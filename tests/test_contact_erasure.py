"""The client pane next to the chat, and erasing a person completely."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client, TestCase
from django.utils import timezone

from bridge.conversations import closing_reminders, tickets
from bridge.files import uploads
from bridge.inbox import processing
from bridge.maintenance import erasure, outside_copies
from bridge.models import (
    Attempt,
    Contact,
    ContactNote,
    Conversation,
    Delivery,
    Draft,
    Erasure,
    HeldReply,
    Message,
    Mismatch,
    ServiceWindow,
    Ticket,
    WebhookEvent,
)
from bridge.notices import create_notice
from bridge.outbox import dispatcher, results
from bridge.outbox.attempts import AttemptResult
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ACCEPTED, Outcome
from tests.claiming import claim_deliveries
from tests.factories import ApiChannelFactory, TemplateFactory, boris, gleb, vera
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.database_dump import dump_all_rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
PHONE, NAME, WORDS = "79215550104", "Анна Соколова", "Мой адрес: Лиговский, 7"


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="Магазин")


def anna_writes(client: Client, channel: ApiChannel, number: int = 1, text: str = WORDS) -> None:
    """Post a webhook and process it."""
    event = {
        "type": "message",
        "id": f"wamid.{number}",
        "from": {"id": PHONE, "name": NAME, "phone": PHONE},
        "text": text,
    }
    answer = client.post(channel.webhook_path, json.dumps(event), content_type="application/json")
    assert answer.status_code == 200
    processing.process_inbox()


@pytest.fixture
def chat(channel: ApiChannel, client: Client) -> Conversation:
    anna_writes(client, channel)
    return Conversation.objects.get()


@pytest.fixture
def desk(chat: Conversation, client: Client) -> Client:
    return signed_in(client, boris(chat.chat_channel))


# --- next to the chat ----------------------------------------------------------------------------------------


def test_notes_and_tags_belong_to_the_person_and_reach_open_pages(desk: Client, chat: Conversation) -> None:
    known = desk.get(f"/chats/updates/?chat={chat.pk}").json()["thread"]["version"]

    desk.post(f"/chats/{chat.pk}/client/notes/", {"note": "Забирает сама, по утрам"}, headers=SCRIPT)
    for word in ("постоянный", "Постоянный", "  само\tвывоз ", ""):
        desk.post(f"/chats/{chat.pk}/client/tags/", {"add": word}, headers=SCRIPT)

    pane = desk.get(f"/chats/updates/?chat={chat.pk}&thread={known}").json()["thread"]["client"]
    assert "Забирает сама" in pane and "boris" in pane and "само вывоз" in pane
    chat.contact.refresh_from_db()
    assert chat.contact.tags == ["постоянный", "само вывоз"]
    desk.post(f"/chats/{chat.pk}/client/tags/", {"drop": "постоянный"}, headers=SCRIPT)
    chat.contact.refresh_from_db()
    assert chat.contact.tags == ["само вывоз"]


def test_only_the_author_can_delete_a_note(desk: Client, chat: Conversation) -> None:
    mine = ContactNote.objects.create(contact=chat.contact, author=boris(), text="моё")
    hers = ContactNote.objects.create(contact=chat.contact, author=vera(), text="её")

    for note in (mine, hers):
        desk.post(f"/chats/{chat.pk}/client/notes/{note.pk}/delete/", headers=SCRIPT)

    assert list(ContactNote.objects.all()) == [hers]


def test_the_pane_shows_values_used_in_templates(desk: Client, chat: Conversation) -> None:
    variables = [{"key": "1", "label": "Имя клиента"}, {"key": "2", "label": "Номер заказа"}]
    template = TemplateFactory(api_channel=chat.api_channel, variables=variables)
    for number in ("№ 42", "№ 43"):
        reply_submission.submit_template_reply(
            conversation_id=chat.pk, template_id=template.pk, parameters=["Анна", number], author=boris()
        )

    pane = desk.get(f"/chats/{chat.pk}/").content.decode()

    assert "<dt>Номер заказа</dt><dd>№ 43</dd>" in pane and "№ 42</dd>" not in pane


def test_an_operator_of_another_channel_can_do_none_of_it(chat: Conversation, client: Client) -> None:
    client.force_login(gleb())

    for path in ("notes/", "tags/", "notes/1/delete/", "erase/"):
        assert client.post(f"/chats/{chat.pk}/client/{path}", {"note": "x", "add": "x"}).status_code in (403, 404)
    assert not ContactNote.objects.exists()


# --- erasure -------------------------------------------------------------------------------------------------


@pytest.fixture
def chat_with_all_data(chat: Conversation, client: Client, tmp_path: Path, settings: Any) -> Conversation:
    """Store Anna's data in every place that can hold it."""
    settings.MEDIA_ROOT = tmp_path
    author = boris(chat.chat_channel)
    sent = reply_submission.submit_reply(conversation_id=chat.pk, text=f"Едем на {WORDS}", author=author).message
    delivery = Delivery.objects.get(message=sent, kind="message")
    Attempt.objects.create(
        delivery=delivery, number=1, started_at=timezone.now(), duration_ms=5, verdict="retry", answer=f"to {PHONE}"
    )
    Draft.objects.create(conversation=chat, user=author, text=WORDS, details={"why": WORDS})
    ContactNote.objects.create(contact=chat.contact, author=author, text=WORDS)
    Contact.objects.update(tags=[NAME], email="anna@example.com")
    HeldReply.objects.create(conversation=chat, author=author, text=WORDS, drop_at=timezone.now() + timedelta(days=1))
    Message.objects.filter(pk=sent.pk if sent else 0).update(
        template={"name": "x", "parameters": [NAME]}, details={"title": PHONE}, shown={"former": [WORDS]}
    )
    create_notice(chat, "contact_changed", before=PHONE, after=PHONE)
    Mismatch.objects.create(
        kind="not_sent",
        api_channel=chat.api_channel,
        conversation=chat,
        message=sent,
        external_id=f"wamid.{PHONE}",
        since=timezone.now(),
    )
    upload = uploads.save_upload(chat, SimpleUploadedFile(f"{NAME}.pdf", b"%PDF-1"), author=author)
    Message.objects.filter(direction="inbound").get().attachments.create(file=upload.file.name, name=NAME)
    client.force_login(author)
    client.post(f"/chats/{chat.pk}/send/", {"text": WORDS, "key": "abcdefgh1234"}, headers=SCRIPT)
    return chat


def erase_client(chat: Conversation) -> list[Erasure]:
    with TestCase.captureOnCommitCallbacks(execute=True):
        return erasure.erase_person(chat.contact_id, by=vera())


def test_no_data_of_an_erased_person_is_left(chat_with_all_data: Conversation, tmp_path: Path) -> None:
    for trace in (PHONE, NAME, "Лиговский", "anna@example.com", "wamid.1"):
        assert trace in dump_all_rows(), trace

    receipt = erase_client(chat_with_all_data)[0]

    for trace in (PHONE, NAME, "Лиговский", "anna@example.com", "wamid.1"):
        assert trace not in dump_all_rows(), trace
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert receipt.by == vera() and receipt.counts["messages"] == 4 and receipt.counts["files"] == 2


def test_queued_messages_to_an_erased_person_are_not_sent(chat_with_all_data: Conversation) -> None:
    erase_client(chat_with_all_data)

    assert dispatcher.send_due_deliveries() == 0
    assert set(Delivery.objects.values_list("state", flat=True)) == {Delivery.State.CANCELLED}
    again = reply_submission.submit_reply(conversation_id=chat_with_all_data.pk, text="Ещё", author=boris())
    assert again.decision.reason == "person_erased" and again.message is None


def test_a_running_call_does_not_restore_erased_data(chat_with_all_data: Conversation) -> None:
    Delivery.objects.update(next_attempt_at=timezone.now())
    claimed = claim_deliveries(token := uuid.uuid4(), limit=5)
    assert claimed

    erase_client(chat_with_all_data)
    results.save_results(
        [
            AttemptResult(
                claimed=item,
                outcome=Outcome(verdict=ACCEPTED, external_id=f"wamid.{PHONE}"),
                started_at=timezone.now(),
                duration_ms=1,
                http_status=200,
                answer=PHONE,
            )
            for item in claimed
        ],
        token,
    )

    assert PHONE not in dump_all_rows()


def test_an_erased_person_needs_no_more_work(chat_with_all_data: Conversation, client: Client) -> None:
    ServiceWindow.objects.update(expires_at=timezone.now() + timedelta(minutes=10))
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.NEW)
    Conversation.objects.update(last_direction="inbound", unread=3)

    open_page = (
        signed_in(client, boris(chat_with_all_data.chat_channel))
        .get(f"/chats/{chat_with_all_data.pk}/")
        .content.decode()
    )

    erase_client(chat_with_all_data)

    chat_with_all_data.refresh_from_db()
    assert (chat_with_all_data.request_status, chat_with_all_data.unread) == (Ticket.Status.CLOSED, 0)
    assert list(chat_with_all_data.windows.values_list("state", "missed")) == [("closed", False)]
    assert closing_reminders.send_reminders() == 0
    html = client.get(f"/chats/{chat_with_all_data.pk}/").content.decode()
    assert "you cannot write here" in html and 'id="add-note"' not in html
    assert '<div class="text erased" dir="auto">The text was erased</div>' in html
    versions = re.compile(r'<li class="msg[^>]* data-version="([^"]+)"')  # the open page redraws every message
    assert not set(versions.findall(open_page)) & set(versions.findall(html)) and versions.findall(html)


def test_a_second_erasure_finds_what_came_meanwhile(chat_with_all_data: Conversation) -> None:
    first = erase_client(chat_with_all_data)[0]
    late = WebhookEvent.objects.create(
        endpoint="update/client", body=WORDS.encode(), state="processed", contact_ids=[chat_with_all_data.contact_id]
    )

    second = erase_client(chat_with_all_data)[0]

    late.refresh_from_db()
    assert bytes(late.body) == b"" and second.pk != first.pk
    assert (second.counts["requests received"], second.counts["notes"]) == (1, 0)
    chat_with_all_data.contact.refresh_from_db()
    assert chat_with_all_data.contact.erased_at is not None and chat_with_all_data.contact.erased_at < second.at


def test_a_repeated_webhook_does_not_restore_an_erased_person(
    chat_with_all_data: Conversation, client: Client, channel: ApiChannel
) -> None:
    erase_client(chat_with_all_data)

    anna_writes(client, channel)
    assert Contact.objects.count() == 1 and Message.objects.filter(text=WORDS).count() == 0
    anna_writes(client, channel, number=2, text="Я снова здесь")

    assert Contact.objects.count() == 2
    assert Message.objects.get(text="Я снова здесь").conversation_id != chat_with_all_data.pk
    assert WebhookEvent.objects.filter(state="failed").count() == 0


def test_a_repeated_api_call_does_not_restore_an_erased_person(
    chat_with_all_data: Conversation, client: Client, channel: ApiChannel
) -> None:
    call = {
        "api_token": channel.issue_secret().reveal(),
        "channel_id": chat_with_all_data.chat_channel_id,
        "message": {"id": "wamid.1", "text": WORDS, "from": {"client_id": PHONE, "name": NAME}},
    }
    erase_client(chat_with_all_data)

    english = {"accept-language": "en"}
    again = client.post("/uapi/chat/addMessage", json.dumps(call), "application/json", headers=english).json()

    assert (again["code"], "erased" in again["error"]) == (410, True)
    for trace in (PHONE, NAME, "Лиговский"):
        assert trace not in dump_all_rows(), trace
    call["message"] |= {"id": "wamid.2", "text": "Я снова здесь"}  # type: ignore[operator]  # a dict
    fresh = client.post("/uapi/chat/addMessage", json.dumps(call), content_type="application/json").json()
    assert Message.objects.get(pk=fresh["message_id"]).conversation_id != chat_with_all_data.pk


def test_other_contacts_of_the_channel_keep_everything(
    chat_with_all_data: Conversation, client: Client, channel: ApiChannel
) -> None:
    event = {"type": "message", "id": "igor.1", "from": {"id": "79210000001", "name": "Игорь"}, "text": "Счёт?"}
    client.post(channel.webhook_path, json.dumps(event), content_type="application/json")
    processing.process_inbox()

    erase_client(chat_with_all_data)

    assert "Игорь" in dump_all_rows() and Message.objects.filter(text="Счёт?").exists()
    assert b"igor.1" in bytes(WebhookEvent.objects.latest("pk").body)


def test_the_same_phone_is_erased_on_every_channel(chat_with_all_data: Conversation, client: Client) -> None:
    other = ApiChannelFactory(name="Склад")
    anna_writes(client, other, number=7)

    assert len(erase_client(chat_with_all_data)) == 2

    assert PHONE not in dump_all_rows()


def test_erasure_requires_permission_and_confirmation(chat_with_all_data: Conversation, client: Client) -> None:
    address = f"/chats/{chat_with_all_data.pk}/client/erase/"
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    client.force_login(boris())
    assert client.get(address).status_code == 403
    assert "Erase client data" not in page_html(client, f"/chats/{chat_with_all_data.pk}/")
    client.force_login(vera())
    assert "Erase client data" in client.get(f"/chats/{chat_with_all_data.pk}/").content.decode()
    assert NAME in client.get(address).content.decode()

    assert client.post(address).status_code == 422
    assert not Erasure.objects.exists()
    assert client.post(address, {"sure": chat_with_all_data.contact_id}).status_code == 302

    page = client.get(f"/chats/{chat_with_all_data.pk}/").content.decode()
    assert ">Erased<" in page and NAME not in page
    assert Erasure.objects.get().by == vera()


def test_the_command_shows_first_whom_it_would_erase(chat_with_all_data: Conversation) -> None:
    out = StringIO()
    call_command("erase_contact", str(chat_with_all_data.contact_id), stdout=out)
    assert "Would erase contact" in out.getvalue() and not Erasure.objects.exists()

    call_command("erase_contact", str(chat_with_all_data.contact_id), "--yes", stdout=out)
    call_command("erase_contact", str(chat_with_all_data.contact_id), "--yes", stdout=out)

    assert Erasure.objects.count() == 2
    assert NAME not in out.getvalue()


@pytest.mark.usefixtures("in_english")
def test_a_receipt_lists_what_was_erased_without_zeros() -> None:
    assert outside_copies.describe_counts(Erasure(counts={"files": 0, "messages": 2})) == "messages: 2"
    assert outside_copies.describe_counts(Erasure(counts={"files": 0})) == "Nothing was found to erase."
