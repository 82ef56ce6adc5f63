"""Reader of the first sheet of an XLSX file as text, under a budget.

A general reader also loads styles, other sheets and drawings, and takes half a minute for a small file with millions
of shared strings. This one unpacks four parts of the package, each up to a limit, and parses each part as a whole:
Expat takes quadratic time for a long token that arrives in pieces.
"""

from __future__ import annotations

import io
import lzma
import math
import posixpath
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from xml.parsers import expat

from django.utils.translation import gettext as _

from templates_registry.provider.provider_template import InvalidTemplateData

MAX_UNPACKED_BYTES = 32 * 1024 * 1024  # of all unpacked parts
MAX_DIRECTORY_BYTES = 256 * 1024  # of the zip's central directory
MAX_INDEX_BYTES = 256 * 1024  # of a part that refers to other parts
BASE_TAGS, TAGS_PER_ROW = 10_000, 200  # in all parts; a cell with its shared string has up to ten
MAX_COLUMNS = 40
MAX_CELL_LENGTH = 32_767  # characters, as in Excel

_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_COLUMN = re.compile(r"([A-Z]{1,3})[0-9]{1,7}")
Attributes = dict[str, str]


class _RowLimitReached(Exception):
    """Enough rows were read."""


def read_rows(data: bytes, *, max_rows: int) -> list[list[str]]:
    """Return the first rows of the first sheet that are not empty.

    Raise InvalidTemplateData if the file has another format or exceeds a limit.
    """
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            package = _Package(archive, _Budget(tags_left=BASE_TAGS + TAGS_PER_ROW * max_rows))
            sheet, strings = _find_parts(package)
            shared = _SharedStrings(package.budget)
            if strings:
                shared.parse(package.unpack(strings))
            rows = _SheetRows(package.budget, shared.found, max_rows=max_rows)
            rows.parse(package.unpack(sheet))
            return rows.found
    except InvalidTemplateData:
        raise
    except (
        *(zipfile.BadZipFile, zlib.error, expat.ExpatError, struct.error, OSError, EOFError),
        *(LookupError, ValueError, RuntimeError, NotImplementedError, OverflowError, lzma.LZMAError),
    ) as problem:
        raise InvalidTemplateData(_("The table format is not supported.")) from problem


def _check_directory(data: bytes) -> None:
    """Refuse a zip whose central directory is too large. Reading it would take long."""
    at = data.rfind(_END, max(0, len(data) - 65_600))
    if at < 0 or data[max(0, at - 20) : at].startswith(_END_64):
        raise InvalidTemplateData(_("The table format is not supported."))
    (size,) = struct.unpack_from("<I", data, at + 12)
    if size > MAX_DIRECTORY_BYTES:
        raise _too_large()


def _too_large() -> InvalidTemplateData:
    return InvalidTemplateData(_("The table is too large."))


@dataclass
class _Budget:
    """Remaining limits while one file is read."""

    tags_left: int
    bytes_left: int = MAX_UNPACKED_BYTES
    characters_left: int = MAX_UNPACKED_BYTES  # of cells, because many cells can refer to one shared string


class _Package:
    def __init__(self, archive: zipfile.ZipFile, budget: _Budget) -> None:
        self.archive = archive
        self.budget = budget

    def unpack(self, name: str, limit: int = MAX_UNPACKED_BYTES) -> bytes:
        allowed = min(limit, self.budget.bytes_left)
        if self.archive.getinfo(name).file_size > allowed:
            raise _too_large()
        with self.archive.open(name) as part:
            unpacked = part.read(allowed + 1)
        if len(unpacked) > allowed:
            raise _too_large()
        self.budget.bytes_left -= len(unpacked)
        return unpacked


# --- package ---------------------------------------------------------------------------------------------


def _find_parts(package: _Package) -> tuple[str, str]:
    """Return the part names of the first sheet and of the shared strings. The second may be empty."""
    start = {kind: target for _id, kind, target in _relations(package, "_rels/.rels", "")}
    workbook = start.get("officeDocument", "xl/workbook.xml")
    folder, name = posixpath.split(workbook)
    related = _relations(package, posixpath.join(folder, "_rels", f"{name}.rels"), folder)
    by_id = {relation_id: target for relation_id, kind, target in related if kind == "worksheet"}
    sheets = _ElementIndex(package.budget, "sheet")
    sheets.parse(package.unpack(workbook, MAX_INDEX_BYTES))
    ids = (value for sheet in sheets.found for key, value in sheet.items() if key.endswith(":id"))
    strings = next((target for _id, kind, target in related if kind == "sharedStrings"), "")
    first = next((by_id[one] for one in ids if one in by_id), "")
    if not first:
        raise InvalidTemplateData(_("The table format is not supported."))
    return first, strings


