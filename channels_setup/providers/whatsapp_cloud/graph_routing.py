"""Which number or account each change of a Graph API webhook is for; samples and groups among them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from channels_setup.codecs.values import as_text

NUMBER_FIELDS = ("phone_number_quality_update", "phone_number_name_update")  # they name the number by its digits
GROUP_FIELDS = (
    *("group_lifecycle_update", "group_participants_update", "group_settings_update", "group_status_update"),
)
# The dashboard's button "Test" sends every sample from this account, and messages to this number.
SAMPLE_ACCOUNT, SAMPLE_NUMBER = "0", "123456123"
NON_DIGIT = re.compile(r"[^0-9]")


@dataclass(frozen=True, kw_only=True)
class RoutingTarget:
    """Which account and number a body must be about to be ours. Empty: not known, so everything is."""

    account_id: str = ""
    number_id: str = ""
    number: str = ""  # digits


@dataclass(frozen=True, kw_only=True)
class MisroutedChange:
    """A change that concerns another number or account, in an entry of its own; see ``MisroutedItem``."""

    entry: dict[str, Any]
    number_id: str = ""
    account_id: str = ""
    number: str = ""
    is_optional: bool = False


def read_number_id(value: Mapping[str, Any]) -> str:
    """The phone number ID that the change is for; empty where it concerns the account."""
    metadata = value.get("metadata")
    return as_text(metadata.get("phone_number_id")) if isinstance(metadata, dict) else ""


def is_for_target(entry: Mapping[str, Any], field: str, value: Mapping[str, Any], place: RoutingTarget) -> bool:
    """Whether a change with a number's ID bears ours, and any other our account's."""
    number_id = read_number_id(value)
    if number_id and place.number_id:
        return number_id == place.number_id
    account = as_text(entry.get("id"))
    if account and place.account_id and account != place.account_id:
        return False
    named = read_named_number(field, value)
    return not (named and place.number) or named == place.number


def read_named_number(field: str, value: Mapping[str, Any]) -> str:
    """The digits of the number that news of a number are about; its format differs from webhook to webhook."""
    return NON_DIGIT.sub("", as_text(value.get("display_phone_number"))) if field in NUMBER_FIELDS else ""


def is_sample(entry: Mapping[str, Any], value: Mapping[str, Any], place: RoutingTarget) -> bool:
    """Whether the provider's dashboard made it up to test the address."""
    number_id = read_number_id(value)
    if number_id and number_id == place.number_id:
        return False
    return as_text(entry.get("id")) == SAMPLE_ACCOUNT or number_id == SAMPLE_NUMBER


def read_group_id(item: Mapping[str, Any]) -> str:
    """The group in which a message was written, or to which it went; empty for private ones."""
    if as_text(item.get("recipient_type")).lower() == "group":
        return as_text(item.get("group_id") or item.get("recipient_id") or item.get("to"))[:190] or "?"
    return as_text(item.get("group_id"))[:190]


def find_misrouted_changes(
    body: Mapping[str, Any], place: RoutingTarget, *, matters: Callable[[str, Mapping[str, Any]], bool]
) -> Iterator[MisroutedChange]:
    """Every change that other numbers or accounts should see, in its order.

    ``matters`` says of a field and its value whether anything is read from it; nobody misses the rest.
    """
    entries = body.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        changes = entry.get("changes") if isinstance(entry, dict) else None
        for change in changes if isinstance(changes, list) else ():
            value = change.get("value") if isinstance(change, dict) else None
            if not isinstance(value, dict):
                continue
            found = _misrouted(entry, change, value, place)
            if found is not None and matters(as_text(change.get("field")), value):
                yield found


def _misrouted(
    entry: Mapping[str, Any], change: dict[str, Any], value: Mapping[str, Any], place: RoutingTarget
) -> MisroutedChange | None:
    if is_sample(entry, value, place):
        return None
    field, number_id, account_id = as_text(change.get("field")), read_number_id(value), as_text(entry.get("id"))
    alone = {**entry, "changes": [change]}
    if is_for_target(entry, field, value, place):
        # News of the account concern all its numbers, unless they name ours.
        is_everybodys = bool(account_id) and not number_id and not (place.number and read_named_number(field, value))
        if not is_everybodys:
            return None
        return MisroutedChange(
            entry=alone, account_id=account_id, number=read_named_number(field, value), is_optional=True
        )
    if number_id:
        return MisroutedChange(entry=alone, number_id=number_id)
    named = read_named_number(field, value)
    return MisroutedChange(entry=alone, account_id=account_id, number=named, is_optional=account_id == place.account_id)


def pack_entries(entries: Sequence[Mapping[str, Any]]) -> bytes:
    body = {"object": "whatsapp_business_account", "entry": list(entries)}
    return json.dumps(body, separators=(",", ":")).encode()
