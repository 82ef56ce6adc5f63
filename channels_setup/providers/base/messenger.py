"""The messenger's half of the contract; the helpdesk's half is in ``base.helpdesk``.

A provider translates between its own protocol and our dataclasses. It decides nothing, stores nothing and knows no
models. The rest of the program asks for a provider's capabilities, never for its name.
"""

from __future__ import annotations

import hmac
from collections.abc import Generator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.facts import Fact

from .accounts import Account, AccountFinding, AccountSetting, Json, LazyText
from .deliveries import CallRate, DeliveryRequest, FileLocation, OutboundFile, Outcome, channel_call_rate
from .http_judging import judge_http
from .http_messages import ApiRequest, ApiResponse, MisroutedItem, RawRequest, RequestRejected
from .reasons import Reason
from .signed_events import signed_event_request
from .templates import SubmittedTemplate, TemplateEditRules, TemplatePage, read_template_list


class Provider:
    """Base of messenger and helpdesk kinds."""

    kind: str = ""  # set from the package name
    label: ClassVar[LazyText] = ""
    settings: ClassVar[tuple[AccountSetting, ...]] = ()
    reasons: ClassVar[Mapping[str, Reason]] = {}  # the provider's own failure codes, added to ``bridge.outcomes``


class Messenger(Provider):
    """A kind that reaches the contact. Subclasses override what differs; ``acebot`` is the simplest one."""

    # Capabilities. The bridge asks for these instead of names.
    service_window: ClassVar[bool] = True  # free text only within 24 hours of the contact's last message
    sends_templates: ClassVar[bool] = True
    lists_templates: ClassVar[bool] = False  # ``fetch_templates``: the registry follows the provider's list
    manages_templates: ClassVar[bool] = False  # ``build_template_request``, ``build_template_deletion``
    edit_rules: ClassVar[TemplateEditRules] = TemplateEditRules()
    sends_files: ClassVar[bool] = False
    accepts_uploads: ClassVar[bool] = False  # ``build_upload_request``: files can be uploaded before the message
    upload_ttl: ClassVar[timedelta] = timedelta(0)  # how long an uploaded file ID stays valid
    reports_status: ClassVar[bool] = True
    ids_are_phone_numbers: ClassVar[bool] = False  # a contact's ``external_id`` is the phone number to write to
    supports_quotes: ClassVar[bool] = False  # a reply can quote the message that it answers
    sends_reactions: ClassVar[bool] = False  # ``build_message_request`` takes a reaction
    sends_template_values: ClassVar[bool] = False  # takes a template as name and values instead of its text
    starts_chats: ClassVar[bool] = False  # can send a template to a number that never wrote
    no_start_reason: ClassVar[LazyText] = ""  # why it cannot, for operators
    needs_redirect_url: ClassVar[bool] = False  # messages go to the Redirect URL
    # The receiver may deliver any reply that it sees to the contact, so watching channels of this kind get no copies.
    delivers_copies: ClassVar[bool] = False
    has_training_phone: ClassVar[bool] = False  # the contact is simulated on a web page
    signs_requests: ClassVar[bool] = False  # ``authenticate`` needs the account's secrets
    sends_read_receipts: ClassVar[bool] = False  # ``build_read_receipt_request``
    serves_files_by_id: ClassVar[bool] = False  # ``build_file_location_request``, ``build_file_download_request``
    needs_verification: ClassVar[bool] = False  # the company is verified first; 2-3 weeks by the set-up guide
    can_send_key: ClassVar[bool] = False  # does not sign, but can send the channel's secret key with its requests
    webhook_fields: ClassVar[tuple[str, ...]] = ()  # what to subscribe to in the provider's own webhook form
    webhook_secret: ClassVar[str] = ""  # name of the setting whose value the provider sends in ``webhook_header``
    webhook_header: ClassVar[str] = ""
    webhook_header_help: ClassVar[LazyText] = ""  # when and how to use ``webhook_header``, for admins
    shares_webhook_address: ClassVar[bool] = False  # may receive other accounts' items: ``misrouted_items``
    retries_are_idempotent: ClassVar[bool] = True  # the receiver recognizes a repeated delivery by its key

    # Name of an account fact ("quality", "limit", "event", …) -> the provider's code -> label for admins.
    account_labels: ClassVar[Mapping[str, Mapping[str, LazyText]]] = {}

    # The provider's status -> ours.
    status_map: ClassVar[Mapping[str, str]] = {
        "sent": "sent",
        "delivered": "delivered",
        "read": "read",
        "failed": "failed",
    }

    # A delivery status as ``parse`` reads it, printed on the hand-over page for developers of the other side. None if
    # the provider's format is documented elsewhere.
    status_example: ClassVar[Mapping[str, Any] | None] = None

    # --- webhooks ---

    def authenticate(self, request: RawRequest, account: Account) -> str:
        """Return the proof of the credential that signed the request. Raises RequestRejected.

        The path token was already compared. A kind that signs its requests overrides this and returns
        ``credential_proof``; misrouted items are passed only to channels that hold the same credential. Without a
        signature the unguessable path is the proof, plus the secret key if the channel requires it.
        """
        if request.method != "POST":
            raise RequestRejected
        if not account.webhook_needs_key:
            return ""
        _scheme, _blank, presented = request.headers.get("authorization", "").strip().partition(" ")
        for secret in account.secrets:
            if secret and hmac.compare_digest(secret.encode(), presented.strip().encode("utf-8", "surrogatepass")):
                return ""
        raise RequestRejected

    def misrouted_items(self, request: RawRequest, account: Account) -> list[MisroutedItem]:
        """Return the items for other channels of this kind. Called if ``shares_webhook_address``."""
        return []

    def pack_items(self, items: Sequence[MisroutedItem]) -> bytes:
        """Build a webhook body that contains these items and nothing else."""
        # Called only for kinds with `shares_webhook_address`, which override it.
        raise NotImplementedError(f"{type(self).__name__} routes nothing")

    def answer_handshake(self, request: RawRequest, account: Account) -> str:
        """Return the answer to the GET by which the provider verifies the address. Raises RequestRejected."""
        raise RequestRejected

    def parse(self, request: RawRequest, account: Account) -> list[Fact]:
        """Return the facts of a stored request, in their order. Raises BadBody if none can be read."""
        raise BadBody(_("This provider sends no webhooks."))

    # --- messages ---

    def build_message_request(self, delivery: DeliveryRequest, account: Account) -> ApiRequest | Outcome:
        """Build the call that sends a message, or return the outcome if no call is needed."""
        # Every kind that sends messages overrides it; nothing is delivered to the others.
        raise NotImplementedError(f"{type(self).__name__} does not send messages")

    def build_event_request(self, delivery: DeliveryRequest, account: Account) -> ApiRequest:
        """Build the POST that sends an event to a watching channel."""
        return signed_event_request(delivery, account)

    def build_read_receipt_request(self, external_id: str, account: Account) -> ApiRequest:
        """Build the call that sends a read receipt for a contact's message."""
        # Called only for kinds with `sends_read_receipts`, which override it.
        raise NotImplementedError(f"{type(self).__name__} marks nothing as read")

    def call_rates(self, delivery: DeliveryRequest, account: Account) -> tuple[CallRate, ...]:
        """Return the rate limits of a message. Default: the limit that the admin set, which includes events."""
        return channel_call_rate(account)

    def judge_response(self, response: ApiResponse) -> Outcome:
        """Judge the response to any call. Default: by HTTP status alone."""
        return judge_http(response)

    def judge_message_response(self, response: ApiResponse) -> Outcome:
        """Judge the response to ``build_message_request``; it may contain the message's ID."""
        return self.judge_response(response)

    def judge_event_response(self, response: ApiResponse) -> Outcome:
        """Judge the response to ``build_event_request``."""
        return judge_http(response)

    # --- files ---

    def build_upload_request(self, file: OutboundFile, account: Account) -> ApiRequest | None:
        """Build the call that uploads a file; None if the file should be sent by link."""
        # Called only for kinds with `accepts_uploads`, which override it.
        raise NotImplementedError(f"{type(self).__name__} takes no uploads")

    def read_upload_id(self, response: ApiResponse) -> str:
        """Return the file ID from a successful upload. Raises BadBody if there is none."""
        # Called only for kinds with `accepts_uploads`, which override it.
        raise NotImplementedError(f"{type(self).__name__} takes no uploads")

    def build_file_location_request(self, file_id: str, account: Account) -> ApiRequest:
        """Build the call that requests the location of a contact's file."""
        # Called only for kinds with `serves_files_by_id`, which override it.
        raise NotImplementedError(f"{type(self).__name__} keeps no files")

    def read_file_location(self, response: ApiResponse, account: Account) -> FileLocation:
        """Return the location from a successful response. Raises BadBody if there is none."""
        # Called only for kinds with `serves_files_by_id`, which override it.
        raise NotImplementedError(f"{type(self).__name__} keeps no files")

    def build_file_download_request(self, location: FileLocation, account: Account) -> ApiRequest:
        """Build the download. Raises BadBody if the host must not receive the account's key."""
        # Called only for kinds with `serves_files_by_id`, which override it.
        raise NotImplementedError(f"{type(self).__name__} keeps no files")

    # --- the account ---

    def build_check_requests(self, account: Account) -> Mapping[str, ApiRequest]:
        """Build the calls of an account check, by a name that ``read_check_findings`` knows."""
        return {}

    def read_check_findings(
        self, responses: Mapping[str, ApiResponse | None], account: Account
    ) -> list[AccountFinding]:
        """Return what the responses to ``build_check_requests`` show. None: the call got no response."""
        return []

    # --- templates ---

    def exported_templates(self, body: Mapping[str, Any]) -> list[Any] | None:
        """Return the rows of this provider's template export in the Graph API's shape; None for another file."""
        return None

    def fetch_templates(self, account: Account, *, after: str = "") -> ApiRequest | TemplatePage:
        """Build the call for one page of the account's templates, or return the page if no call is needed.

        ``after`` is the cursor from the previous page; empty for the first one.
        """
        # Called only for kinds with `lists_templates`, which override it.
        raise NotImplementedError(f"{type(self).__name__} does not list templates")

    def read_templates(self, response: ApiResponse) -> TemplatePage:
        """Return the page from a successful response. Raises BadBody. Default: the Graph API's shape."""
        return read_template_list(response.body)

    def upload_template_sample(self, file: OutboundFile, account: Account) -> Generator[ApiRequest, ApiResponse, str]:
        """Yield the calls that upload a header's sample file, expect each response, and return the file's handle.

        Raises BadBody if a response lacks what the next call needs.
        """
        # Called only for kinds with `manages_templates`, which override it.
        raise NotImplementedError(f"{type(self).__name__} takes no samples")

    def build_template_request(self, row: Json, account: Account, *, samples: Mapping[str, str]) -> ApiRequest:
        """Build the call that submits a template, or edits it if ``row`` (as in the Graph API's list) has an ``id``.

        ``status`` in ``row`` is the current status at the provider. ``samples`` are handles from
        ``upload_template_sample`` by variable key, such as ``header.media`` and ``card.0.header.media``.
        """
        # Called only for kinds with `manages_templates`, which override it.
        raise NotImplementedError(f"{type(self).__name__} takes no templates")

    def read_submitted_template(self, response: ApiResponse) -> SubmittedTemplate:
        """Return the template's state from a successful response to ``build_template_request``."""
        # Called only for kinds with `manages_templates`, which override it.
        raise NotImplementedError(f"{type(self).__name__} takes no templates")

    def build_template_deletion(self, row: Json, account: Account) -> ApiRequest:
        """Build the call that deletes one template in one language."""
        # Called only for kinds with `manages_templates`, which override it.
        raise NotImplementedError(f"{type(self).__name__} takes no templates")
