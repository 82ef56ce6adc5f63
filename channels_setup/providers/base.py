"""The contract between the portal and an outside service; the helpdesk's half is in ``base_helpdesk``.

A provider translates; it decides nothing and stores nothing. It knows no models and no database: bytes and
frozen dataclasses in, bytes and frozen dataclasses out. What a provider can do is said by its capabilities,
and the rest of the program asks for those, never for a provider's name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..codecs.bodies import BadBody, decode, encode, json_object
from ..codecs.facts import (  # the vocabulary of what comes in: part of the contract, handed on from here
    AccountNews,
    ContactChanged,
    ContactInfo,
    Correction,
    EchoSeen,
    Fact,
    GroupActivity,
    ItemUnreadable,
    MessageEdited,
    MessageReceived,
    MessageRevoked,
    ReactionChanged,
    SampleReceived,
    Shown,
    StatusChanged,
    TemplateChanged,
    TimePassed,
)
from ..codecs.redaction import redact_fields
from ..codecs.values import FileInfo, as_text

__all__ = [
    "AccountNews",
    "ContactChanged",
    "ContactInfo",
    "Correction",
    "EchoSeen",
    "Fact",
    "FileInfo",
    "GroupActivity",
    "ItemUnreadable",
    "MessageEdited",
    "MessageReceived",
    "MessageRevoked",
    "ReactionChanged",
    "SampleReceived",
    "Shown",
    "StatusChanged",
    "TemplateChanged",
    "TimePassed",
]

LazyText = str | Promise
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


class RequestRejected(Exception):
    """The request does not prove that it comes from the provider. Nothing is stored."""


@dataclass(frozen=True, kw_only=True)
class MisroutedItem:
    """An item of a webhook that concerns other channels than the one whose address it came to.

    ``address`` holds the settings by which those channels are found, such as ``{"phone_number_id": "109…"}``;
    ``number`` narrows them to the one with this phone number (digits), where it is known.
    ``for_all``: it concerns every channel that is found, not one alone.
    ``is_optional``: the channel itself has seen to it, so nothing is lost if no other is found.
    """

    address: Mapping[str, str]
    content: Json
    number: str = ""
    for_all: bool = False
    is_optional: bool = False


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
    send_multipart: bool = False  # a form, where ``send_json`` is off
    secrets: tuple[str, ...] = field(default=(), repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    credentials: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # valid ones, newest first
    webhook_needs_key: bool = False  # calls to the webhook address must carry one of ``secrets``
    number: str = ""  # the account's own phone number, digits only, where a check has shown it
    calls_per_second: float | None = None

    def credential(self, name: str) -> str:
        """The newest valid one of this name; empty where there is none."""
        return next(iter(self.credentials.get(name, ())), "")

    def all_secrets(self) -> Iterator[str]:
        """Everything that must never be shown or kept in clear."""
        yield from self.secrets
        for values in self.credentials.values():
            yield from values


TEXT, URL, NUMBER, DECIMAL, SWITCH, CHOICE, SECRET = "text", "url", "number", "decimal", "switch", "choice", "secret"


@dataclass(frozen=True, kw_only=True)
class AccountSetting:
    """Something a kind has to be told of an account: a field of the channel's form, an option of the command line.

    A secret is kept apart, encrypted, and never shown again.
    """

    name: str
    label: LazyText
    kind: str = TEXT
    help: LazyText = ""
    required: bool = False
    default: Any = ""
    choices: tuple[tuple[str, LazyText], ...] = ()
    generated: bool = False  # we make one where none is given, and show it once for the provider's own form
    required_group: str = ""  # one setting of all that have this word is required
    min_length: int = 0  # characters: a secret that proves a caller must not be guessed
    resolves: tuple[str, ...] = ()  # reasons for which the channel was paused, and that a new value does away with


@dataclass(frozen=True, kw_only=True)
class DeliveryRequest:
    """One delivery: the same ``key`` and the same content at every try.

    ``event`` is the chat or ticket event in the helpdesk's public shape (see ``codecs.chat_events``).
    """

    key: str
    attempt: int
    at: datetime
    event: Json
    text: str = ""
    template: Json | None = None
    components: tuple[Json, ...] = ()  # of the template, as the Graph API takes them
    quoted_id: str = ""  # the provider's id of the message that this one answers
    contact: ContactInfo = field(default_factory=ContactInfo)
    files: tuple[FileInfo, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    """What to call. ``url`` is checked against the outgoing guard when it is called, whoever wrote it."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # the account's key may stand there
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ApiResponse:
    """What came back; ``body`` is cut to the cap of ``http_client``."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class OutboundFile:
    """A file of ours on its way to the provider."""

    name: str
    mime: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SubmittedTemplate:
    """How a template that was just handed in stands at the provider; empty where the answer does not say."""

    external_id: str = ""
    status: str = ""
    category: str = ""


@dataclass(frozen=True, kw_only=True)
class TemplateEditRules:
    """What the provider lets one change in a template that it has. Statuses as in its list; None: no such limit."""

    editable: tuple[str, ...] | None = None
    approved_edits_per_day: int | None = None
    approved_edits_per_month: int | None = None
    keeps_category_when_approved: bool = False


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
    """One try, judged. ``reason`` is a stable code with a sentence in ``bridge.outcomes``."""

    verdict: str
    reason: str = ""
    external_id: str = ""
    retry_after: float | None = None  # seconds, as the other side asked
    whole_channel: bool = False  # a RETRY that concerns the account: everything on the channel waits so long
    contact_backoff_base: float | None = (
        None  # a RETRY of this contact alone: waits this to the power of how often it was so
    )
    status: str = "sent"  # what an accepted message becomes
    contact: ContactInfo = field(default_factory=ContactInfo)  # the ids by which they know who gets it
    code: str = ""  # the provider's own code, title and details of a failure: shown beside our sentence
    title: str = ""
    details: str = ""

    def __post_init__(self) -> None:
        redact_fields(self, "code", "title", "details")


@dataclass(frozen=True, kw_only=True)
class CallRate:
    """A limit to be obeyed before the other side complains, shared by all workers: one call each ``every`` seconds.

    ``key`` says whose limit it is, unique within the channel. Up to ``burst`` calls may go at once after a rest.
    ``whole_channel``: every call stands under it, so that others of the channel need not be tried while it is used up.
    """

    key: str
    every: float
    burst: int = 1
    whole_channel: bool = False


def credential_proof(name: str, value: str) -> str:
    """A credential as ``authenticate`` returns it: known by its name among the settings, and by its value."""
    return f"{name} {value}"


def channel_call_rate(account: Account) -> tuple[CallRate, ...]:
    """The limit that the admin set for all calls of the channel, if any."""
    if not account.calls_per_second:
        return ()
    return (CallRate(key="channel", every=1 / account.calls_per_second, whole_channel=True),)


@dataclass(frozen=True, kw_only=True)
class FileLocation:
    """Where a client's file lies at the provider just now, and what it must be."""

    url: str
    mime: str = ""
    sha256: str = ""  # hex
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class AccountFinding:
    """One thing that a check of the account has shown. ``level`` is ok, warning or error; the sentence is for an admin.

    ``facts`` is what to remember of the account: for its page, by name.
    """

    level: str
    sentence: LazyText
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        redact_fields(self, "sentence", "facts")


