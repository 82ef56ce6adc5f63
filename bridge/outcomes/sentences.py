"""Sentences of failure codes in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .catalog import find_reason

PLACEHOLDER = re.compile(r"%\((\w+)\)s")
REPEATED_ERROR_CODE = re.compile(r"^\(#\d+\)\s*")  # some providers begin error titles with the code


def render_sentence(code: str, details: Mapping[str, Any] | None = None, *, for_admin: bool = False) -> str:
    """Return the sentence of a code in the active language, with its values.

    Without any value the reason's ``without_values`` is used; if only some are missing, they become a dash. A code
    outside the catalog is shown in the provider's own words, or as it is.
    """
    values = {name: value for name, value in (details or {}).items() if str(value).strip()}
    values["provider_error"] = format_provider_error(values)
    reason = find_reason(code)
    if reason is None:
        return render_sentence("provider_failed", values) if values["provider_error"] else code
    text = str(reason.admin_sentence if for_admin and reason.admin_sentence is not None else reason.sentence)
    if "why_code" in values:
        values["why"] = render_sentence(str(values.pop("why_code")), values, for_admin=for_admin)
    names = PLACEHOLDER.findall(text)
    if not names:
        return text
    if reason.without_values is not None and not any(values.get(name) for name in names):
        return str(reason.without_values)
    blank = "" if reason.without_values is None else "—"
    return (text % {name: values.get(name) or blank for name in names}).strip()


def format_provider_error(details: Mapping[str, Any]) -> str:
    """Return the provider's own text and code of a failure, as far as known."""
    code = str(details.get("code") or "").strip()
    text = REPEATED_ERROR_CODE.sub("", str(details.get("title") or details.get("details") or "")).strip()
    return f"{text} ({code})" if text and code else text or code


class BlankMissing(dict[str, Any]):
    """Values for ``%`` formatting; a missing one becomes an empty string."""

    def __missing__(self, key: str) -> str:
        return ""
