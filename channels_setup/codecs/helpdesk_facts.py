"""Facts that an external helpdesk reports. Part of the provider contract in ``providers.base.helpdesk``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TicketState:
    """State of a request as an event gives it. ``updated`` is the helpdesk's own timestamp, comparable as text."""

    id: int | None = None
    status: int | None = None
    assignee: str = ""
    includes_assignee: bool = False  # an empty ``assignee`` means unassigned only if this is set
    updated: str = ""


@dataclass(frozen=True, kw_only=True)
class EventSeen:
    """An event of this kind has arrived, which proves that it is switched on in the helpdesk."""

    track: str


@dataclass(frozen=True, kw_only=True)
class MessageSent:
    """A message in a chat, of an operator or a client.

    ``state`` is "", new, reopened or closed; ``event_id`` is empty if the helpdesk's events have no IDs.
    """

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
    visible_text: str = ""  # without markup, to compare with the same reply as ``MessageSent``
    files: tuple[str, ...] = ()
    by_rule: bool = False  # written by a rule or bot of the helpdesk: relayed only if the admin allows it


@dataclass(frozen=True, kw_only=True)
class TicketChanged:
    """The status or the assignee of a request changed."""

    ticket: TicketState


HelpdeskFact = EventSeen | MessageSent | CommentAdded | TicketChanged
