"""Import and export of templates: round trips, formula escaping, import plans, and the command."""

import contextlib
import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from channels_setup.models import ApiChannel
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.matching import text_diff
from templates_registry.matching.text_diff import diff_texts
from templates_registry.models import Template, TemplateEvent, TemplateVersion
from templates_registry.provider import provider_sync
from templates_registry.provider.provider_template import InvalidTemplateData
from templates_registry.transfer import file_formats, import_plan, spreadsheets
from templates_registry.transfer.file_formats import FileRow
from templates_registry.transfer.import_plan import ChangeKind, ImportPlan
from tests.factories import ApiChannelFactory, TemplateFactory
from tests.work import measure_cost

FILE = ChangeAuthor(source=Source.IMPORT)
FORMATS = list(file_formats.CONTENT_TYPES)


def row(name: str = "order_ready", body: str = "Здравствуйте, {{1}}! Ваш заказ готов.", **more: Any) -> dict[str, Any]:
    component = {"type": "BODY", "text": body, "example": {"body_text": [["Анна"]]}}
    return {"name": name, "language": "ru", "category": "UTILITY", "components": [component], **more}


def plan_rows(rows: list[Any], channel: ApiChannel | None) -> ImportPlan:
    data = json.dumps({"data": rows}).encode()
    return import_plan.build_plan(file_formats.read_file(data), api_channel=channel)


def import_rows(rows: list[Any], channel: ApiChannel) -> ImportPlan:
    return import_plan.apply_plan(plan_rows(rows, channel), by=FILE)


@pytest.fixture
def channel(db: None) -> ApiChannel:
    return ApiChannelFactory(name="WhatsApp")


# --- round trips -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_importing_an_export_changes_nothing(channel: ApiChannel, form: str) -> None:
    provider_sync.sync_channel(channel)
    TemplateFactory(
        api_channel=channel,
        body="- {{1}}, это не формула | и не \\ черта\nвторая строка",
        footer="=1+1",
        buttons=[
            {"type": "COPY_CODE", "example": "ЗИМА|10", "otp": 5},
            {"type": "FLOW", "text": "Ход", "flow_id": "7"},
        ],
        header={"format": "IMAGE", "example": {"header_handle": ["https://cdn.example/1"]}},
        tags=["магазин", "доставка"],
        status="rejected",
        reject_reason="-2+3",
    )

    data = file_formats.export_templates(Template.objects.select_related("api_channel"), file_format=form)
    plan = import_plan.build_plan(file_formats.read_file(data))

    assert {item.kind for item in plan.items} == {ChangeKind.SAME}, [item.as_json() for item in plan.items]
    assert len(plan.items) == Template.objects.count()


@pytest.mark.parametrize("form", FORMATS)
def test_a_whole_registry_can_be_imported_into_another_channel(channel: ApiChannel, form: str) -> None:
    provider_sync.sync_channel(channel)
    other = ApiChannelFactory(name="Второй")

    data = file_formats.export_templates(Template.objects.select_related("api_channel"), file_format=form)
    import_plan.apply_plan(import_plan.build_plan(file_formats.read_file(data), api_channel=other), by=FILE)

    originals = Template.objects.filter(api_channel=channel)
    assert Template.objects.filter(api_channel=other).count() == originals.count() > 0
    for original in originals:
        copy = Template.objects.get(api_channel=other, name=original.name, language=original.language)
        assert copy.definition == original.definition
        assert (copy.status, copy.external_id) == (original.status, "")
        assert copy.events.get().source == "import"


# --- tables ----------------------------------------------------------------------------------------------

FORMULAS = ["=1+1", "+7921", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "'тест", "\0=1", '=HYPERLINK("http://x")']


def is_formula(cell: str) -> bool:
    """Tell whether any known spreadsheet evaluates the cell: some skip blanks and accept full-width signs."""
    return cell[:1] in tuple("\t\r\n\0") or cell.lstrip()[:1] in tuple("=+-@＝＋－＠﹦﹢﹣﹫")


@pytest.mark.parametrize("sign", "=+-@＝＋－＠﹦﹢﹣﹫")
@pytest.mark.parametrize("front", ["", " ", "\n", "\t", "\u3000", "\u00a0", "\r\n", "'", "''"])
def test_a_sign_after_any_blank_is_escaped_and_restored(front: str, sign: str) -> None:
    cell = file_formats.escape_cell(f"{front}{sign}1+1")

    assert cell[0] == "'" and not is_formula(cell)
    assert file_formats.unescape_cell(cell) == f"{front}{sign}1+1"


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_cells_are_escaped_and_restored(text: str) -> None:
    cell = file_formats.escape_cell(text)

    assert not is_formula(cell)
    assert file_formats.unescape_cell(cell) == text.replace("\0", "")


