"""Import and export of contacts: formats, dry run, application in batches, and safe files."""

from __future__ import annotations

import io
from typing import Any

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from bridge.conversations import consents
from bridge.desk.contacts import files, imports
from bridge.models import Contact, ContactConsent, ContactImport, Conversation, OptOut
from channels_setup.models import ApiChannel
from config.audit.models import AuditRecord
from tests.factories import ContactFactory, ConversationFactory, boris, vera
from tests.pages import page_html, signed_in

pytestmark = pytest.mark.django_db
TABLE = (
    "Телефон;Имя;Метки;Почта\r\n8 (921) 555-01-04;Анна;vip, новая;a@example.org\r\n123;Борис;;\r\n"
    "+79215550104;Анна;;\r\n"
)


def xlsx(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    output = io.BytesIO()
    book.save(output)
    return output.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        TABLE.encode(),
        TABLE.encode("utf-8-sig"),
        TABLE.encode("cp1251"),
        TABLE.encode("utf-16"),
        TABLE.replace(";", "\t").encode(),
        xlsx([line.split(";") for line in TABLE.strip().split("\r\n")]),
    ],
)
def test_every_format_gives_the_same_table(data: bytes) -> None:
    titles, rows = files.read_table(data)

    assert titles == ["Телефон", "Имя", "Метки", "Почта"] and len(rows) == 3
    assert rows[0] == ["8 (921) 555-01-04", "Анна", "vip, новая", "a@example.org"]
    assert files.guess_mapping(titles, rows) == {"phone": 0, "name": 1, "tags": 2, "email": 3}


def test_a_file_without_titles_and_numbers_of_a_spreadsheet() -> None:
    titles, rows = files.read_table(xlsx([[79215550104, "Анна"], [79215550105, "Борис"]]))

    assert len(rows) == 2 and files.guess_mapping(titles, rows)["phone"] == 0
    assert rows[0][0] == "79215550104"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not a zip", b"phone\n", b"\n\n", b"a" * (files.MAX_BYTES + 1)])
def test_an_unreadable_file_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(files.UnreadableFile, match=r"\w"):
        files.read_table(data)


def test_limits_are_grouped_numbers(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())

    assert "up to 20,000 rows" in page_html(client, reverse("contacts-import"))
    with pytest.raises(files.UnreadableFile, match="more than 20,000 rows"):
        files.read_table(b"phone" + b"\n1" * (files.MAX_ROWS + 1))


def upload(client: Client, channel: ApiChannel, data: bytes) -> ContactImport:
    file = SimpleUploadedFile("clients.csv", data)
    answer = client.post(reverse("contacts-import"), {"channel": channel.pk, "file": file})
    assert answer.status_code == 302
    return ContactImport.objects.latest("pk")


def test_a_dry_run_changes_nothing_and_the_import_does_what_it_said(
    client: Client, channel: ApiChannel, monkeypatch: Any
) -> None:
    monkeypatch.setattr(imports, "BATCH", 2)
    known = ContactFactory(
        api_channel=channel, phone="+79215550104", external_id="", name="Анна П.", name_source="person"
    )
    signed_in(client, vera())
    row = upload(client, channel, TABLE.encode("cp1251") + b"79215550199;=cmd();;\r\n")
    address = reverse("contacts-import-one", args=[row.pk])

    assert row.counts == {"new": 1, "changed": 1, "unchanged": 0, "refused": 2}
    page = page_html(client, address)
    assert "clients.csv" in page and Contact.objects.count() == 1

    mapping = {"column_phone": 1, "column_name": 2, "column_tags": 3, "column_email": 4}
    assert client.post(address, {**mapping, "apply": "1"}).status_code == 422  # the consent is not stated
    assert client.post(address, {**mapping, "column_phone": "", "apply": "1", "consent": "website"}).status_code == 422
    assert client.post(address, {**mapping, "apply": "1", "consent": "website", "note": "form"}).status_code == 302
    for _batch in range(4):
        client.post(address, {"step": "1"}, headers={"HX-Request": "true"})
    row.refresh_from_db()

    assert (row.state, row.rows, row.position) == ("done", [], 4)
    assert row.counts == {"new": 1, "changed": 1, "unchanged": 0, "refused": 2}
    known.refresh_from_db()
    assert (known.name, known.email, known.tags) == ("Анна П.", "a@example.org", ["vip", "новая"])
    new = Contact.objects.exclude(pk=known.pk).get()
    assert (new.phone, new.name) == ("+79215550199", "=cmd()")
    assert set(ContactConsent.objects.values_list("source", "note")) == {("website", "form")}
    assert not Conversation.objects.exists()
    refused = b"".join(client.get(reverse("contacts-import-refused", args=[row.pk])).streaming_content).decode(
        "utf-8-sig"
    )  # type: ignore[attr-defined]
    assert refused.count("\r\n") == 3 and "Борис" in refused


