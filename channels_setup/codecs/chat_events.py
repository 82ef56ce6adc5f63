"""The helpdesk's public events, as posted to an API channel's Redirect URL.

Shapes: the helpdesk's public documentation of chat and ticket webhooks. One body serves "new chat", "every
message" and "chat resumed". Extensions of ours, ignored by others: ``message_id``, ``template``, the two
marks of ``marked`` and, in headers, the Standard Webhooks signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

# Ticket statuses as the helpdesk numbers them.
OPEN, SOLVED, CLOSED, DELETED, ON_HOLD, PENDING, SPAM, NEW, MAILING, MERGED = range(1, 11)


def wire_time(at: datetime | None) -> str | None:
    """ "YYYY-MM-DD HH:MM:SS", without a zone, as the helpdesk writes it; ours is UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else None


def marked(event: dict[str, Any], *, delivery: bool, copy: bool) -> dict[str, Any]:
    """The event with what its receiver is to do with it.

    ``delivery``: this is the one request that hands the message to the client. Every other event is for information.
    ``copy``: the chat belongs to another API channel, and the receiver only watches it.
    """
    return event | {"delivery": delivery, "copy": copy}


def chat_event(
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
    """One message of a chat. ``sender`` is "client" or "user"; ``state`` null, "new" or "reopened"."""
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


def client_object(*, id: int, name: str, email: str, phone: str, external_id: str) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "avatar": "",
        "note": "",
        "emails": [{"email": email, "client_id": id}] if email else [],
        "phones": [{"phone": phone, "type": "mobile", "client_id": id}] if phone else [],
        "additional_ids": [{"value": external_id, "client_id": id}] if external_id else [],
    }


def ticket_object(
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
) -> dict[str, Any]:
    """``message`` is the FIRST message of the ticket, never the current text."""
    return {
        "id": id,
        "status_id": status_id,
        "subject": subject,
        "client_id": client_id,
        "assignee_id": assignee_id,
        "group": None,
        "last_updated_at": wire_time(updated_at),
        "published_at": wire_time(published_at),
        "channel_id": channel_id,
        "email": email,
        "company_id": company_id,
        "additional_id": None,
        "message": message,
        "files": list(files),
    }


def ticket_event(*, app_id: str, ticket: dict[str, Any]) -> dict[str, Any]:
    return {"secret": app_id, "ticket": ticket}


def comment_event(
    *,
    app_id: str,
    comment_id: int,
    html: str,
    sender: str,
    user_id: int | None,
    ticket: dict[str, Any],
    files: Sequence[str],
) -> dict[str, Any]:
    return {
        "secret": app_id,
        "comment": {
            "id": comment_id,
            "message": html,
            "from": sender,
            "type": "public",
            "user_id": user_id,
            "ticket_id": ticket["id"],
            "files": list(files),
        },
        "ticket": ticket,
    }


def change_event(
    *,
    app_id: str,
    change_id: int,
    ticket_id: int,
    user_id: int | None,
    target: str,
    value: Any,
    old_value: Any,
) -> dict[str, Any]:
    trigger: dict[str, Any] = {
        "id": change_id,
        "ticket_id": ticket_id,
        "user_id": user_id,
        "data": [{"target": target, "value": value, "old_value": old_value}],
    }
    if target == "status_id":
        trigger |= {"old_status": old_value, "new_status": value}
    return {"secret": app_id, "trigger": trigger}
