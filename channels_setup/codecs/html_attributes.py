"""Meaning of HTML attributes: formatting of elements and styles, numbers of list items, addresses of links."""

from __future__ import annotations

import re
from urllib.parse import unquote

from .whatsapp_markup import CODE

MARKS = {
    **dict.fromkeys(("b", "strong", "h1", "h2", "h3", "h4", "h5", "h6"), "*"),
    **dict.fromkeys(("i", "em"), "_"),
    **dict.fromkeys(("s", "strike", "del"), "~"),
    **dict.fromkeys(("code", "kbd", "samp", "tt"), CODE),
}
STYLES = (
    ("*", re.compile(r"font-weight\s*:\s*(?P<on>bold|bolder|[6-9]00)?(?P<off>normal|lighter|[1-5]00)?", re.I)),
    ("_", re.compile(r"font-style\s*:\s*(?P<on>italic|oblique)?(?P<off>normal)?", re.I)),
    ("~", re.compile(r"text-decoration(?:-line)?\s*:\s*(?P<on>[^;]{0,40}line-through)?(?P<off>none)?", re.I)),
)
HIDES = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
SCHEMES = ("https://", "http://", "tg://", "viber://", "whatsapp://", "skype:", "geo:")
NUMBER_SCHEMES = ("tel:", "sms:", "callto:")


def list_marks(name: str, style: str) -> frozenset[str]:
    """Return WhatsApp's marks for the formatting that an element and its style add."""
    found = {MARKS[name]} if name in MARKS else set()
    for mark, pattern in STYLES if style else ():
        match = pattern.search(style)
        if match and match["on"]:
            found.add(mark)
    return frozenset(found)


def list_marks_off(style: str) -> frozenset[str]:
    """Return the marks whose formatting a style ends. ``text-decoration`` is not inherited, so it ends nothing."""
    matches = [(mark, pattern.search(style)) for mark, pattern in STYLES[:2]]
    return frozenset(mark for mark, match in matches if match and match["off"])


def format_item_number(number: int, style: str) -> str:
    """Return an item's number in the list's style: digits, or the letters of ``type="a"``."""
    if style in ("a", "A") and 1 <= number <= 26:
        return chr(ord(style) + number - 1)
    return str(number)


def read_link_target(address: str) -> tuple[str, str]:
    """Return the address to show after a link's words, and its separator: ":" or "(".

    Both are empty for an address that opens nothing, such as ``#top`` or ``javascript:``.
    """
    lower = address.lower()
    if lower.startswith(NUMBER_SCHEMES):
        return unquote(address.split(":", 1)[1].split("?")[0].removeprefix("//")).strip(), ":"
    if lower.startswith("mailto:"):
        return unquote(address[7:].split("?")[0]).strip(), ":"
    if lower.startswith("//"):
        return f"https:{address}", "("
    return (address, "(") if lower.startswith(SCHEMES) else ("", "")


def repeats_target(shown: str, target: str) -> bool:
    """Tell whether the words of a link repeat its address."""
    if target.lower() in shown.lower():
        return True
    digits = re.sub(r"\D", "", target)
    if len(digits) > 5 and re.fullmatch(r"[+\d ()\xa0.-]+", target):
        return digits[-10:] in re.sub(r"\D", "", shown)
    bare = re.sub(r"^https?://(?:www\.)?", "", target.lower()).rstrip("/")
    return bare == re.sub(r"^(?:https?://)?(?:www\.)?", "", shown.lower()).rstrip("/")
