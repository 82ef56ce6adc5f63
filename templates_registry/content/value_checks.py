"""Checks of single values before sending: one per ``ValueKind``. Codes have sentences in ``message_catalog``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from .normalization import BLANKS, MAX_SPACES, NEWLINES, REMOVE_INVISIBLE, SPACES, TAB
from .slots import ValueKind

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    Details = Mapping[str, StrOrPromise | int]

URL_LIMIT, COUPON_LIMIT, CODE_LIMIT = 2000, 20, 15
FILENAME_LIMIT, PRODUCT_LIMIT, PAYLOAD_LIMIT, SECTION_TITLE_LIMIT = 240, 100, 256, 24
MAX_SECTIONS, MAX_PRODUCTS = 10, 30
MAX_OFFER_DURATION = timedelta(days=366 * 5)  # a later end of an offer is a typing error

SPACE_RUN = re.compile(f"[{SPACES}]{{{MAX_SPACES + 1}}}")
MEDIA_ID = re.compile(r"[0-9]{6,25}")
NUMBER = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,20})?")
CATALOG_ID = re.compile(r"[0-9]{1,25}")
MILLISECONDS = re.compile(r"[0-9]{13}")
SECONDS = re.compile(r"[0-9]{10}")

ValueProblem = tuple[str, dict[str, int]]
Sections = list[dict[str, Any]]


def check_value(kind: ValueKind, value: str) -> ValueProblem | None:
    """Return why a value cannot be sent: a code of ``message_catalog`` with its details; None if it can."""
    is_blank = not value.translate(REMOVE_INVISIBLE).strip(BLANKS)
    if code := ("empty" if is_blank else "") if kind in MULTILINE else check_text_value(value):
        return code, {}
    check = CHECKS.get(kind)
    return check(value.strip()) if check else None


def check_text_value(value: str) -> str:
    """Return why the provider would not accept a text value: a code, or "" if it would."""
    seen = value.translate(REMOVE_INVISIBLE)
    if not seen.strip(BLANKS):
        return "empty"
    if any(character in NEWLINES for character in seen):
        return "newline"
    if TAB in seen:
        return "tab"
    return "spaces" if SPACE_RUN.search(seen) else ""


# --- files -----------------------------------------------------------------------------------------------


def is_https_link(value: str) -> bool:
    """Tell whether a value is an https URL that the provider could fetch."""
    if any(character.isspace() for character in value) or len(value) > URL_LIMIT:
        return False
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and "." in host.strip(".")


def file_name_from_link(value: str) -> str:
    """Return the file name in a link's path; empty for a link without one and for a media ID."""
    if not is_https_link(value):
        return ""
    name = unquote(urlsplit(value).path.rsplit("/", 1)[-1])
    return "" if _filename(name) or check_text_value(name) else name


def _media(value: str) -> ValueProblem | None:
    return None if MEDIA_ID.fullmatch(value) or is_https_link(value) else ("media_value", {})


def _filename(value: str) -> ValueProblem | None:
    if len(value) > FILENAME_LIMIT:
        return "value_too_long", {"length": len(value), "limit": FILENAME_LIMIT}
    return ("filename_value", {}) if re.search(r"[/\\]", value) or not value.isprintable() else None


# --- places, offers, codes -------------------------------------------------------------------------------


def _between(least: int, most: int, code: str) -> Callable[[str], ValueProblem | None]:
    def check(value: str) -> ValueProblem | None:
        is_right = NUMBER.fullmatch(value) and least <= float(value) <= most
        return None if is_right else (code, {})

    return check


def parse_moment(value: str) -> datetime | None:
    """Parse a date and time, by default in the portal's time zone, or Unix seconds or milliseconds."""
    value = value.strip()
    try:
        if MILLISECONDS.fullmatch(value):
            return datetime.fromtimestamp(int(value) / 1000, UTC)
        if SECONDS.fullmatch(value):
            return datetime.fromtimestamp(int(value), UTC)
        found = parse_datetime(value)
    except (ValueError, OverflowError, OSError):
        return None
    return timezone.make_aware(found) if found and timezone.is_naive(found) else found


