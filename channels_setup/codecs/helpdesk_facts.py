"""What an outside helpdesk says happened. Part of the contract in ``providers.base_helpdesk``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TicketState:
    """What an event says of a request. ``updated`` is the helpdesk's own stamp, to be compared as text."""

    id: int | None = None
    status: int | None = None
    assignee: str = ""
    tells_assignee: bool = False
    updated: str = ""


@dataclass(frozen=True, kw_only=True)
class EventSeen:
    """An event of this kind came: evidence that its box is ticked."""

    track: str


@dataclass(frozen=True, kw_only=True)
class MessageSent:
    """Somebody said something in a chat. ``state``: "", new, reopened or closed; ``event_id`` where events have ids."""

    by_operator: bool
    text: str
    chat_id: int | None
    client_id: int | None = None
    files: tuple[str, ...] = ()
    state: str = ""
    ticket: TicketState = TicketState()
    event_id: str = ""


@dataclass(frozen=True, kw_only=True)
class CommentAdded:
    """An operator's public comment. It names its request, not its chat. The same reply may come as ``MessageSent``."""

    comment_id: str
    ticket_id: int
    text: str
    visible: str = ""  # the words without what the format adds, to compare them with the same reply as ``MessageSent``
    files: tuple[str, ...] = ()
    by_rule: bool = False  # a rule or bot of the helpdesk wrote it: relayed only where the admin wants it


@dataclass(frozen=True, kw_only=True)
class TicketChanged:
    """A request's status or assignee changed."""

    ticket: TicketState


HelpdeskFact = EventSeen | MessageSent | CommentAdded | TicketChanged
