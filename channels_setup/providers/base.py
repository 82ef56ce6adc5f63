"""The whole contract between the portal and an outside service.

A provider translates; it decides nothing and stores nothing. It knows no models and no database: bytes and
frozen dataclasses in, bytes and frozen dataclasses out. What a provider can do is said by its capabilities,
and the rest of the program asks for those, never for a provider's name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..codecs.bodies import BadBody, decode, encode, json_object
from ..codecs.values import FileInfo, as_text

Text = str | Promise
Json = dict[str, Any]


# --- what comes in ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """A webhook request as it came: exact bytes. Header names are lower case."""

    method: str
    query_string: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes

    def decoded(self) -> Json:
        """The body as an object, whichever encoding it came in. Raises BadBody with a sentence."""
        return decode(body=self.body, content_type=self.content_type, query_string=self.query_string).values


@dataclass(frozen=True, kw_only=True)
class ContactInfo:
    """Who wrote, as far as the provider says. All optional: a contact may have no phone (WhatsApp user names)."""

    external_id: str = ""
    phone: str = ""
    name: str = ""
    email: str = ""
    user_id: str = ""  # the id the contact has with this business alone, where the provider has such ids


# What a message is besides its text, as plain JSON. ``what`` says which keys there are:
#   location  latitude, longitude, name, address, map (a link)
#   contacts  cards: [{name, phones: [..], emails: [..], org}]
#   order     lines: [{product, quantity, price, currency}], catalog
#   button, list, flow   title, description, id; a flow's answers as fields: [[name, value]]
#   sticker, voice       the file says the rest
#   reaction  emoji, to a message that we do not have
#   unsupported          kind, code: the provider itself says that it cannot be shown
#   unreadable           we could not read it; the stored event has it
# Beside any of them: forwarded (often: true when many times), product {catalog, product}, ad {headline, body, url},
# from_phone (ours, written in the phone's own app), edited_at, former [earlier texts], revoked_at.
# ``text`` says all of it as well as words can, for those who see nothing else.
Shown = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class MessageReceived:
    """The contact wrote. ``at`` is the provider's clock; None means it did not say, and the time of receipt counts."""

    contact: ContactInfo
    text: str
    external_id: str = ""
    at: datetime | None = None
    files: tuple[FileInfo, ...] = ()
    quoted_id: str = ""  # the provider's id of the message it answers
    shown: Shown = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EchoSeen:
    """We wrote, but not here: in the account's own app. It is shown as ours, opens no window, goes nowhere."""

    contact: ContactInfo
    text: str
    external_id: str
    at: datetime | None = None
    files: tuple[FileInfo, ...] = ()
    quoted_id: str = ""
    shown: Shown = field(default_factory=dict)


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
    """A message was given another text by whoever wrote it."""

    contact: ContactInfo
    target_id: str
    text: str
    external_id: str = ""  # of the edit itself
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class MessageRevoked:
    """A message was taken back by whoever wrote it."""

    target_id: str
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ContactChanged:
    """The contact has another number or id now, or another device. ``now`` holds what has changed alone.

    ``reason`` is a code with a sentence in ``bridge.reasons``: the notice in the contact's chats.
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


@dataclass(frozen=True, kw_only=True)
class StatusChanged:
    """What became of a message of ours: known by our own id, the provider's, or the key of the delivery.

    A failure may come with ``reason``, a code of ``bridge.reasons``, and with the provider's ``details``.
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


@dataclass(frozen=True, kw_only=True)
class TemplateChanged:
    """The provider approved, rejected, paused… a template. Known by ``external_id`` or by name and language.

    ``status`` is a word of the Graph API, in any case; one that the registry does not know means: not to be sent.
    """

    status: str
    name: str = ""
    language: str = ""
    external_id: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TimePassed:
    """A training provider lets time pass for one contact, so that a newcomer sees the window shut."""

    contact: ContactInfo
    seconds: int


Correction = ReactionChanged | MessageEdited | MessageRevoked
Fact = (
    MessageReceived
    | EchoSeen
    | Correction
    | ContactChanged
    | StatusChanged
    | TemplateChanged
    | TimePassed
    | ItemUnreadable
)


class Refused(Exception):
    """The request does not prove that it comes from the provider. Nothing is stored."""


