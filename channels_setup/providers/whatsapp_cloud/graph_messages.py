"""One message of the Graph API's webhooks, whatever its type, as text that reads well and what is more than text.

A type that we do not know, or one whose content is missing, is a message all the same: the client wrote.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from channels_setup.codecs.bodies import clean_value
from channels_setup.codecs.message_extras import compose_text
from channels_setup.codecs.values import FileInfo, as_text

from .graph_contacts import one_line, several_lines

Item = Mapping[str, Any]
MAX_CARDS, MAX_ORDER_LINES, MAX_FORM_FIELDS = 50, 100, 50
MAX_TEXT_LENGTH = 16_000
MEDIA = ("image", "video", "audio", "document", "sticker")
FORBIDDEN_NAME_CHARACTERS = re.compile(r'[\x00-\x1f\x7f"<>:|?*\u202a-\u202e\u2066-\u2069]')


@dataclass(frozen=True, kw_only=True)
class MessageContent:
    """``text`` says all of it as well as words can, in the portal's language; ``shown`` is described in ``facts``."""

    text: str = ""
    shown: dict[str, Any] = field(default_factory=dict)
    files: tuple[FileInfo, ...] = ()


def read_content(item: Item) -> MessageContent:
    """What a message says. Never raises for what a sender put into it."""
    kind = as_text(item.get("type")) or next((kind for kind in CONTENT_READERS if kind in item), "")
    body = item.get(kind)
    read = CONTENT_READERS.get(kind)
    found = read(body) if read is not None and _has_body(kind, body) else None
    if found is None:
        found = _unsupported(item, kind)
    shown = {**found.shown, **_read_context(item)}
    if "product" in shown:
        shown.setdefault("own", found.text)
    return MessageContent(
        text=compose_text(found.text, shown, plain_amounts=True)[:MAX_TEXT_LENGTH], shown=shown, files=found.files
    )


def _has_body(kind: str, body: Any) -> bool:
    if kind == "request_welcome":
        return True  # it has no body
    return isinstance(body, list) if kind == "contacts" else isinstance(body, dict)


def read_quoted_id(item: Item) -> str:
    """The id of the message it answers. A forwarded one has a context without an id."""
    context = item.get("context")
    return as_text(context.get("id"))[:190] if isinstance(context, dict) else ""


def read_first_error(item: Item) -> dict[str, str]:
    """Code, title and details of what the provider itself says is wrong; empty where nothing is."""
    errors = item.get("errors")
    error = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(error, dict):
        return {}
    data = error.get("error_data")
    told = {
        "code": as_text(error.get("code"))[:40],
        "title": as_text(error.get("title") or error.get("message"))[:300],
        "details": as_text(data.get("details") if isinstance(data, dict) else "")[:500],
    }
    return {name: value for name, value in told.items() if value}


def _with_lines(text: str, lines: Iterable[str]) -> str:
    return "\n".join(filter(None, [text, *lines]))[:MAX_TEXT_LENGTH]


# --- what stands beside the content ----------------------------------------------------------------------


def _read_context(item: Item) -> dict[str, Any]:
    found: dict[str, Any] = {}
    context, referral = item.get("context"), item.get("referral")
    if isinstance(context, dict):
        if context.get("frequently_forwarded") is True:
            found |= {"forwarded": True, "often": True}
        elif context.get("forwarded") is True:
            found["forwarded"] = True
        product = context.get("referred_product")
        if isinstance(product, dict):
            name = one_line(product.get("product_retailer_id"), 100)
            found["product"] = {"product": name, "catalog": one_line(product.get("catalog_id"), 100)}
    if isinstance(referral, dict):
        names = {"headline": "headline", "body": "body", "url": "source_url", "source": "source_type"}
        told = {ours: one_line(referral.get(theirs), 500) for ours, theirs in names.items()}
        found["ad"] = {name: value for name, value in told.items() if value}
    return found


# --- the types -------------------------------------------------------------------------------------------


def _text(body: Any) -> MessageContent | None:
    text = as_text(body.get("body"))[:MAX_TEXT_LENGTH]
    return MessageContent(text=text) if text.strip() else None


