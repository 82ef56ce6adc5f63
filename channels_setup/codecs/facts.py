"""Facts that providers report, normalized. Part of the provider contract in ``providers.base``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .redaction import redact_fields
from .values import FileInfo


@dataclass(frozen=True, kw_only=True)
class ContactInfo:
    """A contact as the provider identifies it. All fields are optional: users with a username may hide their phone."""

    external_id: str = ""
    phone: str = ""
    name: str = ""
    email: str = ""
    user_id: str = ""  # business-scoped user ID, if the provider has such IDs
    caller_id: str = ""  # ID in the system that calls Okno's API
    username: str = ""  # public username at the provider


# Content of a message besides its text, as plain JSON. ``what`` decides which other keys there are:
#   location  latitude, longitude, name, address, map (a link)
#   contacts  cards: [{name, phones: [..], emails: [..], addresses: [..], urls: [..], org, birthday}]
#   order     lines: [{product, quantity, price, currency}], catalog
#   button, list, flow   title, description, id; a flow has fields: [[name, value]], values may have several lines
#   sticker, voice       no keys: the file is the content
#   call                 the contact called
#   welcome              the contact opened the chat and has not written yet
#   reaction  emoji, to a message that Okno never received
#   unsupported          kind, code: the provider does not pass this type on
#   unreadable           kind: the content is missing or not understood; the stored event has the raw data
#   empty                a text message without text
# Further keys of any message: forwarded (often: true if forwarded many times), product {catalog, product},
# ad {headline, body, url}, from_phone (sent by the business in the phone's app), edited_at, former [earlier texts],
# revoked_at, after_answer (edited or deleted after the operator's answer), original ("missing": an edit replaces a
# message that never arrived). ``own`` is the contact's own part of the text, where the portal adds to it. ``text``
# describes all of it in the portal's language; ``message_extras`` does so in the reader's language.
MessageExtras = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class MessageReceived:
    """A message from the contact. ``at`` is by the provider's clock; without it the time of receipt counts."""

    contact: ContactInfo
    text: str
    external_id: str = ""
    at: datetime | None = None
    files: tuple[FileInfo, ...] = ()
    quoted_id: str = ""  # the provider's ID of the message that it replies to
    shown: MessageExtras = field(default_factory=dict)
    opens_window: bool = True  # free text is allowed after this message


@dataclass(frozen=True, kw_only=True)
class EchoSeen:
    """A message that the business sent from its WhatsApp app: shown as outbound, opens no window, is not delivered."""

    contact: ContactInfo
    text: str
    external_id: str
    at: datetime | None = None
    files: tuple[FileInfo, ...] = ()
    quoted_id: str = ""
    shown: MessageExtras = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReactionChanged:
    """A reaction to a message was set, or removed if ``emoji`` is empty. ``target_id`` is the provider's message ID."""

    contact: ContactInfo
    target_id: str
    emoji: str
    external_id: str = ""  # of the reaction itself
    at: datetime | None = None
    by_us: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageEdited:
    """The author edited a message: the contact, or the business in its WhatsApp app."""

    contact: ContactInfo
    target_id: str
    text: str
    external_id: str = ""  # of the edit itself
    at: datetime | None = None
    by_us: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageRevoked:
    """The author deleted a message for everyone: the contact, or the business in its WhatsApp app."""

    target_id: str
    contact: ContactInfo = ContactInfo()
    external_id: str = ""  # of the deletion itself
    at: datetime | None = None
    by_us: bool = False


@dataclass(frozen=True, kw_only=True)
class ContactChanged:
    """The contact's number, ID or device changed. ``now`` holds only the changed fields.

    ``reason`` is a code of ``bridge.outcomes``: its sentence is the notice in the contact's chats. ``marketing``:
    whether the contact wants marketing messages, if that changed.
    """

    contact: ContactInfo
    now: ContactInfo = ContactInfo()
    external_id: str = ""  # of this update
    at: datetime | None = None
    reason: str = "contact_changed"
    marketing: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ItemUnreadable:
    """One item of an event could not be read and cannot be shown as a message. Other items are processed."""

    problem: str

    def __post_init__(self) -> None:
        redact_fields(self, "problem")


@dataclass(frozen=True, kw_only=True)
class StatusChanged:
    """A new status of an outbound message, identified by Okno's ID, the provider's ID or the delivery's key.

    A failure may have a ``reason``, which is a code of ``bridge.outcomes``, and the provider's own ``details``.
    """

    status: str
    message_id: int | None = None
    external_id: str = ""
    key: str = ""
    at: datetime | None = None
    code: str = ""
    title: str = ""
    reason: str = ""
    details: str = ""

    def __post_init__(self) -> None:
        redact_fields(self, "code", "title", "details")


@dataclass(frozen=True, kw_only=True)
class TemplateChanged:
    """The provider changed a template, identified by ``external_id`` or by name and language.

    ``status`` is a word of the Graph API, in any case; a template with an unknown status is not sent. Empty fields were
    not reported. ``reread``: the update is incomplete, so the provider's template list must be read again.
    """

    status: str = ""
    name: str = ""
    language: str = ""
    external_id: str = ""
    reason: str = ""
    quality: str = ""
    category: str = ""
    next_category: str = ""  # takes effect at ``next_category_at``
    next_category_at: datetime | None = None
    reread: bool = False

    def __post_init__(self) -> None:
        redact_fields(self, "reason")


@dataclass(frozen=True, kw_only=True)
class AccountUpdate:
    """A report about the account or its number, for the channel's page.

    ``event`` is the provider's own name of the update. ``level`` is ok, warning or error.
    """

    event: str
    details: str = ""
    level: str = "ok"
    quality: str = ""
    limit: str = ""
    at: datetime | None = None

    def __post_init__(self) -> None:
        redact_fields(self, "event", "details", "quality", "limit")


@dataclass(frozen=True, kw_only=True)
class TimePassed:
    """The sandbox provider moves the clock of one contact, so that trainees see a closed window."""

    contact: ContactInfo
    seconds: int


@dataclass(frozen=True, kw_only=True)
class GroupActivity:
    """An event of a WhatsApp group, which an admin sees as received and not supported.

    ``event`` is message, status, or the provider's own name of the update.
    """

    event: str
    group_id: str = ""


@dataclass(frozen=True, kw_only=True)
class SampleReceived:
    """A sample webhook from the test button on the provider's pages. ``event`` is the provider's name of the update."""

    event: str


Correction = ReactionChanged | MessageEdited | MessageRevoked
Fact = (
    MessageReceived
    | EchoSeen
    | Correction
    | ContactChanged
    | StatusChanged
    | TemplateChanged
    | AccountUpdate
    | TimePassed
    | GroupActivity
    | SampleReceived
    | ItemUnreadable
)