def test_known_names_are_replaced_only_on_request_and_opt_outs_are_read(channel: ApiChannel) -> None:
    known = ContactFactory(api_channel=channel, phone="+79215550104", name="Old", name_source="person")
    options = {"mapping": {"phone": 0, "name": 1, "opted_out": 2}}
    rows = [["79215550104", "New", "да"]]

    kept = imports.plan_rows(channel, rows, imports.ImportOptions(**options), user=vera())  # type: ignore[arg-type]
    replaced = imports.plan_rows(channel, rows, imports.ImportOptions(**options, replaces=True), user=vera())  # type: ignore[arg-type]

    assert kept[0].contact == known and kept[0].changes == {"opted_out": True}
    assert replaced[0].changes == {"opted_out": True, "name": "New"}


def test_many_rows_are_checked_with_few_queries(channel: ApiChannel, django_assert_max_num_queries: Any) -> None:
    rows = [[f"+7921{number:07d}", "Name"] for number in range(2_000)]

    user = vera()

    with django_assert_max_num_queries(10):
        planned = imports.plan_rows(channel, rows, imports.ImportOptions(mapping={"phone": 0}), user=user)

    assert imports.count_results(planned)["new"] == 2_000


def test_operators_import_and_export_nothing(client: Client, channel: ApiChannel) -> None:
    signed_in(client, boris(channel.default_chat_channel))  # type: ignore[arg-type]

    assert client.get(reverse("contacts-import")).status_code == 403
    assert client.get(reverse("contacts-export", args=["csv"])).status_code == 403
    assert reverse("contacts-import") not in page_html(client, reverse("contacts"))


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
def test_an_export_is_complete_safe_and_recorded(client: Client, channel: ApiChannel, file_format: str) -> None:
    ConversationFactory(api_channel=channel, name="=HYPERLINK(1)")
    for number in range(3):
        ContactFactory(api_channel=channel, name=f"Anna {number}", tags=["vip"])
    consents.record_consent(Contact.objects.latest("pk").pk, "contract", note="@note")
    signed_in(client, vera())

    answer = client.get(reverse("contacts-export", args=[file_format]))
    data = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
    _titles, rows = files.read_table(data)

    assert len(rows) == 4 and {row[0] for row in rows} >= {"=HYPERLINK(1)", "Anna 0"}
    assert (b"'=HYPERLINK" in data and b"'@note" in data) if file_format == "csv" else True
    assert AuditRecord.objects.filter(action="exported", object_type="bridge.contact").exists()
    filtered = client.get(reverse("contacts-export", args=["csv"]) + "?tag=vip")
    assert len(files.read_table(b"".join(filtered.streaming_content))[1]) == 3  # type: ignore[attr-defined]


def test_an_export_names_the_opt_out_of_a_merged_client(client: Client, channel: ApiChannel) -> None:
    owner = ContactFactory(api_channel=channel, has_merged=True)
    consents.set_opt_out(ContactFactory(api_channel=channel, merged_into=owner).pk, OptOut.ALL, source="import")
    signed_in(client, vera())

    answer = client.get(reverse("contacts-export", args=["csv"]))

    assert str(OptOut.ALL.label) in b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


def test_an_import_adds_tags_up_to_the_limit_and_drops_none(channel: ApiChannel) -> None:
    rows, options = [["79215550104", "a,b"]], imports.ImportOptions(mapping={"phone": 0, "tags": 1})
    known = ContactFactory(api_channel=channel, phone="+79215550104", tags=[str(number) for number in range(25)])

    assert imports.plan_rows(channel, rows, options, user=vera())[0].changes == {}
    Contact.objects.filter(pk=known.pk).update(tags=known.tags[:19])
    changes = imports.plan_rows(channel, rows, options, user=vera())[0].changes
    assert changes == {"tags": [*known.tags[:19], "a"]}


def test_an_import_stops_when_its_author_no_longer_sees_the_channel(client: Client, channel: ApiChannel) -> None:
    signed_in(client, vera())
    row = upload(client, channel, TABLE.encode())
    channel.watched.clear()

    answer = client.post(reverse("contacts-import-one", args=[row.pk]), {"column_phone": 1, "apply": "1"})

    assert answer.status_code == 404 and not Contact.objects.exists()
