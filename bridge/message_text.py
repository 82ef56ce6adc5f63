"""Preview of a chat's last message, as chat lists show it.

``Conversation.last_text`` holds the preview. A message without text is stored as a code after a private-use character
and translated when it is displayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels_setup.codecs import message_extras
from channels_setup.codecs.values import as_text

PREVIEW_CODE = "\ue000"  # followed by ``what:kind``
WITHOUT_WORDS = message_extras.WITHOUT_WORDS


def build_preview(text: str, shown: Any) -> str:
    """Return the stored preview of a message: its text, or a code for a message without text."""
    shown = shown if isinstance(shown, Mapping) else {}
    what = as_text(shown.get("what"))
    if what in WITHOUT_WORDS and "edited_at" not in shown:
        return f"{PREVIEW_CODE}{what}:{as_text(shown.get('kind'))}"
    if what in ("order", "flow") and "edited_at" not in shown and not as_text(shown.get("own", text)):
        return f"{PREVIEW_CODE}{what}:"
    return text.replace(PREVIEW_CODE, "")


def render_preview(kept: str) -> str:
    """Return a stored preview in the active language."""
    if not kept.startswith(PREVIEW_CODE):
        return kept
    what, _colon, kind = kept.removeprefix(PREVIEW_CODE).partition(":")
    if what in ("order", "flow"):
        return message_extras.compose_text("", {"what": what, "own": ""})
    return message_extras.compose_text("", {"what": what, "kind": kind}).split("\n")[0] if what in WITHOUT_WORDS else ""
