"""After an erasure: raw requests are found by their links, late writes are refused, a restored dump is erased again."""

from __future__ import annotations

import html
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client, TestCase
from django.utils import timezone

from bridge import person_erased
from bridge.files import file_deletions
from bridge.inbox import processing
from bridge.maintenance import erased_events, erasure, erasure_log, identifier_patterns, outside_copies
from bridge.models import (
    Contact,
    ContactNote,
    Conversation,
    Draft,
    Erasure,
    FileDeletion,
    HelpdeskChat,
    IdempotencyKey,
    LoggedErasure,
    Message,
    Ticket,
    WebhookEvent,
)
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, boris, token_of, vera
from tests.pages import SCRIPT, signed_in
from tests.scenarios.database_dump import dump_all_rows
from tests.uapi_calls import ENCODINGS, call

pytestmark = pytest.mark.django_db
PHONE = "79215550104"


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="Магазин")


@pytest.fixture
def key(channel: ApiChannel) -> str:
    return str(channel.issue_secret().reveal())


def post_event(client: Client, channel: ApiChannel, **event: Any) -> WebhookEvent:
    answer = client.post(channel.webhook_path, json.dumps(event), content_type="application/json")
    assert answer.status_code == 200
    processing.process_inbox()
    return WebhookEvent.objects.latest("pk")


def post_status(client: Client, channel: ApiChannel, **status: Any) -> WebhookEvent:
    """Post a status in the format of a provider that names messages by our numbers."""
    ApiChannel.objects.filter(pk=channel.pk).update(kind="acebot")
    return post_event(client, ApiChannel.objects.get(pk=channel.pk), **status)


def write(client: Client, channel: ApiChannel, number: int = 1, text: str = "Мой адрес: Лиговский, 7") -> WebhookEvent:
    sender = {"id": PHONE, "name": "Анна", "phone": PHONE}
    return post_event(client, channel, type="message", id=f"wamid.{number}", text=text, **{"from": sender})


@pytest.fixture
def chat(channel: ApiChannel, client: Client) -> Conversation:
    write(client, channel)
    return Conversation.objects.get()


def erase(chat: Conversation) -> Erasure:
    with TestCase.captureOnCommitCallbacks(execute=True):
        return erasure.erase_person(chat.contact_id, by=vera())[0]


# --- links from raw requests to contacts ---------------------------------------------------------------------------


def test_a_processed_event_names_its_contacts(chat: Conversation, channel: ApiChannel, client: Client) -> None:
    assert WebhookEvent.objects.get().contact_ids == [chat.contact_id]
    repeated = write(client, channel)
    assert repeated.contact_ids == [chat.contact_id]
    reply = Message.objects.create(
        conversation=chat, api_channel=channel, direction="outbound", status="sent", external_id="wamid.out"
    )
    status = post_status(client, channel, message_id=reply.pk, status="delivered")
    assert status.contact_ids == [chat.contact_id], status.error
    other = post_status(client, channel, message_id=reply.pk + 1_000, status="delivered")
    assert other.contact_ids == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_writing_call_names_its_client(
    chat: Conversation, channel: ApiChannel, client: Client, key: str, encoding: str
) -> None:
    user, ticket = boris(chat.chat_channel), Ticket.objects.get()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("update/client", {"client_id": chat.contact_id, "name": "Канарейка"}),
        ("create/client", {"phone": PHONE, "name": "Канарейка"}),
        ("create/ticket", {"client_id": chat.contact_id, "message": "Канарейка", "channel_id": chat.chat_channel_id}),
        ("create/comment", {"ticket_id": ticket.pk, "message": "Канарейка"}),
        ("update/ticket", {"ticket_id": ticket.pk, "subject": "Канарейка"}),
        ("chat/sendMessage", {"chat_id": chat.pk, "user_id": user.pk, "text": "Канарейка"}),
        ("chat/changeAssignee", {"chat_id": chat.pk, "user_id": user.pk}),
        (
            "chat/addMessage",
            {
                "channel_id": chat.chat_channel_id,
                "message[text]": "Канарейка",
                "message[from][okno_client_id]": chat.contact_id,
            },
        ),
        # Refused before the client is looked up.
        ("create/ticket", {"client_id": chat.contact_id, "message": "Канарейка", "status": "99"}),
        ("update/client", {"client_id": chat.contact_id, "phone": "Канарейка"}),
        ("create/comment", {"ticket_id": ticket.pk, "message": "Канарейка", "type": "?"}),
        ("create/client", {"phone": "+7 (921) 555-01-04", "merge_id": "Канарейка"}),
    ]
    for method, values in calls:
        call(client, method, {"api_token": key, **values}, encoding)
        event = WebhookEvent.objects.latest("pk")
        assert event.contact_ids == [chat.contact_id], (method, event.error)

    erase(chat)

    assert not [event.endpoint for event in WebhookEvent.objects.all() if event.body or event.query_string]
    for spelling in ("Канарейка", quote("Канарейка"), json.dumps("Канарейка")[1:-1]):
        assert spelling not in dump_all_rows()


