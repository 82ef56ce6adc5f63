"""Additional fields of clients: card, history, API, import, export, merge and erasure."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from bridge.conversations import contact_editing, contact_fields
from bridge.conversations.contact_editing import InvalidContactData
from bridge.desk.contacts import files, imports
from bridge.maintenance import erasure
from bridge.merging.merge import merge_contacts
from bridge.merging.undo import undo_merge
from bridge.models import Contact, ContactChange, ContactField, ContactMerge, Conversation
from channels_setup.models import ApiChannel
from tests.factories import ContactFactory, ConversationFactory, MessageFactory, boris, token_of, vera
from tests.pages import SCRIPT, page_html, signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
EDITOR = contact_editing.Editor(source=ContactChange.Source.OPERATOR)


@pytest.fixture
def fields() -> dict[str, ContactField]:
    made = (
        ContactField(name="Shoe size", position=1),
        ContactField(name="Plan", kind="choice", choices="Gold\n Silver \n\n", position=2),
        ContactField(name="Wholesale", kind="checkbox", position=3),
    )
    for field in made:
        field.save()
    return {field.name: field for field in made}


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    contact = ContactFactory(api_channel=channel, phone="+79215550104", external_id="", name="Anna")
    return ConversationFactory(api_channel=channel, contact=contact, chat_channel=channel.default_chat_channel)


def stored(contact_id: int) -> dict[str, str]:
    return contact_fields.read_values(Contact.objects.get(pk=contact_id))


def test_an_operator_fills_in_the_card(client: Client, chat: Conversation, fields: dict[str, ContactField]) -> None:
    Contact.objects.filter(pk=chat.contact_id).update(card={"company_name": "Severny", "sites": ["neva.example"]})
    signed_in(client, boris(chat.chat_channel))
    size, plan, box = (f"field_{field.pk}" for field in fields.values())
    address = reverse("chat-client-edit", args=[chat.pk])
    form = {"name": "Anna", "was_name": "Anna", size: " 38  wide ", f"was_{size}": "", plan: "gold", box: "1"}

    assert client.post(address, form, headers=SCRIPT).status_code < 300

    assert stored(chat.contact_id) == {size[6:]: "38 wide", plan[6:]: "Gold", box[6:]: "1"}
    page = page_html(client, reverse("chat", args=[chat.pk]))
    for text in ("Shoe size", "38 wide", "Gold", "Wholesale", "Severny", "neva.example", "Shoe size: 38 wide"):
        assert text in page
    assert Contact.objects.get(pk=chat.contact_id).card["company_name"] == "Severny"

    wrong = client.post(address, {plan: "Platinum", "name": "Other"}, headers=SCRIPT)
    assert wrong.status_code == 422 and plan in wrong.json()["fields"]
    late = client.post(address, {size: "40", f"was_{size}": ""}, headers=SCRIPT)
    assert late.status_code == 422 and "38 wide" in late.json()["fields"][size]
    assert stored(chat.contact_id)[size[6:]] == "38 wide" and Contact.objects.get().name == "Anna"
    assert client.post(address, {size: "", f"was_{size}": "38 wide"}, headers=SCRIPT).status_code < 300
    assert size[6:] not in stored(chat.contact_id)
    assert client.post(address, {"field_99999": "x"}, headers=SCRIPT).status_code < 300
    assert page_html(client, address).count("<select") == 2


def test_programs_read_and_set_fields(client: Client, chat: Conversation, fields: dict[str, ContactField]) -> None:
    address, headers = f"/api/v1/contacts/{chat.contact_id}/", token_of(boris(chat.chat_channel))
    plan = fields["Plan"].pk

    def change(values: Any) -> Any:
        return client.patch(address, {"custom_fields": values}, content_type="application/json", headers=headers)

    assert [row["value"] for row in client.get(address, headers=headers).json()["custom_fields"]] == ["", "", ""]
    changed = change({plan: "silver"})
    assert changed.json()["custom_fields"][1] == {"id": plan, "name": "Plan", "value": "Silver"}
    for wrong in ({plan: "Bronze"}, {"99999": "x"}, {"x": "y"}, ["x"]):
        assert change(wrong).status_code == 400, wrong
    assert stored(chat.contact_id) == {str(plan): "Silver"}


def test_files_carry_fields(client: Client, chat: Conversation, fields: dict[str, ContactField]) -> None:
    table = "Phone;Name;plan;Shoe size\n+79215550104;Anna;silver;41\n+79215550105;Boris;Gold;\n+79215550106;Vera;Tin;\n"
    titles, rows = files.read_table(table.encode())
    own = {f"field_{field.pk}": field.name for field in fields.values()}
    mapping = files.guess_mapping(titles, rows, own)
    plan = str(fields["Plan"].pk)
    assert mapping == {"phone": 0, "name": 1, f"field_{plan}": 2, f"field_{fields['Shoe size'].pk}": 3}

    options = imports.ImportOptions(mapping=mapping)
    planned = imports.plan_rows(chat.api_channel, rows, options, user=vera())
    assert [row.result for row in planned] == ["changed", "new", "refused"] and "Plan" in planned[2].problem
    contact_fields.edit_fields(chat.contact_id, {fields["Plan"].pk: "Gold"}, by=EDITOR)
    kept = imports.plan_rows(chat.api_channel, rows, options, user=vera())[0]
    assert kept.changes["own"] == {fields["Shoe size"].pk: "41"}  # the known value stays

    imports.import_rows.apply_rows(chat.api_channel, [kept, planned[1]], options, user=vera())

    assert stored(chat.contact_id) == {plan: "Gold", str(fields["Shoe size"].pk): "41"}
    new = Contact.objects.get(phone="+79215550105")
    assert stored(new.pk) == {plan: "Gold"}
    signed_in(client, vera())
    export = b"".join(client.get(reverse("contacts-export", args=["csv"])).streaming_content)  # type: ignore[attr-defined]
    exported_titles, exported = files.read_table(export)
    assert exported_titles[-3:] == ["Shoe size", "Plan", "Wholesale"]
    assert sorted(row[-3:] for row in exported) == [["", "Gold", ""], ["41", "Gold", ""]]


@pytest.mark.parametrize("word, value", [("ИСТИНА", "1"), ("Да", "1"), ("TRUE", "1"), ("нет", ""), ("", "")])
def test_a_checkbox_reads_the_words_of_spreadsheets(word: str, value: str) -> None:
    assert contact_fields.validate_value(ContactField(kind="checkbox"), word) == value


def test_a_merge_keeps_fields_and_its_undo_restores_them(chat: Conversation, fields: dict[str, ContactField]) -> None:
    other = ConversationFactory(api_channel=chat.api_channel, chat_channel=chat.chat_channel)
    size, plan = fields["Shoe size"].pk, fields["Plan"].pk
    contact_fields.edit_fields(chat.contact_id, {size: "38"}, by=EDITOR)
    contact_fields.edit_fields(other.contact_id, {size: "41", plan: "Gold"}, by=EDITOR)

    merge_contacts(other.contact_id, chat.contact_id, by=None)
    assert stored(chat.contact_id) == {str(size): "38", str(plan): "Gold"}

    undo_merge(ContactMerge.objects.get().pk, by=None)
    assert stored(chat.contact_id) == {str(size): "38"}


def test_an_erasure_takes_the_fields(chat: Conversation, fields: dict[str, ContactField]) -> None:
    contact_fields.edit_fields(chat.contact_id, {fields["Shoe size"].pk: "38"}, by=EDITOR)

    erasure.erase_person(chat.contact_id, by=None)

    assert stored(chat.contact_id) == {} and not ContactChange.objects.exists()
    with pytest.raises(InvalidContactData):
        contact_fields.edit_fields(chat.contact_id, {fields["Shoe size"].pk: "38"}, by=EDITOR)


def test_orders_are_listed_in_the_pane(client: Client, chat: Conversation) -> None:
    lines = [{"product": f"boot-{n}", "quantity": 2, "price": 4500, "currency": "RUB"} for n in range(5)]
    order = MessageFactory(conversation=chat, shown={"what": "order", "lines": lines})
    MessageFactory(conversation=chat, shown={"what": "voice"})
    signed_in(client, boris(chat.chat_channel))

    page = page_html(client, reverse("chat", args=[chat.pk]))

    pane = page[page.index("client-head") :]
    assert f"?at={order.pk}" in pane and "boot-0 × 2" in pane and "boot-4" not in pane and "and 2 more lines" in pane
