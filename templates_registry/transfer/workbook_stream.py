"""Writer of XLSX files of any length, part by part. A sheet that is full is followed by the next one. No database."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from xml.sax.saxutils import escape, quoteattr

MAX_SHEET_ROWS = 1_000_000  # Excel opens 1,048,576
MAX_SHEET_BYTES = 1024**3  # a ZIP entry without the 64-bit extension, which some programs do not read
MAX_CELL_LENGTH = 32_767  # characters, as in Excel
FLUSH_BYTES = 64 * 1024

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PANE = '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'


class _Output:
    """File object that keeps what was written until it is taken."""

    def __init__(self) -> None:
        self.parts = bytearray()

    def write(self, data: bytes) -> int:
        self.parts += data
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data = bytes(self.parts)
        self.parts.clear()
        return data


def write_xlsx_parts(table: Iterable[Sequence[str]], *, title: str, widths: Mapping[str, int]) -> Iterator[bytes]:
    """Yield the bytes of a workbook. ``table``: rows of escaped cells, the titles first; each sheet repeats them."""
    output, rows, sheets = _Output(), iter(table), 0
    titles = next(rows, ())
    following = next(rows, None)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]  # not seekable
        while following is not None or not sheets:
            sheets += 1
            with archive.open(f"xl/worksheets/sheet{sheets}.xml", "w") as sheet:
                sheet.write(_sheet_head(widths).encode())
                size, number = 0, 0
                for number, cells in enumerate(chain([titles], _start_with(following, rows)), 1):
                    if number > MAX_SHEET_ROWS or size > MAX_SHEET_BYTES:
                        following = cells
                        break
                    size += sheet.write(_write_row(number, cells).encode())
                    if len(output.parts) > FLUSH_BYTES:
                        yield output.take()
                else:
                    following = None
                sheet.write(b"</sheetData></worksheet>")
        for name, text in _list_other_parts(title, sheets):
            archive.writestr(name, _HEAD + text)
    yield output.take()


def _start_with(first: Sequence[str] | None, rows: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
    return rows if first is None else chain([first], rows)


def _sheet_head(widths: Mapping[str, int]) -> str:
    columns = ((ord(letter) - ord("A") + 1, width) for letter, width in widths.items())
    cols = "".join(f'<col min="{number}" max="{number}" width="{width}" customWidth="1"/>' for number, width in columns)
    return (
        f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">{_PANE}</sheetView></sheetViews>'
        f"<cols>{cols}</cols><sheetData>"
    )


def _column_name(column: int) -> str:
    """Return the letters of a column, counted from 0: A to Z, then AA."""
    name = ""
    while column >= 0:
        column, letter = divmod(column, 26)
        name, column = chr(ord("A") + letter) + name, column - 1
    return name


def _write_row(number: int, cells: Sequence[str]) -> str:
    written = "".join(
        f'<c r="{_column_name(column)}{number}" t="inlineStr"><is>'
        f'<t xml:space="preserve">{escape(text[:MAX_CELL_LENGTH])}</t></is></c>'
        for column, text in enumerate(cells)
        if text
    )
    return f'<row r="{number}">{written}</row>'


def _list_other_parts(title: str, sheets: int) -> list[tuple[str, str]]:
    numbers = range(1, sheets + 1)
    names = [title if number == 1 else f"{title} {number}" for number in numbers]
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
        for number, name in zip(numbers, names, strict=True)
    )
    types = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{_TYPE}.worksheet+xml"/>'
        for number in numbers
    )
    links = "".join(
        f'<Relationship Id="rId{number}" Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number in numbers
    )
    return [
        (
            "[Content_Types].xml",
            f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels"'
            ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>{types}</Types>',
        ),
        (
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1"'
            f' Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        ),
        (
            "xl/workbook.xml",
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}"><sheets>{listed}</sheets></workbook>',
        ),
        ("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>'),
    ]
