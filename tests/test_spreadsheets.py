"""XLSX files from any program are read; files that would take long are refused early."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest

from templates_registry.provider.provider_template import InvalidTemplateData
from templates_registry.transfer import file_formats, spreadsheets
from tests.work import count_calls, measure_cost

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def relations(*rows: tuple[str, str, str]) -> str:
    inner = "".join(f'<Relationship Id="{one}" Type="{OFFICE}/{kind}" Target="{to}"/>' for one, kind, to in rows)
    return f"{HEAD}<Relationships>{inner}</Relationships>"


def build_workbook(sheet: str, *, strings: str = "", parts: dict[str, str | bytes] | None = None) -> bytes:
    """Build an XLSX file with this content in its first sheet's ``sheetData``."""
    related = [("rId1", "worksheet", "worksheets/sheet1.xml"), ("rId2", "sharedStrings", "sharedStrings.xml")]
    content: dict[str, str | bytes] = {
        "_rels/.rels": relations(("rId1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>'
        '<sheet name="templates" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(*related[: 1 + bool(strings)]),
        "xl/worksheets/sheet1.xml": f'{HEAD}<worksheet xmlns="{MAIN}"><sheetData>{sheet}</sheetData></worksheet>',
    }
    if strings:
        content["xl/sharedStrings.xml"] = f'{HEAD}<sst xmlns="{MAIN}">{strings}</sst>'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (content | (parts or {})).items():
            archive.writestr(name, text)
    return packed.getvalue()


def read(data: bytes) -> list[list[str]]:
    return spreadsheets.read_rows(data, max_rows=file_formats.MAX_ROWS)


@pytest.mark.parametrize(
    ("sheet", "strings", "rows"),
    [
        ("<row r='1'><c r='A1' t='s'><v>1</v></c></row>", "<si><t>a</t></si><si><t>b</t></si>", [["b"]]),
        ("<row><c t='s'><v>0</v></c></row>", "<si><r><t>bo</t></r><r><rPr><b/></rPr><t>ld</t></r></si>", [["bold"]]),
        ("<row><c t='s'><v>0</v></c></row>", "<si><t>漢字</t><rPh sb='0'><t>kana</t></rPh></si>", [["漢字"]]),
        ("<row><c t='inlineStr'><is><t xml:space='preserve'> a\nb </t></is></c></row>", "", [[" a\nb "]]),
        (
            "<row><c><v>7</v></c><c><v>7.0</v></c><c><v>7.5</v></c><c t='b'><v>1</v></c></row>",
            "",
            [["7", "7", "7.5", "1"]],
        ),
        (
            "<row><c><v>1.1000000000000001</v></c><c><v>1E+06</v></c><c><v>1.0E+16</v></c><c><v>-7.0</v></c></row>",
            "",
            [["1.1", "1000000", "10000000000000000", "-7"]],
        ),
        ("<row><c><v>99999999999999999999</v></c></row>", "", [["99999999999999999999"]]),
        ("<row><c><f>1+1</f><v>2</v></c><c t='str'><f>A1</f><v>x</v></c></row>", "", [["2", "x"]]),
        ("<row><c r='C1'><v>3</v></c><c r='B1'><v>2</v></c></row>", "", [["", "2", "3"]]),
        ("<row/><row r='900000'><c r='A900000'><v>1</v></c></row><row><c/></row>", "", [["1"]]),
        ("<row><c><v>1e999</v></c><c><v>nan</v></c><c><v>99999999999999999999</v></c></row>", "", None),
        ("<x:row xmlns:x='y'><x:c><x:v>1</x:v></x:c></x:row>", "", [["1"]]),
        ("<row><c r='ZZZ1'><v>1</v></c><c r='A1'><v>2</v></c></row>", "", [["2"]]),
        ("", "", []),
    ],
)
def test_files_of_common_programs_are_read(sheet: str, strings: str, rows: list[list[str]] | None) -> None:
    found = read(build_workbook(sheet, strings=strings))

    assert found == rows if rows is not None else found


def test_parts_are_found_in_any_place() -> None:
    parts: dict[str, str | bytes] = {
        "_rels/.rels": relations(("r1", "officeDocument", "/book/main.xml")),
        "book/main.xml": f"<workbook xmlns:r='{OFFICE}'><sheet r:id='r2'/><sheet r:id='r1'/></workbook>",
        "book/_rels/main.xml.rels": relations(
            ("r1", "worksheet", "worksheets/second.xml"), ("r2", "worksheet", "/xl/worksheets/sheet1.xml")
        ),
    }

    assert read(build_workbook("<row><c><v>1</v></c></row>", parts=parts)) == [["1"]]


def test_a_sheet_can_be_in_any_folder() -> None:
    parts: dict[str, str | bytes] = {
        "xl/_rels/workbook.xml.rels": relations(("rId1", "worksheet", "first.xml")),
        "xl/first.xml": "<worksheet><sheetData><row><c><v>1</v></c></row></sheetData></worksheet>",
    }

    assert read(build_workbook(ROW, parts=parts)) == [["1"]]


def _flipped(data: bytes) -> bytes:
    at = data.index(b"sheet1.xml") + 60
    return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 40]) + data[at + 40 :]


