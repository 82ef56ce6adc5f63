"""Facts of the Graph API's webhooks. Every entry, change, message and status is read on its own.

An unreadable item never affects the others. Items for other numbers or accounts yield no facts (``graph_routing``
passes them on), and unknown fields or types are no errors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.error_descriptions import describe_error
from channels_setup.codecs.facts import (
    AccountUpdate,
    ContactChanged,
    ContactInfo,
    EchoSeen,
    Fact,
    GroupActivity,
    ItemUnreadable,
    MessageEdited,
    MessageReceived,
    MessageRevoked,
    ReactionChanged,
    SampleReceived,
    StatusChanged,
)
from channels_setup.codecs.values import as_text, parse_unix_time

from . import graph_errors
from .graph_contact_changes import read_contact_change
from .graph_contacts import ContactCards, one_line, read_user_id, read_wa_id
from .graph_messages import MessageContent, read_content, read_first_error, read_quoted_id
from .graph_routing import GROUP_FIELDS, RoutingTarget, is_for_target, is_sample, read_group_id
from .graph_templates import read_template_update

logger = logging.getLogger(__name__)

STATUSES = {"sent": "sent", "delivered": "delivered", "read": "read", "played": "read", "failed": "failed"}
FIRST_MILLISECOND_TIMESTAMP = 10**11  # timestamps from this value on are in milliseconds


def read_facts(body: Mapping[str, Any], target: RoutingTarget) -> list[Fact]:
    """Return the facts of a body in their order; of one change, messages before statuses."""
    entries = body.get("entry")
    if not isinstance(entries, list):
        return []
    found: list[Fact] = []
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("changes"), list):
            for change in entry["changes"]:
                found.extend(_read_change(entry, change, target))
    return found


def _read_change(entry: Mapping[str, Any], change: Any, target: RoutingTarget) -> Iterator[Fact]:
    value = change.get("value") if isinstance(change, dict) else None
    if not isinstance(value, dict):
        return
    field = as_text(change.get("field"))
    if is_sample(entry, value, target):
        yield SampleReceived(event=field[:60])
        return
    if not is_for_target(entry, field, value, target):
        return
    read = FIELD_READERS.get(field)
    if read is None:
        return
    try:
        yield from read(field, value)
    except BadBody as problem:
        yield ItemUnreadable(problem=str(problem))
    except Exception as problem:  # a bug of ours must not lose the other changes of the body
        logger.exception("cannot read a change of a webhook")
        yield ItemUnreadable(problem=describe_error(problem))


def has_facts(field: str, value: Mapping[str, Any]) -> bool:
    """Return whether facts can be read from a change, no matter which channel it is for."""
    read = FIELD_READERS.get(field)
    try:
        return read is not None and any(True for _fact in read(field, value))
    except BadBody:
        return True


# --- messages and statuses -------------------------------------------------------------------------------


def _read_messages(field: str, value: Mapping[str, Any]) -> Iterator[Fact]:
    cards = ContactCards.read(value.get("contacts"))
    for item in _get_items(value, "messages"):
        yield from _read_item(item, lambda item: _read_message(item, cards))
    error = read_first_error(value)
    is_assigned = False
    for item in _get_items(value, "statuses"):
        if error and isinstance(item, dict) and item.get("status") == "failed" and not read_first_error(item):
            item, is_assigned = {**item, "errors": value["errors"]}, True
        yield from _read_item(item, _read_status)
    if error and not is_assigned:
        yield _read_unassigned_error(error)


def _get_items(value: Mapping[str, Any], name: str) -> list[Any]:
    items = value.get(name)
    return items if isinstance(items, list) else []


def _read_item(item: Any, read: Callable[[Mapping[str, Any]], Fact | None]) -> Iterator[Fact]:
    if isinstance(item, dict) and (group_id := read_group_id(item)):
        yield GroupActivity(event="status" if "status" in item else "message", group_id=group_id)
        return
    try:
        fact = read(item) if isinstance(item, dict) else ItemUnreadable(problem=_("Not an object."))
    except BadBody as problem:
        fact = ItemUnreadable(problem=str(problem))
    except Exception as problem:  # a bug of ours must not lose the other items
        logger.exception("cannot read an item of a webhook")
        fact = ItemUnreadable(problem=describe_error(problem))
    if fact is not None:
        yield fact


def _read_message(item: Mapping[str, Any], cards: ContactCards) -> Fact | None:
    contact = cards.find_contact([item.get("from")], [item.get("from_user_id")])
    external_id, at, kind = as_text(item.get("id"))[:190], _read_time(item), as_text(item.get("type"))
    if not external_id:
        return ItemUnreadable(problem=_("A message without an ID."))
    if kind == "system" and (change := read_contact_change(item, cards, at=at)) is not None:
        return change
    if not contact.external_id and not contact.user_id:
        return ItemUnreadable(problem=_("A message without a sender."))
    if kind == "system":
        return None
    if kind in CORRECTIONS:
        return CORRECTIONS[kind](item, contact, False)
    content = read_content(item)
    return MessageReceived(
        contact=contact,
        external_id=external_id,
        at=at,
        text=content.text,
        files=content.files,
        quoted_id=read_quoted_id(item),
        shown=content.shown,
        opens_window=content.shown.get("what") != "welcome",
    )


def _read_time(item: Mapping[str, Any]) -> datetime | None:
    """Return the provider's time, or None if it is missing or unreadable; then the time of receipt counts."""
    try:
        at = parse_unix_time(item.get("timestamp"))
    except BadBody:
        return None
    return at if at is None or at.timestamp() < FIRST_MILLISECOND_TIMESTAMP else parse_unix_time(at.timestamp() / 1000)


