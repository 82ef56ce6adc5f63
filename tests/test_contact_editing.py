"""The client's card: edited by people and programs, with every change recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from bridge.conversations import contact_editing
from bridge.conversations.contact_editing import Editor, InvalidContactData
from bridge.models import Contact, ContactChange, ContactNote, Conversation, Delivery
from channels_setup.models import ApiChannel
from tests.factories import ContactFactory, ConversationFactory, boris, gleb, token_of, vera
from tests.pages import SCRIPT, signed_in
from tests.scenarios.merging import writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
ANNA = "79215550104"


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return writes(channel, ANNA, "Здравствуйте").conversation


@pytest.fixture
def desk(chat: Conversation, client: Client) -> Client:
    return signed_in(client, boris(chat.chat_channel))


def edit_client(chat: Conversation, **values: str) -> Contact:
    contact_editing.edit_contact(chat.contact_id, values, by=Editor(source="operator", user=boris()))
    return Contact.objects.get(pk=chat.contact_id)


GOOD = [
    ("name", "  Анна\tСоколова\n", "Анна Соколова"),
    ("name", "", ""),
    ("name", "79215550104", "79215550104"),
    ("phone", "8 (921) 777-01-04", "+79217770104"),
    ("phone", "+7 921 777 01 04", "+79217770104"),
    ("phone", "79217770104", "+79217770104"),
    ("phone", "+55 11 91234-5678", "+5511912345678"),
    ("phone", "+52 55 1234 5678", "+525512345678"),
    ("phone", "+54 9 11 2345-6789", "+5491123456789"),
    ("phone", "", ""),
    ("email", " anna@example.com ", "anna@example.com"),
    ("email", "анна@пример.рф", None),
    ("email", "", ""),
]
BAD = [
    ("name", "\u3164\u2800", "no visible characters"),
    ("name", "я" * 201, "at most 200"),
    ("phone", "9215550104", "country code"),
    ("phone", "12", "country code"),
    ("phone", "позвоните", "country code"),
    ("phone", "+7 921 555", "country code"),
    ("phone", "+" * 41, "country code"),
    ("phone", "\0", "country code"),
    ("email", "anna", "name@example.com"),
    ("email", "anna@", "name@example.com"),
    ("email", "anna@example.com\r\nBcc: x@example.com", "name@example.com"),
    ("email", "a" * 200 + "@example.com", "at most 200"),
]


@pytest.mark.parametrize(("field", "value", "stored"), [row for row in GOOD if row[2] is not None])
def test_values_are_stored_in_one_form(chat: Conversation, field: str, value: str, stored: str) -> None:
    Contact.objects.filter(pk=chat.contact_id).update(email="old@example.com", name="Прежнее")

    contact = edit_client(chat, **{field: value})

    assert getattr(contact, field) == stored
    change = ContactChange.objects.get()
    assert (change.field, change.new, change.by) == (field, stored, boris())
    assert change.old in ("old@example.com", "Прежнее", f"+{ANNA}")


@pytest.mark.parametrize(("field", "value", "words"), BAD)
def test_an_invalid_value_is_refused_with_an_explanation(
    chat: Conversation, field: str, value: str, words: str
) -> None:
    with pytest.raises(InvalidContactData, match=words) as refused:
        edit_client(chat, **{field: value})

    assert list(refused.value.fields) == [field]
    assert not ContactChange.objects.exists()


@pytest.mark.parametrize("spelling", [f"+{ANNA}", "8 921 555-01-04", "7 (921) 555 01 04"])
def test_another_spelling_of_the_same_phone_is_no_change(chat: Conversation, spelling: str) -> None:
    edit_client(chat, phone=spelling)

    assert not ContactChange.objects.exists()


def test_a_name_set_by_a_person_stays_when_the_client_writes_again(channel: ApiChannel, chat: Conversation) -> None:
    edit_client(chat, name="Анна, опт")

    writes(channel, ANNA, "Ещё вопрос")

    chat.contact.refresh_from_db()
    assert (chat.contact.name, chat.contact.name_source) == ("Анна, опт", "person")


@pytest.mark.parametrize("by_phone_alone", [True, False])
def test_an_edited_phone_never_redirects_messages_to_another_number(
    channel: ApiChannel, chat: Conversation, by_phone_alone: bool
) -> None:
    from bridge.relay import reply_submission

    if by_phone_alone:
        Contact.objects.filter(pk=chat.contact_id).update(external_id="")

    edit_client(chat, phone="+7 999 888-77-66")
    reply_submission.submit_reply(conversation_id=chat.pk, text="Ответ", author=boris(chat.chat_channel))

    contact = Delivery.objects.get(kind="message").payload["contact"]
    assert contact["external_id"] == ANNA
    assert writes(channel, ANNA, "Снова я").conversation == chat


# --- the desk --------------------------------------------------------------------------------------------


def card(**values: str) -> dict[str, str]:
    shown = {"was_name": "Анна", "was_phone": f"+{ANNA}", "was_email": ""}
    return {"name": "Анна", "phone": f"+{ANNA}", "email": "", **shown, **values}


def test_the_pane_has_the_form_and_the_history(desk: Client, chat: Conversation) -> None:
    Contact.objects.filter(pk=chat.contact_id).update(name="Анна")
    known = desk.get(f"/chats/updates/?chat={chat.pk}").json()["thread"]["version"]
    address = f"/chats/{chat.pk}/client/edit/"
    posted = card(name="Анна Соколова", email="anna@example.com", phone="+7 999 888-77-66")

    assert desk.post(address, posted, headers=SCRIPT).status_code == 204

    pane = desk.get(f"/chats/updates/?chat={chat.pk}&thread={known}").json()["thread"]["client"]
    for words in ("Анна Соколова", "anna@example.com", "Writes to", "+7 921 555-01-04", "boris"):
        assert words in pane, words
    assert ContactChange.objects.count() == 3


def test_invalid_values_are_shown_again_with_their_errors(desk: Client, chat: Conversation) -> None:
    address = f"/chats/{chat.pk}/client/edit/"
    Contact.objects.filter(pk=chat.contact_id).update(name="Анна")

    by_script = desk.post(address, card(phone="12", email="x"), headers=SCRIPT)
    page = desk.post(address, card(phone="12", email="x"))

    assert by_script.status_code == page.status_code == 422
    assert set(by_script.json()["fields"]) == {"phone", "email"}
    html = page.content.decode()
    assert 'value="12"' in html and "country code" in html and "name@example.com" in html
    assert desk.get(address).status_code == 200


def test_a_concurrent_change_by_somebody_else_is_not_overwritten(desk: Client, chat: Conversation) -> None:
    Contact.objects.filter(pk=chat.contact_id).update(name="Имя коллеги")

    answer = desk.post(f"/chats/{chat.pk}/client/edit/", card(name="Моё имя"), headers=SCRIPT)

    assert answer.status_code == 422 and "Имя коллеги" in answer.json()["fields"]["name"]
    assert Contact.objects.get(pk=chat.contact_id).name == "Имя коллеги"


def test_only_its_author_edits_a_note_and_its_former_text_stays(desk: Client, chat: Conversation) -> None:
    mine = ContactNote.objects.create(contact=chat.contact, author=boris(), text="Забирает сама")
    hers = ContactNote.objects.create(contact=chat.contact, author=vera(), text="Её")
    address = f"/chats/{chat.pk}/client/notes/%d/edit/"

    assert desk.post(address % mine.pk, {"text": "Забирает муж"}, headers=SCRIPT).status_code == 204
    assert desk.post(address % hers.pk, {"text": "Чужое"}, headers=SCRIPT).status_code == 422
    assert desk.post(address % mine.pk, {"text": "  "}, headers=SCRIPT).status_code == 422
    assert desk.post(address % mine.pk, {"text": "я" * 2001}).status_code == 422
    assert desk.get(address % mine.pk).status_code == 200

    mine.refresh_from_db()
    assert mine.text == "Забирает муж" and mine.edited_at
    html = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert "Забирает сама" in html and "edited" in html
    desk.post(f"/chats/{chat.pk}/client/notes/{mine.pk}/delete/", headers=SCRIPT)
    assert list(ContactChange.objects.order_by("pk").values_list("old", "new")) == [
        ("Забирает сама", "Забирает муж"),
        ("Забирает муж", ""),
    ]


def test_a_user_who_does_not_see_the_chat_cannot_edit(chat: Conversation, client: Client) -> None:
    note = ContactNote.objects.create(contact=chat.contact, author=gleb(), text="Чужой канал")
    client.force_login(gleb())

    for path in ("edit/", f"notes/{note.pk}/edit/"):
        assert client.post(f"/chats/{chat.pk}/client/{path}", card(name="Взлом", note="Взлом")).status_code == 404
    assert client.get(f"/api/v1/contacts/{chat.contact_id}/", headers=token_of(gleb())).status_code == 404
    assert not ContactChange.objects.exists()


# --- the API ---------------------------------------------------------------------------------------------


def call(client: Client, method: str, path: str, body: Any = None, user: Any = None) -> Any:
    headers = token_of(user or boris()) | {"accept-language": "en"}
    return client.generic(
        method,
        f"/api/v1/contacts/{path}",
        json.dumps(body) if body is not None else "",
        "application/json",
        headers=headers,
    )


def test_programs_read_and_change_contacts_by_the_api(client: Client, chat: Conversation) -> None:
    boris(chat.chat_channel)
    ConversationFactory(contact=ContactFactory(name="Чужая"))

    listed = call(client, "GET", "?phone=8(921)555-01-04").json()["results"]
    assert [row["id"] for row in listed] == [chat.contact_id] and listed[0]["chats"] == [chat.pk]
    changed = call(client, "PATCH", f"{chat.contact_id}/", {"name": "Анна С.", "phone": "8 921 777-01-04"})
    assert (changed.status_code, changed.json()["name"]) == (200, "Анна С.")
    assert (changed.json()["phone"], changed.json()["external_id"]) == ("+79217770104", ANNA)
    refused = call(client, "PATCH", f"{chat.contact_id}/", {"phone": "12"})
    assert refused.status_code == 400 and "country code" in refused.json()["error"]
    assert [row["id"] for row in call(client, "GET", "?search=анна").json()["results"]] == [chat.contact_id]
    changes = call(client, "GET", f"{chat.contact_id}/changes/").json()
    assert [(row["field"], row["source"], row["by"]) for row in changes] == [
        ("phone", "api", boris().pk),
        ("name", "api", boris().pk),
    ]


def test_programs_add_notes_by_the_api(client: Client, chat: Conversation) -> None:
    boris(chat.chat_channel)

    made = call(client, "POST", f"{chat.contact_id}/notes/", {"text": "Постоянная"})
    note = made.json()["id"]
    changed = call(client, "PATCH", f"{chat.contact_id}/notes/{note}/", {"text": "Опт"})
    others = call(client, "PATCH", f"{chat.contact_id}/notes/{note}/", {"text": "Чужое"}, user=vera())

    assert (made.status_code, changed.status_code, others.status_code) == (201, 200, 400)
    assert [row["text"] for row in call(client, "GET", f"{chat.contact_id}/notes/").json()] == ["Опт"]
    assert call(client, "PATCH", f"{chat.contact_id}/notes/{note + 1}/", {"text": "x"}).status_code == 404


def test_the_channels_api_writes_the_same_history(channel: ApiChannel, client: Client, chat: Conversation) -> None:
    key = channel.issue_secret().reveal()
    body = {"api_token": key, "client_id": chat.contact_id, "name": "Анна С.", "phone": "79998887766"}

    answer = client.post("/uapi/update/client", json.dumps(body), content_type="application/json").json()

    assert answer == {"client_id": chat.contact_id, "status": True}
    rows = ContactChange.objects.order_by("field")
    assert [(row.field, row.source, row.api_channel) for row in rows] == [
        ("name", "program", channel),
        ("phone", "program", channel),
    ]
    contact = Contact.objects.get(pk=chat.contact_id)
    assert (contact.external_id, contact.name_source) == (ANNA, "person")
    assert channel.name in signed_in(client, boris(chat.chat_channel)).get(f"/chats/{chat.pk}/").content.decode()
