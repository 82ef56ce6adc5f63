"""Meta's validation of a template send, component by component.

Written from Meta's reference, independently of the product's code, so that both check each other. Codes:

    132000  the number of texts differs from the number of variables
    132012  a parameter has the wrong type, or a file or card is missing
    131008  a required parameter is missing
    131009  a value is not valid: a link, coordinates, a time
    132018  anything else that does not fit the template: an unknown component, forbidden characters
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from tests.simulators.errors import GraphError
from tests.simulators.templates import MEDIA_HEADERS, VARIABLE, Template

Json = dict[str, Any]
BAD_VALUE = re.compile(r"[\n\r\t]| {5}")
BAD_VALUE_WORDS = "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
CODE_LINK = "https://www.whatsapp.com/otp/"
SUB_TYPES = {
    "URL": "url",
    "OTP": "url",
    "QUICK_REPLY": "quick_reply",
    "COPY_CODE": "copy_code",
    "FLOW": "flow",
    "CATALOG": "catalog",
    "MPM": "mpm",
}
TAKES = {"URL": "text", "OTP": "text", "QUICK_REPLY": "payload", "COPY_CODE": "coupon_code"}


def fill(template: Template, sent: Any, *, now: float) -> str:
    """Return the text that the contact sees, from header to cards. Raises GraphError if the parameters do not fit."""
    if template.status in ("PAUSED", "DISABLED"):
        raise GraphError(132015 if template.status == "PAUSED" else 132016, f"Template is {template.status.lower()}")
    if template.status != "APPROVED":
        raise GraphError(132001, f"template name ({template.name}) is {template.status} in {template.language}")
    named = template.parameter_format == "NAMED"
    lines = fill_components(template.components, sent, named=named, allowed={"limited_time_offer", "carousel"})
    body = lines[1]
    if len(body) > 1024:
        raise GraphError(132005, f"body: translated text too long: {len(body)} characters, the most is 1024")
    parts = index_by_kind(sent)
    lines[1:1] = [
        fill_offer(find_component(template.components, "LIMITED_TIME_OFFER"), parts.get("limited_time_offer"), now=now)
    ]
    lines += fill_carousel(find_component(template.components, "CAROUSEL"), parts.get("carousel"), named=named)
    return "\n".join(line for line in lines if line)


def fill_components(components: list[Json], sent: Any, *, named: bool, allowed: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]  # an empty set
    parts = index_by_kind(sent)
    if unknown := set(parts) - {"header", "body"} - allowed:
        raise GraphError(132018, f"components: unexpected type {sorted(unknown)[0]}")
    shown = [fill_header(find_component(components, "HEADER"), read_parameters(parts.get("header")), named=named)]
    shown.append(fill_text(find_component(components, "BODY"), read_parameters(parts.get("body")), "body", named=named))
    shown.append(str(find_component(components, "FOOTER").get("text") or ""))
    given = [each for each in sent if str(each.get("type")).lower() == "button"]
    code = next((str(one.get("text")) for one in read_parameters(parts.get("body"))), "")
    return shown + fill_buttons(find_component(components, "BUTTONS").get("buttons") or [], given, code=code)


def index_by_kind(sent: Any) -> dict[str, Json]:
    if not isinstance(sent, list) or not all(isinstance(each, dict) for each in sent):
        raise GraphError(100, "Param template['components'] must be an array of objects.")
    found: dict[str, Json] = {}
    for each in sent:
        kind = str(each.get("type")).lower()
        if kind == "button":
            continue
        if kind in found:
            raise GraphError(132018, f"components: {kind} is given twice")
        found[kind] = each
    return found


def find_component(components: list[Json], kind: str) -> Json:
    return next((each for each in components if str(each.get("type")).upper() == kind), {})


def read_parameters(part: Json | None) -> list[Json]:
    parameters = (part or {}).get("parameters") or []
    if not isinstance(parameters, list) or not all(isinstance(each, dict) for each in parameters):
        raise GraphError(100, "Param parameters must be an array of objects.")
    return parameters


# --- header ----------------------------------------------------------------------------------------------


def fill_header(wanted: Json, parameters: list[Json], *, named: bool) -> str:
    kind = str(wanted.get("format") or "").upper()
    if kind not in (*MEDIA_HEADERS, "LOCATION", "PRODUCT"):
        return fill_text(wanted, parameters, "header", named=named)
    if len(parameters) != 1:
        raise GraphError(132012, f"header: Format mismatch, expected {kind}, received UNKNOWN")
    given_type = str(parameters[0].get("type")).upper()
    content = parameters[0].get(given_type.lower())
    if given_type != kind or not isinstance(content, dict):
        raise GraphError(132012, f"header: Format mismatch, expected {kind}, received {given_type}")
    if kind == "LOCATION":
        return show_location(content)
    if kind == "PRODUCT":
        for name in ("product_retailer_id", "catalog_id"):
            require_value(content.get(name), f"header: product['{name}']")
        return f"[PRODUCT {content['product_retailer_id']}]"
    return show_file(content, kind)


def show_file(content: Json, kind: str) -> str:
    if unexpected := set(content) - {"id", "link"} - ({"filename"} if kind == "DOCUMENT" else set()):
        raise GraphError(132018, f"header: unexpected key {sorted(unexpected)[0]} on {kind.lower()}")
    link, media_id = content.get("link"), content.get("id")
    if bool(link) == bool(media_id):
        raise GraphError(131008, f"header: {kind.lower()} takes either id or link")
    if media_id and not re.fullmatch(r"\d+", str(media_id)):
        raise GraphError(131009, f"header: {media_id} is not the id of a medium")
    parts = urlsplit(str(link or ""))
    is_loopback = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    if link and not is_loopback and (parts.scheme != "https" or not parts.hostname or " " in link):
        raise GraphError(131009, "header: the link is not a valid URI.")
    return f"[DOCUMENT {content.get('filename') or 'Untitled'}]" if kind == "DOCUMENT" else f"[{kind}]"


def show_location(content: Json) -> str:
    for name, most in (("latitude", 90), ("longitude", 180)):
        value = str(require_value(content.get(name), f"header: location['{name}']"))
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?", value) or abs(float(value)) > most:
            raise GraphError(131009, f"header: location['{name}'] is not valid")
    for name in ("name", "address"):
        require_value(content.get(name), f"header: location['{name}']")
    return "[LOCATION]"


def require_value(value: Any, name: str) -> Any:
    if value in (None, "", [], {}) or (isinstance(value, str) and not value.strip()):
        raise GraphError(131008, f"{name} is required")
    return value


# --- texts -----------------------------------------------------------------------------------------------


def fill_text(wanted: Json, parameters: list[Json], place: str, *, named: bool) -> str:
    text = str(wanted.get("text") or "")
    names = list(dict.fromkeys(VARIABLE.findall(text)))
    if len(parameters) != len(names):
        details = f"{place}: number of localizable_params ({len(parameters)}) does not match the expected number"
        raise GraphError(132000, f"{details} of params ({len(names)})")
    values: dict[str, str] = {}
    for number, parameter in enumerate(parameters):
        name = parameter.get("parameter_name") if named else names[number]
        if name not in names:
            raise GraphError(132012, f"{place}: Parameter name is missing or unknown: {name}")
        values[str(name)] = read_value(parameter, place)
    if set(values) != set(names):
        raise GraphError(132012, f"{place}: a parameter is given twice")
    return VARIABLE.sub(lambda hole: values[hole[1]], text)


def read_value(parameter: Json, place: str) -> str:
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


# --- buttons ---------------------------------------------------------------------------------------------


def fill_buttons(rows: list[Json], sent: list[Json], *, code: str) -> list[str]:
    given: dict[int, Json] = {}
    for each in sent:
        index = each.get("index")
        if not isinstance(index, str | int) or not str(index).isdigit() or int(index) >= len(rows):
            raise GraphError(132018, f"buttons: there is no button at index {index}")
        if int(index) in given:
            raise GraphError(132018, f"buttons: the button at index {index} is given twice")
        given[int(index)] = each
    return [fill_button(row, given.get(index), index, code=code) for index, row in enumerate(rows)]


def fill_button(row: Json, sent: Json | None, index: int, *, code: str) -> str:
    kind = str(row.get("type")).upper()
    words = f"[{row.get('text') or kind}]"
    takes_code = kind == "OTP" or (kind == "URL" and str(row.get("url")).startswith(CODE_LINK))
    needs = takes_code or kind in ("COPY_CODE", "MPM") or (kind == "URL" and bool(VARIABLE.search(row.get("url", ""))))
    if sent is None:
        if kind == "FLOW":
            raise GraphError(131009, f"buttons: Button at index {index} of type Flow is missing from the call")
        if needs:
            raise GraphError(131008, f"buttons: Button at index {index} of type {kind.title()} requires a parameter")
        return words
    if str(sent.get("sub_type")).lower() != SUB_TYPES.get(kind):
        raise GraphError(132018, f"buttons: Button at index {index} is {kind}, not {sent.get('sub_type')}")
    parameters = read_parameters(sent)
    if kind == "URL" and not needs:
        raise GraphError(132018, f"buttons: Button at index {index} of type Url takes no parameter")
    if kind == "CATALOG" and not parameters:
        return words  # WhatsApp shows the first product of the catalog
    if len(parameters) != 1:
        raise GraphError(132018, f"buttons: Button at index {index} takes one parameter")
    wanted = TAKES.get(kind, "action")
    value = parameters[0].get(wanted)
    if parameters[0].get("type") != wanted or not value:
        raise GraphError(132012, f"buttons: Button at index {index} wants a parameter of type {wanted}")
    if wanted == "action":
        return words + fill_action(kind, value)
    if takes_code and value != code:
        raise GraphError(132018, "buttons: the button's code is not the one in the text")
    if takes_code or kind == "COPY_CODE":
        if len(value) > (15 if takes_code else 20):
            raise GraphError(131009, f"buttons: {value} is too long for a code")
        return f"{words}({value})"
    if kind == "URL":
        return f"{words}({VARIABLE.sub(lambda hole: str(value), row['url'])})"
    return words


def fill_action(kind: str, value: Any) -> str:
    if not isinstance(value, dict):
        raise GraphError(132012, "buttons: an action is an object")
    if kind == "FLOW":
        require_value(value.get("flow_token"), "buttons: action['flow_token']")
        if not isinstance(value.get("flow_action_data", {}), dict):
            raise GraphError(131009, "buttons: action['flow_action_data'] is not an object")
        return ""
    require_value(value.get("thumbnail_product_retailer_id"), "buttons: action['thumbnail_product_retailer_id']")
    return "" if kind == "CATALOG" else f"({', '.join(list_products(value.get('sections')))})"


def list_products(sections: Any) -> list[str]:
    found = []
    rows = require_value(sections, "buttons: action['sections']")
    if not isinstance(rows, list) or len(rows) > 10:
        raise GraphError(131009, "buttons: there are from 1 to 10 sections")
    for row in rows:
        if len(rows) > 1:
            require_value(row.get("title"), "buttons: section['title']")
        if len(str(row.get("title") or "")) > 24:
            raise GraphError(131009, "buttons: a section's title has at most 24 characters")
        for item in require_value(row.get("product_items"), "buttons: section['product_items']"):
            found.append(str(require_value(item.get("product_retailer_id"), "buttons: product_retailer_id")))
    if len(found) > 30:
        raise GraphError(131009, "buttons: there are at most 30 products")
    return found


# --- offers and cards ------------------------------------------------------------------------------------


def fill_offer(wanted: Json, sent: Json | None, *, now: float) -> str:
    offer = wanted.get("limited_time_offer") or {}
    if sent is None:
        if offer.get("has_expiration"):
            raise GraphError(131008, "limited_time_offer: expiration_time_ms is required")
        return str(offer.get("text") or "")
    parameters = read_parameters(sent)
    if not wanted or len(parameters) != 1:
        raise GraphError(132018, "components: limited_time_offer does not fit the template")
    content = parameters[0].get("limited_time_offer")
    if parameters[0].get("type") != "limited_time_offer" or not isinstance(content, dict):
        raise GraphError(132012, "limited_time_offer: wants a parameter of type limited_time_offer")
    ends = require_value(content.get("expiration_time_ms"), "limited_time_offer: expiration_time_ms")
    if not isinstance(ends, int) or ends < 10**12 or ends <= now * 1000:
        raise GraphError(131009, "limited_time_offer: expiration_time_ms is no moment to come")
    return f"{offer.get('text')} ({ends})"


def fill_carousel(wanted: Json, sent: Json | None, *, named: bool) -> list[str]:
    rows = wanted.get("cards") or []
    if sent is None:
        if rows:
            raise GraphError(132012, "components: the carousel is missing")
        return []
    cards = sent.get("cards")
    if not rows or not isinstance(cards, list) or len(cards) != len(rows):
        raise GraphError(132018, f"carousel: the template has {len(rows)} cards")
    if [card.get("card_index") for card in cards] != list(range(len(rows))):
        raise GraphError(132018, "carousel: the cards are numbered from 0")
    shown = []
    for row, card in zip(rows, cards, strict=True):
        lines = fill_components(row["components"], card.get("components") or [], named=named)
        shown.append(" | ".join(line for line in lines if line))
    return shown
