"""Content of one message in the Graph API's webhooks: readable text, files and structured extras.

An unknown type or missing content still yields a message, because the client wrote something.
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
MAX_CARDS, MAX_CARD_VALUES, MAX_ORDER_LINES, MAX_FORM_FIELDS = 50, 20, 100, 50
MAX_TEXT_LENGTH = 16_000
MEDIA = ("image", "video", "audio", "document", "sticker")
FORBIDDEN_NAME_CHARACTERS = re.compile(r'[\x00-\x1f\x7f"<>:|?*\u202a-\u202e\u2066-\u2069]')


@dataclass(frozen=True, kw_only=True)
class MessageContent:
    """``text`` describes the whole message in the portal's language. ``shown`` holds ``facts.MessageExtras``."""

    text: str = ""
    shown: dict[str, Any] = field(default_factory=dict)
    files: tuple[FileInfo, ...] = ()


def read_content(item: Item) -> MessageContent:
    """Return the content of a message. Never raises because of what the message contains."""
    kind = as_text(item.get("type")) or next((kind for kind in CONTENT_READERS if kind in item), "")
    body = item.get(kind)
    read = CONTENT_READERS.get(kind)
    content = read(body) if read is not None and _has_body(kind, body) else None
    if content is None:
        content = _describe_unsupported(item, kind)
    shown = {**content.shown, **_read_context(item)}
    if "product" in shown:
        shown.setdefault("own", content.text)
    return MessageContent(
        text=compose_text(content.text, shown, plain_amounts=True)[:MAX_TEXT_LENGTH], shown=shown, files=content.files
    )


def _has_body(kind: str, body: Any) -> bool:
    if kind == "request_welcome":
        return True  # this type has no body
    return isinstance(body, list) if kind == "contacts" else isinstance(body, dict)


def read_quoted_id(item: Item) -> str:
    """Return the ID of the quoted message, or "". A forwarded message has a context without an ID."""
    context = item.get("context")
    return as_text(context.get("id"))[:190] if isinstance(context, dict) else ""


def read_first_error(item: Item) -> dict[str, str]:
    """Return code, title and details of the provider's first error; empty if there is none."""
    errors = item.get("errors")
    error = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(error, dict):
        return {}
    data = error.get("error_data")
    values = {
        "code": as_text(error.get("code"))[:40],
        "title": as_text(error.get("title") or error.get("message"))[:300],
        "details": as_text(data.get("details") if isinstance(data, dict) else "")[:500],
    }
    return {name: value for name, value in values.items() if value}


def _append_lines(text: str, lines: Iterable[str]) -> str:
    return "\n".join(filter(None, [text, *lines]))[:MAX_TEXT_LENGTH]


# --- context of the message ------------------------------------------------------------------------------


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
        values = {name: one_line(referral.get(source), 500) for name, source in names.items()}
        found["ad"] = {name: value for name, value in values.items() if value}
    return found


# --- content by message type -----------------------------------------------------------------------------


def _read_text(body: Any) -> MessageContent | None:
    text = as_text(body.get("body"))[:MAX_TEXT_LENGTH]
    return MessageContent(text=text) if text.strip() else None


def _read_media(kind: str) -> Callable[[Any], MessageContent | None]:
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
            name=clean_file_name(body.get("filename")) or (f"{kind}{_guess_extension(mime)}"),
            mime=mime,
            sha256=normalize_sha256(body.get("sha256")),
        )
        return MessageContent(text=as_text(body.get("caption"))[:MAX_TEXT_LENGTH], shown=shown, files=(file,))

    return read


def clean_file_name(value: Any) -> str:
    """Return a file name without path, control characters and quotes, because the sender chose it."""
    last = re.split(r"[\\/]", as_text(value))[-1]
    return FORBIDDEN_NAME_CHARACTERS.sub("", one_line(last, 400)).strip(" .")[:200]


def _guess_extension(mime: str) -> str:
    known = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "video/mp4": ".mp4"}
    known |= {"audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a", "audio/aac": ".aac", "audio/amr": ".amr"}
    known |= {"application/pdf": ".pdf", "text/plain": ".txt", "video/3gpp": ".3gp"}
    return known.get(mime, "")


def normalize_sha256(value: Any) -> str:
    """Return a SHA-256 as hex, or "". Webhooks give base64; the media API has been observed to give either."""
    text = as_text(value).strip()
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return text.lower()
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == 32 else ""


