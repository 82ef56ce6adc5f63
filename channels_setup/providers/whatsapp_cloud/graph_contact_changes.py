"""System messages of the Graph API about a contact: a new number, a new user ID, a new phone.

Several shapes are in use: ``user_changed_number`` and ``user_changed_user_id`` in current versions of the API,
``customer_changed_number`` and ``customer_identity_changed`` in older ones (``customer`` is the old number,
``new_wa_id`` the new one), each with or without ``from``. If no field holds the old ID, the sentence in ``body`` may.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from channels_setup.codecs.facts import ContactChanged, ContactInfo
from channels_setup.codecs.values import as_text

from .graph_contacts import ContactCards, read_user_id, read_wa_id

NUMBER_CHANGE = re.compile(r"changed from (?P<before>\S+) to (?P<after>\S+)")


def read_contact_change(item: Mapping[str, Any], cards: ContactCards, *, at: datetime | None) -> ContactChanged | None:
    """Read a system message. Return None if it contains no change of a contact that the portal uses."""
    body = _get_system_object(item)
    kind = as_text(body.get("type"))
    sentence = NUMBER_CHANGE.search(as_text(body.get("body")))
    id_before, id_after = (sentence["before"], sentence["after"].rstrip(".")) if sentence else ("", "")

    is_identity = "identity" in kind and "number" not in kind and not body.get("new_wa_id")
    new_phone = "" if is_identity else _find_first(read_wa_id, body.get("new_wa_id"), body.get("wa_id"), id_after)
    old_phones = [item.get("from"), body.get("customer"), body.get("old_wa_id"), id_before]
    if is_identity or body.get("new_wa_id"):
        old_phones.append(body.get("wa_id"))
    old_phone = _find_first(read_wa_id, *old_phones)
    new_user = _find_first(read_user_id, body.get("user_id"), id_after)
    old_users = [item.get("from"), body.get("previous_user_id"), item.get("previous_user_id"), id_before]
    old_users = [value for value in [item.get("from_user_id"), *old_users] if value != new_user]
    old_user = _find_first(read_user_id, *old_users)

    contact = cards.find_contact([old_phone], [old_user])
    external_id = as_text(item.get("id"))[:190]
    if (new_phone and new_phone != old_phone) or (new_user and new_user != old_user):
        phone = f"+{new_phone}" if new_phone else ""
        now = ContactInfo(external_id=new_phone, phone=phone, user_id=new_user)
        return ContactChanged(contact=contact, now=now, external_id=external_id, at=at)
    if (contact.external_id or contact.user_id) and ("identity" in kind or isinstance(item.get("identity"), dict)):
        return ContactChanged(contact=contact, external_id=external_id, at=at, reason="contact_device_changed")
    return None


def _get_system_object(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the system object. Some senders put its fields one level deeper, under the name of the type."""
    body = item.get("system")
    body = dict(body) if isinstance(body, dict) else {}
    inner = body.get(as_text(body.get("type")))
    return {**inner, **body} if isinstance(inner, dict) else body


def _find_first(read: Callable[[Any], str], *values: Any) -> str:
    found: Iterable[str] = map(read, values)
    return next(filter(None, found), "")
