"""Routing of Graph API webhooks: the number or account of each change, samples, groups."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from channels_setup.codecs.values import as_text

NUMBER_FIELDS = ("phone_number_quality_update", "phone_number_name_update")  # contain the number instead of its ID
GROUP_FIELDS = (
    *("group_lifecycle_update", "group_participants_update", "group_settings_update", "group_status_update"),
)
# The button "Test" of Meta's app dashboard sends samples with this account ID, and messages with this number ID.
SAMPLE_ACCOUNT, SAMPLE_NUMBER = "0", "123456123"
NON_DIGIT = re.compile(r"[^0-9]")


@dataclass(frozen=True, kw_only=True)
class RoutingTarget:
    """Account and number of the receiving channel. An empty field is unknown and matches everything."""

    account_id: str = ""
    number_id: str = ""
    number: str = ""  # digits


@dataclass(frozen=True, kw_only=True)
class MisroutedChange:
    """A change that other channels should receive, alone in its entry; see ``MisroutedItem``."""

    entry: dict[str, Any]
    number_id: str = ""
    account_id: str = ""
    number: str = ""
    is_optional: bool = False


def read_number_id(value: Mapping[str, Any]) -> str:
    """Return the phone number ID of the change; "" if the change is about the account."""
    metadata = value.get("metadata")
    return as_text(metadata.get("phone_number_id")) if isinstance(metadata, dict) else ""


def is_for_target(entry: Mapping[str, Any], field: str, value: Mapping[str, Any], target: RoutingTarget) -> bool:
    """Return whether a change is for the target: by its number ID if it has one, otherwise by account and number."""
    number_id = read_number_id(value)
    if number_id and target.number_id:
        return number_id == target.number_id
    account = as_text(entry.get("id"))
    if account and target.account_id and account != target.account_id:
        return False
    number = read_named_number(field, value)
    return not (number and target.number) or number == target.number


def read_named_number(field: str, value: Mapping[str, Any]) -> str:
    """Return the digits of the number that a number update is about. Its format differs between webhooks."""
    return NON_DIGIT.sub("", as_text(value.get("display_phone_number"))) if field in NUMBER_FIELDS else ""


def is_sample(entry: Mapping[str, Any], value: Mapping[str, Any], target: RoutingTarget) -> bool:
    """Return whether the change is a sample from the provider's dashboard."""
    number_id = read_number_id(value)
    if number_id and number_id == target.number_id:
        return False
    return as_text(entry.get("id")) == SAMPLE_ACCOUNT or number_id == SAMPLE_NUMBER


def read_group_id(item: Mapping[str, Any]) -> str:
    """Return the ID of the group that the message or status belongs to; "" for private chats."""
    if as_text(item.get("recipient_type")).lower() == "group":
        return as_text(item.get("group_id") or item.get("recipient_id") or item.get("to"))[:190] or "?"
    return as_text(item.get("group_id"))[:190]


def find_misrouted_changes(
    body: Mapping[str, Any], target: RoutingTarget, *, is_relevant: Callable[[str, Mapping[str, Any]], bool]
) -> Iterator[MisroutedChange]:
    """Yield the changes that other numbers or accounts should receive, in their order.

    ``is_relevant`` takes a field and its value; changes from which no facts are read are skipped.
    """
    entries = body.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        changes = entry.get("changes") if isinstance(entry, dict) else None
        for change in changes if isinstance(changes, list) else ():
            value = change.get("value") if isinstance(change, dict) else None
            if not isinstance(value, dict):
                continue
            found = _find_misrouted_change(entry, change, value, target)
            if found is not None and is_relevant(as_text(change.get("field")), value):
                yield found


def _find_misrouted_change(
    entry: Mapping[str, Any], change: dict[str, Any], value: Mapping[str, Any], target: RoutingTarget
) -> MisroutedChange | None:
    if is_sample(entry, value, target):
        return None
    field, number_id, account_id = as_text(change.get("field")), read_number_id(value), as_text(entry.get("id"))
    single = {**entry, "changes": [change]}
    if is_for_target(entry, field, value, target):
        # An update of the account concerns all its numbers, unless it is about the target's number.
        is_for_all = bool(account_id) and not number_id and not (target.number and read_named_number(field, value))
        if not is_for_all:
            return None
        return MisroutedChange(
            entry=single, account_id=account_id, number=read_named_number(field, value), is_optional=True
        )
    if number_id:
        return MisroutedChange(entry=single, number_id=number_id)
    number = read_named_number(field, value)
    is_optional = account_id == target.account_id
    return MisroutedChange(entry=single, account_id=account_id, number=number, is_optional=is_optional)


def pack_entries(entries: Sequence[Mapping[str, Any]]) -> bytes:
    body = {"object": "whatsapp_business_account", "entry": list(entries)}
    return json.dumps(body, separators=(",", ":")).encode()