def _relations(package: _Package, name: str, folder: str) -> list[tuple[str, str, str]]:
    """Return ID, kind and part name of each relationship."""
    index = _ElementIndex(package.budget, "Relationship")
    index.parse(package.unpack(name, MAX_INDEX_BYTES))
    found = []
    for row in index.found:
        target = row.get("Target", "")
        path = target[1:] if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        found.append((row.get("Id", ""), row.get("Type", "").rsplit("/", 1)[-1], path))
    return found


# --- parts -----------------------------------------------------------------------------------------------


class _XmlPart:
    """Parser of one XML part. It calls ``start``, ``end`` and ``text`` with element names without their prefix."""

    def __init__(self, budget: _Budget) -> None:
        self.budget = budget

    def parse(self, xml: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = 65_536
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = lambda name, attributes: self.start(name.rpartition(":")[2], attributes)
        parser.EndElementHandler = lambda name: self.end(name.rpartition(":")[2])
        parser.CharacterDataHandler = self.text
        self.budget.tags_left -= xml.count(b"<")  # counts end tags, too
        if self.budget.tags_left < 0:
            raise _too_large()
        try:
            parser.Parse(xml, True)
        except _RowLimitReached:
            return

    def _refuse(self, *_declaration: object) -> None:
        raise InvalidTemplateData(_("The table format is not supported."))

    def start(self, name: str, attributes: Attributes) -> None: ...

    def end(self, name: str) -> None: ...

    def text(self, text: str) -> None: ...


class _ElementIndex(_XmlPart):
    """Attributes of all elements with one name."""

    def __init__(self, budget: _Budget, name: str) -> None:
        super().__init__(budget)
        self.name = name
        self.found: list[Attributes] = []

    def start(self, name: str, attributes: Attributes) -> None:
        if name == self.name:
            self.found.append(attributes)


class _SharedStrings(_XmlPart):
    """Texts of the shared strings, without formatting and phonetic hints."""

    def __init__(self, budget: _Budget) -> None:
        super().__init__(budget)
        self.found: list[str] = []
        self._pieces: list[str] = []
        self._is_text = self._is_phonetic = False

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "si":
            self._pieces = []
        self._is_phonetic |= name == "rPh"
        self._is_text = name == "t" and not self._is_phonetic

    def end(self, name: str) -> None:
        self._is_text = False
        if name == "rPh":
            self._is_phonetic = False
        elif name == "si":
            self.found.append("".join(self._pieces))

    def text(self, text: str) -> None:
        if self._is_text:
            self._pieces.append(text)


@dataclass
class _Cell:
    kind: str
    column: int
    pieces: list[str] = field(default_factory=list)


class _SheetRows(_XmlPart):
    """Rows of a sheet. Each ends with its last cell."""

    def __init__(self, budget: _Budget, shared: list[str], *, max_rows: int) -> None:
        super().__init__(budget)
        self.shared = shared
        self.max_rows = max_rows
        self.found: list[list[str]] = []
        self._row: list[str] = []
        self._cell: _Cell | None = None
        self._is_value = self._is_phonetic = False

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "row":
            if len(self.found) >= self.max_rows:
                raise _RowLimitReached
            self._row = []
        elif name == "c":
            self._cell = _Cell(attributes.get("t", "n"), _parse_column(attributes.get("r", ""), len(self._row)))
        self._is_phonetic |= name == "rPh"
        self._is_value = name in ("v", "t") and not self._is_phonetic

    def end(self, name: str) -> None:
        self._is_value = False
        if name == "rPh":
            self._is_phonetic = False
        elif name == "c" and self._cell is not None:
            self._put(self._cell)
            self._cell = None
        elif name == "row" and any(self._row):
            self.found.append(self._row)

    def text(self, text: str) -> None:
        if self._is_value and self._cell is not None:
            self._cell.pieces.append(text)

    def _put(self, cell: _Cell) -> None:
        if cell.column >= MAX_COLUMNS:
            return
        text = "".join(cell.pieces)
        if cell.kind == "s" and text:
            text = self.shared[_parse_index(text)]
        elif cell.kind == "n":
            text = _format_number(text)
        if len(text) > MAX_CELL_LENGTH:
            raise InvalidTemplateData(
                _("A cell of the table is longer than %(limit)s characters.") % {"limit": MAX_CELL_LENGTH}
            )
        self.budget.characters_left -= len(text)
        if self.budget.characters_left < 0:
            raise _too_large()
        self._row += [""] * (cell.column + 1 - len(self._row))
        self._row[cell.column] = text


def _parse_column(reference: str, following: int) -> int:
    """Return the 0-based column of a reference such as "C7". A cell without one follows the previous cell."""
    match = _COLUMN.fullmatch(reference)
    if match is None:
        return following
    number = 0
    for letter in match[1]:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _parse_index(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(text)
    return int(text)


def _format_number(text: str) -> str:
    """Return a number as a spreadsheet shows it: 7 for 7.0, 1.1 for 1.1000000000000001. Other text is unchanged."""
    if (text.isascii() and text.isdigit()) or len(text) >= 40:
        return text
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value):
        return text
    return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
