"""Usedesk-compatible chat and ticket events, as posted to an API channel's Redirect URL.

Shapes follow Usedesk's public documentation of chat and ticket webhooks. One body serves "new chat", "every message"
and "chat resumed". Okno's extensions, which other receivers ignore: ``message_id``, ``template``, the two flags of
``add_routing_flags``, and the Standard Webhooks signature in headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .phone_numbers import format_wire_phone

# Ticket status numbers of Usedesk's API.
OPEN, SOLVED, CLOSED, DELETED, ON_HOLD, PENDING, SPAM, NEW, MAILING, MERGED = range(1, 11)


def format_time(at: datetime | None) -> str | None:
    """Format a time as Usedesk does, without a time zone: "YYYY-MM-DD HH:MM:SS" in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else None


def add_routing_flags(event: dict[str, Any], *, delivery: bool, copy: bool) -> dict[str, Any]:
    """Add the flags that tell a receiver how to treat the event.

    ``delivery``: the receiver must deliver this message to the client; all other events are for information.
    ``copy``: the chat belongs to another API channel, and the receiver only watches it.
    """
    return event | {"delivery": delivery, "copy": copy}


def build_chat_event(
    *,
    app_id: str,
    chat_id: int,
    sender: str,
    text: str,
    client: dict[str, Any],
    ticket: dict[str, Any],
    state: str | None,
    files: Sequence[str] = (),
    message_id: int,
    template: dict[str, Any] | None = None,
    platform: str,
) -> dict[str, Any]:
    """Build the event of one chat message. ``sender`` is "client" or "user"; ``state`` None, "new" or "reopened"."""
    event: dict[str, Any] = {
        "chat_id": chat_id,
        "text": text,
        "client_id": client["id"],
        "client": client,
        "from": sender,
        "platform": platform,
        "secret": app_id,
        "ticket": ticket,
        "state": state,
        "files": list(files),
        "message_id": message_id,
    }
    if template:
        event["template"] = template
    return event


def build_client(
    *, id: int, name: str, email: str, phone: str, external_id: str, caller_id: str = ""
) -> dict[str, Any]:
    """Build the ``client`` object of events. Phones are digits only, as everywhere in the public API."""
    phone = format_wire_phone(phone)
    return {
        "id": id,
        "name": name,
        "avatar": "",
        "note": "",
        "emails": [{"email": email, "client_id": id}] if email else [],
        "phones": [{"phone": phone, "type": "mobile", "client_id": id}] if phone else [],
        "additional_ids": [{"value": value, "client_id": id} for value in (external_id, caller_id) if value],
    }


def build_ticket(
    *,
    id: int,
    status_id: int,
    subject: str,
    client_id: int,
    assignee_id: int | None,
    updated_at: datetime | None,
    published_at: datetime | None,
    channel_id: int,
    email: str,
    company_id: int,
    message: str,
    files: Sequence[str] = (),
    group: int | None = None,
    additional_id: str = "",
    priority: str = "medium",
    type: str = "question",
    tags: Sequence[str] = (),
) -> dict[str, Any]:
    """Build the ``ticket`` object of events.

    ``message`` and ``files`` are the current or the first ones of the request, as the API channel's settings say.
    ``priority``, ``type`` and ``tags`` are Okno's extensions.
    """
    return {
        "id": id,
        "status_id": status_id,
        "subject": subject,
        "client_id": client_id,
        "assignee_id": assignee_id,
        "group": group,
        "last_updated_at": format_time(updated_at),
        "published_at": format_time(published_at),
        "channel_id": channel_id,
        "email": email,
        "company_id": company_id,
        "additional_id": additional_id or None,
        "priority": priority,
        "type": type,
        "tags": list(tags),
        "message": message,
        "files": list(files),
    }


def build_ticket_event(
    *, app_id: str, ticket: dict[str, Any], client: dict[str, Any], custom_fields: Sequence[Any]
) -> dict[str, Any]:
    """Build the event of a new request. Receivers look for ``custom_fields`` in two places, so both have them."""
    fields = list(custom_fields)
    return {
        "secret": app_id,
        "ticket": ticket | {"custom_fields": fields},
        "client": client,
        "custom_fields": fields,
        "custom_blocks": [],
    }


def build_comment(
    *,
    id: int,
    html: str,
    sender: str,
    type: str,
    user_id: int | None,
    client_id: int | None,
    ticket_id: int,
    is_first: bool,
    delivered: bool,
    read: bool,
    published_at: datetime | None,
    files: Sequence[str] = (),
) -> dict[str, Any]:
    """Build a comment. ``sender`` is "user", "client" or "trigger"; ``type`` is "public" or "private"."""
    return {
        "id": id,
        "message": html,
        "from": sender,
        "type": type,
        "user_id": user_id,
        "client_id": client_id,
        "ticket_id": ticket_id,
        "is_first": int(is_first),
        "delivered": int(delivered),
        "readed": int(read),
        "published_at": format_time(published_at),
        "file": None,
        "files": list(files),
    }


def build_comment_event(
    *,
    app_id: str,
    comment: dict[str, Any],
    client: dict[str, Any],
    assignee_id: int | None,
    custom_fields: Sequence[Any],
) -> dict[str, Any]:
    """Build the event of a new comment. It has no ``ticket``: receivers would take it for a new request."""
    return {
        "secret": app_id,
        "comment": comment,
        "client": client,
        "assignee_id": assignee_id,
        "custom_fields": list(custom_fields),
    }


def build_change_event(
    *,
    app_id: str,
    change_id: int,
    ticket_id: int,
    user_id: int | None,
    changes: Sequence[dict[str, Any]],
    status: int,
    changed_at: datetime | None,
    company_id: int,
    client: dict[str, Any],
    assignee_id: int | None,
    custom_fields: Sequence[Any],
) -> dict[str, Any]:
    """Build the event of a changed request.

    ``changes`` are {target, value, old_value} each; ``status`` is the present status number.
    """
    moved = next((change for change in changes if change["target"] == "status_id"), None)
    trigger = {
        "id": change_id,
        "trigger_id": None,
        "user_id": user_id,
        "ticket_id": ticket_id,
        "data": list(changes),
        "changed_at": format_time(changed_at),
        "old_status": moved["old_value"] if moved else status,
        "new_status": moved["value"] if moved else status,
        "company_id": company_id,
    }
    return {
        "secret": app_id,
        "trigger": trigger,
        "client": client,
        "assignee_id": assignee_id,
        "custom_fields": list(custom_fields),
        "custom_blocks": [],
    }
