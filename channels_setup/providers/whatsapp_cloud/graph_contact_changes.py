"""System messages of the Graph API about a contact: another number, another user id, another phone.

Several shapes are in use: ``user_changed_number`` and ``user_changed_user_id`` of today, ``customer_changed_number``
and ``customer_identity_changed`` of older versions (``customer`` is the number before, ``new_wa_id`` the one after),
each with or without ``from``. Where no field names the id before, the sentence in ``body`` may.
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
    """Read a system message; None where it says nothing of a contact that we use."""
    body = _body(item)
    kind = as_text(body.get("type"))
    sentence = NUMBER_CHANGE.search(as_text(body.get("body")))
    told_before, told_after = (sentence["before"], sentence["after"].rstrip(".")) if sentence else ("", "")

    is_identity = "identity" in kind and "number" not in kind and not body.get("new_wa_id")
    new_phone = "" if is_identity else _first(read_wa_id, body.get("new_wa_id"), body.get("wa_id"), told_after)
    befores = [item.get("from"), body.get("customer"), body.get("old_wa_id"), told_before]
    if is_identity or body.get("new_wa_id"):
        befores.append(body.get("wa_id"))
    old_phone = _first(read_wa_id, *befores)
    new_user = _first(read_user_id, body.get("user_id"), told_after)
    old_users = [item.get("from"), body.get("previous_user_id"), item.get("previous_user_id"), told_before]
    old_user = _first(read_user_id, *(value for value in [item.get("from_user_id"), *old_users] if value != new_user))

    contact = cards.person([old_phone], [old_user])
    external_id = as_text(item.get("id"))[:190]
    if (new_phone and new_phone != old_phone) or (new_user and new_user != old_user):
        phone = f"+{new_phone}" if new_phone else ""
        now = ContactInfo(external_id=new_phone, phone=phone, user_id=new_user)
        return ContactChanged(contact=contact, now=now, external_id=external_id, at=at)
    if (contact.external_id or contact.user_id) and ("identity" in kind or isinstance(item.get("identity"), dict)):
        return ContactChanged(contact=contact, external_id=external_id, at=at, reason="contact_device_changed")
    return None


def _body(item: Mapping[str, Any]) -> dict[str, Any]:
    """The system object; some senders put its fields one level deeper, under the name of the type."""
    body = item.get("system")
    body = dict(body) if isinstance(body, dict) else {}
    inner = body.get(as_text(body.get("type")))
    return {**inner, **body} if isinstance(inner, dict) else body


def _first(read: Callable[[Any], str], *values: Any) -> str:
    found: Iterable[str] = map(read, values)
    return next(filter(None, found), "")