def _moment(value: str) -> ValueProblem | None:
    at, now = parse_moment(value), timezone.now()
    if at is None or at > now + MAX_OFFER_DURATION:
        return "moment_value", {}
    return ("moment_past", {}) if at <= now else None


def _at_most(limit: int, code: str = "value_too_long") -> Callable[[str], ValueProblem | None]:
    def check(value: str) -> ValueProblem | None:
        return (code, {"length": len(value), "limit": limit}) if len(value) > limit else None

    return check


def _code(value: str) -> ValueProblem | None:
    return ("code_value", {}) if any(map(str.isspace, value)) else _at_most(CODE_LIMIT, "code_too_long")(value)


# --- products --------------------------------------------------------------------------------------------


def _product(value: str) -> ValueProblem | None:
    return ("product_value", {}) if any(map(str.isspace, value)) else _at_most(PRODUCT_LIMIT)(value)


def _catalog(value: str) -> ValueProblem | None:
    return None if CATALOG_ID.fullmatch(value) else ("catalog_value", {})


def parse_sections(value: str) -> Sections | None:
    """Parse products by section into the provider's format; None if the value is malformed.

    Each line is a section: “Title: SKU-1, SKU-2”; a single section needs no title. JSON in the provider's format is
    accepted too.
    """
    if value.lstrip().startswith("["):
        return _sections_of_json(value)
    found = []
    for line in filter(str.strip, value.splitlines()):
        title, colon, products = line.rpartition(":")
        ids = [one.strip() for one in re.split(r"[,;]", products if colon else line) if one.strip()]
        found.append(_section(title.strip(), ids))
    return found


def _section(title: str, ids: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"title": title} if title else {}
    return row | {"product_items": [{"product_retailer_id": one} for one in ids]}


def _sections_of_json(value: str) -> Sections | None:
    try:
        rows = json.loads(value)
        return [_section(row.get("title") or "", [_id(item) for item in row["product_items"]]) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _id(item: dict[str, Any]) -> str:
    found = item["product_retailer_id"]
    if not isinstance(found, str):
        raise TypeError
    return found


def _sections(value: str) -> ValueProblem | None:
    found = parse_sections(value)
    if not found or not all(isinstance(row.get("title", ""), str) and row["product_items"] for row in found):
        return "sections_value", {}
    products = [item["product_retailer_id"] for row in found for item in row["product_items"]]
    if any(_product(one) or not one for one in products):
        return "sections_value", {}
    if len(found) > MAX_SECTIONS or len(products) > MAX_PRODUCTS:
        return "sections_many", {"sections": MAX_SECTIONS, "products": MAX_PRODUCTS}
    titles = [row.get("title", "") for row in found]
    if len(found) > 1 and not all(titles):
        return "sections_title", {}
    longest = max(map(len, titles))
    too_long = {"length": longest, "limit": SECTION_TITLE_LIMIT}
    return ("sections_title_long", too_long) if longest > SECTION_TITLE_LIMIT else None


def _flow_data(value: str) -> ValueProblem | None:
    try:
        is_object = isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        is_object = False
    return None if is_object else ("flow_data_value", {})


MULTILINE = (ValueKind.SECTIONS, ValueKind.FLOW_DATA)
CHECKS: Mapping[ValueKind, Callable[[str], ValueProblem | None]] = {
    ValueKind.CODE: _code,
    ValueKind.MEDIA: _media,
    ValueKind.FILENAME: _filename,
    ValueKind.LATITUDE: _between(-90, 90, "latitude_value"),
    ValueKind.LONGITUDE: _between(-180, 180, "longitude_value"),
    ValueKind.COUPON: _at_most(COUPON_LIMIT, "code_too_long"),
    ValueKind.PRODUCT: _product,
    ValueKind.CATALOG: _catalog,
    ValueKind.SECTIONS: _sections,
    ValueKind.MOMENT: _moment,
    ValueKind.PAYLOAD: _at_most(PAYLOAD_LIMIT),
    ValueKind.FLOW_TOKEN: _at_most(PAYLOAD_LIMIT),
    ValueKind.FLOW_DATA: _flow_data,
}
