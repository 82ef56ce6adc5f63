"""Templates in and out as files: the same comes back, nothing is written unseen, and no cell is a formula."""

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
FORMS = list(file_formats.CONTENT_TYPES)


def row(name: str = "order_ready", body: str = "Здравствуйте, {{1}}! Ваш заказ готов.", **more: Any) -> dict[str, Any]:
    component = {"type": "BODY", "text": body, "example": {"body_text": [["Анна"]]}}
    return {"name": name, "language": "ru", "category": "UTILITY", "components": [component], **more}


def planned(rows: list[Any], channel: ApiChannel | None) -> ImportPlan:
    data = json.dumps({"data": rows}).encode()
    return import_plan.build_plan(file_formats.read_file(data), api_channel=channel)


def put_in(rows: list[Any], channel: ApiChannel) -> ImportPlan:
    return import_plan.apply_plan(planned(rows, channel), by=FILE)


@pytest.fixture
def channel(db: None) -> ApiChannel:
    return ApiChannelFactory(name="WhatsApp")


# --- round trips -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_what_is_exported_and_imported_again_is_the_same(channel: ApiChannel, form: str) -> None:
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

    data = file_formats.export_templates(Template.objects.select_related("api_channel"), form=form)
    plan = import_plan.build_plan(file_formats.read_file(data))

    assert {item.kind for item in plan.items} == {ChangeKind.SAME}, [item.as_json() for item in plan.items]
    assert len(plan.items) == Template.objects.count()


@pytest.mark.parametrize("form", FORMS)
def test_a_registry_moves_to_another_channel_whole(channel: ApiChannel, form: str) -> None:
    provider_sync.sync_channel(channel)
    other = ApiChannelFactory(name="Второй")

    data = file_formats.export_templates(Template.objects.select_related("api_channel"), form=form)
    import_plan.apply_plan(import_plan.build_plan(file_formats.read_file(data), api_channel=other), by=FILE)

    copies = Template.objects.filter(api_channel=other)
    assert len(copies) == Template.objects.filter(api_channel=channel).count() > 0
    for moved in copies:
        first = Template.objects.get(api_channel=channel, name=moved.name, language=moved.language)
        assert moved.pattern == first.pattern
        assert (moved.status, moved.external_id) == (first.status, "")
        assert moved.events.get().source == "import"


# --- tables ----------------------------------------------------------------------------------------------

NASTY = ["=1+1", "+7921", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "'тест", "\0=1", '=HYPERLINK("http://x")']


def is_formula(cell: str) -> bool:
    """As the most eager of spreadsheets takes it: blanks are passed over, wide signs count."""
    return cell[:1] in tuple("\t\r\n\0") or cell.lstrip()[:1] in tuple("=+-@＝＋－＠﹦﹢﹣﹫")


@pytest.mark.parametrize("sign", "=+-@＝＋－＠﹦﹢﹣﹫")
@pytest.mark.parametrize("front", ["", " ", "\n", "\t", "\u3000", "\u00a0", "\r\n", "'", "''"])
def test_a_sign_behind_any_blank_is_no_formula_and_comes_back(front: str, sign: str) -> None:
    cell = file_formats.escape_cell(f"{front}{sign}1+1")

    assert cell[0] == "'" and not is_formula(cell)
    assert file_formats.unescape_cell(cell) == f"{front}{sign}1+1"


@pytest.mark.parametrize("text", NASTY)
def test_no_cell_begins_like_a_formula_and_each_comes_back(text: str) -> None:
    cell = file_formats.escape_cell(text)

    assert not is_formula(cell)
    assert file_formats.unescape_cell(cell) == text.replace("\0", "")


@given(st.text())
def test_escaping_any_text_gives_it_back(text: str) -> None:
    cell = file_formats.escape_cell(text)

    assert not is_formula(cell)
    assert file_formats.unescape_cell(cell) == file_formats.UNPRINTABLE.sub("", text)


