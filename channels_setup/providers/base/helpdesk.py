"""The helpdesk's half of the contract: sending contacts' messages to a helpdesk, and reading operators' actions.

Like a messenger, a helpdesk provider decides and stores nothing. The bridge asks for capabilities (``built_in``,
``settings``, ``event_checkboxes``), never for a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from channels_setup.codecs.facts import ContactInfo
from channels_setup.codecs.helpdesk_facts import (
    CommentAdded,
    EventSeen,
    HelpdeskFact,
    MessageSent,
    TicketChanged,
    TicketState,
)
from channels_setup.codecs.redaction import redact_fields
from channels_setup.codecs.values import FileInfo

from .accounts import LazyText
from .deliveries import CallRate, Outcome
from .http_messages import ApiRequest, ApiResponse, RawRequest
from .messenger import Provider

__all__ = ["CommentAdded", "EventSeen", "HelpdeskFact", "MessageSent", "TicketChanged", "TicketState"]

NO_CONTACT = ContactInfo()
CLIENT, MESSAGE, NOTE = "client", "message", "note"  # kinds of ``HelpdeskCommand``


@dataclass(frozen=True, kw_only=True)
class EventCheckbox:
    """A checkbox on the helpdesk's own settings page that enables one kind of event, ``track``."""

    track: str
    label: LazyText  # as on the helpdesk's page
    purpose: LazyText
    needed: bool = True


@dataclass(frozen=True, kw_only=True)
class HelpdeskAccount:
    """One chat channel at an external helpdesk. The secret key is in clear text here: never log, never ``repr``."""

    id: int
    name: str
    company_id: int
    options: Mapping[str, Any] = field(default_factory=dict)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class HelpdeskFinding:
    """One result of the connection check. ``level`` is ok, warning or error; the sentence is for the admin."""

    level: str
    sentence: LazyText
    ends_check: bool = True  # an error after which further checks make no sense

    def __post_init__(self) -> None:
        redact_fields(self, "sentence")


# --- commands ---


@dataclass(frozen=True, kw_only=True)
class RemoteIds:
    """The helpdesk's own IDs of a conversation, as far as known."""

    chat_id: int | None = None
    client_id: int | None = None
    ticket_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class AttachedFile:
    """A file to send with a command."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class HelpdeskCommand:
    """One command: create or update a CLIENT, add a client's MESSAGE, or add a NOTE that only operators see.

    ``key`` is the same on every attempt. ``external_id`` is the messenger's ID of the message, if there is one.
    """

    kind: str
    key: str
    text: str = ""
    contact: ContactInfo = NO_CONTACT
    at: datetime | None = None
    external_id: str = ""
    files: tuple[FileInfo, ...] = ()
    uploads: tuple[AttachedFile, ...] = ()
    remote_ids: RemoteIds = RemoteIds()
    repeats: int = 0  # number of identical messages directly before this one


@dataclass(frozen=True, kw_only=True)
class HelpdeskResult:
    """Outcome of a command, and the IDs that the response contained."""

    outcome: Outcome
    remote_ids: RemoteIds = RemoteIds()


@dataclass(frozen=True, kw_only=True)
class LookupResult:
    """What a lookup shows about an attempt with an unknown outcome.

    ``arrived`` is None if the lookup cannot tell, or not yet; ``next_request`` is the next lookup to make.
    """

    arrived: bool | None
    remote_ids: RemoteIds = RemoteIds()
    next_request: ApiRequest | None = None


class Helpdesk(Provider):
    """A kind where operators answer. The built-in one makes no calls; every other kind overrides them."""

    built_in: ClassVar[bool] = False  # our own pages are the helpdesk, so there is nothing to deliver
    event_checkboxes: ClassVar[tuple[EventCheckbox, ...]] = ()

    # --- webhooks ---

    def authenticate(self, request: RawRequest, account: HelpdeskAccount) -> None:
        """Raise RequestRejected if a body that causes an action lacks the secret. The path token is already checked."""

    def parse(self, request: RawRequest, account: HelpdeskAccount) -> list[HelpdeskFact]:
        """Return the facts of a stored request. Raises BadBody if none can be read."""
        # Not called for the `built_in` kind; every other kind overrides it.
        raise NotImplementedError(f"{type(self).__name__} receives no events")

    # --- commands ---

    def build_request(self, command: HelpdeskCommand, account: HelpdeskAccount) -> ApiRequest | Outcome:
        """Build the call for a command, or return the outcome if no call can be made."""
        # Not called for the `built_in` kind; every other kind overrides it.
        raise NotImplementedError(f"{type(self).__name__} takes no commands")

    def read_response(self, command: HelpdeskCommand, response: ApiResponse) -> HelpdeskResult:
        """Judge the response to ``build_request``. A 200 may be a failure."""
        # Not called for the `built_in` kind; every other kind overrides it.
        raise NotImplementedError(f"{type(self).__name__} takes no commands")

    def build_lookup_request(self, command: HelpdeskCommand, account: HelpdeskAccount) -> ApiRequest | None:
        """Build the call that shows whether an attempt with an unknown outcome arrived; None if there is no way."""
        return None

    def read_lookup(self, command: HelpdeskCommand, response: ApiResponse, account: HelpdeskAccount) -> LookupResult:
        """Return what the response to ``build_lookup_request``, or to its ``next_request``, shows."""
        return LookupResult(arrived=None)

    def build_operators_request(self, account: HelpdeskAccount) -> ApiRequest | None:
        """Build the call that lists the helpdesk's operators; None if there is no way."""
        return None

    def read_operators(self, response: ApiResponse) -> Mapping[str, str]:
        """Return the operators' names by their IDs."""
        return {}

    def call_rate(self, account: HelpdeskAccount) -> CallRate:
        """Return the rate limit of the account. Default: 5 calls a second."""
        return CallRate(key="", every=1 / 5)

    # --- connection check ---

    def build_check_request(self, account: HelpdeskAccount) -> ApiRequest:
        """Build a call that changes nothing and shows whether the secret key is accepted."""
        # Not called for the `built_in` kind; every other kind overrides it.
        raise NotImplementedError(f"{type(self).__name__} takes no commands")

    def read_check_findings(self, response: ApiResponse, account: HelpdeskAccount) -> list[HelpdeskFinding]:
        """Return what the response to ``build_check_request`` shows."""
        # Not called for the `built_in` kind; every other kind overrides it.
        raise NotImplementedError(f"{type(self).__name__} takes no commands")
