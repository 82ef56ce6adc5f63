"""The account's templates: list, create, edit, delete, and what a send of one must bring."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.twins.errors import GraphError

Json = dict[str, Any]
HOLE = re.compile(r"\{\{\s*([a-z0-9_]+)\s*\}\}")
NAME = re.compile(r"[a-z0-9_]{1,512}")
BAD_VALUE = re.compile(r"[\n\r\t]| {5}")
BAD_VALUE_WORDS = "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
MEDIA_HEADERS = ("IMAGE", "VIDEO", "DOCUMENT", "GIF")
EDITABLE = ("APPROVED", "REJECTED", "PAUSED")
BLOCKED_SECONDS = 30 * 86_400


@dataclass(kw_only=True)
class Template:
    id: str
    name: str
    language: str
    category: str
    components: list[Json]
    status: str = "PENDING"
    parameter_format: str = "POSITIONAL"
    quality: str = "UNKNOWN"
    reason: str = "NONE"
    edits: list[float] = field(default_factory=list)

    def row(self) -> Json:
        return {
            "id": self.id,
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "category": self.category,
            "parameter_format": self.parameter_format,
            "components": self.components,
            "quality_score": {"score": self.quality},
            "rejected_reason": self.reason,
        }

    def component(self, kind: str) -> Json:
        return next((each for each in self.components if str(each.get("type")).upper() == kind), {})


class TemplateStore:
    def __init__(self) -> None:
        self.rows: dict[str, Template] = {}
        self.blocked: dict[str, float] = {}  # name -> until when
        self.next_id = 594425479261596

    def add(self, row: Json, *, status: str = "APPROVED", now: float = 0.0) -> Template:
        check_new(row)
        same = [each for each in self.rows.values() if (each.name, each.language) == (row["name"], row["language"])]
        if same:
            raise GraphError(100, "Content in this language already exists", subcode=2388024)
        if self.blocked.get(row["name"], 0) > now:
            raise GraphError(100, "Message template is being deleted: try again in four weeks", subcode=2388023)
        self.next_id += 1
        template = Template(
            id=str(self.next_id),
            name=row["name"],
            language=row["language"],
            category=row["category"],
            components=row["components"],
            parameter_format=str(row.get("parameter_format") or "POSITIONAL").upper(),
            status=status,
        )
        self.rows[template.id] = template
        return template

    def edit(self, template: Template, change: Json, *, now: float) -> None:
        if template.status not in EDITABLE:
            raise GraphError(100, f"A template that is {template.status} cannot be edited.")
        approved = template.status == "APPROVED"
        if approved and change.get("category") not in (None, template.category):
            raise GraphError(100, "The category of an approved template cannot be changed.")
        if approved and [at for at in template.edits if now - at < 86_400]:
            raise GraphError(100, "An approved template can be edited once in 24 hours.")
        if len([at for at in template.edits if now - at < 30 * 86_400]) >= 10:
            raise GraphError(100, "A template can be edited ten times in 30 days.")
        check_new(template.row() | change)
        template.edits.append(now)
        template.components = change.get("components", template.components)
        template.category = change.get("category", template.category)
        template.status = "PENDING"

    def delete(self, *, name: str, hsm_id: str = "", now: float) -> list[Template]:
        gone = [each for each in self.rows.values() if each.name == name and hsm_id in ("", each.id)]
        if not name or not gone:
            raise GraphError(100, "Message Template not found", subcode=2593002)
        for each in gone:
            del self.rows[each.id]
            if each.status == "APPROVED":
                self.blocked[name] = now + BLOCKED_SECONDS
        return gone

    def find(self, name: str, language: str) -> Template | None:
        rows = self.rows.values()
        return next((each for each in rows if (each.name, each.language) == (name, language)), None)

    def page(self, query: dict[str, str], *, url: str) -> Json:
        rows = [each.row() for each in self.rows.values()]
        for word in ("status", "category", "language"):
            rows = [row for row in rows if query.get(word, str(row[word])).upper() == str(row[word]).upper()]
        rows = [row for row in rows if query.get("name", "") in row["name"]]
        limit = max(1, min(int(query["limit"]) if query.get("limit", "").isdigit() else 25, 1_000))
        start = 0
        if after := query.get("after"):
            places = [index for index, row in enumerate(rows) if cursor(row) == after]
            if not places:
                raise GraphError(100, "Invalid parameter: after is not a cursor of this list")
            start = places[0] + 1
        shown, rest = rows[start : start + limit], rows[start + limit :]
        wanted = [word for word in query.get("fields", "").split(",") if word]
        answer: Json = {"data": [{k: v for k, v in row.items() if not wanted or k in (*wanted, "id")} for row in shown]}
        if shown:
            answer["paging"] = {"cursors": {"before": cursor(shown[0]), "after": cursor(shown[-1])}}
        if rest:
            answer["paging"]["next"] = f"{url}?limit={limit}&after={cursor(shown[-1])}"
        return answer


def cursor(row: Json) -> str:
    return f"QVFI{row['id']}ZD"


# --- a new one -------------------------------------------------------------------------------------------


def check_new(row: Json) -> None:
    """What is refused at once, before any review."""
    for word in ("name", "language", "category", "components"):
        if not row.get(word):
            raise GraphError(100, f"The parameter {word} is required.")
    if not NAME.fullmatch(str(row["name"])):
        raise GraphError(100, "Param name must be lower-case letters, digits and underscores")
    if row["category"] not in ("MARKETING", "UTILITY", "AUTHENTICATION"):
        raise GraphError(100, "Param category must be one of {MARKETING, UTILITY, AUTHENTICATION}")
    bodies = [each for each in row["components"] if str(each.get("type")).upper() == "BODY"]
    if len(bodies) != 1:
        raise GraphError(100, "A template has one BODY")
    for component in row["components"]:
        kind = str(component.get("type")).upper()
        if kind in ("HEADER", "BODY", "FOOTER") and component.get("text") is not None:
            most = {"HEADER": 60, "BODY": 1024, "FOOTER": 60}[kind]
            check_text(component, kind, most=most, named=str(row.get("parameter_format")).upper() == "NAMED")
        if kind == "BUTTONS" and len(component.get("buttons") or []) > 10:
            raise GraphError(100, "At most 10 buttons")
        for button in component.get("buttons") or []:
            if len(str(button.get("text") or "")) > 25:
                raise GraphError(100, "A button's text has at most 25 characters")


def check_text(component: Json, kind: str, *, most: int, named: bool) -> None:
    text, names = component["text"], HOLE.findall(component["text"])
    if len(text) > most:
        raise GraphError(100, f"{kind} has at most {most} characters", subcode=2388040)
    if kind == "BODY" and names and (text.startswith("{{") or text.endswith("}}")):
        raise GraphError(100, "Variables can't be at the start or end of the template.", subcode=2388299)
    if not named and names != [str(number + 1) for number in range(len(names))]:
        raise GraphError(100, "Variables must be numbered from 1 without gaps")
    if names and not component.get("example"):
        raise GraphError(100, f"The {kind} component is missing its example", subcode=2388043)


# --- a send ----------------------------------------------------------------------------------------------


def fill(template: Template, sent: list[Json]) -> str:
    """The text that the contact sees, header to buttons; GraphError where the parameters do not fit."""
    if template.status in ("PAUSED", "DISABLED"):
        raise GraphError(132015 if template.status == "PAUSED" else 132016, f"Template is {template.status.lower()}")
    if template.status != "APPROVED":
        raise GraphError(132001, f"template name ({template.name}) is {template.status} in {template.language}")
    parts = {str(each.get("type")).lower(): each for each in sent if str(each.get("type")).lower() != "button"}
    if unknown := set(parts) - {"header", "body"}:
        raise GraphError(132018, f"components: unexpected type {sorted(unknown)[0]}")
    shown = [header(template, parts.get("header", {}).get("parameters") or [])]
    body = texts(template, template.component("BODY"), parts.get("body", {}).get("parameters") or [], "body")
    if len(body) > 1024:
        raise GraphError(132005, f"body: translated text too long: {len(body)} characters, the most is 1024")
    shown += [body, template.component("FOOTER").get("text", "")]
    shown += buttons(template, [each for each in sent if str(each.get("type")).lower() == "button"])
    return "\n".join(line for line in shown if line)


def header(template: Template, parameters: list[Json]) -> str:
    wanted = template.component("HEADER")
    kind = wanted.get("format")
    if kind in (*MEDIA_HEADERS, "LOCATION"):
        if len(parameters) != 1:
            raise GraphError(132012, f"header: Format mismatch, expected {kind}, received UNKNOWN")
        told = str(parameters[0].get("type")).upper()
        if told != ("VIDEO" if kind == "GIF" else kind) or not isinstance(parameters[0].get(told.lower()), dict):
            raise GraphError(132012, f"header: Format mismatch, expected {kind}, received {told}")
        return f"[{kind}]"
    return texts(template, wanted, parameters, "header")


def texts(template: Template, component: Json, parameters: list[Json], place: str) -> str:
    text = component.get("text", "")
    names = list(dict.fromkeys(HOLE.findall(text)))
    if len(parameters) != len(names):
        details = f"{place}: number of localizable_params ({len(parameters)}) does not match the expected number"
        raise GraphError(132000, f"{details} of params ({len(names)})")
    values: dict[str, str] = {}
    for number, parameter in enumerate(parameters):
        name = parameter.get("parameter_name") if template.parameter_format == "NAMED" else names[number]
        if name not in names:
            raise GraphError(132012, f"{place}: Parameter name is missing or unknown: {name}")
        values[str(name)] = value_of(parameter, place)
    if set(values) != set(names):
        raise GraphError(132012, f"{place}: a parameter is given twice")
    return HOLE.sub(lambda hole: values[hole[1]], text)


def value_of(parameter: Json, place: str) -> str:
    kind = parameter.get("type")
    if kind in ("currency", "date_time"):
        value = (parameter.get(kind) or {}).get("fallback_value")
    elif kind == "text":
        value = parameter.get("text")
    else:
        raise GraphError(132012, f"{place}: Format mismatch, expected TEXT, received {kind}")
    if not isinstance(value, str) or not value.strip():
        raise GraphError(131008, f"{place}: Parameter of type text is missing text value")
    if BAD_VALUE.search(value):
        raise GraphError(132018, f"{place}: {BAD_VALUE_WORDS}")
    return value


def buttons(template: Template, sent: list[Json]) -> list[str]:
    rows = template.component("BUTTONS").get("buttons") or []
    given: dict[int, Json] = {}
    for each in sent:
        index = each.get("index")
        if not isinstance(index, str | int) or not str(index).isdigit() or int(index) >= len(rows):
            raise GraphError(132018, f"buttons: there is no button at index {index}")
        given[int(index)] = each
    return [button(row, given.get(index), index) for index, row in enumerate(rows)]


SUB_TYPES = {"URL": "url", "QUICK_REPLY": "quick_reply", "COPY_CODE": "copy_code", "FLOW": "flow", "CATALOG": "catalog"}


def button(row: Json, sent: Json | None, index: int) -> str:
    kind, words = str(row.get("type")), f"[{row.get('text') or row.get('type')}]"
    needs = kind == "COPY_CODE" or (kind == "URL" and bool(HOLE.search(row.get("url", ""))))
    if sent is None:
        if needs:
            raise GraphError(131008, f"buttons: Button at index {index} of type {kind.title()} requires a parameter")
        return words
    if sent.get("sub_type") != SUB_TYPES.get(kind):
        raise GraphError(132018, f"buttons: Button at index {index} is {kind}, not {sent.get('sub_type')}")
    parameters = sent.get("parameters") or []
    if kind == "URL" and not needs:
        raise GraphError(132018, f"buttons: Button at index {index} of type Url takes no parameter")
    if len(parameters) != 1:
        raise GraphError(132018, f"buttons: Button at index {index} takes one parameter")
    wanted = {"URL": "text", "QUICK_REPLY": "payload", "COPY_CODE": "coupon_code", "FLOW": "action"}.get(kind, "action")
    value = parameters[0].get(wanted)
    if parameters[0].get("type") != wanted or not value:
        raise GraphError(132012, f"buttons: Button at index {index} wants a parameter of type {wanted}")
    if kind == "URL":
        return f"{words}({HOLE.sub(lambda hole: str(value), row['url'])})"
    return f"{words}({value})" if kind == "COPY_CODE" else words
