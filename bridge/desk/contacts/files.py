"""Tables of contacts: reading an uploaded CSV or XLSX file, and writing an export. No database."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from channels_setup.codecs.bodies import clean_text
from templates_registry.provider.provider_template import InvalidTemplateData
from templates_registry.transfer import spreadsheets
from templates_registry.transfer.file_formats import escape_cell, unescape_cell

MAX_BYTES = 8 * 1024 * 1024
MAX_ROWS = 20_000
MAX_CELL = 300  # characters that an import keeps of a cell
MAX_LINES = 100_000  # of a CSV file, including blank ones

PHONE, NAME, EMAIL, TAGS, OPTED_OUT = "phone", "name", "email", "tags", "opted_out"
# Field → beginnings of titles by which its column is guessed.
TITLES: Mapping[str, tuple[str, ...]] = {
    PHONE: ("phone", "tel", "mobile", "whatsapp", "number", "телефон", "тел", "номер", "моб", "сотов"),
    NAME: ("name", "full name", "client", "contact", "имя", "фио", "клиент", "контакт", "название"),
    EMAIL: ("email", "e-mail", "mail", "почта", "эл"),
    TAGS: ("tag", "label", "group", "метк", "тег", "групп"),
    OPTED_OUT: ("opted out", "opt-out", "opt out", "unsubscribed", "отказ", "отпис"),
}
NO_FIELDS: Mapping[str, str] = {}
YES = {"1", "yes", "true", "y", "x", "+", "да", "истина", "all", "opted out", "отказ"}


class UnreadableFile(Exception):
    """The file cannot be read. The text is a sentence for the user."""


def read_table(data: bytes) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the rows of a CSV or XLSX file. Raises UnreadableFile."""
    if len(data) > MAX_BYTES:
        raise UnreadableFile(_("The file is larger than %(limit)d MB.") % {"limit": MAX_BYTES // 1024**2})
    try:
        lines: Iterable[Sequence[str]] = (
            spreadsheets.read_rows(data, max_rows=MAX_ROWS + 2) if data.startswith(b"PK") else _read_csv(data)
        )
        table = [cells for line in lines if any(cells := [_clean(cell) for cell in line[: spreadsheets.MAX_COLUMNS]])]
    except InvalidTemplateData as problem:
        raise UnreadableFile(str(problem)) from None
    if not table:
        raise UnreadableFile(_("The file has no rows."))
    titles, rows = table[0], table[1:]
    if any(_looks_like_phone(cell) for cell in titles):  # a file without titles
        titles, rows = [_("Column %(number)d") % {"number": number + 1} for number in range(len(table[0]))], table
    if not rows:
        raise UnreadableFile(_("The file has no rows below its titles."))
    if len(rows) > MAX_ROWS:
        raise UnreadableFile(_say_too_many())
    return titles, rows


def _say_too_many() -> str:
    limit = number_format(MAX_ROWS, force_grouping=True)
    return _("The file has more than %(limit)s rows. Split it.") % {"limit": limit}


def _clean(cell: str) -> str:
    return unescape_cell(" ".join(clean_text(cell).split()))[:MAX_CELL].strip()


def _looks_like_phone(cell: str) -> bool:
    return sum(sign.isdigit() for sign in cell) >= 10 and not any(sign.isalpha() for sign in cell)


def _read_csv(data: bytes) -> Iterator[Sequence[str]]:
    text = _decode(data)
    head = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(";,\t|", key=head.count)
    try:
        for number, line in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)):
            if number >= MAX_LINES:
                raise UnreadableFile(_say_too_many())
            yield line
    except csv.Error as problem:
        raise UnreadableFile(_("The file is not a table.")) from problem


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1251", "replace")  # Excel's CSV on a Russian Windows


def guess_mapping(
    titles: Sequence[str], rows: Sequence[Sequence[str]], own_fields: Mapping[str, str] = NO_FIELDS
) -> dict[str, int]:
    """Return field → column: by the titles, and the phone by its look if no title says so.

    ``own_fields``: titles of additional fields. Their columns have the same title.
    """
    found: dict[str, int] = {}
    by_title = {title.casefold(): field for field, title in own_fields.items()}
    for column, title in enumerate(titles):
        if (own := by_title.get(title.casefold())) is not None and own not in found:
            found[own] = column
    for field, beginnings in TITLES.items():
        for column, title in enumerate(titles):
            if column not in found.values() and title.casefold().startswith(beginnings):
                found[field] = column
                break
    if PHONE not in found:
        sample = rows[:20]
        for column in range(len(titles)):
            if column not in found.values() and sample:
                hits = sum(_looks_like_phone(row[column]) for row in sample if column < len(row))
                if hits * 2 > len(sample):
                    found[PHONE] = column
                    break
    return found


def write_csv_lines(table: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Yield the lines of a CSV file that spreadsheets open without evaluating a cell."""
    yield b"\xef\xbb\xbf"  # without a byte order mark Excel assumes a Windows code page
    for cells in table:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow([escape_cell(cell) for cell in cells])
        yield line.getvalue().encode()
