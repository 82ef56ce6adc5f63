"""Templates in the Graph API's shape: what its webhooks say of them, and how one is handed in.

News are decided by what a body holds and not by its field's name: a rating has been seen under the name of a status.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.facts import Fact, TemplateChanged
from channels_setup.codecs.values import as_text, parse_unix_time

from .graph_contacts import one_line

STATUS_BY_EVENT = {"FLAGGED": "APPROVED"}  # a warning: it may go out until it is paused
EVENTS_WITHOUT_STATUS = ("REINSTATED", "UNARCHIVED")  # back, but as what: the list has to be read again


def read_template_update(field: str, value: Mapping[str, Any]) -> Iterator[Fact]:
    known: dict[str, Any] = {
        "external_id": as_text(value.get("message_template_id"))[:190],
        "name": one_line(value.get("message_template_name"), 512),
        "language": one_line(value.get("message_template_language"), 20).replace("-", "_"),
    }
    if not known["external_id"] and not (known["name"] and known["language"]):
        return
    if event := one_line(value.get("event"), 40).upper():
        yield TemplateChanged(
            **known,
            status="" if event in EVENTS_WITHOUT_STATUS else STATUS_BY_EVENT.get(event, event),
            reason=_read_reason(value),
            reread=event in EVENTS_WITHOUT_STATUS,
        )
    elif quality := one_line(value.get("new_quality_score"), 20).upper():
        yield TemplateChanged(**known, quality=quality)
    elif "new_category" in value or "correct_category" in value:
        yield _category(known, value)
    else:
        yield TemplateChanged(**known, reread=True)


def _category(known: dict[str, Any], value: Mapping[str, Any]) -> TemplateChanged:
    """Announced a day ahead, ``new_category`` is the present one; once it is done, it is the new one."""
    current = one_line(value.get("new_category"), 40).upper()
    coming = one_line(value.get("correct_category"), 40).upper()
    try:
        at = parse_unix_time(value.get("category_update_timestamp"))
    except BadBody:
        at = None
    return TemplateChanged(**known, category=current, next_category=coming, next_category_at=at)


def _read_reason(value: Mapping[str, Any]) -> str:
    """The provider's words: its reason, what it recommends, how long a pause lasts."""
    words = [] if (reason := one_line(value.get("reason"), 100)).upper() in ("", "NONE") else [reason]
    for name, members in (("rejection_info", ("reason", "recommendation")), ("other_info", ("title", "description"))):
        inner = value.get(name)
        if isinstance(inner, dict):
            words += [one_line(inner.get(member), 500) for member in members]
    disabled = value.get("disable_info")
    if isinstance(disabled, dict) and (date := disabled.get("disable_date")):
        words.append(_day(date))
    return " · ".join(filter(None, words))[:1000]


def _day(given: Any) -> str:
    """Seconds as a day; an older form is text already."""
    try:
        at = parse_unix_time(given)
    except BadBody:
        at = None
    return f"→ {at:%Y-%m-%d}" if at else one_line(given, 60)


# --- handed in -------------------------------------------------------------------------------------------

CODE_LINK = re.compile(r"whatsapp\.com/otp/.*[?&]otp_type=([a-z_]+)", re.IGNORECASE)
MEDIA_HEADERS = ("IMAGE", "VIDEO", "DOCUMENT", "GIF")


def build_submission_body(row: Mapping[str, Any], *, samples: Mapping[str, str]) -> dict[str, Any]:
    """The body that creates a template. ``samples``: handles of sample files, by the keys of their variables."""
    made = {name: row[name] for name in ("name", "language", "category", "parameter_format") if row.get(name)}
    return {**made, "components": _components(row, samples)}


def build_edit_body(row: Mapping[str, Any], *, samples: Mapping[str, str]) -> dict[str, Any]:
    """The body that changes one: all its components anew; the category only while it is not approved."""
    body: dict[str, Any] = {"components": _components(row, samples)}
    return body if row.get("status") == "APPROVED" else {"category": row["category"], **body}


def _components(row: Mapping[str, Any], samples: Mapping[str, str]) -> list[dict[str, Any]]:
    components = [_component(each, samples) for each in row["components"]]
    return [_for_code(each) for each in components] if row.get("category") == "AUTHENTICATION" else components


def _component(component: Mapping[str, Any], samples: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    kind, form = one_line(component.get("type"), 40).upper(), one_line(component.get("format"), 40).upper()
    if kind == "HEADER" and form in MEDIA_HEADERS:
        # What the list gives as the example is a link for a while, and is not taken back.
        sample = samples.get(f"{prefix}header.media", "")
        return {"type": kind, "format": form, "example": {"header_handle": [sample]}}
    if kind == "BUTTONS":
        buttons = component.get("buttons") or ()
        return {**component, "buttons": [_button(each) for each in buttons if isinstance(each, Mapping)]}
    if kind == "CAROUSEL":
        cards = component.get("cards") or ()
        return {**component, "cards": [_card(each, samples, number) for number, each in enumerate(cards)]}
    return dict(component)


def _card(card: Mapping[str, Any], samples: Mapping[str, str], number: int) -> dict[str, Any]:
    components = card.get("components") or ()
    return {**card, "components": [_component(each, samples, f"card.{number}.") for each in components]}


def _button(button: Mapping[str, Any]) -> dict[str, Any]:
    """The words on a button that copies a code are the provider's own."""
    return {name: value for name, value in button.items() if name != "text" or button.get("type") != "COPY_CODE"}


def _for_code(component: Mapping[str, Any]) -> dict[str, Any]:
    """Text and link of an authentication template are the provider's: listed, and not taken back."""
    if component["type"] == "BUTTONS":
        return {**component, "buttons": [_code_button(each) for each in component["buttons"]]}
    own_words = component["type"] == "FOOTER" and "code_expiration_minutes" not in component
    return {name: value for name, value in component.items() if own_words or name not in ("text", "example")}


def _code_button(button: Mapping[str, Any]) -> dict[str, Any]:
    kind = CODE_LINK.search(one_line(button.get("url"), 2000))
    if button.get("type") != "URL" or kind is None:
        return dict(button)
    kept = {name: value for name, value in button.items() if name not in ("type", "url", "example")}
    return {"type": "OTP", "otp_type": kind[1].upper(), **kept}
