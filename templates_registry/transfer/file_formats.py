"""Templates as files: JSON in the shape of the Graph API's list, CSV and XLSX for people. Both ways, no database.

A file becomes ``FileRow``s, each in the Graph API's shape; what it means for the registry is said by ``import_plan``.
In a table every cell is text, and a cell that a spreadsheet would take for a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import openpyxl
from django.utils.translation import gettext as _

from channels_setup.codecs.bodies import BadBody, clean_text, parse_json_object
from channels_setup.models import ApiChannel
from channels_setup.providers import messengers
from channels_setup.provisioning import lookup_names
from templates_registry.content.components import TEXT, Button, TemplateDefinition
from templates_registry.content.graph_format import InvalidTemplate, parse_template, serialize_template
from templates_registry.matching.text_diff import content_key
from templates_registry.models import Template
from templates_registry.provider.provider_template import InvalidTemplateData

from . import spreadsheets

MAX_BYTES = 16 * 1024 * 1024
MAX_ROWS = 10_000
VALUES_PER_ROW = 200  # of JSON; a template of ten cards takes some 150
MAX_CSV_LINES = 100_000  # of a CSV file, with blank ones
MAX_DELIMITERS = 2_000_000  # of a CSV file, with those inside of texts

# What a table's reader may change. The rest of COLUMNS is for people to look at.
IMPORTED_COLUMNS = (
    "name",
    "language",
    "category",
    "status",
    "header_kind",
    "header",
    "body",
    "footer",
    "buttons",
    "variables",
)
COLUMNS = ("channel", *IMPORTED_COLUMNS, "tags", "quality", "rejected_reason", "times_used", "last_used", "components")
TEXT_COLUMNS = ("header_kind", "header", "body", "footer", "buttons")

# Blanks in front are passed over by some programs, full-width signs are signs in Japanese and Chinese ones.
FORMULA = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@＝＋－＠﹦﹢﹣﹫])")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
CONTENT_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True)
class FileRow:
    """One template of a file. ``cells``: what the table said, where it was one. ``problem``: it says nothing."""

    number: int
    data: Mapping[str, Any] = field(default_factory=dict)
    cells: Mapping[str, str] | None = None
    problem: str = ""


# --- out -------------------------------------------------------------------------------------------------


def export_templates(templates: Iterable[Template], *, form: str) -> bytes:
    """``form``: json, csv or xlsx. An API channel whose name another one has goes by its number."""
    channels = lookup_names(ApiChannel.objects.all())
    if form == "json":
        rows = [template_as_graph_row(one) | {"channel": channels[one.api_channel_id]} for one in templates]
        return (json.dumps({"data": rows}, ensure_ascii=False, indent=2) + "\n").encode()
    cells_of_all = (template_cells(one) | {"channel": channels[one.api_channel_id]} for one in templates)
    table = [COLUMNS, *([escape_cell(cells[name]) for name in COLUMNS] for cells in cells_of_all)]
    return _write_csv(table) if form == "csv" else _write_xlsx(table)


def template_as_graph_row(template: Template) -> dict[str, Any]:
    """As the Graph API lists it, with the examples that the registry has by now and three keys of our own."""
    row = template.as_graph()
    with suppress(InvalidTemplate):  # then it goes out as it is stored
        row["components"] = serialize_template(template.pattern)["components"]
    row["quality_score"] = {"score": template.quality}
    if template.reject_reason:
        row["rejected_reason"] = template.reject_reason
    return row | {"variables": template.variables, "tags": template.tags, "channel": template.api_channel.name}


def template_cells(template: Template) -> dict[str, str]:
    try:
        worded = _text_cells(template.pattern)
    except InvalidTemplate:
        worded = dict.fromkeys(TEXT_COLUMNS, "")
    cells = {
        "channel": template.api_channel.name,
        "name": template.name,
        "language": template.language,
        "category": template.category,
        "status": template.status,
        **worded,
        "variables": format_variables(template.variables),
        "tags": ", ".join(template.tags),
        "quality": template.quality,
        "rejected_reason": template.reject_reason,
        "times_used": str(template.times_used),
        "last_used": template.last_used_at.isoformat(timespec="seconds") if template.last_used_at else "",
    }
    return cells | {"components": _components_cell(template, cells)}


def _components_cell(template: Template, cells: dict[str, str]) -> str:
    """The components as JSON where the columns cannot say all of it: cards, offers, codes…"""
    row = template_as_graph_row(template)
    with suppress(InvalidTemplate):
        if content_key(parse_template(row)) == content_key(parse_template(_row_from_cells(0, cells).data)):
            return ""
    return json.dumps(row["components"], ensure_ascii=False)


def _text_cells(pattern: TemplateDefinition) -> dict[str, str]:
    return {
        "header_kind": pattern.header.kind if pattern.header else "",
        "header": pattern.header_text,
        "body": pattern.body,
        "footer": pattern.footer,
        "buttons": "\n".join(map(format_button, pattern.buttons)),
    }


def format_variables(rows: Iterable[Mapping[str, str]]) -> str:
    names = ("label", "example", "hint", "default")
    return "\n".join(_join_parts(row["key"], *(row.get(name) or "" for name in names)) for row in rows)


def format_button(button: Button) -> str:
    return _join_parts(button.kind, button.text, button.url or button.phone_number, button.example)


def escape_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; ``unescape_cell`` gives exactly the text back."""
    text = UNPRINTABLE.sub("", text)
    return f"'{text}" if FORMULA.match(text) else text