def _parse_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _read_location(body: Any) -> MessageContent | None:
    latitude, longitude = _parse_number(body.get("latitude")), _parse_number(body.get("longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    point = f"{latitude:.10g}", f"{longitude:.10g}"
    link = f"https://www.openstreetmap.org/?mlat={point[0]}&mlon={point[1]}#map=17/{point[0]}/{point[1]}"
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
    return MessageContent(text=_append_lines("", [name, address, link]), shown=shown)


def _read_cards(body: Any) -> MessageContent | None:
    cards = [_read_card(card) for card in body[:MAX_CARDS] if isinstance(card, dict)]
    if not cards:
        return None
    lines = [" · ".join(filter(None, (card["name"], *list_card_lines(card)))) for card in cards]
    return MessageContent(text=_append_lines("", lines), shown={"what": "contacts", "cards": cards})


def list_card_lines(card: Mapping[str, Any]) -> list[str]:
    """Return the values of a contact card besides its name, one a line."""
    parts = ("phones", "emails", "addresses", "urls")
    values = (value for part in parts for value in card[part])
    return [line for line in (card["org"], *values, card["birthday"]) if line]


def _read_card(card: dict[str, Any]) -> dict[str, Any]:
    name, org = card.get("name"), card.get("org")
    name = name if isinstance(name, dict) else {}
    org = org if isinstance(org, dict) else {}
    parts = [one_line(name.get(part), 100) for part in ("prefix", "first_name", "middle_name", "last_name", "suffix")]
    return {
        "name": one_line(name.get("formatted_name"), 200) or " ".join(filter(None, parts)),
        "phones": [one_line(phone.get("phone") or phone.get("wa_id"), 40) for phone in _list_values(card, "phones")],
        "emails": [one_line(email.get("email"), 200) for email in _list_values(card, "emails")],
        "org": " · ".join(filter(None, (one_line(org.get(part), 200) for part in ("company", "department", "title")))),
        "addresses": [text for text in map(_read_address, _list_values(card, "addresses")) if text],
        "urls": [one_line(url.get("url"), 500) for url in _list_values(card, "urls")],
        "birthday": one_line(card.get("birthday"), 40),
    }


def _read_address(address: dict[str, Any]) -> str:
    country = "country" if as_text(address.get("country")) else "country_code"
    parts = (one_line(address.get(part), 200) for part in ("street", "city", "state", "zip", country))
    return ", ".join(filter(None, parts))


def _list_values(card: dict[str, Any], part: str) -> list[dict[str, Any]]:
    return _list_objects(card.get(part))[:MAX_CARD_VALUES]


def _read_order(body: Any) -> MessageContent | None:
    lines = [_read_order_line(item) for item in _list_objects(body.get("product_items"))]
    own = as_text(body.get("text"))[:4096]
    shown = {
        "what": "order",
        "lines": lines[:MAX_ORDER_LINES],
        "catalog": one_line(body.get("catalog_id"), 100),
        "own": own,
    }
    return MessageContent(text=own, shown=shown)


def _list_objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _read_order_line(item: dict[str, Any]) -> dict[str, str]:
    names = {"product": "product_retailer_id", "quantity": "quantity", "price": "item_price", "currency": "currency"}
    return {name: one_line(item.get(source), 100) for name, source in names.items()}


def _read_button(body: Any) -> MessageContent | None:
    """Read a quick reply button of a template. Payload or text may be missing."""
    title, payload = as_text(body.get("text"))[:1000], one_line(body.get("payload"), 300)
    if not title and not payload:
        return None
    return MessageContent(text=title or payload, shown={"what": "button", "title": title, "id": payload})


def _read_interactive(body: Any) -> MessageContent | None:
    kind = as_text(body.get("type"))
    reply = body.get(kind)
    if not isinstance(reply, dict):
        return None
    if kind in ("button_reply", "list_reply"):
        title, about = as_text(reply.get("title"))[:1000], as_text(reply.get("description"))[:1000]
        shown = {
            "what": kind.removesuffix("_reply"),
            "title": title,
            "description": about,
            "id": one_line(reply.get("id"), 300),
        }
        return MessageContent(text=_append_lines(title, [about]), shown=shown) if title or about else None
    return _read_form(reply) if kind == "nfm_reply" else None


def _read_form(reply: Any) -> MessageContent:
    """Read a submitted form (Flow). Its answers are JSON within a string; the form's author chose the keys."""
    try:
        answers = clean_value(
            json.loads(as_text(reply.get("response_json")) or "{}", parse_int=str, parse_constant=str)
        )
    except (ValueError, RecursionError):
        answers = {}
    answers = answers if isinstance(answers, dict) else {}
    fields = [[name, value] for name, value in _flatten_answers(answers) if name != "flow_token"][:MAX_FORM_FIELDS]
    title = as_text(reply.get("body"))[:1000]
    shown = {"what": "flow", "title": title, "id": one_line(reply.get("name"), 100), "fields": fields, "own": title}
    return MessageContent(text=title, shown=shown)


def _flatten_answers(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and depth < 6:
        for key, inner in value.items():
            yield from _flatten_answers(inner, f"{name} · {key}" if name else one_line(key, 100), depth + 1)
    elif isinstance(value, list) and depth < 6:
        for inner in value:
            yield from _flatten_answers(inner, name, depth + 1)
    elif value is not None and value != "":
        yield one_line(name, 300), several_lines(str(value), 1000)


def _read_call(body: Any) -> MessageContent | None:
    return MessageContent(shown={"what": "call"})


def _read_welcome(body: Any) -> MessageContent | None:
    """Return the content of a first opening of the chat: the client has not written yet."""
    return MessageContent(shown={"what": "welcome"})


def _describe_unsupported(item: Item, kind: str) -> MessageContent:
    """Return the content of a message that the provider does not pass on, or whose type or content is unreadable."""
    unsupported, error = item.get("unsupported"), read_first_error(item)
    inner = as_text(unsupported.get("type")) if isinstance(unsupported, dict) else ""
    name = one_line(inner or kind, 60)
    if error or kind in ("unsupported", "unknown") or kind not in CONTENT_READERS:
        return MessageContent(shown={"what": "unsupported", "kind": name, **error})
    return MessageContent(shown={"what": "empty"} if kind == "text" else {"what": "unreadable", "kind": name})


CONTENT_READERS: Mapping[str, Callable[[Any], MessageContent | None]] = {
    "text": _read_text,
    **{kind: _read_media(kind) for kind in MEDIA},
    "location": _read_location,
    "contacts": _read_cards,
    "interactive": _read_interactive,
    "button": _read_button,
    "order": _read_order,
    "call": _read_call,
    "request_welcome": _read_welcome,
}
