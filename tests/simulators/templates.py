"""Templates of the account: list, create, edit, delete. ``template_sends`` validates sends."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.simulators.errors import GraphError

Json = dict[str, Any]
VARIABLE = re.compile(r"\{\{\s*([a-z0-9_]+)\s*\}\}")
NAME = re.compile(r"[a-z0-9_]{1,512}")
MEDIA_HEADERS = ("IMAGE", "VIDEO", "DOCUMENT", "GIF")
CREATABLE = {"HEADER", "BODY", "FOOTER", "BUTTONS", "LIMITED_TIME_OFFER", "CAROUSEL", "CALL_PERMISSION_REQUEST"}
EDITABLE = ("APPROVED", "REJECTED", "PAUSED")
NAME_BLOCK_SECONDS = 30 * 86_400


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
        self.blocked: dict[str, float] = {}  # name -> end of the block after a deletion
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
            components=convert_to_listed(row),
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
        if "components" in change:
            template.components = convert_to_listed(template.row() | change)
        template.category = change.get("category", template.category)
        template.status = "PENDING"

    def delete(self, *, name: str, hsm_id: str = "", now: float) -> list[Template]:
        gone = [each for each in self.rows.values() if each.name == name and hsm_id in ("", each.id)]
        if not name or not gone:
            raise GraphError(100, "Message Template not found", subcode=2593002)
        for each in gone:
            del self.rows[each.id]
            if each.status == "APPROVED":
                self.blocked[name] = now + NAME_BLOCK_SECONDS
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


# --- submissions -----------------------------------------------------------------------------------------


def check_new(row: Json) -> None:
    """Raise GraphError for a submission that Meta rejects before the review."""
    for word in ("name", "language", "category", "components"):
        if not row.get(word):
            raise GraphError(100, f"The parameter {word} is required.")
    if not NAME.fullmatch(str(row["name"])):
        raise GraphError(100, "Param name must be lower-case letters, digits and underscores")
    if row["category"] not in ("MARKETING", "UTILITY", "AUTHENTICATION"):
        raise GraphError(100, "Param category must be one of {MARKETING, UTILITY, AUTHENTICATION}")
    kinds = [get_kind(each) for each in row["components"]]
    if kinds.count("BODY") != 1:
        raise GraphError(100, "A template has one BODY")
    if unknown := set(kinds) - CREATABLE:
        raise GraphError(100, f"Param components[type] must not be {sorted(unknown)[0]}")
    named = str(row.get("parameter_format")).upper() == "NAMED"
    check_components(row["components"], named=named, body_limit=600 if "LIMITED_TIME_OFFER" in kinds else 1024)
    for component in row["components"]:
        if get_kind(component) == "CAROUSEL":
            check_cards(row, component, named=named)
        if get_kind(component) == "LIMITED_TIME_OFFER":
            check_offer(row, component)
    check_codes(row)


def check_components(components: list[Json], *, named: bool, body_limit: int) -> None:
    for component in components:
        kind = get_kind(component)
        if kind in ("HEADER", "BODY", "FOOTER") and component.get("text") is not None:
            most = {"HEADER": 60, "BODY": body_limit, "FOOTER": 60}[kind]
            check_text(component, kind, most=most, named=named)
        if kind == "HEADER" and component.get("format") in MEDIA_HEADERS and not get_handle(component):
            raise GraphError(100, "The HEADER component is missing its sample", subcode=2388273)
        if kind == "BUTTONS" and len(component.get("buttons") or []) > 10:
            raise GraphError(100, "At most 10 buttons")
        for button in component.get("buttons") or []:
            if len(str(button.get("text") or "")) > 25:
                raise GraphError(100, "A button's text has at most 25 characters")
            if VARIABLE.search(str(button.get("url") or "")) and not button.get("example"):
                raise GraphError(100, "A button's link with a variable needs an example")


def check_cards(row: Json, carousel: Json, *, named: bool) -> None:
    cards = carousel.get("cards")
    if row["category"] != "MARKETING" or not isinstance(cards, list) or not 2 <= len(cards) <= 10:
        raise GraphError(100, "A carousel is for marketing and has from 2 to 10 cards", subcode=2388155)
    shapes = {tuple(describe_shape(card.get("components") or [])) for card in cards}
    if len(shapes) != 1 or not any(part.startswith("HEADER") for part in next(iter(shapes))):
        raise GraphError(100, "All cards must have the same components, a header among them", subcode=2388156)
    for card in cards:
        check_components(card["components"], named=named, body_limit=160)


def describe_shape(components: list[Json]) -> list[str]:
    found = []
    for each in components:
        buttons = ",".join(str(button.get("type")).upper() for button in each.get("buttons") or [])
        found.append(f"{get_kind(each)} {str(each.get('format') or '').upper()} {buttons}")
    return sorted(found)


def check_offer(row: Json, component: Json) -> None:
    offer = component.get("limited_time_offer") or {}
    if row["category"] != "MARKETING" or not 0 < len(str(offer.get("text") or "")) <= 16:
        raise GraphError(100, "A limited-time offer is for marketing, and its text has at most 16 characters")
    if "FOOTER" in [get_kind(each) for each in row["components"]]:
        raise GraphError(100, "A limited-time offer has no footer")


def check_codes(row: Json) -> None:
    """Raise GraphError unless code buttons and the authentication category go together. Meta sets the text."""
    buttons = [button for each in row["components"] for button in each.get("buttons") or []]
    is_for_codes = any(str(button.get("type")).upper() == "OTP" for button in buttons)
    [body] = [each for each in row["components"] if get_kind(each) == "BODY"]
    if is_for_codes != (row["category"] == "AUTHENTICATION"):
        raise GraphError(100, "An authentication template has a button for its code, and no other has one")
    if is_for_codes and body.get("text"):
        raise GraphError(100, "The text of an authentication template cannot be changed")
    if not is_for_codes and not body.get("text"):
        raise GraphError(100, "The BODY has no text")
    for button in buttons:
        kind = str(button.get("otp_type")).upper()
        if is_for_codes and kind not in ("COPY_CODE", "ONE_TAP", "ZERO_TAP"):
            raise GraphError(100, "Param otp_type must be one of {COPY_CODE, ONE_TAP, ZERO_TAP}")
        if kind == "ZERO_TAP" and button.get("zero_tap_terms_accepted") is not True:
            raise GraphError(100, "The terms of zero-tap have to be accepted")


def convert_to_listed(row: Json) -> list[Json]:
    """Return the submitted components as the list shows them. Meta fills in text, footer and link for codes."""
    if row["category"] != "AUTHENTICATION":
        return list(row["components"])
    found = []
    for each in row["components"]:
        kind, shown = get_kind(each), dict(each)
        if kind == "BODY":
            advice = " For your security, do not share this code." if each.get("add_security_recommendation") else ""
            shown["text"] = f"*{{{{1}}}}* is your verification code.{advice}"
            shown["example"] = {"body_text": [["123456"]]}
        elif kind == "FOOTER" and each.get("code_expiration_minutes"):
            shown["text"] = f"This code expires in {each['code_expiration_minutes']} minutes."
        elif kind == "BUTTONS":
            shown["buttons"] = [code_button(button) for button in each["buttons"]]
        found.append(shown)
    return found


def code_button(button: Json) -> Json:
    link = f"https://www.whatsapp.com/otp/code/?otp_type={str(button['otp_type']).upper()}&code=otp{{{{1}}}}"
    words = button.get("text") or "Copy code"
    return {"type": "URL", "text": words, "url": link, "example": [link.replace("{{1}}", "123456")]}


def get_kind(component: Json) -> str:
    return str(component.get("type")).upper()


def get_handle(component: Json) -> str:
    handles = (component.get("example") or {}).get("header_handle") or []
    return str(handles[0]) if handles else ""


def check_text(component: Json, kind: str, *, most: int, named: bool) -> None:
    text, names = component["text"], VARIABLE.findall(component["text"])
    if len(text) > most:
        raise GraphError(100, f"{kind} has at most {most} characters", subcode=2388040)
    if kind == "BODY" and names and (text.startswith("{{") or text.endswith("}}")):
        raise GraphError(100, "Variables can't be at the start or end of the template.", subcode=2388299)
    if not named and names != [str(number + 1) for number in range(len(names))]:
        raise GraphError(100, "Variables must be numbered from 1 without gaps")
    if names and not component.get("example"):
        raise GraphError(100, f"The {kind} component is missing its example", subcode=2388043)
