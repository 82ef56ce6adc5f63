"""Imports of contacts afterwards: history, undo, erasure of one person, and exports of any length."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bridge.conversations import consents, contact_editing
from bridge.desk.contacts import import_rows, import_undo, imports
from bridge.maintenance import erasure, pruning
from bridge.models import Contact, ContactImport, ContactNote, OptOut
from bridge.relay import chat_starts
from channels_setup.models import ApiChannel
from templates_registry.transfer import workbook_stream
from tests.factories import ContactFactory, ConversationFactory, UserFactory, vera
from tests.pages import page_html, signed_in
from tests.races import run_blocked
from tests.test_contact_import import TABLE, upload

pytestmark = pytest.mark.django_db


def run_import(client: Client, row: ContactImport, **columns: Any) -> ContactImport:
    address = reverse("contacts-import-one", args=[row.pk])
    client.post(address, {"column_phone": 1, "column_name": 2, "consent": "website", "apply": "1", **columns})
    finish(client, row)
    return row


def finish(client: Client, row: ContactImport) -> None:
    for _batch in range(20):
        row.refresh_from_db()
        if row.state not in ("running", "undoing"):
            return
        client.post(reverse("contacts-import-one", args=[row.pk]), {"step": "1"}, headers={"HX-Request": "true"})
    raise AssertionError(row.state)


NUMBERED = "Телефон;Имя\r\n" + "".join(f"+7921555010{number};Анна {number}\r\n" for number in range(8))


def test_an_undo_deletes_what_nobody_has_touched(client: Client, channel: ApiChannel, monkeypatch: Any) -> None:
    monkeypatch.setattr(imports, "BATCH", 3)
    monkeypatch.setattr(import_undo, "BATCH", 3)
    known = ContactFactory(api_channel=channel, phone="+79215550107", external_id="", name="Known")
    signed_in(client, vera())
    row = run_import(client, upload(client, channel, NUMBERED.encode()))
    people = {contact.phone[-1]: contact for contact in Contact.objects.exclude(pk=known.pk)}
    assert len(row.created) == len(people) == 7
    ConversationFactory(api_channel=channel, contact=people["0"])
    ContactNote.objects.create(contact=people["1"], text="call")
    contact_editing.edit_contact(people["2"].pk, {"name": "Other"}, by=contact_editing.Editor(source="operator"))
    Contact.objects.filter(pk=people["3"].pk).update(tags=["vip"])
    consents.set_opt_out(people["4"].pk, OptOut.ALL, source="operator")
    consents.record_consent(people["5"].pk, "website")  # the same consent, given again

    page = page_html(client, reverse("contacts-import-one", args=[row.pk]))
    assert "undo-import" in page
    client.post(reverse("contacts-import-one", args=[row.pk]), {"undo": "1"})
    finish(client, row)

    assert (row.state, row.counts["deleted"], row.counts["kept"], row.created) == ("undone", 1, 6, {})
    left = set(Contact.objects.values_list("phone", flat=True))
    assert left == {f"+7921555010{number}" for number in (0, 1, 2, 3, 4, 5, 7)}
    history = page_html(client, reverse("contacts-import"))
    assert "clients.csv" in history
    client.post(reverse("contacts-import-one", args=[row.pk]), {"undo": "1"})
    row.refresh_from_db()
    assert row.state == "undone"


def test_an_undo_keeps_contacts_that_another_import_lists(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    first = run_import(client, upload(client, channel, NUMBERED.encode()))
    lines = NUMBERED.splitlines(keepends=True)
    second = run_import(client, upload(client, channel, "".join(lines[:3]).encode()))
    third = run_import(client, upload(client, channel, "".join([lines[0], lines[4]]).encode()))
    assert (second.counts["unchanged"], len(second.listed), third.listed) == (2, 2, [second.listed[-1] + 2])
    client.post(reverse("contacts-import-one", args=[third.pk]), {"undo": "1"})
    assert not import_undo.may_undo(third)  # it created nobody
    ContactImport.objects.filter(pk=third.pk).update(state="undone")

    client.post(reverse("contacts-import-one", args=[first.pk]), {"undo": "1"})
    finish(client, first)

    assert (first.counts["deleted"], first.counts["kept"]) == (6, 2)
    assert set(Contact.objects.values_list("pk", flat=True)) == set(second.listed)


@pytest.mark.django_db(transaction=True)
def test_a_contact_deleted_by_an_undo_meanwhile_is_imported_anew(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    first = run_import(client, upload(client, channel, TABLE.encode()))
    second = upload(client, channel, TABLE.encode())
    address = reverse("contacts-import-one", args=[second.pk])
    client.post(address, {"column_phone": 1, "column_name": 2, "consent": "website", "apply": "1"})
    import_undo.start_undo(first.pk)

    done = run_blocked(
        lambda: imports.apply_next_batch(second.pk, user=vera()),
        hold=lambda: import_undo.undo_next_batch(first.pk),
    )

    assert done.result().counts["new"] == 1
    assert Contact.objects.get().pk == int(*done.result().created)


@pytest.mark.django_db(transaction=True)
def test_a_chat_that_starts_during_an_undo_gets_a_new_contact(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    row = run_import(client, upload(client, channel, TABLE.encode()))
    old = Contact.objects.get()
    import_undo.start_undo(row.pk)

    done = run_blocked(
        transaction.atomic(lambda: chat_starts.get_or_create_contact(channel, old.phone).pk),
        hold=lambda: import_undo.undo_next_batch(row.pk),
    )

    assert done.result() == Contact.objects.get().pk != old.pk
    page = client.post(reverse("chat-new"), {"contact": old.pk, "back": "1"}).content.decode()
    assert "This client no longer exists" in page or "больше нет" in page


def test_the_cleanup_of_imports_waits_for_nobody(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    row = run_import(client, upload(client, channel, TABLE.encode()))
    ContactImport.objects.update(finished_at=timezone.now() - timedelta(days=9), listed=[7])

    with CaptureQueriesContext(connection) as queries:
        pruning.clear_finished_imports()

    row.refresh_from_db()
    assert row.listed == []
    [lock] = [query["sql"] for query in queries if "FOR NO KEY UPDATE" in query["sql"]]
    assert "SKIP LOCKED" in lock and "ORDER BY" in lock


def test_the_refused_rows_of_an_undone_import_can_be_downloaded(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    row = run_import(client, upload(client, channel, TABLE.encode()))
    client.post(reverse("contacts-import-one", args=[row.pk]), {"undo": "1"})
    finish(client, row)

    address = reverse("contacts-import-refused", args=[row.pk])
    assert row.state == "undone" and address in page_html(client, reverse("contacts-import-one", args=[row.pk]))
    assert client.get(address).status_code == 200


def test_only_contacts_that_did_not_exist_can_be_undone(channel: ApiChannel) -> None:
    table = [[f"+7921555010{number}", ""] for number in range(2)]
    options = imports.ImportOptions(mapping={"phone": 0})
    planned = imports.plan_rows(channel, table, options, user=vera())
    known = ContactFactory(api_channel=channel, phone="+79215550100", external_id="")  # after the rows were planned

    created = import_rows.apply_rows(channel, planned, options, user=vera())

    assert created == [Contact.objects.exclude(pk=known.pk).get().pk]


def test_an_old_import_keeps_its_result_only(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    row = run_import(client, upload(client, channel, TABLE.encode()))
    assert row.refused and row.created
    ContactImport.objects.update(finished_at=timezone.now() - timedelta(days=8))

    assert pruning.clear_finished_imports() == 2

    row.refresh_from_db()
    assert (row.refused, row.created, row.counts["new"]) == ([], {}, 1) and not import_undo.may_undo(row)
    client.post(reverse("contacts-import-one", args=[row.pk]), {"undo": "1"})
    assert Contact.objects.count() == 1
    assert row.expires_at > timezone.now() + timedelta(days=80)


def test_an_erasure_takes_only_the_persons_rows(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    done = run_import(client, upload(client, channel, TABLE.encode()))
    file = SimpleUploadedFile("79215550104.csv", TABLE.encode() + b"79215550199;Other;;\r\n")
    client.post(reverse("contacts-import"), {"channel": channel.pk, "file": file})
    draft = ContactImport.objects.exclude(pk=done.pk).get()

    erasure.erase_person(Contact.objects.get(phone="+79215550104").pk, by=None)

    for row in (done, draft):
        row.refresh_from_db()
    assert (done.counts["new"], done.created) == (1, {})
    assert [number for number, _sentence, _cells in done.refused] == [2]  # Boris, whose number is wrong
    assert [cells[:2] for cells in draft.rows] == [[], ["123", "Борис"], [], ["79215550199", "Other"]]
    assert draft.file_name == "" and "5550104" not in str(draft.refused)
    planned = imports.plan_rows(channel, draft.rows, imports.ImportOptions(mapping={"phone": 0}), user=vera())
    assert [row.result for row in planned] == ["refused", "refused", "refused", "new"]


def test_an_erasure_takes_the_names_of_old_files(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    row = run_import(client, upload(client, channel, TABLE.encode()))
    titles = ["8 (921) 555-01-04", "Анна", "", ""]  # a first row of data that was taken for titles
    old = {"file_name": "79215550104.csv", "titles": titles, "created": {}, "refused": []}
    ContactImport.objects.filter(pk=row.pk).update(**old)

    erasure.erase_person(Contact.objects.get(phone="+79215550104").pk, by=None)

    row.refresh_from_db()
    assert (row.file_name, row.titles, row.counts["new"]) == ("", [""] * 4, 1)


def test_finished_imports_are_listed_for_colleagues_of_the_channel(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    row = run_import(client, upload(client, channel, TABLE.encode()))
    colleague = signed_in(Client(), UserFactory(username="lena", is_superuser=True, is_staff=True))

    assert "clients.csv" in page_html(colleague, reverse("contacts-import"))
    page = page_html(colleague, reverse("contacts-import-one", args=[row.pk]))
    assert "undo-import" in page and "refused.csv" not in page
    assert colleague.get(reverse("contacts-import-refused", args=[row.pk])).status_code == 404


def test_a_workbook_of_any_length_has_several_sheets(monkeypatch: Any) -> None:
    monkeypatch.setattr(workbook_stream, "MAX_SHEET_ROWS", 3)
    table = [["Name", "Phone"], *([f"<{number}> & 👢", f"+7{number}"] for number in range(5))]

    data = b"".join(workbook_stream.write_xlsx_parts(iter(table), title="contacts", widths={"A": 20}))

    book = openpyxl.load_workbook(io.BytesIO(data))
    assert book.sheetnames == ["contacts", "contacts 2", "contacts 3"]
    read = [[[cell.value for cell in line] for line in sheet.rows] for sheet in book]
    assert read == [[table[0], *table[1:3]], [table[0], *table[3:5]], [table[0], table[5]]]


def test_a_workbook_has_any_number_of_columns() -> None:
    table = [[f"Field {number}" for number in range(60)]]

    data = b"".join(workbook_stream.write_xlsx_parts(iter(table), title="contacts", widths={"A": 20}))

    lines = openpyxl.load_workbook(io.BytesIO(data)).active.iter_rows(values_only=True)  # type: ignore[union-attr]
    assert [list(line) for line in lines] == table