def _media(kind: str) -> Callable[[Any], MessageContent | None]:
    def read(body: Any) -> MessageContent | None:
        media_id = as_text(body.get("id"))[:190]
        if not media_id:
            return None
        shown: dict[str, Any] = {}
        if kind == "sticker":
            shown = {"what": "sticker", "animated": body.get("animated") is True}
        elif kind == "audio" and body.get("voice") is True:
            shown = {"what": "voice"}
        mime = as_text(body.get("mime_type")).split(";")[0].strip().lower()[:100]
        file = FileInfo(
            external_id=media_id,
            name=clean_file_name(body.get("filename")) or (f"{kind}{_extension(mime)}"),
            mime=mime,
            sha256=normalize_sha256(body.get("sha256")),
        )
        return MessageContent(text=as_text(body.get("caption"))[:MAX_TEXT_LENGTH], shown=shown, files=(file,))

    return read


def clean_file_name(value: Any) -> str:
    """A name without a path, controls or quotes: it is the sender's own word."""
    last = re.split(r"[\\/]", as_text(value))[-1]
    return FORBIDDEN_NAME_CHARACTERS.sub("", one_line(last, 400)).strip(" .")[:200]


def _extension(mime: str) -> str:
    known = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "video/mp4": ".mp4"}
    known |= {"audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a", "audio/aac": ".aac", "audio/amr": ".amr"}
    known |= {"application/pdf": ".pdf", "text/plain": ".txt", "video/3gpp": ".3gp"}
    return known.get(mime, "")


def normalize_sha256(value: Any) -> str:
    """A SHA-256 as hex; the webhooks give base64, the API has been seen to give either."""
    text = as_text(value).strip()
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return text.lower()
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == 32 else ""


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _location(body: Any) -> MessageContent | None:
    latitude, longitude = _number(body.get("latitude")), _number(body.get("longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    place = f"{latitude:.10g}", f"{longitude:.10g}"
    link = f"https://www.openstreetmap.org/?mlat={place[0]}&mlon={place[1]}#map=17/{place[0]}/{place[1]}"
    name, address = one_line(body.get("name"), 200), one_line(body.get("address"), 300)
    url = as_text(body.get("url"))[:1000]
    shown = {
        "what": "location",
        "latitude": latitude,
        "longitude": longitude,
        "name": name,
        "address": address,
        "url": url if url.lower().startswith("https://") else "",
        "map": link,
    }
    return MessageContent(text=_with_lines("", [name, address, link]), shown=shown)


def _cards(body: Any) -> MessageContent | None:
    cards = [_card(card) for card in body[:MAX_CARDS] if isinstance(card, dict)]
    if not cards:
        return None
    lines = [" · ".join(filter(None, (card["name"], *list_card_lines(card)))) for card in cards]
    return MessageContent(text=_with_lines("", lines), shown={"what": "contacts", "cards": cards})


def list_card_lines(card: Mapping[str, Any]) -> list[str]:
    """All that a contact card holds besides its name, a line each."""
    parts = ("phones", "emails", "addresses", "urls")
    return [line for line in (card["org"], *(one for part in parts for one in card[part]), card["birthday"]) if line]


def _card(card: dict[str, Any]) -> dict[str, Any]:
    name, org = card.get("name"), card.get("org")
    name = name if isinstance(name, dict) else {}
    org = org if isinstance(org, dict) else {}
    parts = [one_line(name.get(part), 100) for part in ("prefix", "first_name", "middle_name", "last_name", "suffix")]
    return {
        "name": one_line(name.get("formatted_name"), 200) or " ".join(filter(None, parts)),
        "phones": [one_line(phone.get("phone") or phone.get("wa_id"), 40) for phone in _objects(card.get("phones"))],
        "emails": [one_line(email.get("email"), 200) for email in _objects(card.get("emails"))],
        "org": " · ".join(filter(None, (one_line(org.get(part), 200) for part in ("company", "department", "title")))),
        "addresses": [text for text in map(_address, _objects(card.get("addresses"))) if text],
        "urls": [one_line(url.get("url"), 500) for url in _objects(card.get("urls"))],
        "birthday": one_line(card.get("birthday"), 40),
    }


def _address(address: dict[str, Any]) -> str:
    country = "country" if as_text(address.get("country")) else "country_code"
    parts = (one_line(address.get(part), 200) for part in ("street", "city", "state", "zip", country))
    return ", ".join(filter(None, parts))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)][:20] if isinstance(value, list) else []


