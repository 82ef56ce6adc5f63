"""Meta's validation of a message before it is accepted."""

from __future__ import annotations

import re
from typing import Any

from tests.simulators.errors import GraphError

Json = dict[str, Any]
USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
FREE_TYPES = tuple("text image video audio document sticker location contacts interactive reaction".split())
CAPTIONED = ("image", "video", "document")
MEDIA = (*CAPTIONED, "audio", "sticker")
MAX_CALLBACK_LENGTH = 512


def require(value: Any, name: str, kind: type | tuple[type, ...] = str) -> Any:
    if not isinstance(value, kind) or value == "" or value is None:
        raise GraphError(100, f"The parameter {name} is required.")
    return value


def check_length(text: Any, most: int, name: str, *, code: int = 100) -> None:
    if isinstance(text, str) and len(text) > most:
        raise GraphError(code, f"Param {name} must be at most {most} characters long.")


def check_envelope(body: Any) -> Json:
    """Return the body of a send. Raises GraphError if common keys are missing."""
    if not isinstance(body, dict):
        raise GraphError(100, "The body is not a JSON object.")
    if body.get("messaging_product") != "whatsapp":
        raise GraphError(100, "The parameter messaging_product is required.")
    return body


def normalize_number(written: str, *, own_country: str) -> str:
    """Return the digits that Meta dials. Without a plus Meta prepends the country code of the sending number."""
    bare = re.sub(r"[ ()\-]", "", written)
    if not re.fullmatch(r"\+?\d{5,20}", bare):
        raise GraphError(131009, "(#131009) Parameter value is not valid: to is not a phone number")
    digits = bare[1:] if bare.startswith("+") else own_country + bare
    if len(digits) > 15:
        raise GraphError(131026, "Message Undeliverable: there is no such number")
    return digits


def get_wa_id(digits: str) -> str:
    """Return the WhatsApp ID of a number. It may lack Brazil's ninth digit and Mexico's 1."""
    if re.fullmatch(r"55\d{2}9\d{8}", digits):
        return digits[:4] + digits[5:]
    if re.fullmatch(r"521\d{10}", digits):
        return "52" + digits[3:]
    return digits


def check_message(body: Json) -> str:
    """Return the type of a well-formed message. Raises GraphError. ``template_sends`` checks templates."""
    kind = body.get("type", "text")
    check_length(body.get("biz_opaque_callback_data"), MAX_CALLBACK_LENGTH, "biz_opaque_callback_data")
    if body.get("recipient_type", "individual") not in ("individual", "group"):
        raise GraphError(100, "Param recipient_type must be one of {individual, group}")
    context = body.get("context")
    if context is not None:
        require(context.get("message_id") if isinstance(context, dict) else None, "context['message_id']")
    if kind == "template":
        template = require(body.get("template"), "template", dict)
        require(template.get("name"), "template['name']")
        require((template.get("language") or {}).get("code"), "template['language']['code']")
        return "template"
    if kind not in FREE_TYPES:
        raise GraphError(100, f"Param type must be one of {{{', '.join((*FREE_TYPES, 'template'))}}}")
    content = require(body.get(kind), kind, (dict, list) if kind == "contacts" else dict)
    if kind in MEDIA:
        check_media(content, kind)
    elif kind in CHECKS:
        CHECKS[kind](content)
    return str(kind)


def check_text(content: Json) -> None:
    written = require(content.get("body"), "text['body']")
    if not written.strip():
        raise GraphError(100, "The parameter text['body'] is required.")
    check_length(written, 4096, "text['body']")


def check_media(content: Json, kind: str) -> None:
    if bool(content.get("id")) == bool(content.get("link")):
        raise GraphError(100, f"Param {kind} takes either id or link")
    allowed = {"id", "link", "caption"} if kind in CAPTIONED else {"id", "link"}
    allowed |= {"filename"} if kind == "document" else {"voice"} if kind == "audio" else set()
    if unexpected := set(content) - allowed - {"provider"}:
        raise GraphError(100, f'Unexpected key "{sorted(unexpected)[0]}" on param "{kind}".')
    check_length(content.get("caption"), 1024, f"{kind}['caption']")
    link = content.get("link")
    if link and not re.match(r"https://|http://(127\.0\.0\.1|localhost)[:/]", link):
        raise GraphError(100, f"Param {kind}['link'] is not a valid URI.")


def check_reaction(content: Json) -> None:
    require(content.get("message_id"), "reaction['message_id']")
    if not isinstance(content.get("emoji"), str):
        raise GraphError(100, "The parameter reaction['emoji'] is required.")


def check_location(content: Json) -> None:
    for name in ("latitude", "longitude"):
        if not re.fullmatch(r"-?\d{1,3}(\.\d+)?", str(content.get(name))):
            raise GraphError(100, f"The parameter location['{name}'] is required.")


def check_contacts(content: Any) -> None:
    for card in require(content, "contacts", list):
        require((card.get("name") or {}).get("formatted_name"), "contacts['name']['formatted_name']")


def check_interactive(content: Json) -> None:
    kind = require(content.get("type"), "interactive['type']")
    check_length((content.get("body") or {}).get("text"), 1024, "interactive['body']['text']", code=131009)
    check_length((content.get("footer") or {}).get("text"), 60, "interactive['footer']['text']", code=131009)
    action = require(content.get("action"), "interactive['action']", dict)
    if kind == "button":
        buttons = require(action.get("buttons"), "interactive['action']['buttons']", list)
        if not 1 <= len(buttons) <= 3:
            raise GraphError(131009, "Buttons count invalid. Min allowed buttons: 1, Max allowed buttons: 3")
        for button in buttons:
            reply = require(button.get("reply"), "button['reply']", dict)
            check_length(require(reply.get("title"), "button['reply']['title']"), 20, "button title", code=131009)
            check_length(require(reply.get("id"), "button['reply']['id']"), 256, "button id", code=131009)
    elif kind == "list":
        check_length(require(action.get("button"), "interactive['action']['button']"), 20, "button", code=131009)
        rows = [row for section in action.get("sections") or [] for row in section.get("rows") or []]
        if not 1 <= len(rows) <= 10:
            raise GraphError(131009, "Total row count exceed max allowed count: 10")
        for row in rows:
            check_length(require(row.get("id"), "row['id']"), 200, "row id", code=131009)
            check_length(require(row.get("title"), "row['title']"), 24, "row title", code=131009)
            check_length(row.get("description"), 72, "row description", code=131009)


CHECKS = {
    "text": check_text,
    "reaction": check_reaction,
    "location": check_location,
    "contacts": check_contacts,
    "interactive": check_interactive,
}


def get_visible_text(body: Json, kind: str) -> str:
    """Return the text that the contact reads. Templates are rendered elsewhere."""
    content = body.get(kind)
    if isinstance(content, list):
        return ", ".join(str(card["name"]["formatted_name"]) for card in content)
    content = content or {}
    if kind == "interactive":
        return str((content.get("body") or {}).get("text", ""))
    return str(content.get("body") or content.get("caption") or content.get("emoji") or content.get("name") or "")