# --- the contract ----------------------------------------------------------------------------------------


class Provider:
    """What messenger and helpdesk kinds have in common."""

    kind: str = ""  # set from the file name
    label: ClassVar[LazyText] = ""
    settings: ClassVar[tuple[AccountSetting, ...]] = ()  # what it has to be told of an account


class Messenger(Provider):
    """Where the contact is reached. Subclasses override what differs; see ``acebot`` for the plainest one."""

    label: ClassVar[LazyText] = ""

    # Capabilities: asked for by the bridge instead of names.
    service_window: ClassVar[bool] = True  # free text only within 24 hours of the contact's last message
    sends_templates: ClassVar[bool] = True
    lists_templates: ClassVar[bool] = False  # ``fetch_templates``: the registry follows the provider's list
    manages_templates: ClassVar[bool] = False  # ``submit_template``, ``delete_template``: no hand-over by message
    edit_rules: ClassVar[TemplateEditRules] = TemplateEditRules()
    sends_files: ClassVar[bool] = False
    accepts_uploads: ClassVar[bool] = False  # ``upload``: a file of ours may be given to the provider beforehand
    upload_ttl: ClassVar[timedelta] = timedelta(0)  # so long a given file may be sent by its id
    reports_status: ClassVar[bool] = True
    ids_are_phone_numbers: ClassVar[bool] = False  # a contact's ``external_id`` is the phone that it is reached at
    supports_quotes: ClassVar[bool] = False  # a message of ours may show above itself the one that it answers
    sends_template_values: ClassVar[bool] = False  # takes a template by name and values, not as its text
    needs_redirect_url: ClassVar[bool] = False  # messages go to the Redirect URL
    delivers_copies: ClassVar[bool] = (
        False  # its receiver may hand any reply that it sees to the client: none to watchers
    )
    has_training_phone: ClassVar[bool] = False  # a training phone on a web page
    signs_requests: ClassVar[bool] = False  # ``authenticate`` needs the account's secrets
    sends_read_receipts: ClassVar[bool] = (
        False  # ``build_read_receipt_request``: the client sees that their message was read
    )
    serves_files_by_id: ClassVar[bool] = False  # ``build_file_location_request``, ``build_file_download_request``
    needs_verification: ClassVar[bool] = False  # the company is verified first; the set-up guide: 2-3 weeks
    can_send_key: ClassVar[bool] = False  # does not sign, but can send the channel's secret key with its requests
    webhook_fields: ClassVar[tuple[str, ...]] = ()  # what to tick in the provider's own webhook form, in its words
    webhook_secret: ClassVar[str] = ""  # the setting with a secret that the provider shows in ``webhook_header``
    webhook_header: ClassVar[str] = ""
    shares_webhook_address: ClassVar[bool] = False  # one webhook address may get several accounts' items: ``misrouted``
    retries_are_idempotent: ClassVar[bool] = True  # the receiver can tell a repeat by its key

    # Fact of an account ("quality", "limit", …, "event") -> the provider's code -> how admins read it.
    account_labels: ClassVar[Mapping[str, Mapping[str, LazyText]]] = {}

    # The provider's status words in ours. Translation is data, so that review is reading a table.
    status_map: ClassVar[Mapping[str, str]] = {
        "sent": "sent",
        "delivered": "delivered",
        "read": "read",
        "failed": "failed",
    }

    # What ``parse`` understands as a delivery status: printed on the hand-over page for whoever programs the other
    # side. None where the provider's own format needs no telling.
    status_example: ClassVar[Mapping[str, Any] | None] = None

    def exported_templates(self, body: Mapping[str, Any]) -> list[Any] | None:
        """Return the rows of this provider's export of templates in the Graph API's shape; None for another file."""
        return None

    def authenticate(self, request: RawRequest, account: Account) -> str:
        """Raise Refused unless the request is the provider's. The path token was already compared.

        A kind that signs its requests overrides this and returns the credential that proved the request (see
        ``credential_proof``); items for other channels are handed over only to those that hold the same one.
        Without a signature the unguessable path is the proof, and the secret key where the channel asks for it.
        """
        if request.method != "POST":
            raise RequestRejected
        if not account.webhook_needs_key:
            return ""
        _word, _blank, given = request.headers.get("authorization", "").strip().partition(" ")
        for secret in account.secrets:
            if secret and hmac.compare_digest(secret.encode(), given.strip().encode("utf-8", "surrogatepass")):
                return ""
        raise RequestRejected

    def misrouted_items(self, request: RawRequest, account: Account) -> list[MisroutedItem]:
        """Return the items that concern other channels of this kind. Called where ``shares_webhook_address``."""
        return []

    def pack_items(self, items: Sequence[MisroutedItem]) -> bytes:
        """A body that holds these items and nothing else."""
        raise NotImplementedError(f"{type(self).__name__} routes nothing")

    def answer_handshake(self, request: RawRequest, account: Account) -> str:
        """What to answer to a GET with which the provider makes sure that the address is ours. Raises Refused."""
        raise RequestRejected

    def parse(self, request: RawRequest, account: Account) -> list[Fact]:
        """The facts in a stored request, in their order. Raises BadBody when it says nothing we can read."""
        raise BadBody(_("This provider sends no events of its own."))

    def build_message_request(self, outgoing: DeliveryRequest, account: Account) -> ApiRequest | Outcome:
        """How to hand a message to the contact: a request to make, or the outcome where there is none to make."""
        raise NotImplementedError(f"{type(self).__name__} does not send messages")

    def call_rates(self, outgoing: DeliveryRequest, account: Account) -> tuple[CallRate, ...]:
        """The limits under which a message stands. The default: what the admin set, under which events stand too."""
        return channel_call_rate(account)

    def judge_response(self, answer: ApiResponse) -> Outcome:
        """What an answer means. The default knows plain HTTP only."""
        return judge_http(answer)

    def judge_message_response(self, answer: ApiResponse) -> Outcome:
        """What an answer to ``message`` means, where it says more than that a call went well."""
        return self.judge_response(answer)

    def fetch_templates(self, account: Account, *, after: str = "") -> ApiRequest | TemplatePage:
        """How to get one page of the account's templates: a request to make, or the page where there is none to make.

        ``after`` is what the page before it said, empty for the first.
        """
        raise NotImplementedError(f"{type(self).__name__} does not list templates")

    def read_templates(self, answer: ApiResponse) -> TemplatePage:
        """The page in a good answer to ``fetch_templates``; BadBody if it holds none. The default: the Graph API's."""
        return read_template_list(answer.body)

    def upload_template_sample(self, file: OutboundFile, account: Account) -> Generator[ApiRequest, ApiResponse, str]:
        """The calls that give the provider the sample of a header's file, each for a good answer; what to call it then.

        Raises BadBody where an answer does not say what the next call needs.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no samples")

    def build_template_request(self, row: Json, account: Account, *, samples: Mapping[str, str]) -> ApiRequest:
        """How to hand a template in, a row as in the Graph API's list: with an ``id`` it is there and gets a new text.

        ``status`` is how it stands there now, ``samples``: results of ``upload_template_sample`` by variable key,
        such as ``header.media`` and ``card.0.header.media``.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no templates")

    def read_submitted_template(self, answer: ApiResponse) -> SubmittedTemplate:
        """How it stands, by a good answer to ``submit_template``."""
        raise NotImplementedError(f"{type(self).__name__} takes no templates")

    def build_template_deletion(self, row: Json, account: Account) -> ApiRequest:
        """How to delete this one template, in this one language."""
        raise NotImplementedError(f"{type(self).__name__} takes no templates")

    def build_upload_request(self, file: OutboundFile, account: Account) -> ApiRequest | None:
        """How to give the provider a file that is then sent by its id; None where it should go by its link."""
        raise NotImplementedError(f"{type(self).__name__} takes no uploads")

    def read_upload_id(self, answer: ApiResponse) -> str:
        """The id, by a good answer to ``upload``. BadBody if the answer does not say it."""
        raise NotImplementedError(f"{type(self).__name__} takes no uploads")

    def build_read_receipt_request(self, external_id: str, account: Account) -> ApiRequest:
        """How to tell the client that their message was read."""
        raise NotImplementedError(f"{type(self).__name__} marks nothing as read")

    def build_file_location_request(self, file_id: str, account: Account) -> ApiRequest:
        """How to ask where a client's file lies."""
        raise NotImplementedError(f"{type(self).__name__} keeps no files")

    def read_file_location(self, answer: ApiResponse, account: Account) -> FileLocation:
        """Where it lies, by a good answer to ``build_file_location_request``. BadBody if the answer does not say it."""
        raise NotImplementedError(f"{type(self).__name__} keeps no files")

    def build_file_download_request(self, place: FileLocation, account: Account) -> ApiRequest:
        """How to fetch it. BadBody where it lies in a place that must not see the account's key."""
        raise NotImplementedError(f"{type(self).__name__} keeps no files")

    def build_check_requests(self, account: Account) -> Mapping[str, ApiRequest]:
        """What to ask the provider when an admin has the account checked, by a name of its own."""
        return {}

    def read_check_findings(self, answers: Mapping[str, ApiResponse | None], account: Account) -> list[AccountFinding]:
        """What the answers to ``questions`` mean, in words; None where no answer came."""
        return []

    def build_event_request(self, outgoing: DeliveryRequest, account: Account) -> ApiRequest:
        """How to tell a watcher of an event: a POST to the Redirect URL, the same for every kind."""
        return signed_event_request(outgoing, account)

    def judge_event_response(self, answer: ApiResponse) -> Outcome:
        """What an answer to ``event`` means."""
        return judge_http(answer)