@pytest.mark.exhaustive
@given(st.text())
def test_any_escaped_text_is_restored(text: str) -> None:
    cell = file_formats.escape_cell(text)

    assert not is_formula(cell)
    assert file_formats.unescape_cell(cell) == file_formats.UNPRINTABLE.sub("", text)


def test_formulas_are_text_in_csv_and_xlsx(channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, body="=cmd|' /C calc'!A0 и ещё пара слов", tags=["@тег"])

    templates = Template.objects.select_related("api_channel")
    lines = list(
        csv.DictReader(io.StringIO(file_formats.export_templates(templates, file_format="csv").decode("utf-8-sig")))
    )
    book = openpyxl.load_workbook(io.BytesIO(file_formats.export_templates(templates, file_format="xlsx")))

    assert lines[0]["body"].startswith("'=cmd") and lines[0]["tags"] == "'@тег"
    assert all(cell.data_type != "f" for cells in book.active.iter_rows() for cell in cells)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_handmade_table_is_imported(channel: ApiChannel, encoding: str, delimiter: str) -> None:
    lines = [("Name", "Language", "Body"), ("order_ready", "ru", "Ваш заказ готов")]
    data = "\r\n".join(delimiter.join(line) for line in lines).encode(encoding)

    plan = import_plan.apply_plan(import_plan.build_plan(file_formats.read_file(data), api_channel=channel), by=FILE)

    assert plan.counts["new"] == 1
    assert Template.objects.get().definition.body == "Ваш заказ готов"
    assert Template.objects.get().status == "draft"


def test_parts_that_a_table_does_not_show_are_kept(channel: ApiChannel) -> None:
    flow = {"type": "FLOW", "text": "Ход", "flow_id": "7"}
    template = TemplateFactory(api_channel=channel, body="Ваш заказ готов", buttons=[flow], examples=())

    data = file_formats.export_templates(Template.objects.select_related("api_channel"), file_format="csv").decode()
    changed = data.replace("Ваш заказ готов", "Ваш заказ собран").encode()
    import_plan.apply_plan(import_plan.build_plan(file_formats.read_file(changed)), by=FILE)

    template.refresh_from_db()
    assert template.components == [{"type": "BODY", "text": "Ваш заказ собран"}, {"type": "BUTTONS", "buttons": [flow]}]


# --- reading files ---------------------------------------------------------------------------------------


def _bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/worksheets/sheet1.xml", b"0" * (spreadsheets.MAX_UNPACKED_BYTES + 1))
    return packed.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"{",
        b"[" * 5000,
        b"{}",
        b'{"data": {}}',
        b'{"data": []}',
        b'{"data": [' + b"9" * 500 + b"]}",
        b"name,body\nx,y",
        b'name,language,body\n"x,y',
        b"PK\x03\x04 not really a zip",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_an_unreadable_file_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(InvalidTemplateData) as problem:
        file_formats.read_file(data)

    assert str(problem.value).endswith(".")


def test_a_zip_bomb_is_refused() -> None:
    with pytest.raises(InvalidTemplateData):
        file_formats.read_file(_bomb())


def test_a_bare_json_list_is_accepted(channel: ApiChannel) -> None:
    assert file_formats.read_file(json.dumps([row()]).encode()) == [FileRow(1, data=row())]


# --- import plan -----------------------------------------------------------------------------------------


def test_a_plan_classifies_rows_and_writes_nothing(channel: ApiChannel) -> None:
    import_rows([row("a"), row("b", body="Ваш заказ {{1}} собран и ждёт.")], channel)
    before = TemplateEvent.objects.count(), TemplateVersion.objects.count()

    plan = plan_rows([row("a"), row("b", body="Ваш заказ {{1}} готов и ждёт."), row("c"), row("Не так")], channel)

    assert [item.kind for item in plan.items] == [
        ChangeKind.SAME,
        ChangeKind.CHANGED,
        ChangeKind.NEW,
        ChangeKind.REFUSED,
    ]
    changed = [(piece.kind, piece.text) for piece in plan.items[1].text if piece.kind != "same"]
    assert changed == [("removed", "собран"), ("added", "готов")]
    assert plan.items[3].sentences
    assert before == (TemplateEvent.objects.count(), TemplateVersion.objects.count())