def test_formulae_are_text_in_both_kinds_of_table(channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, body="=cmd|' /C calc'!A0 и ещё пара слов", tags=["@тег"])

    templates = Template.objects.select_related("api_channel")
    lines = list(csv.DictReader(io.StringIO(file_formats.export_templates(templates, form="csv").decode("utf-8-sig"))))
    book = openpyxl.load_workbook(io.BytesIO(file_formats.export_templates(templates, form="xlsx")))

    assert lines[0]["body"].startswith("'=cmd") and lines[0]["tags"] == "'@тег"
    assert all(cell.data_type != "f" for cells in book.active.iter_rows() for cell in cells)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_that_people_made_is_read(channel: ApiChannel, encoding: str, delimiter: str) -> None:
    lines = [("Name", "Language", "Body"), ("order_ready", "ru", "Ваш заказ готов")]
    data = "\r\n".join(delimiter.join(line) for line in lines).encode(encoding)

    plan = import_plan.apply_plan(import_plan.build_plan(file_formats.read_file(data), api_channel=channel), by=FILE)

    assert plan.counts["new"] == 1
    assert Template.objects.get().pattern.body == "Ваш заказ готов"
    assert Template.objects.get().status == "draft"


def test_what_a_table_does_not_show_is_kept_when_another_cell_changes(channel: ApiChannel) -> None:
    flow = {"type": "FLOW", "text": "Ход", "flow_id": "7"}
    template = TemplateFactory(api_channel=channel, body="Ваш заказ готов", buttons=[flow], examples=())

    data = file_formats.export_templates(Template.objects.select_related("api_channel"), form="csv").decode()
    changed = data.replace("Ваш заказ готов", "Ваш заказ собран").encode()
    import_plan.apply_plan(import_plan.build_plan(file_formats.read_file(changed)), by=FILE)

    template.refresh_from_db()
    assert template.components == [{"type": "BODY", "text": "Ваш заказ собран"}, {"type": "BUTTONS", "buttons": [flow]}]


# --- a file as a whole -----------------------------------------------------------------------------------


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
def test_a_file_that_cannot_be_read_as_a_whole_gets_a_sentence(data: bytes) -> None:
    with pytest.raises(InvalidTemplateData) as problem:
        file_formats.read_file(data)

    assert str(problem.value).endswith(".")


def test_a_table_that_unpacks_without_end_is_refused() -> None:
    with pytest.raises(InvalidTemplateData):
        file_formats.read_file(_bomb())


def test_a_bare_list_is_as_good_as_one_under_data(channel: ApiChannel) -> None:
    assert file_formats.read_file(json.dumps([row()]).encode()) == [FileRow(1, data=row())]


# --- the plan --------------------------------------------------------------------------------------------


def test_a_plan_says_new_changed_same_and_refused_and_writes_nothing(channel: ApiChannel) -> None:
    put_in([row("a"), row("b", body="Ваш заказ {{1}} собран и ждёт.")], channel)
    before = TemplateEvent.objects.count(), TemplateVersion.objects.count()

    plan = planned([row("a"), row("b", body="Ваш заказ {{1}} готов и ждёт."), row("c"), row("Не так")], channel)

    assert [item.kind for item in plan.items] == [
        ChangeKind.SAME,
        ChangeKind.CHANGED,
        ChangeKind.NEW,
        ChangeKind.REFUSED,
    ]
    changed = [(piece.kind, piece.text) for piece in plan.items[1].text if piece.kind != "same"]
    assert changed == [("gone", "собран"), ("new", "готов")]
    assert plan.items[3].sentences
    assert before == (TemplateEvent.objects.count(), TemplateVersion.objects.count())


def test_bad_rows_never_lose_the_good_ones(channel: ApiChannel) -> None:
    twice = [{"type": "BODY", "text": "раз"}, {"type": "BODY", "text": "два"}]
    bad = [None, 5, "текст", {}, row("x" * 600), row("b", components=twice), row("c", body=""), row("good")]

    plan = put_in([*bad[:4], row("good"), *bad[4:], row("too")], channel)

    assert set(Template.objects.values_list("name", flat=True)) == {"good", "too"}
    assert plan.counts == {"new": 2, "changed": 0, "same": 0, "refused": 8}
    assert all(item.sentences for item in plan.items if item.kind == ChangeKind.REFUSED)


