"""File formats of templates: JSON as the Graph API lists them, and CSV and XLSX tables. No database.

Reading returns ``FileRow``s in the Graph API's format; ``import_plan`` compares them with the registry. All cells of a
table are text. A cell that a spreadsheet would evaluate as a formula begins with an apostrophe.
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
VALUES_PER_ROW = 200  # JSON values per template; one with ten cards has about 150
MAX_CSV_LINES = 100_000  # including blank lines
MAX_DELIMITERS = 2_000_000  # of a CSV file, including those inside texts

# Columns that an import reads. The others are exported for information.
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

# Some programs skip leading blanks, and Japanese and Chinese ones evaluate full-width signs.
FORMULA = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@＝＋－＠﹦﹢﹣﹫])")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
CONTENT_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@dataclass(frozen=True)
class FileRow:
    """One template of a file.

    ``data`` has the Graph API's format, ``cells`` the cells of a table. ``problem`` says why the row cannot be read.
    """

    number: int
    data: Mapping[str, Any] = field(default_factory=dict)
    cells: Mapping[str, str] | None = None
    problem: str = ""


# --- export ----------------------------------------------------------------------------------------------


def export_templates(templates: Iterable[Template], *, file_format: str) -> bytes:
    """Write templates as a file. ``file_format``: json, csv or xlsx.

    API channels are written by name, or by number if several channels have the same name.
    """
    channels = lookup_names(ApiChannel.objects.all())
    if file_format == "json":
        rows = [template_as_graph_row(each) | {"channel": channels[each.api_channel_id]} for each in templates]
        return (json.dumps({"data": rows}, ensure_ascii=False, indent=2) + "\n").encode()
    cells_of_all = (template_cells(each) | {"channel": channels[each.api_channel_id]} for each in templates)
    table = [COLUMNS, *([escape_cell(cells[name]) for name in COLUMNS] for cells in cells_of_all)]
    return _write_csv(table) if file_format == "csv" else write_xlsx(table, title="templates", widths=COLUMN_WIDTHS)


def template_as_graph_row(template: Template) -> dict[str, Any]:
    """Return a template as the Graph API lists it, with current examples and our keys variables, tags and channel."""
    row = template.as_graph()
    with suppress(InvalidTemplate):  # broken components are exported as stored
        row["components"] = serialize_template(template.definition)["components"]
    row["quality_score"] = {"score": template.quality}
    if template.reject_reason:
        row["rejected_reason"] = template.reject_reason
    return row | {"variables": template.variables, "tags": template.tags, "channel": template.api_channel.name}


def template_cells(template: Template) -> dict[str, str]:
    """Return the cells of a template by column."""
    try:
        texts = _text_cells(template.definition)
    except InvalidTemplate:
        texts = dict.fromkeys(TEXT_COLUMNS, "")
    cells = {
        "channel": template.api_channel.name,
        "name": template.name,
        "language": template.language,
        "category": template.category,
        "status": template.status,
        **texts,
        "variables": format_variables(template.variables),
        "tags": ", ".join(template.tags),
        "quality": template.quality,
        "rejected_reason": template.reject_reason,
        "times_used": str(template.times_used),
        "last_used": template.last_used_at.isoformat(timespec="seconds") if template.last_used_at else "",
    }
    return cells | {"components": _components_cell(template, cells)}


def _components_cell(template: Template, cells: dict[str, str]) -> str:
    """Return the components as JSON if the other columns cannot express them: cards, offers, codes…"""
    row = template_as_graph_row(template)
    with suppress(InvalidTemplate):
        if content_key(parse_template(row)) == content_key(parse_template(_row_from_cells(0, cells).data)):
            return ""
    return json.dumps(row["components"], ensure_ascii=False)


def _text_cells(definition: TemplateDefinition) -> dict[str, str]:
    return {
        "header_kind": definition.header.kind if definition.header else "",
        "header": definition.header_text,
        "body": definition.body,
        "footer": definition.footer,
        "buttons": "\n".join(map(format_button, definition.buttons)),
    }


def format_variables(rows: Iterable[Mapping[str, str]]) -> str:
    names = ("label", "example", "hint", "default")
    return "\n".join(_join_parts(row["key"], *(row.get(name) or "" for name in names)) for row in rows)


def format_button(button: Button) -> str:
    return _join_parts(button.kind, button.text, button.url or button.phone_number, button.example)


def escape_cell(text: str) -> str:
    """Escape a text that a spreadsheet would evaluate as a formula. ``unescape_cell`` is the inverse."""
    text = UNPRINTABLE.sub("", text)
    return f"'{text}" if FORMULA.match(text) else text


def unescape_cell(text: str) -> str:
    return text[1:] if text[:1] == "'" and FORMULA.match(text) else text


def _write_csv(table: Iterable[Sequence[str]]) -> bytes:
    output = io.StringIO()
    csv.writer(output, lineterminator="\r\n").writerows(table)
    return output.getvalue().encode("utf-8-sig")  # without a byte order mark Excel assumes a Windows code page


COLUMN_WIDTHS = {"A": 18, "B": 24, "H": 60, "J": 30, "K": 40}


def write_xlsx(table: Iterable[Sequence[str]], *, title: str, widths: Mapping[str, int]) -> bytes:
    """Write a workbook of one sheet. ``table``: rows of escaped cells, the titles first."""
    import openpyxl  # 4 MB that most processes never need

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    for letter, width in widths.items():
        sheet.column_dimensions[letter].width = width
    for cells in table:
        sheet.append(list(cells))
    output = io.BytesIO()
    book.save(output)
    return output.getvalue()


def _join_parts(*parts: str) -> str:
    """Join parts with bars, escaped. Empty parts at the end are left out."""
    while len(parts) > 1 and not parts[-1]:
        parts = parts[:-1]
    return " | ".join(part.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "\\n") for part in parts)


# --- import ----------------------------------------------------------------------------------------------


def read_file(data: bytes, *, max_rows: int = MAX_ROWS) -> list[FileRow]:
    """Read a file in any of the three formats. Raise InvalidTemplateData if it cannot be read as a whole."""
    if len(data) > MAX_BYTES:
        raise InvalidTemplateData(_("The file is larger than %(limit)s MB.") % {"limit": MAX_BYTES // 2**20})
    begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if not begin:
        raise InvalidTemplateData(_("The file is empty."))
    if data[:4] == b"PK\x03\x04":
        rows = _read_table(spreadsheets.read_rows(data, max_rows=max_rows + 2), max_rows=max_rows)
    elif begin in (b"{", b"["):
        rows = _read_json(data, max_rows=max_rows)
    else:
        rows = _read_table(_read_csv(data), max_rows=max_rows)
    if not rows:
        raise InvalidTemplateData(_("There are no templates in the file."))
    if len(rows) > max_rows:
        raise InvalidTemplateData(_("There are more than %(limit)s templates in the file.") % {"limit": max_rows})
    return rows


def _read_json(data: bytes, *, max_rows: int) -> list[FileRow]:
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        data = b'{"data":' + data.lstrip(b"\xef\xbb\xbf") + b"}"
    try:
        body = parse_json_object(data, most_values=VALUES_PER_ROW * max_rows)
    except BadBody as problem:
        raise InvalidTemplateData(str(problem)) from problem
    exports = (messenger.exported_templates(body) for messenger in messengers().values())
    found = next((rows for rows in exports if rows is not None), body.get("data"))
    if not isinstance(found, list):
        sentence = _("A list of templates is expected in “data” (Graph API format) or in “waba_templates”.")
        raise InvalidTemplateData(sentence)
    return [
        FileRow(number, data=row) if isinstance(row, dict) else FileRow(number, problem=_("This is not a template."))
        for number, row in enumerate(found, 1)
    ]


def _read_csv(data: bytes) -> Iterator[Sequence[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1251", "replace")  # Excel's CSV on a Russian Windows
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


def _read_table(lines: Iterable[Sequence[str]], *, max_rows: int) -> list[FileRow]:
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
        if len(rows) > max_rows:
            break
        rows.append(_row_from_cells(len(rows) + 1, dict(zip(titles, cells, strict=False))))
    return rows


def _clean_cell(value: str) -> str:
    return unescape_cell(clean_text(value).replace("\r\n", "\n").replace("_x000D_", ""))


def _row_from_cells(number: int, cells: dict[str, str]) -> FileRow:
    """Convert a row of a table to the Graph API's format."""
    if components := cells.get("components", "").strip():
        return _row_from_components(number, cells, components)
    return FileRow(number, data=_row_data(cells, _parse_components(cells)), cells=cells)


def _row_from_components(number: int, cells: dict[str, str], components: str) -> FileRow:
    """Convert a row with its components as JSON. The other columns must have the same texts."""
    try:
        data = _row_data(cells, json.loads(components))
        texts = _text_cells(parse_template(data))
    except (ValueError, RecursionError):  # InvalidTemplate is a ValueError
        return FileRow(
            number, data=_row_data(cells, []), problem=_("The column “components” is not a list of components.")
        )
    if any(cells[name] != _clean_cell(escape_cell(texts[name])) for name in TEXT_COLUMNS if name in cells):
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
    """Return whether a row of a table has the same texts as the template, as far as a table can express them."""
    if row.cells is None:
        return False
    texts = _text_cells(template.definition)
    return all(row.cells[name] == _clean_cell(escape_cell(texts[name])) for name in TEXT_COLUMNS if name in row.cells)