# --- what goes out ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Account:
    """One configured channel, as a provider needs to see it. Secrets are in clear here: never log, never repr."""

    id: int
    name: str
    app_id: str
    redirect_url: str = ""
    send_json: bool = True
    send_utf8: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    calls_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One delivery: the same ``key`` and the same content at every try.

    ``event`` is the chat or ticket event in the helpdesk's public shape (see ``codecs.chat_events``).
    """

    key: str
    attempt: int
    at: datetime
    event: Json
    text: str = ""
    template: Json | None = None
    contact: ContactInfo = ContactInfo()
    files: tuple[FileInfo, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """What to call. ``url`` is checked against the outgoing guard when it is called, whoever wrote it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """What came back; ``body`` is cut to the cap of ``outgoing``."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class TemplatePage:
    """Some of an account's templates, each as in the Graph API's list. ``after`` leads on; empty on the last page."""

    rows: tuple[Json, ...]
    after: str = ""


ACCEPTED = "accepted"  # the other side took it
RETRY = "retry"  # not taken, may be taken later
PERMANENT = "permanent"  # not taken, will never be
PAUSE = "pause"  # nothing will be taken on this channel until an admin has mended it
UNKNOWN = "unknown"  # nobody can say whether it was taken


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One try, judged. ``reason`` is a stable code with a sentence in ``bridge.reasons``."""

    verdict: str
    reason: str = ""
    external_id: str = ""
    retry_after: float | None = None  # seconds, as the other side asked
    whole_channel: bool = False  # a RETRY that concerns the account: everything on the channel waits so long
    status: str = "sent"  # what an accepted message becomes


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A limit to be obeyed before the other side complains, shared by all workers: one call each ``every`` seconds.

    ``key`` says whose limit it is, unique within the channel. Up to ``burst`` calls may go at once after a rest.
    ``whole_channel``: every call stands under it, so that others of the channel need not be tried while it is used up.
    """

    key: str
    every: float
    burst: int = 1
    whole_channel: bool = False


def set_rate(account: Account) -> tuple[Rate, ...]:
    """The limit that the admin set for all calls of the channel, if any."""
    if not account.calls_per_second:
        return ()
    return (Rate(key="channel", every=1 / account.calls_per_second, whole_channel=True),)


# --- the contract ----------------------------------------------------------------------------------------


class Provider:
    """What messenger and helpdesk kinds have in common."""

    kind: str = ""  # set from the file name
    label: ClassVar[Text] = ""


class Helpdesk(Provider):
    """Where operators answer."""

    built_in: ClassVar[bool] = False  # our own pages are the helpdesk: what is stored is shown, nothing to deliver


class Messenger(Provider):
    """Where the contact is reached. Subclasses override what differs; see ``acebot`` for the plainest one."""

    label: ClassVar[Text] = ""

    # Capabilities: asked for by the bridge instead of names.
    service_window: ClassVar[bool] = True  # free text only within 24 hours of the contact's last message
    sends_templates: ClassVar[bool] = True
    lists_templates: ClassVar[bool] = False  # ``fetch_templates``: the registry follows the provider's list
    sends_files: ClassVar[bool] = False
    reports_status: ClassVar[bool] = True
    fills_templates: ClassVar[bool] = False  # takes a template by name and values, not as its text
    needs_redirect_url: ClassVar[bool] = False  # messages go to the Redirect URL
    has_phone_page: ClassVar[bool] = False  # a training phone on a web page
    signs_requests: ClassVar[bool] = False  # ``authenticate`` needs the account's secrets
    needs_verification: ClassVar[bool] = False  # the company is verified first; the set-up guide: 2-3 weeks
    unknown_is_safe_to_repeat: ClassVar[bool] = True  # the receiver can tell a repeat by its key

    # The provider's status words in ours. Translation is data, so that review is reading a table.
    status_words: ClassVar[Mapping[str, str]] = {
        "sent": "sent",
        "delivered": "delivered",
        "read": "read",
        "failed": "failed",
    }

    # What ``parse`` understands as a delivery status: printed on the hand-over page for whoever programs the other
    # side. None where the provider's own format needs no telling.
    status_example: ClassVar[Mapping[str, Any] | None] = None

    def authenticate(self, request: RawRequest, account: Account) -> None:
        """Raise Refused unless the request is the provider's. The path token was already compared.

        A kind that signs its requests overrides this. Without a signature the unguessable path is the proof.
        """
        if request.method != "POST":
            raise Refused

    def parse(self, request: RawRequest, account: Account) -> list[Fact]:
        """The facts in a stored request, in their order. Raises BadBody when it says nothing we can read."""
        raise BadBody(_("This provider sends no events of its own."))

    def message(self, outgoing: Outgoing, account: Account) -> HttpRequest | Outcome:
        """How to hand a message to the contact: a request to make, or the outcome where there is none to make."""
        raise NotImplementedError(f"{type(self).__name__} does not send messages")

    def rates(self, outgoing: Outgoing, account: Account) -> tuple[Rate, ...]:
        """The limits under which a message stands. The default: what the admin set, under which events stand too."""
        return set_rate(account)

    def judge(self, answer: HttpAnswer) -> Outcome:
        """What an answer to ``message`` means. The default knows plain HTTP only."""
        return judge_http(answer)

    def fetch_templates(self, account: Account, *, after: str = "") -> HttpRequest | TemplatePage:
        """How to get one page of the account's templates: a request to make, or the page where there is none to make.

        ``after`` is what the page before it said, empty for the first.
        """
        raise NotImplementedError(f"{type(self).__name__} does not list templates")

    def read_templates(self, answer: HttpAnswer) -> TemplatePage:
        """The page in a good answer to ``fetch_templates``; BadBody if it holds none. The default: the Graph API's."""
        return read_template_list(answer.body)

    def event(self, outgoing: Outgoing, account: Account) -> HttpRequest:
        """How to tell a watcher of an event: a POST to the Redirect URL, the same for every kind."""
        return post_event(outgoing, account)

    def judge_event(self, answer: HttpAnswer) -> Outcome:
        """What an answer to ``event`` means."""
        return judge_http(answer)