@pytest.mark.parametrize(
    ("said", "status"), [(None, "draft"), ("APPROVED", "approved"), ("in review", "unknown"), ("paused", "paused")]
)
def test_a_new_row_keeps_the_status_it_was_given(channel: ApiChannel, said: str | None, status: str) -> None:
    put_in([row(status=said)], channel)

    assert Template.objects.get().status == status


def test_a_changed_text_has_to_be_approved_again_unless_the_file_says_that_it_is(channel: ApiChannel) -> None:
    put_in([row("a", status="APPROVED"), row("b", status="APPROVED")], channel)

    new = "Здравствуйте, {{1}}! Ваш заказ собран."
    plan = put_in([row("a", body=new), row("b", body=new, status="APPROVED")], channel)

    assert dict(Template.objects.values_list("name", "status")) == {"a": "draft", "b": "approved"}
    assert any("draft" in fact or "черновик" in fact for fact in plan.items[0].facts[0])
    assert Template.objects.get(name="b").versions.filter(was_approved=True).count() == 2


def test_only_labels_changing_leaves_an_approved_template_approved(channel: ApiChannel) -> None:
    put_in([row(status="APPROVED")], channel)

    plan = put_in([row(variables=[{"key": "1", "label": "Имя клиента"}])], channel)

    template = Template.objects.get()
    assert plan.counts["changed"] == 1
    assert (template.status, template.versions.count(), template.pattern.variable_title("1")) == (
        "approved",
        1,
        "Имя клиента",
    )


def test_what_the_provider_has_approved_is_taken_though_we_would_refuse_it(channel: ApiChannel) -> None:
    approved = row("a", body="Код {{1}} и {{3}} для вас здесь.", id="123", status="APPROVED")

    plan = put_in([approved, {**approved, "name": "b", "id": ""}], channel)

    assert [item.kind for item in plan.items] == [ChangeKind.NEW, ChangeKind.REFUSED]


def test_rows_go_where_they_say_if_nobody_says_otherwise(channel: ApiChannel) -> None:
    other = ApiChannelFactory(name="Второй")

    plan = planned([row(channel="Второй"), row(channel=channel.pk), row(channel="Третий"), row()], None)
    import_plan.apply_plan(plan, by=FILE)

    assert [item.kind for item in plan.items] == [
        ChangeKind.NEW,
        ChangeKind.NEW,
        ChangeKind.REFUSED,
        ChangeKind.REFUSED,
    ]
    assert set(Template.objects.values_list("api_channel", flat=True)) == {channel.pk, other.pk}


def test_the_only_channel_needs_no_naming(channel: ApiChannel) -> None:
    assert planned([row()], None).items[0].channel == channel


def test_a_template_made_between_plan_and_writing_keeps_only_itself_out(channel: ApiChannel) -> None:
    plan = planned([row("a"), row("b"), row("c")], channel)
    TemplateFactory(api_channel=channel, name="b")

    done = import_plan.apply_plan(plan, by=FILE)

    assert [item.kind for item in done.items] == [ChangeKind.NEW, ChangeKind.REFUSED, ChangeKind.NEW]
    assert Template.objects.count() == 3


def test_thousands_come_in_with_a_handful_of_statements(
    channel: ApiChannel, django_assert_max_num_queries: Any
) -> None:
    plan = planned([row(f"t_{number}") for number in range(1200)], channel)

    with django_assert_max_num_queries(25):
        import_plan.apply_plan(plan, by=FILE)

    assert TemplateEvent.objects.count() == TemplateVersion.objects.count() == 1200


# --- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "templates.json"
    path.write_text(json.dumps({"data": [row("a"), row("b")]}))
    return path


def run(*words: Any) -> str:
    out = io.StringIO()
    call_command("templates", *map(str, words), stdout=out)
    return out.getvalue()


def test_the_command_shows_first_and_writes_then(channel: ApiChannel, file: Path) -> None:
    shown = json.loads(run("import", file, "--dry-run", "--output", "json"))

    assert (shown["counts"]["new"], Template.objects.count()) == (2, 0)

    run("import", file, "--channel", "WhatsApp")

    assert Template.objects.count() == 2
    assert "2 same" in run("import", file)