def _order(body: Any) -> MessageContent | None:
    lines = [_order_line(item) for item in _objects_of(body.get("product_items"))]
    own = as_text(body.get("text"))[:4096]
    shown = {
        "what": "order",
        "lines": lines[:MAX_ORDER_LINES],
        "catalog": one_line(body.get("catalog_id"), 100),
        "own": own,
    }
    return MessageContent(text=own, shown=shown)


def _objects_of(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _order_line(item: dict[str, Any]) -> dict[str, str]:
    names = {"product": "product_retailer_id", "quantity": "quantity", "price": "item_price", "currency": "currency"}
    return {ours: one_line(item.get(theirs), 100) for ours, theirs in names.items()}


def _button(body: Any) -> MessageContent | None:
    """A quick reply of a template. Payload or text may be missing."""
    title, payload = as_text(body.get("text"))[:1000], one_line(body.get("payload"), 300)
    if not title and not payload:
        return None
    return MessageContent(text=title or payload, shown={"what": "button", "title": title, "id": payload})


def _interactive(body: Any) -> MessageContent | None:
    kind = as_text(body.get("type"))
    reply = body.get(kind)
    if not isinstance(reply, dict):
        return None
    if kind in ("button_reply", "list_reply"):
        title, about = as_text(reply.get("title"))[:1000], as_text(reply.get("description"))[:1000]
        what = kind.removesuffix("_reply")
        shown = {"what": what, "title": title, "description": about, "id": one_line(reply.get("id"), 300)}
        return MessageContent(text=_with_lines(title, [about]), shown=shown) if title or about else None
    return _form(reply) if kind == "nfm_reply" else None


def _form(reply: Any) -> MessageContent:
    """A filled-in form (Flow). Its answers are JSON within a string, in the words of whoever made the form."""
    try:
        answers = clean_value(
            json.loads(as_text(reply.get("response_json")) or "{}", parse_int=str, parse_constant=str)
        )
    except (ValueError, RecursionError):
        answers = {}
    answers = answers if isinstance(answers, dict) else {}
    fields = [[name, value] for name, value in _flat(answers) if name != "flow_token"][:MAX_FORM_FIELDS]
    title = as_text(reply.get("body"))[:1000]
    shown = {"what": "flow", "title": title, "id": one_line(reply.get("name"), 100), "fields": fields, "own": title}
    return MessageContent(text=title, shown=shown)


def _flat(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and depth < 6:
        for key, inner in value.items():
            yield from _flat(inner, f"{name} · {key}" if name else one_line(key, 100), depth + 1)
    elif isinstance(value, list) and depth < 6:
        for inner in value:
            yield from _flat(inner, name, depth + 1)
    elif value is not None and value != "":
        yield one_line(name, 300), several_lines(str(value), 1000)


def _call(body: Any) -> MessageContent | None:
    return MessageContent(shown={"what": "call"})


def _welcome(body: Any) -> MessageContent | None:
    """The client opened the chat for the first time: no word of theirs."""
    return MessageContent(shown={"what": "welcome"})


def _unsupported(item: Item, kind: str) -> MessageContent:
    """What the provider does not carry, or we do not know, or came without its content."""
    told, error = item.get("unsupported"), read_first_error(item)
    inner = as_text(told.get("type")) if isinstance(told, dict) else ""
    name = one_line(inner or kind, 60)
    if error or kind in ("unsupported", "unknown") or kind not in CONTENT_READERS:
        return MessageContent(shown={"what": "unsupported", "kind": name, **error})
    return MessageContent(shown={"what": "empty"} if kind == "text" else {"what": "unreadable", "kind": name})


CONTENT_READERS: Mapping[str, Callable[[Any], MessageContent | None]] = {
    "text": _text,
    **{kind: _media(kind) for kind in MEDIA},
    "location": _location,
    "contacts": _cards,
    "interactive": _interactive,
    "button": _button,
    "order": _order,
    "call": _call,
    "request_welcome": _welcome,
}