def test_invalid_rows_do_not_block_valid_ones(channel: ApiChannel) -> None:
    twice = [{"type": "BODY", "text": "раз"}, {"type": "BODY", "text": "два"}]
    bad = [None, 5, "текст", {}, row("x" * 600), row("b", components=twice), row("c", body=""), row("good")]

    plan = import_rows([*bad[:4], row("good"), *bad[4:], row("too")], channel)

    assert set(Template.objects.values_list("name", flat=True)) == {"good", "too"}
    assert plan.counts == {"new": 2, "changed": 0, "same": 0, "refused": 8}
    assert all(item.sentences for item in plan.items if item.kind == ChangeKind.REFUSED)


@pytest.mark.parametrize(
    ("listed_status", "status"),
    [(None, "draft"), ("APPROVED", "approved"), ("in review", "unknown"), ("paused", "paused")],
)
def test_a_new_template_has_the_status_of_its_row(channel: ApiChannel, listed_status: str | None, status: str) -> None:
    import_rows([row(status=listed_status)], channel)

    assert Template.objects.get().status == status


def test_a_changed_text_is_a_draft_unless_the_file_has_a_status(channel: ApiChannel) -> None:
    import_rows([row("a", status="APPROVED"), row("b", status="APPROVED")], channel)

    new = "Здравствуйте, {{1}}! Ваш заказ собран."
    plan = import_rows([row("a", body=new), row("b", body=new, status="APPROVED")], channel)

    assert dict(Template.objects.values_list("name", "status")) == {"a": "draft", "b": "approved"}
    assert any("draft" in part or "черновик" in part for part in plan.items[0].changes[0])
    assert Template.objects.get(name="b").versions.filter(was_approved=True).count() == 2


def test_changed_labels_leave_a_template_approved(channel: ApiChannel) -> None:
    import_rows([row(status="APPROVED")], channel)

    plan = import_rows([row(variables=[{"key": "1", "label": "Имя клиента"}])], channel)

    template = Template.objects.get()
    assert plan.counts["changed"] == 1
    assert (template.status, template.versions.count(), template.definition.variable_title("1")) == (
        "approved",
        1,
        "Имя клиента",
    )


def test_an_approved_template_is_imported_despite_our_errors(channel: ApiChannel) -> None:
    approved = row("a", body="Код {{1}} и {{3}} для вас здесь.", id="123", status="APPROVED")

    plan = import_rows([approved, {**approved, "name": "b", "id": ""}], channel)

    assert [item.kind for item in plan.items] == [ChangeKind.NEW, ChangeKind.REFUSED]


def test_rows_are_imported_into_the_channel_that_they_name(channel: ApiChannel) -> None:
    other = ApiChannelFactory(name="Второй")

    plan = plan_rows([row(channel="Второй"), row(channel=channel.pk), row(channel="Третий"), row()], None)
    import_plan.apply_plan(plan, by=FILE)

    assert [item.kind for item in plan.items] == [
        ChangeKind.NEW,
        ChangeKind.NEW,
        ChangeKind.REFUSED,
        ChangeKind.REFUSED,
    ]
    assert set(Template.objects.values_list("api_channel", flat=True)) == {channel.pk, other.pk}


def test_the_only_channel_need_not_be_named(channel: ApiChannel) -> None:
    assert plan_rows([row()], None).items[0].channel == channel


def test_a_template_created_after_the_plan_refuses_only_its_row(channel: ApiChannel) -> None:
    plan = plan_rows([row("a"), row("b"), row("c")], channel)
    TemplateFactory(api_channel=channel, name="b")

    done = import_plan.apply_plan(plan, by=FILE)

    assert [item.kind for item in done.items] == [ChangeKind.NEW, ChangeKind.REFUSED, ChangeKind.NEW]
    assert Template.objects.count() == 3


@pytest.mark.exhaustive
def test_thousands_of_rows_are_imported_with_few_queries(
    channel: ApiChannel, django_assert_max_num_queries: Any
) -> None:
    plan = plan_rows([row(f"t_{number}") for number in range(1200)], channel)

    with django_assert_max_num_queries(25):
        import_plan.apply_plan(plan, by=FILE)

    assert TemplateEvent.objects.count() == TemplateVersion.objects.count() == 1200


# --- command ---------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "templates.json"
    path.write_text(json.dumps({"data": [row("a"), row("b")]}))
    return path


def run(*words: Any) -> str:
    out = io.StringIO()
    call_command("templates", *map(str, words), stdout=out)
    return out.getvalue()


def test_the_import_command_has_a_dry_run(channel: ApiChannel, file: Path) -> None:
    shown = json.loads(run("import", file, "--dry-run", "--output", "json"))

    assert (shown["counts"]["new"], Template.objects.count()) == (2, 0)

    run("import", file, "--channel", "WhatsApp")

    assert Template.objects.count() == 2
    assert "2 same" in run("import", file)


