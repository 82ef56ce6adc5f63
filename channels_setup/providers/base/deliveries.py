"""Outbound messages and files, rate limits, and the outcome of one attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from channels_setup.codecs.facts import ContactInfo
from channels_setup.codecs.redaction import redact_fields
from channels_setup.codecs.values import FileInfo

from .accounts import Account, Json

# Verdicts of an attempt.
ACCEPTED = "accepted"  # the destination accepted the message
RETRY = "retry"  # not accepted, may be accepted later
PERMANENT = "permanent"  # not accepted, and no retry can succeed
PAUSE = "pause"  # the channel cannot send anything until an admin fixes it
UNKNOWN = "unknown"  # the destination may or may not have accepted the message


@dataclass(frozen=True, kw_only=True)
class OutboundReaction:
    """Our reaction to a contact's message. An empty ``emoji`` removes it."""

    target_id: str  # the provider's ID of the message
    emoji: str


@dataclass(frozen=True, kw_only=True)
class DeliveryRequest:
    """One delivery: the same ``key`` and the same content on every attempt.

    ``event`` is the chat or ticket event in the helpdesk's public shape (see ``codecs.chat_events``).
    """

    key: str
    attempt: int
    at: datetime
    event: Json
    text: str = ""
    template: Json | None = None
    components: tuple[Json, ...] = ()  # template components as the Graph API takes them
    quoted_id: str = ""  # the provider's ID of the quoted message
    contact: ContactInfo = field(default_factory=ContactInfo)
    files: tuple[FileInfo, ...] = ()
    reaction: OutboundReaction | None = None  # only for providers with ``sends_reactions``


@dataclass(frozen=True, kw_only=True)
class OutboundFile:
    """A file to upload to the provider."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FileLocation:
    """Where a contact's file can be downloaded from now, and the properties it must have."""

    url: str
    mime: str = ""
    sha256: str = ""  # hex
    size: int | None = None  # bytes


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of one attempt.

    ``reason`` is a code of ``bridge.outcomes``. What the failure means beyond its message (for the channel, the
    template, an uploaded file) is declared with that code: see ``FailureEffects``.
    """

    verdict: str
    reason: str = ""
    external_id: str = ""
    retry_after: float | None = None  # seconds, as the destination asked
    whole_channel: bool = False  # a RETRY for the account: everything on the channel waits ``retry_after``
    contact_backoff_base: float | None = None  # a RETRY for one contact: wait base ** (number of refusals) seconds
    status: str = "sent"  # status of an accepted message
    contact: ContactInfo = field(default_factory=ContactInfo)  # the provider's IDs of the recipient
    code: str = ""  # the provider's own code, title and details of a failure, shown next to our sentence
    title: str = ""
    details: str = ""

    def __post_init__(self) -> None:
        redact_fields(self, "code", "title", "details")


@dataclass(frozen=True, kw_only=True)
class CallRate:
    """A rate limit that all workers share: one call every ``every`` seconds.

    ``key`` identifies the limit within the channel. After idle time up to ``burst`` calls may be made at once.
    ``whole_channel``: the limit applies to every call of the channel, so no delivery of the channel needs to be tried
    while it is exhausted.
    """

    key: str
    every: float
    burst: int = 1
    whole_channel: bool = False


def channel_call_rate(account: Account) -> tuple[CallRate, ...]:
    """Return the limit that an admin set for all calls of the channel, if any."""
    if not account.calls_per_second:
        return ()
    return (CallRate(key="channel", every=1 / account.calls_per_second, whole_channel=True),)