def unescape_cell(text: str) -> str:
    return text[1:] if text[:1] == "'" and FORMULA.match(text) else text


def _write_csv(table: Iterable[Sequence[str]]) -> bytes:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(table)
    return written.getvalue().encode("utf-8-sig")  # without the mark Excel takes it for a Windows alphabet


def _write_xlsx(table: Iterable[Sequence[str]]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("templates")
    sheet.freeze_panes = "A2"
    for letter, width in {"A": 18, "B": 24, "H": 60, "J": 30, "K": 40}.items():
        sheet.column_dimensions[letter].width = width
    for cells in table:
        sheet.append(list(cells))
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def _join_parts(*parts: str) -> str:
    """Parts with bars between them; empty ones at the end are left out."""
    while len(parts) > 1 and not parts[-1]:
        parts = parts[:-1]
    return " | ".join(part.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "\\n") for part in parts)


# --- in --------------------------------------------------------------------------------------------------


def read_file(data: bytes, *, most_rows: int = MAX_ROWS) -> list[FileRow]:
    """The rows of a file, whichever of the three it is. Raises Unreadable if it cannot be read as a whole."""
    if len(data) > MAX_BYTES:
        raise InvalidTemplateData(_("The file is larger than %(limit)s MB.") % {"limit": MAX_BYTES // 2**20})
    begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if not begin:
        raise InvalidTemplateData(_("The file is empty."))
    if data[:4] == b"PK\x03\x04":
        rows = _read_table(spreadsheets.read_rows(data, most_rows=most_rows + 2), most_rows=most_rows)
    elif begin in (b"{", b"["):
        rows = _read_json(data, most_rows=most_rows)
    else:
        rows = _read_table(_read_csv(data), most_rows=most_rows)
    if not rows:
        raise InvalidTemplateData(_("There are no templates in the file."))
    if len(rows) > most_rows:
        raise InvalidTemplateData(_("There are more than %(limit)s templates in the file.") % {"limit": most_rows})
    return rows


def _read_json(data: bytes, *, most_rows: int) -> list[FileRow]:
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        data = b'{"data":' + data.lstrip(b"\xef\xbb\xbf") + b"}"
    try:
        body = parse_json_object(data, most_values=VALUES_PER_ROW * most_rows)
    except BadBody as problem:
        raise InvalidTemplateData(str(problem)) from problem
    exports = (messenger.exported_templates(body) for messenger in messengers().values())
    listed = next((rows for rows in exports if rows is not None), body.get("data"))
    if not isinstance(listed, list):
        sentence = _("A list of templates is expected in “data” (Graph API format) or in “waba_templates”.")
        raise InvalidTemplateData(sentence)
    return [
        FileRow(number, data=row) if isinstance(row, dict) else FileRow(number, problem=_("This is not a template."))
        for number, row in enumerate(listed, 1)
    ]


def _read_csv(data: bytes) -> Iterator[Sequence[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1251", "replace")  # Excel's «CSV» on a Russian Windows
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    if text.count(delimiter) > MAX_DELIMITERS:
        raise InvalidTemplateData(_("The table is too large."))
    try:
        for number, line in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)):
            if number >= MAX_CSV_LINES:
                raise InvalidTemplateData(_("The table is too large."))
            yield line
    except csv.Error as problem:
        raise InvalidTemplateData(_("The file is not a table: %(why)s.") % {"why": problem}) from problem


def _read_table(lines: Iterable[Sequence[str]], *, most_rows: int) -> list[FileRow]:
    titles: list[str] = []
    rows: list[FileRow] = []
    for line in lines:
        cells = [_clean_cell(value) for value in line[: spreadsheets.MAX_COLUMNS]]
        if not any(cells):
            continue
        if not titles:
            titles = [title.strip().lower().replace(" ", "_") for title in cells]
            missing = [name for name in ("name", "language", "body") if name not in titles]
            if missing:
                raise InvalidTemplateData(_("The table has no column “%(name)s”.") % {"name": missing[0]})
            continue
        if len(rows) > most_rows:
            break
        rows.append(_row_from_cells(len(rows) + 1, dict(zip(titles, cells, strict=False))))
    return rows


def _clean_cell(value: str) -> str:
    return unescape_cell(clean_text(value).replace("\r\n", "\n").replace("_x000D_", ""))


def _row_from_cells(number: int, cells: dict[str, str]) -> FileRow:
    """A line of a table in the Graph API's shape."""
    if said := cells.get("components", "").strip():
        return _row_from_components(number, cells, said)
    return FileRow(number, data=_row_data(cells, _parse_components(cells)), cells=cells)


def _row_from_components(number: int, cells: dict[str, str], said: str) -> FileRow:
    """A line that says its components as JSON besides: good as long as the other columns say the same."""
    try:
        data = _row_data(cells, json.loads(said))
        worded = _text_cells(parse_template(data))
    except (ValueError, RecursionError):  # InvalidTemplate is one
        return FileRow(
            number, data=_row_data(cells, []), problem=_("The column “components” is not a list of components.")
        )
    if any(cells[name] != _clean_cell(escape_cell(worded[name])) for name in TEXT_COLUMNS if name in cells):
        problem = _("The texts differ from the column “components”. Edit this template in a JSON file.")
        return FileRow(number, data=data, problem=problem)
    return FileRow(number, data=data, cells=cells)


def _parse_components(cells: dict[str, str]) -> list[dict[str, Any]]:
    components: list[dict[str, Any]] = [{"type": "BODY", "text": cells.get("body", "")}]
    kind = cells.get("header_kind", "").strip().upper() or (TEXT if cells.get("header") else "")
    if kind:
        text = {"text": cells.get("header", "")} if kind == TEXT else {}
        components.insert(0, {"type": "HEADER", "format": kind, **text})
    if footer := cells.get("footer"):
        components.append({"type": "FOOTER", "text": footer})
    if buttons := [_parse_button(line) for line in cells.get("buttons", "").split("\n") if line.strip()]:
        components.append({"type": "BUTTONS", "buttons": buttons})
    return components


def _row_data(cells: dict[str, str], components: object) -> dict[str, Any]:
    data: dict[str, Any] = {
        **{name: cells.get(name, "").strip() for name in ("name", "language", "category", "status", "channel")},
        "components": components,
        "variables": [_parse_variable(line) for line in cells.get("variables", "").split("\n") if line.strip()],
    }
    if "tags" in cells:
        data["tags"] = [tag.strip() for tag in cells["tags"].split(",") if tag.strip()]
    if cells.get("rejected_reason"):
        data["rejected_reason"] = cells["rejected_reason"]
    return data


def _parse_button(line: str) -> dict[str, Any]:
    kind, text, target, example = (*_split_parts(line), "", "", "")[:4]
    kind = kind.strip().upper()
    row: dict[str, Any] = {"type": kind, "text": text}
    if target:
        row["phone_number" if kind == "PHONE_NUMBER" else "url"] = target
    if example:
        row["example"] = example if kind == "COPY_CODE" else [example]
    return row


def _parse_variable(line: str) -> dict[str, str]:
    values = (*_split_parts(line), "", "", "", "", "")[:5]
    return dict(zip(("key", "label", "example", "hint", "default"), values, strict=True))


def _split_parts(line: str) -> list[str]:
    parts: list[list[str]] = [[]]
    characters = iter(line)
    for character in characters:
        if character == "\\":
            following = next(characters, "\\")
            parts[-1].append("\n" if following == "n" else following)
        elif character == "|":
            parts.append([])
        else:
            parts[-1].append(character)
    return ["".join(part).strip() for part in parts]


def has_same_text(row: FileRow, template: Template) -> bool:
    """Whether a table's line says just what this template says, as far as a table can say it."""
    if row.cells is None:
        return False
    worded = _text_cells(template.pattern)
    return all(row.cells[name] == _clean_cell(escape_cell(worded[name])) for name in TEXT_COLUMNS if name in row.cells)