def _marked(offset: int, value: int) -> Callable[[bytes], bytes]:
    """Change a byte of each part's local header and of its entry in the archive's directory."""

    def mark(data: bytes) -> bytes:
        changed = bytearray(data)
        for signature, at in ((b"PK\x03\x04", offset), (b"PK\x01\x02", offset + 2)):
            begin = changed.find(signature)
            while begin >= 0:
                changed[begin + at] = value
                begin = changed.find(signature, begin + 1)
        return bytes(changed)

    return mark


ROW = "<row><c t='inlineStr'><is><t>word word word</t></is></c></row>" * 50
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda data: data[: len(data) // 2],
    "flipped bytes": _flipped,
    "encrypted": _marked(6, 1),
    "unknown method": _marked(8, 98),
    "no end": lambda data: data.replace(b"PK\x05\x06", b"PK\x05\x07"),
    "64-bit end": lambda data: data.replace(b"PK\x05\x06", b"PK\x06\x07" + b"\0" * 16 + b"PK\x05\x06"),
}
MALFORMED = {
    "no sheet data": {"xl/worksheets/sheet1.xml": "word"},
    "not closed": {"xl/worksheets/sheet1.xml": "<worksheet><sheetData><row>"},
    "entities": {"xl/worksheets/sheet1.xml": '<!DOCTYPE x [<!ENTITY a "b">]><worksheet>&a;</worksheet>'},
    "no workbook": {"xl/workbook.xml": ""},
    "unknown encoding": {"xl/worksheets/sheet1.xml": '<?xml version="1.0" encoding="klingon"?><worksheet/>'},
    "no such sheet": {"xl/_rels/workbook.xml.rels": relations(("rId1", "worksheet", "worksheets/other.xml"))},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_with_an_explanation(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidTemplateData):
        read(damage(build_workbook(ROW)))


@pytest.mark.parametrize("parts", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_part_is_refused_with_an_explanation(parts: dict[str, str | bytes]) -> None:
    with pytest.raises(InvalidTemplateData):
        read(build_workbook(ROW, parts=parts))


@pytest.mark.parametrize("index", ["1", "-1", "x", "9" * 5_000, "²"])
def test_a_missing_shared_string_is_refused_with_an_explanation(index: str) -> None:
    with pytest.raises(InvalidTemplateData):
        read(build_workbook(f"<row><c t='s'><v>{index}</v></c></row>", strings="<si><t>a</t></si>"))


WORD = "<row><c t='s'><v>0</v></c></row>"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "millions of shared strings": lambda: build_workbook(WORD, strings="<si/>" * 2_500_000),
    "a sheet of 40 MB": lambda: build_workbook(" " * 40_000_000),
    "millions of cells": lambda: build_workbook("<row>" + "<c/>" * 3_000_000 + "</row>"),
    "thousands of sheets": lambda: build_workbook(ROW, parts={"xl/workbook.xml": "<workbook>" + "<sheet/>" * 50_000}),
    "thousands of relationships": lambda: build_workbook(
        ROW, parts={"_rels/.rels": "<x>" + "<Relationship/>" * 30_000}
    ),
    "thousands of parts": lambda: build_workbook(ROW, parts={f"xl/{number}": "" for number in range(6_000)}),
    "a shared string in every cell": lambda: build_workbook(WORD * 9_000, strings=f"<si><t>{'a' * 32_000}</t></si>"),
    "a cell longer than in Excel": lambda: build_workbook(WORD, strings=f"<si><t>{'a' * 32_768}</t></si>"),
    "elements in elements": lambda: build_workbook("<c>" * 3_000_000),
}


@pytest.mark.parametrize("made", HOSTILE.values(), ids=HOSTILE)
def test_an_expensive_file_is_refused_after_bounded_work(made: Callable[[], bytes]) -> None:
    data = made()

    def attempt() -> None:
        with pytest.raises(InvalidTemplateData):
            read(data)

    assert measure_cost(attempt, limit=20) <= 20  # a fifth of a second on an idle machine


def test_rows_and_columns_beyond_the_limit_cost_nothing() -> None:
    wide = "".join(f"<c r='{letter}1'><v>1</v></c>" for letter in ("A", "XFD"))
    data = build_workbook("<dimension ref='A1:XFD1048576'/>" + f"<row r='1048576'>{wide}</row>" * 10)

    assert read(data) == [["1"]] * 10
    assert (
        count_calls(
            lambda: spreadsheets.read_rows(build_workbook(WORD * 1_000, strings="<si><t>a</t></si>"), max_rows=10)
        )
        < 2_000
    )