def judge_http(answer: HttpAnswer) -> Outcome:
    """An answer judged by its HTTP status alone (a redirect is a failure: it is never followed).

    4xx is permanent except where the status itself says "later" (408, 409, 425, 429); 410 means "stop".
    """
    status = answer.status
    if 200 <= status < 300:
        return Outcome(verdict=ACCEPTED)
    if status in (408, 409, 425, 429) or status >= 500:
        return Outcome(
            verdict=RETRY,
            reason="rate_limited" if status == 429 else "destination_error",
            retry_after=retry_after_seconds(answer),
        )
    if 300 <= status < 400:
        return Outcome(verdict=PERMANENT, reason="redirected")
    if status in (401, 403):
        return Outcome(verdict=PAUSE, reason="not_let_in")
    if status == 410:
        return Outcome(verdict=PAUSE, reason="gone")
    return Outcome(verdict=PERMANENT, reason="rejected")


def read_template_list(body: bytes) -> TemplatePage:
    """``{"data": [...], "paging": {"cursors": {"after": …}, "next": …}}``: there is more as long as there is a next."""
    answer = json_object(body)
    rows, paging = answer.get("data"), answer.get("paging") or {}
    if not isinstance(rows, list) or not isinstance(paging, dict):
        raise BadBody(_("The provider's answer is not a list of templates."))
    if not paging.get("next"):
        return TemplatePage(rows=tuple(rows))
    cursors = paging.get("cursors")
    after = as_text(cursors.get("after")) if isinstance(cursors, dict) else ""
    if not after:
        raise BadBody(_("The provider's list of templates goes on, but does not say where."))
    return TemplatePage(rows=tuple(rows), after=after)


def retry_after_seconds(answer: HttpAnswer) -> float | None:
    """Retry-After in seconds, given as a number or as a date; None where absent or unreadable."""
    value = answer.headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if until.tzinfo is None:
        return None
    return max(0.0, (until - timezone.now()).total_seconds())


def post_event(outgoing: Outgoing, account: Account) -> HttpRequest:
    """The POST to the Redirect URL: body as the two flags say, Standard Webhooks headers beside it.

    ``webhook-id`` is stable over retries. The signature is HMAC-SHA256 over ``id.timestamp.body``, keyed with the
    bytes of the secret key as shown to the admin; during a rotation every valid key signs.
    """
    content_type, body = encode(outgoing.event, as_json=account.send_json, utf8=account.send_utf8)
    timestamp = str(int(outgoing.at.timestamp()))
    signed = f"{outgoing.key}.{timestamp}.".encode() + body
    return HttpRequest(
        method="POST",
        url=account.redirect_url,
        headers={
            "content-type": content_type,
            "webhook-id": outgoing.key,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in account.secrets),
            "okno-attempt": str(outgoing.attempt),
        },
        body=body,
    )


def _signature(secret: str, signed: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
