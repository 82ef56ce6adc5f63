"""The helpdesk's half of the contract: command it what the client said, and reading what its operators do.

As on the messenger's side a helpdesk decides and stores nothing: bytes and frozen dataclasses in and out. The bridge
asks for what a kind can do (``built_in``, ``settings``, ``boxes``), never for its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from ..codecs.desk_facts import Came, Commented, DeskFact, Said, TicketMoved, TicketSeen
from ..codecs.redaction import redact_fields
from ..codecs.values import FileInfo
from .base import ApiRequest, ApiResponse, CallRate, ContactInfo, LazyText, Outcome, Provider, RawRequest

__all__ = ["Came", "Commented", "DeskFact", "Said", "TicketMoved", "TicketSeen"]

# --- its own settings page -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EventCheckbox:
    """A box of the helpdesk's own settings page, in its words. ``track`` is the kind of event it raises."""

    track: str
    label: LazyText
    purpose: LazyText
    needed: bool = True


@dataclass(frozen=True, kw_only=True)
class HelpdeskAccount:
    """One chat channel at an outside helpdesk. The secret key is in clear here: never log, never repr."""

    id: int
    name: str
    company_id: int
    options: Mapping[str, Any] = field(default_factory=dict)
    secret: str = field(default="", repr=False)


# --- what goes out ---------------------------------------------------------------------------------------

NO_CONTACT = ContactInfo()
CLIENT, MESSAGE, NOTE = "client", "message", "note"


@dataclass(frozen=True, kw_only=True)
class RemoteIds:
    """The helpdesk's own numbers for a conversation, as far as it has told them."""

    chat_id: int | None = None
    client_id: int | None = None
    ticket_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class AttachedFile:
    """A file to be sent along."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class HelpdeskCommand:
    """One thing to tell: a CLIENT's card, a client's MESSAGE, or a NOTE that only operators may see.

    ``key`` is the same at every try; ``external_id`` is the provider's id of the message, where there is one.
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
    repeats: int = 0  # so many equal messages stand right before it


@dataclass(frozen=True, kw_only=True)
class HelpdeskResult:
    """An answer judged, and what was learned from it."""

    outcome: Outcome
    remote_ids: RemoteIds = RemoteIds()


@dataclass(frozen=True, kw_only=True)
class LookupResult:
    """What a look shows of a try of unknown outcome. ``arrived`` is None where it cannot be told, or not yet:
    ``then`` is where to look next."""

    arrived: bool | None
    remote_ids: RemoteIds = RemoteIds()
    next_request: ApiRequest | None = None


# --- looking ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class HelpdeskFinding:
    """One finding of the dry-run: ``level`` is ok, warning or error; the sentence is for the admin."""

    level: str
    sentence: LazyText
    stops: bool = True  # an error after which looking further makes no sense

    def __post_init__(self) -> None:
        redact_fields(self, "sentence")


class Helpdesk(Provider):
    """Where operators answer. One that is built in has none of the calls; every other kind overrides them."""

    built_in: ClassVar[bool] = False  # our own pages are the helpdesk: what is stored is shown, nothing to deliver
    event_checkboxes: ClassVar[tuple[EventCheckbox, ...]] = ()

    def authenticate(self, request: RawRequest, account: HelpdeskAccount) -> None:
        """Raise Refused where a body that would be acted upon lacks the secret. The path token was compared."""

    def parse(self, request: RawRequest, account: HelpdeskAccount) -> list[DeskFact]:
        """The facts in a stored request. Raises BadBody when it says nothing we can read."""
        raise NotImplementedError(f"{type(self).__name__} is told nothing: what is stored is shown")

    def build_request(self, command: HelpdeskCommand, account: HelpdeskAccount) -> ApiRequest | Outcome:
        """How to tell the helpdesk: a request to make, or the outcome where there is none to make."""
        raise NotImplementedError(f"{type(self).__name__} is told nothing: what is stored is shown")

    def read_response(self, command: HelpdeskCommand, answer: ApiResponse) -> HelpdeskResult:
        """What the answer to ``tell`` means; a 200 may be a failure."""
        raise NotImplementedError(f"{type(self).__name__} is told nothing: what is stored is shown")

    def build_lookup_request(self, command: HelpdeskCommand, account: HelpdeskAccount) -> ApiRequest | None:
        """How to look whether a try of unknown outcome arrived; None where there is no way to see."""
        return None

    def read_lookup(self, command: HelpdeskCommand, answer: ApiResponse, account: HelpdeskAccount) -> LookupResult:
        """Whether it did, by the answer to ``look`` or to what it led to."""
        return LookupResult(arrived=None)

    def build_operators_request(self, account: HelpdeskAccount) -> ApiRequest | None:
        """How to ask for the names of its operators; None where there is no way."""
        return None

    def read_operators(self, answer: ApiResponse) -> Mapping[str, str]:
        """Their names by their numbers, by the answer to ``people``."""
        return {}

    def call_rate(self, account: HelpdeskAccount) -> CallRate:
        """How many calls the account may be made."""
        return CallRate(key="", every=1 / 5)

    def build_check_request(self, account: HelpdeskAccount) -> ApiRequest:
        """A call that changes nothing and shows whether we are let in."""
        raise NotImplementedError(f"{type(self).__name__} is told nothing: what is stored is shown")

    def read_check_findings(self, answer: ApiResponse, account: HelpdeskAccount) -> list[HelpdeskFinding]:
        """What the answer to ``probe`` shows."""
        raise NotImplementedError(f"{type(self).__name__} is told nothing: what is stored is shown")
