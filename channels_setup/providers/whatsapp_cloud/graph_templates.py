"""Templates in the Graph API's format: updates from webhooks, bodies of submissions and edits.

The keys of an update's body decide what it is, not the name of its field: quality updates have been observed in the
field for status updates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.facts import Fact, TemplateChanged
from channels_setup.codecs.values import as_text, parse_unix_time

from .graph_contacts import one_line

STATUS_BY_EVENT = {"FLAGGED": "APPROVED"}  # a warning: the template can be sent until WhatsApp pauses it
EVENTS_WITHOUT_STATUS = ("REINSTATED", "UNARCHIVED")  # the new status is missing: read the list again


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
        yield _read_category_update(known, value)
    else:
        yield TemplateChanged(**known, reread=True)


def _read_category_update(known: dict[str, Any], value: Mapping[str, Any]) -> TemplateChanged:
    """Read a category update. Meta's ``new_category`` is the current one; ``correct_category`` the announced one."""
    current = one_line(value.get("new_category"), 40).upper()
    announced = one_line(value.get("correct_category"), 40).upper()
    try:
        at = parse_unix_time(value.get("category_update_timestamp"))
    except BadBody:
        at = None
    return TemplateChanged(**known, category=current, next_category=announced, next_category_at=at)


def _read_reason(value: Mapping[str, Any]) -> str:
    """Return the provider's reason, its recommendation and the date of a deactivation, in its own words."""
    texts = [] if (reason := one_line(value.get("reason"), 100)).upper() in ("", "NONE") else [reason]
    for name, members in (("rejection_info", ("reason", "recommendation")), ("other_info", ("title", "description"))):
        inner = value.get(name)
        if isinstance(inner, dict):
            texts += [one_line(inner.get(member), 500) for member in members]
    disabled = value.get("disable_info")
    if isinstance(disabled, dict) and (date := disabled.get("disable_date")):
        texts.append(_format_date(date))
    return " · ".join(filter(None, texts))[:1000]


def _format_date(value: Any) -> str:
    """Format a Unix time as a date. Older versions of the API send text, which stays as it is."""
    try:
        at = parse_unix_time(value)
    except BadBody:
        at = None
    return f"→ {at:%Y-%m-%d}" if at else one_line(value, 60)


# --- submissions -----------------------------------------------------------------------------------------

CODE_LINK = re.compile(r"whatsapp\.com/otp/.*[?&]otp_type=([a-z_]+)", re.IGNORECASE)
MEDIA_HEADERS = ("IMAGE", "VIDEO", "DOCUMENT", "GIF")


def build_submission_body(row: Mapping[str, Any], *, samples: Mapping[str, str]) -> dict[str, Any]:
    """Build the body that creates a template. ``samples`` holds handles of sample files by variable key."""
    properties = {name: row[name] for name in ("name", "language", "category", "parameter_format") if row.get(name)}
    return {**properties, "components": _build_components(row, samples)}


def build_edit_body(row: Mapping[str, Any], *, samples: Mapping[str, str]) -> dict[str, Any]:
    """Build the body that edits a template: all components, and the category unless the template is approved."""
    body: dict[str, Any] = {"components": _build_components(row, samples)}
    return body if row.get("status") == "APPROVED" else {"category": row["category"], **body}


def _build_components(row: Mapping[str, Any], samples: Mapping[str, str]) -> list[dict[str, Any]]:
    components = [_build_component(each, samples) for each in row["components"]]
    if row.get("category") != "AUTHENTICATION":
        return components
    return [_convert_authentication_component(each) for each in components]


def _build_component(component: Mapping[str, Any], samples: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    kind, form = one_line(component.get("type"), 40).upper(), one_line(component.get("format"), 40).upper()
    if kind == "HEADER" and form in MEDIA_HEADERS:
        # The list's example is a temporary link, which a submission does not accept.
        sample = samples.get(f"{prefix}header.media", "")
        return {"type": kind, "format": form, "example": {"header_handle": [sample]}}
    if kind == "BUTTONS":
        buttons = component.get("buttons") or ()
        return {**component, "buttons": [_remove_fixed_text(each) for each in buttons if isinstance(each, Mapping)]}
    if kind == "CAROUSEL":
        cards = component.get("cards") or ()
        return {**component, "cards": [_build_card(each, samples, number) for number, each in enumerate(cards)]}
    return dict(component)


def _build_card(card: Mapping[str, Any], samples: Mapping[str, str], number: int) -> dict[str, Any]:
    components = card.get("components") or ()
    return {**card, "components": [_build_component(each, samples, f"card.{number}.") for each in components]}


def _remove_fixed_text(button: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the text of a button that copies a code: the provider sets it."""
    return {name: value for name, value in button.items() if name != "text" or button.get("type") != "COPY_CODE"}


def _convert_authentication_component(component: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the text and link of an authentication template: the list has them, a submission must not."""
    if component["type"] == "BUTTONS":
        return {**component, "buttons": [_convert_code_button(each) for each in component["buttons"]]}
    has_own_text = component["type"] == "FOOTER" and "code_expiration_minutes" not in component
    return {name: value for name, value in component.items() if has_own_text or name not in ("text", "example")}


def _convert_code_button(button: Mapping[str, Any]) -> dict[str, Any]:
    kind = CODE_LINK.search(one_line(button.get("url"), 2000))
    if button.get("type") != "URL" or kind is None:
        return dict(button)
    rest = {name: value for name, value in button.items() if name not in ("type", "url", "example")}
    return {"type": "OTP", "otp_type": kind[1].upper(), **rest}
