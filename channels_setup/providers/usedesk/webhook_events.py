"""Facts of Usedesk's webhook events: chats, comments, changes. ``codecs.chat_events`` writes the same format.

No field's type is trusted: IDs come as numbers or numeric strings, files as strings or objects, and any field may be
missing. docs/decisions.md says what is documented and what was only observed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

from channels_setup.codecs.bodies import clean_text
from channels_setup.codecs.helpdesk_facts import (
    CommentAdded,
    EventSeen,
    HelpdeskFact,
    MessageSent,
    TicketChanged,
    TicketState,
)
from channels_setup.codecs.html_text import html_to_text, html_to_visible_text
from channels_setup.codecs.values import as_text, parse_external_id

Json = dict[str, Any]

CHAT_STATES = ("new", "reopened", "closed")
TRACK_BY_STATE = {"new": "new_chat", "reopened": "resumed"}


# If «Отправлять в UTF-8» is off, forms contain HTML entities. Incomplete ones, such as "&copy=" in a link, stay.
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|amp|lt|gt|quot);")


def has_converted_characters(content_type: str) -> bool:
    """Return whether characters come as HTML entities: a form not declared as UTF-8, or multipart declared as ASCII."""
    kind, _semicolon, parameters = content_type.lower().partition(";")
    if kind.strip() == "multipart/form-data":
        return "us-ascii" in parameters
    return kind.strip() == "application/x-www-form-urlencoded" and "utf" not in parameters


def restore_characters(value: Any) -> Any:
    """Replace HTML entities by their characters in all ASCII-only texts."""
    if isinstance(value, str):
        return clean_text(ENTITY.sub(lambda found: unescape(found[0]), value)) if value.isascii() else value
    if isinstance(value, dict):
        return {name: restore_characters(item) for name, item in value.items()}
    return [restore_characters(item) for item in value] if isinstance(value, list) else value


def read_facts(body: Json, *, channel_id: int | None) -> Iterator[HelpdeskFact]:
    """Yield the facts of an event. Chats of other channels are skipped; only the kind of event is recorded."""
    if not is_event(body):
        yield EventSeen(track=classify_harmless(body))
    elif isinstance(body.get("comment"), dict):
        yield from _read_comment_facts(body["comment"], body)
    elif isinstance(body.get("trigger"), dict):
        yield from _read_change_facts(body["trigger"], body)
    elif "chat_id" in body and "from" in body:
        yield from _read_chat_facts(body, channel_id)
    elif isinstance(body.get("ticket"), dict):
        yield from (EventSeen(track="new_ticket"), TicketChanged(ticket=_read_ticket(body["ticket"])))
    else:
        yield EventSeen(track="rating" if "csi" in body else "unknown")


def is_event(body: Json) -> bool:
    """Return whether the event causes an action, so that it must carry the secret."""
    return (
        any(name in body for name in ("chat_id", "ticket", "comment", "trigger", "csi"))
        and "message_status" not in body
    )


def classify_harmless(body: Json) -> str:
    if "message_status" in body:
        return "native_status"
    words = {as_text(value).lower() for value in body.values()} | {name.lower() for name in body}
    return "ping" if "ping" in words else "unknown"


def _get_object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _read_ticket(value: Any) -> TicketState:
    ticket = _get_object(value)
    assignee = as_text(ticket.get("assignee_id"))
    return TicketState(
        id=parse_external_id(ticket.get("id")),
        status=parse_external_id(ticket.get("status_id")),
        assignee="" if assignee == "0" else assignee[:40],
        includes_assignee="assignee_id" in ticket,
        updated=as_text(ticket.get("last_updated_at"))[:40],
    )


def _read_links(files: Any) -> tuple[str, ...]:
    """Return the URLs of files given as strings or as objects."""
    found = []
    for item in files if isinstance(files, list) else []:
        fields = (
            [item]
            if isinstance(item, str)
            else [item.get(name) for name in ("url", "file", "link")]
            if isinstance(item, dict)
            else []
        )
        link = next((text for text in map(as_text, fields) if text.lower().startswith(("https://", "http://"))), "")
        found += [link[:2000]] if link else []
    return tuple(found[:30])


def _read_chat_facts(body: Json, channel_id: int | None) -> Iterator[HelpdeskFact]:
    state = as_text(body.get("state")).lower()
    yield EventSeen(track=TRACK_BY_STATE.get(state, "message"))
    ticket = _get_object(body.get("ticket"))
    channel = parse_external_id(ticket.get("channel_id"))
    if channel is not None and channel != channel_id:
        return
    sender = as_text(body.get("from"))
    if sender not in ("user", "client"):
        return
    text = as_text(body.get("text"))
    links = _read_links(body.get("files")) or (() if text.strip() else _read_links(ticket.get("files")))
    message_id = as_text(body.get("message_id"))
    client = _get_object(body.get("client"))
    yield MessageSent(
        by_operator=sender == "user",
        text=text,
        chat_id=parse_external_id(body.get("chat_id")),
        client_id=parse_external_id(body.get("client_id")) or parse_external_id(client.get("id")),
        files=links,
        state=state if state in CHAT_STATES else "",
        ticket=_read_ticket(ticket),
        event_id=message_id[:60],
    )


def _read_comment_facts(comment: Json, body: Json) -> Iterator[HelpdeskFact]:
    yield EventSeen(track="comment")
    ticket = _get_object(body.get("ticket"))
    ticket_id, comment_id = (
        parse_external_id(comment.get("ticket_id")) or parse_external_id(ticket.get("id")),
        parse_external_id(comment.get("id")),
    )
    is_answer = comment.get("from") in ("user", "trigger") and comment.get("type", "public") == "public"
    if is_answer and ticket_id is not None and comment_id is not None:
        yield CommentAdded(
            comment_id=str(comment_id),
            ticket_id=ticket_id,
            text=html_to_text(as_text(comment.get("message"))),
            visible_text=html_to_visible_text(as_text(comment.get("message"))),
            files=_read_links(comment.get("files")),
            by_rule=comment.get("from") == "trigger",
        )
    if ticket:
        yield TicketChanged(ticket=_read_ticket(ticket))


def _read_change_facts(trigger: Json, body: Json) -> Iterator[HelpdeskFact]:
    yield EventSeen(track="change")
    ticket = _get_object(body.get("ticket"))
    ticket_id = parse_external_id(trigger.get("ticket_id")) or parse_external_id(ticket.get("id"))
    if ticket_id is None:
        return
    data = trigger.get("data")
    changes = [item for item in (data if isinstance(data, list) else [data]) if isinstance(item, dict)]
    targets = {as_text(item.get("target")): item.get("value") for item in changes}
    status = parse_external_id(targets.get("status_id")) or parse_external_id(trigger.get("new_status"))
    assignee = as_text(targets.get("assignee_id"))
    if status is not None or "assignee_id" in targets:
        yield TicketChanged(
            ticket=TicketState(
                id=ticket_id,
                status=status,
                assignee="" if assignee == "0" else assignee[:40],
                includes_assignee="assignee_id" in targets,
            )
        )
    for position, item in enumerate(changes):
        if item.get("target") == "message_from_bot" and (text := html_to_text(as_text(item.get("value")))):
            number = as_text(trigger.get("id"))[:30]
            yield CommentAdded(
                comment_id=f"rule-{number}-{position}",
                ticket_id=ticket_id,
                text=text,
                visible_text=html_to_visible_text(as_text(item.get("value"))),
                by_rule=True,
            )