def test_the_import_command_exits_with_1_and_names_refused_rows(channel: ApiChannel, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([row("a"), row("Не так")]))
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("templates", "import", str(path), stdout=out)

    assert ended.value.code == 1
    assert "Не так" in out.getvalue()
    assert Template.objects.get().name == "a"


@pytest.mark.parametrize("words", [("import", "/nowhere.json"), ("export", "--channel", "Нет такого")])
def test_the_import_command_explains_its_errors(channel: ApiChannel, words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match=r"\.|See"):
        run(*words)


@pytest.mark.parametrize("form", FORMATS)
def test_the_export_command_writes_a_file_that_can_be_imported(channel: ApiChannel, tmp_path: Path, form: str) -> None:
    TemplateFactory(api_channel=channel)
    TemplateFactory(api_channel=channel, status="deleted")
    path = tmp_path / f"t.{form}"

    run("export", path, "--format", form)

    assert "1 same" in run("import", path, "--dry-run")


def test_the_export_command_writes_to_stdout(channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, name="order_ready")

    assert json.loads(run("export"))["data"][0]["name"] == "order_ready"


def test_the_lint_command_exits_with_1_for_errors_only(channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, name="a", body="Ваш заказ {{1}} готов к выдаче.", examples=["5"])
    TemplateFactory(api_channel=channel, name="b", body="Ваш заказ {{1}} готов к выдаче.", examples=["5"])
    warned = json.loads(run("lint", "--output", "json"))

    assert {(row["name"], row["code"]) for row in warned} == {("a", "collision"), ("b", "collision")}

    TemplateFactory(api_channel=channel, name="c", body="Раз {{1}} и три {{3}}, вот и всё.", examples=["5", "6"])
    with pytest.raises(SystemExit) as ended:
        run("lint", "--channel", channel.pk)

    assert ended.value.code == 1


def test_the_sync_command_fetches_the_list(channel: ApiChannel) -> None:
    assert "WhatsApp" in run("sync")
    assert Template.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["json", "csv", "xlsx"])
@pytest.mark.parametrize("names", [("WhatsApp", "WhatsApp"), ("12", "Shop"), ("Shop", "Office")])
def test_an_export_with_any_channel_names_can_be_imported(form: str, names: tuple[str, str]) -> None:
    for name in names:
        TemplateFactory(api_channel=ApiChannelFactory(name=name))

    data = file_formats.export_templates(Template.objects.order_by("pk"), file_format=form)
    plan = import_plan.build_plan(file_formats.read_file(data))

    assert [item.kind for item in plan.items] == [import_plan.ChangeKind.SAME, import_plan.ChangeKind.SAME]


# --- cost of a file --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda: "name,language,body\n" + "\n" * 5_000_000,
        lambda: "name,language,body\n" + "," * 5_000_000,
        lambda: "name,language,body,buttons\na,ru,b," + "URL | " * 20_000,
        lambda: 'name,language,body,variables\na,ru,b,"' + "\\n\n" * 20_000 + '"',
        lambda: '{"data": [' + "0," * 2_000_000 + "0]}",
        lambda: '{"data": [{"components": ' + "[" * 30 + "]" * 30 + "}" + ",{}" * 1_000_000 + "]}",
    ],
    ids=["lines", "columns", "a button", "variables", "numbers", "objects"],
)
def test_a_long_file_without_content_is_read_in_bounded_work(build: Any) -> None:
    data = build().encode()

    def read() -> None:
        with contextlib.suppress(InvalidTemplateData):
            file_formats.read_file(data, max_rows=1_000)

    assert measure_cost(read, limit=40) <= 40


@pytest.mark.parametrize("unit", ["a ", "a b ", "a\n", "Ваш заказ готов. ", ". "])
def test_texts_of_equal_words_are_compared_in_bounded_time(unit: str) -> None:
    old, new = (unit * 2_000)[:1_000] + "x", "y" + (unit[::-1] * 2_000)[:1_000]

    assert measure_cost(lambda: diff_texts(old, new), limit=20) <= 20
    assert "".join(piece.text for piece in diff_texts(old, new) if piece.kind != "added") == old
    assert "".join(piece.text for piece in diff_texts(old, new) if piece.kind != "removed") == new


@given(st.text("ab. \n", max_size=40), st.text("ab. \n", max_size=40), st.sampled_from([0, 10_000]))
def test_the_pieces_of_a_difference_form_both_texts(old: str, new: str, most: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(text_diff, "MAX_PAIRS", most)
        pieces = diff_texts(old, new)

    assert "".join(piece.text for piece in pieces if piece.kind != "added") == old
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == new