@pytest.mark.parametrize(
    "text",
    [
        PHONE,
        "+7 (921) 555-01-04",
        "8 921 555 01 04",
        "921.555.01.04",
        "+7%20%28921%29%20555-01-04",
        "%2B7+%28921%29+555-01-04",
        quote("+7\u00a0921\u00a0555\u201101\u201104"),
        "+7\u00a0921\u00a0555\u201001\u201004",
        json.dumps("+7\u00a0921\u00a0555\u201101\u201104"),
        "".join(f"\\u{ord(digit):04x}" for digit in PHONE),
        "".join(f"%{ord(digit):02X}" for digit in PHONE),
        quote(quote("+7 (921) 555")) + "-01-04",
        "wamid.HBgLNzkyMTU1NTAxMDQVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA",
        "anna@example.com",
        "anna%40example.com",
        "ANNA@EXAMPLE.COM",
        '{"client_id": 42}',
        "message%5Bfrom%5D%5Bclient_id%5D=42&x=1",
        "анна_с",
        quote("анна_с"),
        json.dumps("анна_с"),
    ],
)
def test_every_spelling_of_an_identifier_is_found(channel: ApiChannel, text: str) -> None:
    contact = Contact.objects.create(
        api_channel=channel, phone=f"+{PHONE}", email="anna@example.com", caller_id="42", username="анна_с"
    )
    for place in ({"body": f'{{"a": "b", {text}}}'.encode()}, {"body": b"", "query_string": text}):
        event = WebhookEvent.objects.create(api_channel=channel, endpoint="x", state="failed", error="?", **place)

        assert erased_events.count_events(contact) == 1
        assert erased_events.erase_events(contact, erased_events.build_contact_pattern(contact)) == 1
        event.refresh_from_db()
        assert (bytes(event.body), event.query_string, event.error, event.state) == (b"", "", "", "processed")


@pytest.mark.parametrize(
    "text",
    [
        "792155501041",
        "79215550105",
        '{"chat_id": 42}',
        "client_id=421",
        "joanna@example.org",
        "[7,9,2,1,5,5,5,0,1,0,4]",
    ],
)
def test_similar_identifiers_of_others_are_not_found(channel: ApiChannel, text: str) -> None:
    contact = Contact.objects.create(
        api_channel=channel, phone=f"+{PHONE}", email="anna@example.com", caller_id="42", username="анна_с"
    )
    WebhookEvent.objects.create(api_channel=channel, endpoint="x", state="failed", body=text.encode())

    assert erased_events.count_events(contact) == 0


def test_a_contact_without_identifiers_matches_nothing() -> None:
    assert identifier_patterns.build_pattern([""], phones=[""]) == ""