def test_the_command_ends_with_1_when_rows_are_refused_and_says_which(channel: ApiChannel, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([row("a"), row("Не так")]))
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("templates", "import", str(path), stdout=out)

    assert ended.value.code == 1
    assert "Не так" in out.getvalue()
    assert Template.objects.get().name == "a"


@pytest.mark.parametrize("words", [("import", "/nowhere.json"), ("export", "--channel", "Нет такого")])
def test_the_command_refuses_with_a_sentence(channel: ApiChannel, words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match=r"\.|See"):
        run(*words)


@pytest.mark.parametrize("form", FORMS)
def test_the_command_writes_a_file_that_it_can_read(channel: ApiChannel, tmp_path: Path, form: str) -> None:
    TemplateFactory(api_channel=channel)
    TemplateFactory(api_channel=channel, status="deleted")
    path = tmp_path / f"t.{form}"

    run("export", path, "--format", form)

    assert "1 same" in run("import", path, "--dry-run")


def test_the_command_prints_an_export(channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, name="order_ready")

    assert json.loads(run("export"))["data"][0]["name"] == "order_ready"


def test_lint_ends_with_1_when_there_are_errors_and_not_for_warnings(channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, name="a", body="Ваш заказ {{1}} готов к выдаче.", examples=["5"])
    TemplateFactory(api_channel=channel, name="b", body="Ваш заказ {{1}} готов к выдаче.", examples=["5"])
    warned = json.loads(run("lint", "--output", "json"))

    assert {(row["name"], row["code"]) for row in warned} == {("a", "collision"), ("b", "collision")}

    TemplateFactory(api_channel=channel, name="c", body="Раз {{1}} и три {{3}}, вот и всё.", examples=["5", "6"])
    with pytest.raises(SystemExit) as ended:
        run("lint", "--channel", channel.pk)

    assert ended.value.code == 1


def test_sync_fetches_from_the_command_line(channel: ApiChannel) -> None:
    assert "WhatsApp" in run("sync")
    assert Template.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["json", "csv", "xlsx"])
@pytest.mark.parametrize("names", [("WhatsApp", "WhatsApp"), ("12", "Shop"), ("Shop", "Office")])
def test_an_export_of_channels_with_any_names_is_read_back(form: str, names: tuple[str, str]) -> None:
    for name in names:
        TemplateFactory(api_channel=ApiChannelFactory(name=name))

    data = file_formats.export_templates(Template.objects.order_by("pk"), form=form)
    plan = import_plan.build_plan(file_formats.read_file(data))

    assert [item.kind for item in plan.items] == [import_plan.ChangeKind.SAME, import_plan.ChangeKind.SAME]


# --- what a file may cost --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
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
def test_a_file_that_says_little_at_great_length_costs_little(made: Any) -> None:
    data = made().encode()

    def read() -> None:
        with contextlib.suppress(InvalidTemplateData):
            file_formats.read_file(data, most_rows=1_000)

    assert measure_cost(read, limit=40) <= 40


@pytest.mark.parametrize("unit", ["a ", "a b ", "a\n", "Ваш заказ готов. ", ". "])
def test_two_texts_of_equal_words_are_compared_in_time_that_does_not_explode(unit: str) -> None:
    old, new = (unit * 2_000)[:1_000] + "x", "y" + (unit[::-1] * 2_000)[:1_000]

    assert measure_cost(lambda: diff_texts(old, new), limit=20) <= 20
    assert "".join(piece.text for piece in diff_texts(old, new) if piece.kind != "new") == old
    assert "".join(piece.text for piece in diff_texts(old, new) if piece.kind != "gone") == new


@given(st.text("ab. \n", max_size=40), st.text("ab. \n", max_size=40), st.sampled_from([0, 10_000]))
def test_pieces_of_a_difference_make_up_both_texts(old: str, new: str, most: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(text_diff, "MAX_PAIRS", most)
        pieces = diff_texts(old, new)

    assert "".join(piece.text for piece in pieces if piece.kind != "new") == old
    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == new