def judge_http(answer: ApiResponse) -> Outcome:
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
        return Outcome(verdict=PAUSE, reason="unauthorized")
    if status == 410:
        return Outcome(verdict=PAUSE, reason="gone")
    return Outcome(verdict=PERMANENT, reason="rejected")


MAX_TEMPLATE_LIST_VALUES = 1_000_000  # of one page of a provider's list


def read_template_list(body: bytes) -> TemplatePage:
    """``{"data": [...], "paging": {"cursors": {"after": …}, "next": …}}``: there is more as long as there is a next."""
    answer = json_object(body, most_values=MAX_TEMPLATE_LIST_VALUES)
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


def retry_after_seconds(answer: ApiResponse) -> float | None:
    """Retry-After in seconds, given as a number or as a date; None where absent or unreadable."""
    value = answer.headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        return None
    return max(0.0, (until - timezone.now()).total_seconds())


def signed_event_request(outgoing: DeliveryRequest, account: Account) -> ApiRequest:
    """The POST to the Redirect URL: body as the two flags say, Standard Webhooks headers beside it.

    ``webhook-id`` is stable over retries. The signature is HMAC-SHA256 over ``id.timestamp.body``, keyed with the
    bytes of the secret key as shown to the admin; during a rotation every valid key signs.
    """
    content_type, body = encode(
        outgoing.event, as_json=account.send_json, utf8=account.send_utf8, multipart=account.send_multipart
    )
    timestamp = str(int(outgoing.at.timestamp()))
    signed = f"{outgoing.key}.{timestamp}.".encode() + body
    return ApiRequest(
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