# --- late writes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_calls_about_an_erased_person_are_refused_and_not_stored(
    chat: Conversation, channel: ApiChannel, client: Client, key: str, encoding: str
) -> None:
    user, ticket = boris(chat.chat_channel), Ticket.objects.get()
    issued = call(client, "create/client", {"api_token": key, "phone": PHONE, "name": "Анна"}, encoding)
    assert issued["client_id"] == chat.contact_id
    erase(chat)
    before = WebhookEvent.objects.count()
    sender = "message[from][client_id]"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("update/client", {"client_id": chat.contact_id, "name": "Канарейка", "phone": PHONE}),
        ("create/client", {"client_id": chat.contact_id, "name": "Канарейка"}),
        ("create/ticket", {"client_id": chat.contact_id, "message": "Канарейка", "channel_id": chat.chat_channel_id}),
        ("create/comment", {"ticket_id": ticket.pk, "message": "Канарейка"}),
        ("create/comment", {"ticket_id": ticket.pk, "message": "Канарейка", "type": "public", "from": "client"}),
        ("create/comment", {"ticket_id": ticket.pk, "message": "Канарейка", "type": "public", "user_id": user.pk}),
        ("update/ticket", {"ticket_id": ticket.pk, "subject": "Канарейка"}),
        ("chat/sendMessage", {"chat_id": chat.pk, "user_id": user.pk, "text": "Канарейка"}),
        ("chat/changeAssignee", {"chat_id": chat.pk, "user_id": user.pk}),
        ("chat/addMessage", {"channel_id": chat.chat_channel_id, "message[text]": "Канарейка", "chat_id": chat.pk}),
        (
            "chat/addMessage",
            {"channel_id": chat.chat_channel_id, "message[text]": "Канарейка", sender: chat.contact_id},
        ),
        (
            "chat/addMessage",
            {
                "channel_id": chat.chat_channel_id,
                "message[text]": "Канарейка",
                sender: chat.contact_id,
                "message[from][phone]": "+7 (921) 555-01-04",
            },
        ),
    ]
    for method, values in calls:
        answer = call(client, method, {"api_token": key, **values}, encoding)
        assert (answer.get("code"), answer.get("error")) == (410, str(person_erased.SENTENCE)), (method, values, answer)
    assert WebhookEvent.objects.count() == before
    assert "Канарейка" not in dump_all_rows() and PHONE not in dump_all_rows()
    assert call(client, "client", {"api_token": key, "client_id": chat.contact_id}, encoding)["client"]["name"] == ""


def test_a_repeat_under_an_idempotency_key_is_refused(
    chat: Conversation, channel: ApiChannel, client: Client, key: str
) -> None:
    body = json.dumps(
        {"api_token": key, "channel_id": chat.chat_channel_id, "message": {"text": "?", "from": {"phone": PHONE}}}
    )
    headers = {"idempotency-key": f"message of {PHONE}"}
    first = client.post("/uapi/chat/addMessage", body, "application/json", headers=headers).json()
    assert first["client_id"] == chat.contact_id
    assert client.post("/uapi/chat/addMessage", body, "application/json", headers=headers).json() == first

    erase(chat)

    assert PHONE not in dump_all_rows()
    again = client.post("/uapi/chat/addMessage", body, "application/json", headers=headers).json()
    assert again["code"] == 410
    assert IdempotencyKey.objects.count() == 1 and Contact.objects.count() == 1


def test_the_database_refuses_data_of_an_erased_person(chat: Conversation) -> None:
    erase(chat)
    author = boris(chat.chat_channel)
    writes: list[Any] = [
        lambda: Message.objects.create(conversation=chat, api_channel=chat.api_channel, direction="notice", status="x"),
        lambda: Draft.objects.create(conversation=chat, user=author, text="?"),
        lambda: ContactNote.objects.create(contact=chat.contact, text="?"),
        lambda: Ticket.objects.create(conversation=chat),
        lambda: Contact.objects.filter(pk=chat.contact_id).update(name="?"),
        lambda: Contact.objects.filter(pk=chat.contact_id).update(phone=PHONE),
        lambda: Conversation.objects.filter(pk=chat.pk).update(last_text="?"),
    ]
    for write_data in writes:
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            write_data()
        assert person_erased.is_refusal(refused.value)


def test_late_events_of_the_provider_are_emptied(chat: Conversation, channel: ApiChannel, client: Client) -> None:
    reply = Message.objects.create(
        conversation=chat, api_channel=channel, direction="outbound", status="sent", external_id="wamid.out"
    )
    erase(chat)

    late = [
        write(client, channel),
        post_status(client, channel, message_id=reply.pk, status="read", recipient=PHONE),
    ]

    assert [(bytes(event.body), event.state, event.headers) for event in late] == [(b"", "processed", {})] * 2
    assert PHONE not in dump_all_rows()