def _read_reaction(item: Mapping[str, Any], contact: ContactInfo, by_us: bool) -> Fact | None:
    body = _get_object(item, "reaction")
    return ReactionChanged(
        contact=contact,
        target_id=as_text(body.get("message_id"))[:190],
        emoji=as_text(body.get("emoji"))[:40],
        external_id=as_text(item.get("id"))[:190],
        at=_read_time(item),
        by_us=by_us,
    )


def _read_edit(item: Mapping[str, Any], contact: ContactInfo, by_us: bool) -> Fact | None:
    body = _get_object(item, "edit")
    inner = body.get("message")
    content = read_content(inner) if isinstance(inner, dict) else MessageContent()
    return MessageEdited(
        contact=contact,
        target_id=as_text(body.get("original_message_id"))[:190],
        text=content.text,
        external_id=as_text(item.get("id"))[:190],
        at=_read_time(item),
        by_us=by_us,
    )


def _read_revoke(item: Mapping[str, Any], contact: ContactInfo, by_us: bool) -> Fact | None:
    return MessageRevoked(
        contact=contact,
        target_id=as_text(_get_object(item, "revoke").get("original_message_id"))[:190],
        external_id=as_text(item.get("id"))[:190],
        at=_read_time(item),
        by_us=by_us,
    )


CORRECTIONS: Mapping[str, Callable[[Mapping[str, Any], ContactInfo, bool], Fact | None]] = {
    "reaction": _read_reaction,
    "edit": _read_edit,
    "revoke": _read_revoke,
}


