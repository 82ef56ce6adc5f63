"""What a provider says happened, in words of no provider. Part of the contract in ``providers.base``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .redaction import redact_fields
from .values import FileInfo


@dataclass(frozen=True, kw_only=True)
class ContactInfo:
    """Who wrote, as far as the provider says. All optional: a contact may have no phone (WhatsApp user names)."""

    external_id: str = ""
    phone: str = ""
    name: str = ""
    email: str = ""
    user_id: str = ""  # the id the contact has with this business alone, where the provider has such ids
    caller_id: str = ""  # the id in the system of a program that calls our API
    username: str = ""  # the public name at the provider, where there are such


# What a message is besides its text, as plain JSON. ``what`` says which keys there are:
#   location  latitude, longitude, name, address, map (a link)
#   contacts  cards: [{name, phones: [..], emails: [..], addresses: [..], urls: [..], org, birthday}]
#   order     lines: [{product, quantity, price, currency}], catalog
#   button, list, flow   title, description, id; a flow's answers as fields: [[name, value]], a value may have lines
#   sticker, voice       the file says the rest
#   call                 the contact rang
#   welcome              the contact opened the chat and has not written
#   reaction  emoji, to a message that we do not have and that did not come
#   unsupported          kind, code: the provider itself says that it cannot be shown
#   unreadable           kind: its content did not come, or we could not read it; the stored event has it
#   empty                a text without text
# Beside any of them: forwarded (often: true when many times), product {catalog, product}, ad {headline, body, url},
# from_phone (ours, written in the phone's own app), edited_at, former [earlier texts], revoked_at, after_answer
# (edited or deleted after we had answered), original ("missing": an edit stands in for a message that has not come).
# ``own`` is the contact's own part of the text, where the portal adds to it. ``text`` says all of it as well as words
# can, in the portal's language; ``message_extras`` says it in the reader's.
MessageExtras = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class MessageReceived:
    """The contact wrote. ``at`` is the provider's clock; None means it did not say, and the time of receipt counts."""

    contact: ContactInfo
    text: str
    external_id: str = ""
    at: datetime | None = None
    files: tuple[FileInfo, ...] = ()
    quoted_id: str = ""  # the provider's id of the message it answers
    shown: MessageExtras = field(default_factory=dict)
    opens_window: bool = True  # the provider lets us write freely after it


@dataclass(frozen=True, kw_only=True)
class EchoSeen:
    """We wrote, but not here: in the account's own app. It is shown as ours, opens no window, goes nowhere."""

    contact: ContactInfo
    text: str
    external_id: str
    at: datetime | None = None
    files: tuple[FileInfo, ...] = ()
    quoted_id: str = ""
    shown: MessageExtras = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReactionChanged:
    """An emoji was put on a message (``target_id``, the provider's id), or taken away again: then it is empty."""

    contact: ContactInfo
    target_id: str
    emoji: str
    external_id: str = ""  # of the reaction itself
    at: datetime | None = None
    by_us: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageEdited:
    """A message was given another text by its writer: the contact, or us in the account's own app."""

    contact: ContactInfo
    target_id: str
    text: str
    external_id: str = ""  # of the edit itself
    at: datetime | None = None
    by_us: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageRevoked:
    """A message was deleted for everyone by its writer: the contact, or us in the account's own app."""

    target_id: str
    contact: ContactInfo = ContactInfo()
    external_id: str = ""  # of the deletion itself
    at: datetime | None = None
    by_us: bool = False


@dataclass(frozen=True, kw_only=True)
class ContactChanged:
    """The contact has another number or id now, or another device. ``now`` holds what has changed alone.

    ``reason`` is a code with a sentence in ``bridge.outcomes``: the notice in the contact's chats.
    """

    contact: ContactInfo
    now: ContactInfo = ContactInfo()
    external_id: str = ""  # of the news itself
    at: datetime | None = None
    reason: str = "contact_changed"


@dataclass(frozen=True, kw_only=True)
class ItemUnreadable:
    """One item of an event could not be read, and is no message that could be shown as such. The others count."""

    why: str

    def __post_init__(self) -> None:
        redact_fields(self, "why")


@dataclass(frozen=True, kw_only=True)
class StatusChanged:
    """What became of a message of ours: known by our own id, the provider's, or the key of the delivery.

    A failure may come with ``reason``, a code of ``bridge.outcomes``, and with the provider's ``details``.
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
    """The provider approved, rejected, paused, rated… a template. Known by ``external_id`` or by name and language.

    ``status`` is a word of the Graph API, in any case; one that the registry does not know means: not to be sent.
    What is empty was not said. ``reread``: the news is not the whole of it, the provider's list has to be read again.
    """

    status: str = ""
    name: str = ""
    language: str = ""
    external_id: str = ""
    reason: str = ""
    quality: str = ""
    category: str = ""
    next_category: str = ""  # the one it will have from ``next_category_at``
    next_category_at: datetime | None = None
    reread: bool = False

    def __post_init__(self) -> None:
        redact_fields(self, "reason")


@dataclass(frozen=True, kw_only=True)
class AccountUpdate:
    """The provider says something of the account or its number: for the channel's page, and for an admin to act on.

    ``what`` is the provider's own word. ``level``: ok, warning or error.
    """

    what: str
    details: str = ""
    level: str = "ok"
    quality: str = ""
    limit: str = ""
    at: datetime | None = None

    def __post_init__(self) -> None:
        redact_fields(self, "what", "details", "quality", "limit")


@dataclass(frozen=True, kw_only=True)
class TimePassed:
    """A training provider lets time pass for one contact, so that a newcomer sees the window closed."""

    contact: ContactInfo
    seconds: int


@dataclass(frozen=True, kw_only=True)
class GroupActivity:
    """Something happened in a WhatsApp group: shown to an admin as received and not supported.

    ``what`` is message, status, or the provider's own name of the update.
    """

    what: str
    group_id: str = ""


@dataclass(frozen=True, kw_only=True)
class SampleReceived:
    """A sample webhook from the test button on the provider's pages. ``what`` is its name of the update."""

    what: str


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
