"""WhatsApp Cloud API at Meta, or at a provider with the same API (360dialog, Gupshup V3).

The ``graph_*`` modules read and write the API's formats. This module authenticates webhooks and builds calls. BSPs
(business solution providers) differ from Meta in settings only: base URL, headers of the key and of the signature,
IDs in the path, hosts of files. ``dialog360`` holds the few calls that exist only at 360dialog.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.bodies import BadBody, parse_json_object
from channels_setup.codecs.values import as_text
from channels_setup.providers.base import (
    ACCEPTED,
    PERMANENT,
    RETRY,
    UNKNOWN,
    Account,
    AccountFinding,
    ApiRequest,
    ApiResponse,
    CallRate,
    DeliveryRequest,
    Fact,
    FileLocation,
    Json,
    LazyText,
    Messenger,
    MisroutedItem,
    OutboundFile,
    Outcome,
    RawRequest,
    RequestRejected,
    SubmittedTemplate,
    TemplateEditRules,
    TemplatePage,
    channel_call_rate,
    credential_proof,
    judge_http,
    retry_after_seconds,
)

from . import dialog360, graph_account, graph_errors
from .account_options import (
    BY_UPLOAD,
    DEFAULT_MEDIA_HOSTS,
    META_SIGNATURE_HEADER,
    SETTINGS,
    WEBHOOK_HEADER,
    get_base_url,
    get_messages_per_second,
    get_number_id,
    get_option,
    get_routing_target,
    has_ids_in_path,
)
from .calls import (
    build_account_path,
    build_get,
    build_headers,
    build_number_path,
    build_path,
    build_post,
    build_upload_headers,
    replace_media_host,
)
from .graph_account import list_check_queries, read_findings
from .graph_messages import normalize_sha256
from .graph_routing import find_misrouted_changes, pack_entries
from .graph_sending import (
    UPLOADABLE_TYPES,
    NotSendable,
    build_message_body,
    build_read_receipt_body,
    build_upload_form,
    read_accepted_message,
)
from .graph_templates import build_edit_body, build_submission_body
from .graph_webhooks import FIELD_READERS, has_facts, read_facts
from .reasons import REASONS

TEMPLATE_FIELDS = (
    "id,name,language,status,category,sub_category,previous_category,parameter_format,components,"
    "quality_score,rejected_reason"
)
# Meta's limit for one contact: a message every 6 seconds on average; a burst of up to 45 is allowed.
PAIR_SECONDS, PAIR_BURST = 6.0, 45


class WhatsAppCloud(Messenger):
    label = _("WhatsApp Cloud API (Meta, 360dialog, Gupshup)")
    reasons = REASONS
    signs_requests = True
    shares_webhook_address = True
    lists_templates = True
    manages_templates = True
    edit_rules = TemplateEditRules(
        editable=("APPROVED", "REJECTED", "PAUSED"),
        approved_edits_per_day=1,
        approved_edits_per_month=10,
        keeps_category_when_approved=True,
    )
    sends_template_values = True
    starts_chats = True
    webhook_fields = tuple(FIELD_READERS)
    webhook_secret = "webhook_secret"
    webhook_header = WEBHOOK_HEADER
    webhook_header_help = _(
        "If the provider does not sign webhooks (360dialog for direct customers), have it send a secret in this header:"
    )
    supports_quotes = True
    sends_reactions = True
    ids_are_phone_numbers = True
    sends_files = True
    accepts_uploads = True
    upload_ttl = timedelta(days=29)  # Meta keeps uploads for 30 days
    serves_files_by_id = True
    sends_read_receipts = True
    retries_are_idempotent = False  # the API has no idempotency key; a status webhook shows whether a message arrived
    account_labels: ClassVar[Mapping[str, Mapping[str, LazyText]]] = {
        "quality": graph_account.QUALITY,
        "limit": graph_account.LIMITS,
        "throughput": graph_account.THROUGHPUT,
        "status": graph_account.STATUS,
        "health": dialog360.SENDING_LABELS,
        "event": graph_account.EVENT_LABELS,
    }
    settings = SETTINGS

    # --- webhooks ---

    def answer_handshake(self, request: RawRequest, account: Account) -> str:
        """Return the challenge of Meta's GET if it has the verify token. Raises RequestRejected."""
        query = {name: values[-1] for name, values in parse_qs(request.query_string, keep_blank_values=True).items()}
        token = query.get("hub.verify_token", "")
        matching = [
            known
            for known in account.credentials.get("verify_token", ())
            if known and hmac.compare_digest(known.encode(), encode_for_comparison(token))
        ]
        if query.get("hub.mode") != "subscribe" or not token or not matching:
            raise RequestRejected
        return query.get("hub.challenge", "")[:200]

    def authenticate(self, request: RawRequest, account: Account) -> str:
        """Require the webhook secret in its header, or an HMAC-SHA256 of the raw body, keyed with the app secret.

        During a rotation several secrets of each kind are valid. BSPs may send the signature without ``sha256=``.
        """
        if request.method != "POST":
            raise RequestRejected
        presented = request.headers.get(WEBHOOK_HEADER, "")
        for secret in account.credentials.get("webhook_secret", ()):
            if secret and hmac.compare_digest(secret.encode(), encode_for_comparison(presented)):
                return credential_proof("webhook_secret", secret)
        header = get_option(account, "signature_header", META_SIGNATURE_HEADER).lower()
        signature = request.headers.get(header, "").strip()
        has_prefix = signature.startswith("sha256=") or header == META_SIGNATURE_HEADER
        signature = signature if has_prefix else f"sha256={signature}"
        for secret in account.credentials.get("app_secret", ()):
            expected = "sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
            if secret and hmac.compare_digest(expected.encode(), encode_for_comparison(signature.lower())):
                return credential_proof("app_secret", secret)
        raise RequestRejected

    def parse(self, request: RawRequest, account: Account) -> list[Fact]:
        return read_facts(parse_json_object(request.body), get_routing_target(account))

    def misrouted_items(self, request: RawRequest, account: Account) -> list[MisroutedItem]:
        return [
            MisroutedItem(
                address={"phone_number_id": item.number_id} if item.number_id else {"waba_id": item.account_id},
                content=item.entry,
                number=item.number,
                for_all=not item.number_id,
                is_optional=item.is_optional,
            )
            for item in find_misrouted_changes(
                json.loads(request.body.decode("utf-8-sig")), get_routing_target(account), is_relevant=has_facts
            )
        ]

    def pack_items(self, items: Sequence[MisroutedItem]) -> bytes:
        return pack_entries([item.content for item in items])

    # --- messages ---

    def build_message_request(self, delivery: DeliveryRequest, account: Account) -> ApiRequest | Outcome:
        try:
            body = build_message_body(
                contact=delivery.contact,
                key=delivery.key,
                text=delivery.text,
                template=delivery.template,
                components=delivery.components,
                files=delivery.files,
                quoted_id=delivery.quoted_id,
                reaction=delivery.reaction,
            )
        except NotSendable as problem:
            return Outcome(verdict=PERMANENT, reason=problem.reason)
        return build_post(account, build_number_path(account, "messages"), body)

    def build_read_receipt_request(self, external_id: str, account: Account) -> ApiRequest:
        return build_post(account, build_number_path(account, "messages"), build_read_receipt_body(external_id))

    def call_rates(self, delivery: DeliveryRequest, account: Account) -> tuple[CallRate, ...]:
        contact = delivery.contact
        per_second = get_messages_per_second(account)
        number = CallRate(key="number", every=1 / per_second, burst=max(1, int(per_second)), whole_channel=True)
        recipient = contact.external_id or contact.user_id or contact.phone
        pair = (CallRate(key=f"to {recipient}"[:100], every=PAIR_SECONDS, burst=PAIR_BURST),) if recipient else ()
        return (*channel_call_rate(account), number, *pair)

    def judge_response(self, response: ApiResponse) -> Outcome:
        """Judge by the error's code and details, or by HTTP status if the body is not from the API."""
        try:
            body = parse_json_object(response.body)
        except BadBody:
            body = {}
        error = body.get("error")
        if isinstance(error, dict):
            return _judge_error(error, response)
        if 200 <= response.status < 300:
            return Outcome(verdict=ACCEPTED)
        if response.status >= 500:
            return Outcome(verdict=UNKNOWN, reason="outcome_unknown")  # a proxy's page: the API may have the message
        return judge_http(response)

    def judge_message_response(self, response: ApiResponse) -> Outcome:
        """Judge the response to a message. Without a message ID (a captive portal, half a body) it proves nothing."""
        outcome = self.judge_response(response)
        if outcome.verdict != ACCEPTED:
            return outcome
        try:
            message = read_accepted_message(parse_json_object(response.body))
        except BadBody:
            message = None
        if message is None:
            return Outcome(verdict=UNKNOWN, reason="outcome_unknown")
        reason = "wa_held_for_quality" if message.is_held else ""
        return replace(outcome, external_id=message.external_id, contact=message.contact, reason=reason)

    # --- files ---

    def build_upload_request(self, file: OutboundFile, account: Account) -> ApiRequest | None:
        if get_option(account, "files_go", BY_UPLOAD) != BY_UPLOAD or file.mime not in UPLOADABLE_TYPES:
            return None
        content_type, body = build_upload_form(file.name, file.mime, file.content)
        return ApiRequest(
            method="POST",
            url=f"{get_base_url(account)}/{build_number_path(account, 'media')}",
            headers={**build_headers(account), "content-type": content_type},
            body=body,
        )

    def read_upload_id(self, response: ApiResponse) -> str:
        external_id = as_text(parse_json_object(response.body).get("id"))[:190]
        if not external_id:
            raise BadBody(_("The provider's response contains no file ID."))
        return external_id

    def build_file_location_request(self, file_id: str, account: Account) -> ApiRequest:
        return build_get(
            account, build_path(account, quote(file_id, safe="")), {"phone_number_id": get_number_id(account)}
        )

    def read_file_location(self, response: ApiResponse, account: Account) -> FileLocation:
        body = parse_json_object(response.body)
        url = as_text(body.get("url"))
        size = as_text(body.get("file_size"))
        if not url:
            raise BadBody(_("The provider's response contains no URL of the file."))
        return FileLocation(
            url=url,
            mime=as_text(body.get("mime_type")).split(";")[0].strip().lower()[:100],
            sha256=normalize_sha256(body.get("sha256")),
            size=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None,
        )

    def build_file_download_request(self, location: FileLocation, account: Account) -> ApiRequest:
        """Build the download. Raises BadBody for a host that is not the provider's: it would get the access token."""
        location = replace(location, url=replace_media_host(location.url, account))
        url, base = urlsplit(location.url), urlsplit(get_base_url(account))
        hosts = {host.strip().lower() for host in get_option(account, "media_hosts", DEFAULT_MEDIA_HOSTS).split(",")}
        origin = f"{url.scheme}://{url.netloc}".lower()
        is_base = origin == f"{base.scheme}://{base.netloc}".lower() or origin in hosts
        if not is_base and (url.scheme != "https" or (url.hostname or "") not in hosts or url.port not in (None, 443)):
            raise BadBody(_("The file is not on one of the provider's hosts."))
        return ApiRequest(method="GET", url=location.url, headers=build_headers(account), body=b"")

    # --- the account ---

    def build_check_requests(self, account: Account) -> Mapping[str, ApiRequest]:
        queries = list_check_queries(number_id=get_number_id(account), account_id=get_option(account, "waba_id"))
        if not has_ids_in_path(account):
            queries = dialog360.list_check_queries()
        return {
            name: build_get(account, build_path(account, path), {"fields": fields})
            for name, (path, fields) in queries.items()
        }

    def read_check_findings(
        self, responses: Mapping[str, ApiResponse | None], account: Account
    ) -> list[AccountFinding]:
        number_id, account_id = get_number_id(account), get_option(account, "waba_id")
        return list(
            read_findings(
                {name: (each.status, each.body) if each else None for name, each in responses.items()},
                number_id=number_id,
                per_second=get_messages_per_second(account),
                extra_readers=dialog360.list_readers(number_id=number_id, account_id=account_id),
                optional=(dialog360.WEBHOOK,),
            )
        )

    # --- templates ---

    def exported_templates(self, body: Mapping[str, Any]) -> list[Any] | None:
        return dialog360.read_template_rows(body)

    def build_template_request(self, row: Json, account: Account, *, samples: Mapping[str, str]) -> ApiRequest:
        if row.get("id"):
            return build_post(
                account, build_path(account, quote(str(row["id"]), safe="")), build_edit_body(row, samples=samples)
            )
        path = (
            build_account_path(account, "message_templates") if has_ids_in_path(account) else dialog360.TEMPLATES_PATH
        )
        return build_post(account, path, build_submission_body(row, samples=samples))

    def read_submitted_template(self, response: ApiResponse) -> SubmittedTemplate:
        """Return the new template's state; its category may differ from the requested one. An edit returns none."""
        body = parse_json_object(response.body)
        return SubmittedTemplate(
            external_id=as_text(dialog360.convert_template_row(body).get("id"))[:190],
            status=as_text(body.get("status")).upper()[:40],
            category=as_text(body.get("category")).upper()[:40],
        )

    def build_template_deletion(self, row: Json, account: Account) -> ApiRequest:
        """Build the deletion by ID and name: the name alone would delete all languages."""
        parameters = {"hsm_id": str(row["id"]), "name": str(row["name"])}
        request = build_get(account, build_account_path(account, "message_templates"), parameters)
        return replace(request, method="DELETE")

    def upload_template_sample(self, file: OutboundFile, account: Account) -> Generator[ApiRequest, ApiResponse, str]:
        """Open an upload session, then send the bytes (Meta's Resumable Upload API of the token's app)."""
        parameters = {"file_name": file.name, "file_length": str(len(file.content)), "file_type": file.mime}
        path = build_path(account, "app/uploads") + "?" + urlencode(parameters)
        session = as_text(parse_json_object((yield build_post(account, path, {})).body).get("id"))
        if not session:
            raise BadBody(_("The provider's response contains no upload session for the sample file."))
        request = ApiRequest(
            method="POST",
            url=f"{get_base_url(account)}/{build_path(account, quote(session, safe=':?=&'))}",
            headers={**build_headers(account), **build_upload_headers(account), "file_offset": "0"},
            body=file.content,
        )
        handle = as_text(parse_json_object((yield request).body).get("h"))
        if not handle:
            raise BadBody(_("The provider's response contains no handle of the sample file."))
        return handle

    def fetch_templates(self, account: Account, *, after: str = "") -> ApiRequest | TemplatePage:
        if not has_ids_in_path(account):
            page = {"limit": str(dialog360.PAGE_SIZE), "offset": after or "0"}
            return build_get(account, dialog360.TEMPLATES_PATH, page)
        parameters = {"fields": TEMPLATE_FIELDS, "limit": "200", **({"after": after} if after else {})}
        return build_get(account, build_account_path(account, "message_templates"), parameters)

    def read_templates(self, response: ApiResponse) -> TemplatePage:
        """Return the page of the Graph API's list, or of 360dialog's."""
        body = parse_json_object(response.body)
        rows = dialog360.read_template_rows(body)
        if rows is None:
            return super().read_templates(response)
        return TemplatePage(rows=tuple(rows), after=dialog360.read_next_offset(body))


def _judge_error(error: Mapping[str, Any], response: ApiResponse) -> Outcome:
    data = error.get("error_data")
    code = as_text(error.get("code"))[:40]
    details = as_text(data.get("details") if isinstance(data, dict) else "")
    details = details or as_text(error.get("error_user_msg")) or as_text(error.get("message"))
    meaning = graph_errors.find_meaning(code, details)
    if code not in graph_errors.CODES and (error.get("is_transient") is True or response.status >= 500):
        meaning = graph_errors.CODES["2"]
    retry_after = retry_after_seconds(response) if meaning.verdict == RETRY else None
    return Outcome(
        verdict=meaning.verdict,
        reason=meaning.reason,
        retry_after=retry_after if retry_after is not None else meaning.retry_after,
        whole_channel=meaning.whole_channel,
        contact_backoff_base=meaning.contact_backoff_base,
        code=code,
        title=as_text(error.get("error_user_title") or error.get("message"))[:300],
        details=details[:500],
    )


def encode_for_comparison(text: str) -> bytes:
    """Encode untrusted text: ``hmac.compare_digest`` accepts only ASCII text, but any bytes."""
    return text.encode("utf-8", "surrogatepass")


provider = WhatsAppCloud()