def _get_object(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    body = item.get(name)
    return body if isinstance(body, dict) else {}


def _read_status(item: Mapping[str, Any]) -> Fact | None:
    """Read a status. Unknown ones, "deleted" and "warning" say nothing about the delivery and yield None."""
    status, external_id = STATUSES.get(as_text(item.get("status")).lower()), as_text(item.get("id"))[:190]
    if status is None:
        return None
    if not external_id:
        return ItemUnreadable(problem=_("A status without a message ID."))
    error = read_first_error(item) if status == "failed" else {}
    return StatusChanged(
        status=status,
        external_id=external_id,
        key=as_text(item.get("biz_opaque_callback_data"))[:40],
        at=_read_time(item),
        code=error.get("code", ""),
        title=error.get("title", ""),
        details=error.get("details", ""),
        reason=graph_errors.find_reason_code(error.get("code", ""), error.get("details", "")) if error else "",
    )


def _read_unassigned_error(error: Mapping[str, str]) -> Fact:
    """Return the fact of an error that belongs to no message or status of its webhook."""
    details = " · ".join(filter(None, (error.get("title"), error.get("details"))))
    return AccountUpdate(event=error.get("code", ""), details=details, level="error")


# --- echoes, calls, contacts -----------------------------------------------------------------------------


def _read_echoes(field: str, value: Mapping[str, Any]) -> Iterator[Fact]:
    cards = ContactCards.read(value.get("contacts"))
    for item in _get_items(value, "message_echoes"):
        yield from _read_item(item, lambda item: _read_echo(item, cards))


def _read_echo(item: Mapping[str, Any], cards: ContactCards) -> Fact | None:
    contact = cards.find_contact([item.get("to")], [item.get("to_user_id"), item.get("recipient_user_id")])
    external_id, kind = as_text(item.get("id"))[:190], as_text(item.get("type"))
    if not external_id or not (contact.external_id or contact.user_id):
        return ItemUnreadable(problem=_("A message from the phone app without a recipient."))
    if kind in CORRECTIONS:
        return CORRECTIONS[kind](item, contact, True)
    content = read_content(item)
    return EchoSeen(
        contact=contact,
        external_id=external_id,
        at=_read_time(item),
        text=content.text,
        files=content.files,
        quoted_id=read_quoted_id(item),
        shown=content.shown,
    )


def _read_calls(field: str, value: Mapping[str, Any]) -> Iterator[Fact]:
    """Read calls from contacts. A call opens the service window like a message."""
    cards = ContactCards.read(value.get("contacts"))
    for item in _get_items(value, "calls"):
        if isinstance(item, dict) and item.get("direction") == "USER_INITIATED" and item.get("event") == "connect":
            yield from _read_item({**item, "type": "call", "call": {}}, lambda item: _read_message(item, cards))


def _read_user_ids(field: str, value: Mapping[str, Any]) -> Iterator[Fact]:
    for item in _get_items(value, "user_id_update"):
        ids = _get_object(item, "user_id") if isinstance(item, dict) else {}
        before, after = read_user_id(ids.get("previous")), read_user_id(ids.get("current"))
        number = read_wa_id(item.get("wa_id")) if isinstance(item, dict) else ""
        if after and (before or number):
            contact = ContactInfo(external_id=number, user_id=before)
            phone = f"+{number}" if number else ""
            now = ContactInfo(external_id=number, phone=phone, user_id=after)
            yield ContactChanged(contact=contact, now=now, at=_read_time(item))


def _read_preferences(field: str, value: Mapping[str, Any]) -> Iterator[Fact]:
    for item in _get_items(value, "user_preferences"):
        if not isinstance(item, dict) or item.get("category") != "marketing_messages":
            continue
        contact = ContactInfo(external_id=read_wa_id(item.get("wa_id")), user_id=read_user_id(item.get("user_id")))
        reason = {"stop": "marketing_stopped", "resume": "marketing_resumed"}.get(as_text(item.get("value")))
        if reason and (contact.external_id or contact.user_id):
            update_id = f"{reason} {as_text(item.get('timestamp'))[:20]}"
            yield ContactChanged(
                contact=contact,
                reason=reason,
                at=_read_time(item),
                external_id=update_id,
                marketing=reason == "marketing_resumed",
            )


def _read_groups(field: str, value: Mapping[str, Any]) -> Iterator[Fact]:
    """Read events of groups: created, joined, renamed, suspended."""
    items = [item for item in _get_items(value, "groups") if isinstance(item, dict)]
    for item in items or [{}]:
        yield GroupActivity(event=field, group_id=as_text(item.get("group_id"))[:190])


# --- the account -----------------------------------------------------------------------------------------

NEGATIVE_EVENTS = (
    "RESTRICT",
    "VIOLATION",
    "DISABLE",
    "DELETED",
    "REMOVED",
    "OFFBOARDED",
    "FLAGGED",
    "REJECTED",
    "CRITICAL",
)
POSITIVE_EVENTS = ("UNFLAGGED", "REINSTATE")
DETAIL_OBJECTS = ("alert_info", "ban_info", "violation_info", "disconnection_info", "volume_tier_info")


def _read_account(field: str, value: Mapping[str, Any]) -> Iterator[Fact]:
    alert = _get_object(value, "alert_info")
    event = one_line(value.get("event") or value.get("decision") or alert.get("alert_type") or field, 60)
    texts = dict.fromkeys(one_line(text, 300) for text in _list_account_update_texts(value))
    details = [text for text in texts if text and text != event]
    haystack = " ".join([event, *details]).upper()
    is_bad = any(word in haystack for word in NEGATIVE_EVENTS) and not any(word in haystack for word in POSITIVE_EVENTS)
    limit = next(
        (
            one_line(value.get(name), 40)
            for name in ("max_daily_conversations_per_business", "current_limit")
            if name in value
        ),
        "",
    )
    yield AccountUpdate(
        event=event,
        details=" · ".join(details)[:1000],
        level="error" if is_bad else "ok",
        limit=limit,
        quality={"FLAGGED": "RED", "UNFLAGGED": "GREEN"}.get(event, ""),
        at=_read_time(value),
    )


def _list_account_update_texts(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of an account update that an admin can read, without the account's IDs."""
    for name in DETAIL_OBJECTS:
        for text in _get_object(value, name).values():
            yield as_text(text)
    for restriction in _get_items(value, "restriction_info"):
        if isinstance(restriction, dict):
            yield as_text(restriction.get("restriction_type"))
            at = _read_time({"timestamp": restriction.get("expiration")})
            yield f"→ {at:%Y-%m-%d %H:%M} UTC" if at else ""
    for name in ("rejection_reason", "requested_verified_name"):
        yield as_text(value.get(name))


ACCOUNT_FIELDS = (
    *("account_update", "account_alerts", "account_review_update", "business_capability_update"),
    *("phone_number_quality_update", "phone_number_name_update", "security"),
)
TEMPLATE_FIELDS = (
    *("message_template_status_update", "message_template_quality_update", "template_category_update"),
    *("message_template_components_update", "template_correct_category_detection"),
)
FIELD_READERS: Mapping[str, Callable[[str, Mapping[str, Any]], Iterator[Fact]]] = {
    "messages": _read_messages,
    "smb_message_echoes": _read_echoes,
    "calls": _read_calls,
    "user_id_update": _read_user_ids,
    "user_preferences": _read_preferences,
    **dict.fromkeys(GROUP_FIELDS, _read_groups),
    **dict.fromkeys(ACCOUNT_FIELDS, _read_account),
    **dict.fromkeys(TEMPLATE_FIELDS, read_template_update),
}