def test_forms_of_an_open_tab_get_a_clear_answer(chat: Conversation, client: Client) -> None:
    user = boris(chat.chat_channel)
    desk = signed_in(client, user)
    erase(chat)
    forms: list[tuple[str, dict[str, Any]]] = [
        ("send/", {"text": "Канарейка", "key": "abcdefgh1234"}),
        ("send/", {"text": "Канарейка", "once": "abcdefgh1235"}),
        ("draft/", {"text": "Канарейка"}),
        ("assign/", {"user": user.pk}),
        ("client/notes/", {"note": "Канарейка"}),
        ("client/tags/", {"add": "Канарейка"}),
    ]
    for path, values in forms:
        answer = desk.post(f"/chats/{chat.pk}/{path}", values, headers=SCRIPT)
        assert answer.status_code == 410, (path, answer.status_code)
        assert answer.json()["sentence"] == str(person_erased.SENTENCE)
    page = desk.post(f"/chats/{chat.pk}/send/", {"text": "Канарейка"})
    assert page.status_code == 410 and str(person_erased.SENTENCE) in html.unescape(page.content.decode())
    assert desk.post(f"/chats/{chat.pk}/seen/", headers=SCRIPT).status_code == 204
    assert "Канарейка" not in dump_all_rows()


def test_calls_of_the_api_are_refused(chat: Conversation, client: Client) -> None:
    token = token_of(vera())
    contact, conversation = f"/api/v1/contacts/{chat.contact_id}", f"/api/v1/conversations/{chat.pk}"

    def send(method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = {**token, **({"idempotency-key": key} if key else {})}
        return client.generic(method, path, json.dumps(body or {}), content_type="application/json", headers=headers)

    changed = send("PATCH", f"{contact}/", {"email": "anna@example.com"}, key=f"card of {PHONE}")
    assert changed.status_code == 200, changed.content
    assert PHONE in str(IdempotencyKey.objects.values_list("answer", flat=True))

    receipts = send("POST", f"{contact}/erase/")

    assert receipts.status_code == 200, receipts.content
    assert [(row["contact"], row["source"], row["counts"]["messages"]) for row in receipts.json()] == [
        (chat.contact_id, "api", 1)
    ]
    assert receipts.json()[0]["outside"] == [{"where": "provider", "api_channel": chat.api_channel_id}]
    assert PHONE not in dump_all_rows() and "anna@example.com" not in dump_all_rows()
    calls = [
        ("PATCH", f"{contact}/", {"email": "anna@example.com"}, f"card of {PHONE}"),
        ("PATCH", f"{contact}/", {"name": "Канарейка"}, ""),
        ("POST", f"{contact}/notes/", {"text": "Канарейка"}, ""),
        ("POST", f"{conversation}/messages/", {"text": "Канарейка"}, ""),
        ("POST", f"{conversation}/assign/", {"user_id": None}, ""),
    ]
    for method, path, body, key in calls:
        refused = send(method, path, body, key)
        assert (refused.status_code, refused.json()["reason"]) == (410, "person_erased"), (path, refused.content)
    assert "Канарейка" not in dump_all_rows() and not Draft.objects.exists()
    assert send("POST", f"{contact}/erase/").status_code == 200


def test_the_api_erases_only_with_the_permission(chat: Conversation, client: Client) -> None:
    operator = token_of(boris(chat.chat_channel))

    assert client.post(f"/api/v1/contacts/{chat.contact_id}/erase/", headers=operator).status_code == 403
    assert not Erasure.objects.exists()


def test_the_receipt_says_what_stays_outside(chat: Conversation, client: Client) -> None:
    HelpdeskChat.objects.create(
        conversation=chat, chat_channel=chat.chat_channel, chat_id=701, client_id=702, ticket_id=703
    )
    receipt = erase(chat)

    desk = signed_in(client, vera())
    page = desk.get(f"/chats/{chat.pk}/client/erase/").content.decode()
    admin = desk.get(f"/admin/bridge/erasure/{receipt.pk}/change/").content.decode()
    for shown in (page, admin):
        assert all(number in shown for number in ("701", "702", "703"))
    assert desk.post(f"/chats/{chat.pk}/client/erase/", {"sure": chat.contact_id}).status_code == 302
    assert Erasure.objects.count() == 2
    Erasure.objects.update(at=timezone.now() - outside_copies.KEEP_NUMBERS)
    assert outside_copies.forget_old_numbers() == 2
    assert list(Erasure.objects.values_list("outside", flat=True)) == [[], []]


def test_without_its_log_the_page_says_that_nothing_was_erased(
    chat: Conversation, client: Client, settings: Any, tmp_path: Path
) -> None:
    settings.ERASURE_LOG = str(tmp_path / "missing" / "missing" / "erasures.jsonl")
    desk = signed_in(client, vera())

    page = desk.post(f"/chats/{chat.pk}/client/erase/", {"sure": chat.contact_id})

    assert page.status_code == 422 and "erasure log" in page.content.decode()
    assert not Erasure.objects.exists()


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_crash_after_the_commit_leaves_no_file(chat: Conversation, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    (tmp_path / "inbound").mkdir()
    (tmp_path / "inbound" / "anna").write_bytes(b"passport")
    Message.objects.get().attachments.create(file="inbound/anna", name="Паспорт.jpg")

    erasure.erase_person(chat.contact_id, by=vera())  # the test's transaction does not commit: nothing runs after it

    assert FileDeletion.objects.get().path == "inbound/anna"
    assert sum(file_deletions.delete_scheduled_files()) == 1
    assert not FileDeletion.objects.exists() and not (tmp_path / "inbound" / "anna").exists()


# --- the log of erasures -------------------------------------------------------------------------------------------


@pytest.fixture
def log(settings: Any, tmp_path: Path) -> Path:
    path = tmp_path / "erasures.jsonl"
    settings.ERASURE_LOG = str(path)
    return path


def restore_contact(chat: Conversation, **changed: Any) -> Contact:
    """Bring the contact back as it was before the erasure, as a restored dump does."""
    LoggedErasure.objects.all().delete()
    Erasure.objects.all().delete()
    values = {"phone": f"+{PHONE}", "external_id": PHONE, "name": "Анна", "erased_at": None} | changed
    Conversation.objects.filter(pk=chat.pk).update(is_erased=False)
    if changed.get("pk"):
        return Contact.objects.create(api_channel=chat.api_channel, **values)
    Contact.objects.filter(pk=chat.contact_id).update(**values)
    return Contact.objects.get(pk=chat.contact_id)


def test_a_restored_person_is_erased_again(chat: Conversation, log: Path) -> None:
    erase(chat)
    assert erasure.reapply_erasures() == []
    restore_contact(chat)

    call_command("reapply_erasures")

    contact = Contact.objects.get(pk=chat.contact_id)
    assert contact.erased_at is not None and PHONE not in dump_all_rows()
    assert Erasure.objects.get().source == Erasure.Source.RESTORE
    assert erasure.reapply_erasures() == []
    assert len(log.read_text().splitlines()) == 1


def test_a_restored_person_with_another_number_is_erased_again(chat: Conversation, log: Path) -> None:
    Contact.objects.filter(pk=chat.contact_id).update(created_at=timezone.now() - timedelta(days=9))
    erase(chat)
    other = restore_contact(chat, pk=chat.contact_id + 1_000)
    Contact.objects.filter(pk=other.pk).update(created_at=timezone.now() - timedelta(days=9))

    assert [receipt.contact_id for receipt in erasure.reapply_erasures()] == [other.pk]


def test_a_person_who_wrote_again_is_not_erased(chat: Conversation, log: Path, client: Client) -> None:
    erase(chat)
    write(client, chat.api_channel, number=2, text="Я снова здесь")
    LoggedErasure.objects.all().delete()

    erasure.reapply_erasures()

    assert Message.objects.filter(text="Я снова здесь").exists()


def test_the_log_holds_no_personal_data(chat: Conversation, log: Path) -> None:
    erase(chat)

    text = log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert PHONE not in text and "Анна" not in text
    assert set(json.loads(text)) == {"id", "at", "contact", "hashes"}
    log.write_text(f"{text}damaged\n")
    assert [entry.contact for entry in erasure_log.read_entries()] == [chat.contact_id]


def test_without_its_log_nothing_is_erased(chat: Conversation, settings: Any, tmp_path: Path) -> None:
    settings.ERASURE_LOG = str(tmp_path / "missing" / "missing" / "erasures.jsonl")

    with pytest.raises(erasure_log.ErasureLogUnavailable):
        erasure.erase_person(chat.contact_id, by=vera())

    chat.contact.refresh_from_db()
    assert chat.contact.erased_at is None and Message.objects.get().text
    assert not Erasure.objects.exists()
