"""Usedesk as the helpdesk: its public API outwards, its API channel's events inwards.

Outwards: ``create/client``, ``chat/addMessage`` and private ``create/comment``; errors come as HTTP 200 with ``error``
or ``status: false``. Inwards: chat, ticket, comment and change events at our webhook, in whichever encoding the API
channel is set to. Events carry the app ID in newer versions and the secret key in older ones as ``secret``.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from urllib3.filepost import encode_multipart_formdata

from channels_setup.codecs.bodies import BadBody, parse_json_object
from channels_setup.codecs.html_text import text_to_html
from channels_setup.codecs.values import as_text, parse_external_id
from channels_setup.providers.base import (
    ACCEPTED,
    CHOICE,
    DECIMAL,
    NUMBER,
    PAUSE,
    PERMANENT,
    RETRY,
    SECRET,
    SWITCH,
    URL,
    AccountSetting,
    ApiRequest,
    ApiResponse,
    CallRate,
    Json,
    Outcome,
    RawRequest,
    RequestRejected,
    retry_after_seconds,
)
from channels_setup.providers.base import helpdesk as contract
from channels_setup.providers.base.helpdesk import (
    EventCheckbox,
    EventSeen,
    Helpdesk,
    HelpdeskAccount,
    HelpdeskCommand,
    HelpdeskFact,
    HelpdeskFinding,
    HelpdeskResult,
    LookupResult,
    RemoteIds,
)

from . import payloads, responses, webhook_events

CALLS_PER_SECOND = 5.0
SKEW_NOTICED, SKEW_WRONG = 30, 300  # seconds between their clock and ours


class Usedesk(Helpdesk):
    label = "Usedesk"

    settings = (
        AccountSetting(
            name="base_url",
            label=_("API address"),
            kind=URL,
            required=True,
            default="https://secure.usedesk.com/uapi/",
            help=_("With its path. Others in use: https://secure.usedesk.ru/uapi/, https://api.usedesk.ru/, your own."),
        ),
        AccountSetting(
            name="channel_id",
            label=_("Chat channel's id in Usedesk"),
            kind=NUMBER,
            required=True,
            help=_("From the settings of the chat channel there."),
        ),
        AccountSetting(
            name="secret_key",
            label=_("Secret key of the API channel"),
            kind=SECRET,
            required=True,
            help=_("Shown in Usedesk after the API channel has been saved."),
        ),
        AccountSetting(
            name="app_id",
            label=_("app ID of the API channel"),
            required=True,
            help=_("Shown beside the secret key; Usedesk signs its events with it."),
        ),
        AccountSetting(
            name="calls_per_second",
            label=_("Calls a second"),
            kind=DECIMAL,
            default=CALLS_PER_SECOND,
            help=_("Usedesk documents no limit; five are safe."),
        ),
        AccountSetting(
            name="language",
            label=_("Language of notes to operators"),
            kind=CHOICE,
            default="ru",
            choices=(("ru", "Русский"), ("en", "English")),
        ),
        AccountSetting(
            name="files",
            label=_("Clients' files"),
            kind=CHOICE,
            default="link",
            choices=(("link", _("by link in the message")), ("comment", _("as a comment once the request is known"))),
        ),
        AccountSetting(
            name="links_for_files",
            label=_("Send the client links to operators' files"),
            kind=SWITCH,
            default=False,
            help=_("WhatsApp gets no files from Usedesk. Off: the operator is told so. On: the link goes out as text."),
        ),
        AccountSetting(
            name="relay_rules",
            label=_("Relay messages of rules and bots"),
            kind=SWITCH,
            default=False,
            help=_("Usedesk's own automatic answers. They need the box “Ticket change”."),
        ),
    )

    event_checkboxes = (
        EventCheckbox(track="message", label=_("All chat messages"), purpose=_("operators' answers come by it")),
        EventCheckbox(track="new_chat", label=_("New chat"), purpose=_("shows that a first message arrived")),
        EventCheckbox(track="resumed", label=_("Chat resumed"), purpose=_("shows that a chat was opened again")),
        EventCheckbox(track="change", label=_("Ticket change"), purpose=_("status and assignee follow it here")),
        EventCheckbox(
            track="comment", label=_("New comment"), purpose=_("answers written in Tickets; tells equal answers apart")
        ),
        EventCheckbox(track="new_ticket", label=_("New ticket"), purpose=_("not needed"), needed=False),
        EventCheckbox(track="rating", label=_("Rating"), purpose=_("not needed"), needed=False),
    )

    # --- out ---

    def build_request(self, command: HelpdeskCommand, account: HelpdeskAccount) -> ApiRequest | Outcome:
        if command.kind == contract.CLIENT:
            client_id = command.remote_ids.client_id
            method = "update/client" if client_id else "create/client"
            return _call(account, method, payloads.build_client_card(command.contact, client_id=client_id))
        if command.kind == contract.NOTE:
            if command.remote_ids.ticket_id is None:
                return Outcome(verdict=RETRY, reason="request_unknown")
            note = {"ticket_id": command.remote_ids.ticket_id, "type": "private", "message": _marked(command)}
            return _call(account, "create/comment", note)
        if command.uploads and command.remote_ids.ticket_id is not None:
            return _comment_with_files(account, command)
        return _call(account, "chat/addMessage", _message(command, account))

    def read_response(self, command: HelpdeskCommand, response: ApiResponse) -> HelpdeskResult:
        failure, body = _judged(response)
        is_update = command.kind == contract.CLIENT and command.remote_ids.client_id is not None
        if failure is not None:
            if is_update and failure.reason == "helpdesk_refused":
                failure = replace(failure, verdict=PERMANENT)  # a card is not worth holding messages up
            return HelpdeskResult(outcome=failure)
        is_comment = command.kind == contract.NOTE or bool(command.uploads and command.remote_ids.ticket_id)
        if is_comment or is_update:
            return HelpdeskResult(outcome=Outcome(verdict=ACCEPTED))
        known = RemoteIds(
            chat_id=parse_external_id(body.get("chat_id")),
            client_id=parse_external_id(body.get("client_id")),
            ticket_id=parse_external_id(body.get("ticket_id")),
        )
        needed = known.client_id if command.kind == contract.CLIENT else known.chat_id
        if needed is None:
            return HelpdeskResult(outcome=Outcome(verdict=RETRY, reason="helpdesk_refused"))
        return HelpdeskResult(outcome=Outcome(verdict=ACCEPTED), remote_ids=known)

    def build_lookup_request(self, command: HelpdeskCommand, account: HelpdeskAccount) -> ApiRequest | None:
        """A client is found by phone; messages and notes stand among the comments of the client's newest request."""
        known = command.remote_ids
        if command.kind == contract.CLIENT:
            phone = payloads.extract_digits(command.contact.phone)
            if known.client_id or not phone:
                return None
            return _call(account, "clients", {"query": phone, "search_type": "full_match"})
        if command.kind == contract.MESSAGE and known.client_id:
            return _call(account, "tickets", {"client_id": known.client_id})
        return _call(account, "ticket", {"ticket_id": known.ticket_id}) if known.ticket_id else None

    def read_lookup(self, command: HelpdeskCommand, response: ApiResponse, account: HelpdeskAccount) -> LookupResult:
        if command.kind == contract.CLIENT:
            rows = responses.read_rows(response.body, "clients") or []
            client_id = responses.find_client(rows, command.contact.phone)
            return LookupResult(arrived=client_id is not None, remote_ids=RemoteIds(client_id=client_id))
        rows_of_tickets = responses.read_rows(response.body, "tickets")
        if rows_of_tickets is not None:
            can_be_told, ticket_id = responses.find_newest_ticket(rows_of_tickets, command.remote_ids.client_id)
            then = _call(account, "ticket", {"ticket_id": ticket_id}) if ticket_id else None
            return LookupResult(arrived=False if can_be_told and then is None else None, next_request=then)
        failure, body = _judged(response)
        comments, ticket = body.get("comments"), body.get("ticket")
        if failure is not None or not isinstance(comments, list):
            return LookupResult(arrived=None)
        if command.kind == contract.NOTE:  # it carries its own mark
            shown = [as_text(item.get("message")) for item in comments if isinstance(item, dict)]
            return LookupResult(arrived=any(_mark(command) in text for text in shown))
        # A message has none: only as many equal texts in a row as were said, with this one, prove it.
        times = responses.count_trailing_repeats(comments, payloads.append_links(command.text, command.files))
        ticket_id = parse_external_id(ticket.get("id")) if isinstance(ticket, dict) else None
        return LookupResult(arrived=times > command.repeats, remote_ids=RemoteIds(ticket_id=ticket_id))

    def build_operators_request(self, account: HelpdeskAccount) -> ApiRequest:
        return _call(account, "users", {})

    def read_operators(self, response: ApiResponse) -> dict[str, str]:
        return responses.read_operator_names(responses.read_rows(response.body, "users") or [])

    def call_rate(self, account: HelpdeskAccount) -> CallRate:
        per_second = account.options.get("calls_per_second") or CALLS_PER_SECOND
        return CallRate(key="", every=1 / float(per_second))

    # --- in ---

    def authenticate(self, request: RawRequest, account: HelpdeskAccount) -> None:
        """What could be acted upon needs the secret; a ping, a native status or anything unknown is harmless."""
        try:
            body = request.decoded()
        except BadBody:
            return
        if not webhook_events.is_event(body):
            return
        given = as_text(body.get("secret")).encode()
        accepted = [as_text(account.options.get("app_id")).encode(), account.secret.encode()]
        if not any(one and hmac.compare_digest(given, one) for one in accepted):
            raise RequestRejected

    def parse(self, request: RawRequest, account: HelpdeskAccount) -> list[HelpdeskFact]:
        if request.body.strip().strip(b'"').lower() == b"ping":
            return [EventSeen(track="ping")]
        body = request.decoded()
        if webhook_events.has_converted_characters(request.content_type):
            body = webhook_events.restore_characters(body)
        return list(webhook_events.read_facts(body, channel_id=parse_external_id(account.options.get("channel_id"))))

    # --- looking ---

    def build_check_request(self, account: HelpdeskAccount) -> ApiRequest:
        query = urlencode({"api_token": account.secret})
        return ApiRequest(method="GET", url=f"{_address(account, 'channels')}?{query}", headers={}, body=b"")

    def read_check_findings(self, response: ApiResponse, account: HelpdeskAccount) -> list[HelpdeskFinding]:
        found = [_skew(response)]
        if response.status in (301, 302, 303, 307, 308, 404, 405):
            sentence = _("The API address answers %(status)d: it is not the address of Usedesk's API.")
            return [*found, HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})]
        try:
            listed = json.loads(response.body)
        except (ValueError, RecursionError):
            sentence = _("What answers at the API address is not Usedesk's API (HTTP %(status)d).")
            return [*found, HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})]
        if isinstance(listed, dict):
            listed = listed.get("channels", listed)
        if not isinstance(listed, list):
            return [*found, _not_listed(response)]
        found.append(HelpdeskFinding(level="ok", sentence=_("The secret key is accepted.")))
        return [*found, _own_channel([item for item in listed if isinstance(item, dict)], account)]


# --- calls -----------------------------------------------------------------------------------------------


def _address(account: HelpdeskAccount, method: str) -> str:
    return f"{as_text(account.options.get('base_url')).rstrip('/')}/{method}"


def _call(account: HelpdeskAccount, method: str, values: Mapping[str, Any]) -> ApiRequest:
    body = {"api_token": account.secret, **{name: value for name, value in values.items() if value not in ("", None)}}
    return ApiRequest(
        method="POST",
        url=_address(account, method),
        headers={"content-type": "application/json", "accept": "application/json"},
        body=json.dumps(body, ensure_ascii=False).encode(),
    )


def _message(command: HelpdeskCommand, account: HelpdeskAccount) -> Json:
    text = payloads.append_links(command.text, command.files)
    return {
        "company_id": account.company_id,
        "channel_id": account.options.get("channel_id"),
        "chat_id": command.remote_ids.chat_id,
        "message": payloads.build_message_body(
            command.contact, text, client_id=command.remote_ids.client_id, key=command.key, at=command.at
        ),
    }


def _comment_with_files(account: HelpdeskAccount, command: HelpdeskCommand) -> ApiRequest:
    fields: list[tuple[str, Any]] = [
        ("api_token", account.secret),
        ("ticket_id", str(command.remote_ids.ticket_id)),
        ("type", "public"),
        ("from", "client"),
        ("message", text_to_html(command.text) if command.text else "…"),
    ]
    fields += [
        ("files[]", (each.name or "file", each.content, each.mime or "application/octet-stream"))
        for each in command.uploads
    ]
    # The boundary is the key: the same delivery makes the same bytes.
    body, content_type = encode_multipart_formdata(fields, boundary=f"okno{command.key}")
    return ApiRequest(
        method="POST", url=_address(account, "create/comment"), headers={"content-type": content_type}, body=body
    )


def _mark(command: HelpdeskCommand) -> str:
    return f"Okno {command.key[-8:]}"


def _marked(command: HelpdeskCommand) -> str:
    return f"{text_to_html(command.text)}<p><small>{_mark(command)}</small></p>"


# --- answers ---------------------------------------------------------------------------------------------


def _judged(response: ApiResponse) -> tuple[Outcome | None, Json]:
    """(what went wrong or None, the body). Nothing but a JSON object without an error is a success."""
    status = response.status
    if status in (401, 403):
        return Outcome(verdict=PAUSE, reason="helpdesk_unauthorized"), {}
    if status in (404, 405, 410) or 300 <= status < 400:
        return Outcome(verdict=PAUSE, reason="helpdesk_wrong_address"), {}
    if status == 413:
        return Outcome(verdict=PERMANENT, reason="helpdesk_refused"), {}
    if not 200 <= status < 300:
        reason = "rate_limited" if status == 429 else "helpdesk_unreachable"
        return Outcome(verdict=RETRY, reason=reason, retry_after=retry_after_seconds(response)), {}
    try:
        body = parse_json_object(response.body)
    except BadBody:
        return Outcome(verdict=RETRY, reason="helpdesk_unreachable"), {}
    if (error := body.get("error")) not in (None, "", False, []):
        return _error(error, body.get("code"), response), body
    if body.get("status") is False:
        return Outcome(verdict=PAUSE, reason="helpdesk_wrong_channel"), body
    return None, body


def _error(error: Any, code: Any, response: ApiResponse) -> Outcome:
    """What is unclear is tried again."""
    about = responses.classify_error(error, code)
    if about == responses.LIMIT_ERROR:
        return Outcome(verdict=RETRY, reason="rate_limited", retry_after=retry_after_seconds(response))
    return {
        responses.KEY_ERROR: Outcome(verdict=PAUSE, reason="helpdesk_unauthorized"),
        responses.CHANNEL_ERROR: Outcome(verdict=PAUSE, reason="helpdesk_wrong_channel"),
        responses.SERVER_ERROR: Outcome(verdict=RETRY, reason="helpdesk_unreachable"),
    }.get(about, Outcome(verdict=RETRY, reason="helpdesk_refused"))


# --- the dry-run -----------------------------------------------------------------------------------------


def _skew(response: ApiResponse) -> HelpdeskFinding:
    try:
        theirs: datetime | None = parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError):
        theirs = None
    if theirs is None:
        return HelpdeskFinding(
            level="warning", sentence=_("Usedesk's server does not tell its time: clocks cannot be compared.")
        )
    apart = abs((timezone.now() - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))).total_seconds())
    if apart < SKEW_NOTICED:
        return HelpdeskFinding(level="ok", sentence=_("The clocks agree."))
    level = "error" if apart >= SKEW_WRONG else "warning"
    sentence = _("The clocks differ by %(seconds)d s: one of the two servers has the wrong time.")
    return HelpdeskFinding(level=level, sentence=str(sentence) % {"seconds": round(apart)}, stops=False)


def _not_listed(response: ApiResponse) -> HelpdeskFinding:
    failure, _body = _judged(response)
    if failure is not None and failure.reason == "helpdesk_unauthorized":
        return HelpdeskFinding(level="error", sentence=_("Usedesk does not accept the secret key."))
    sentence = _("Usedesk did not list its channels (HTTP %(status)d).")
    return HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})


def _own_channel(listed: list[Json], account: HelpdeskAccount) -> HelpdeskFinding:
    wanted = parse_external_id(account.options.get("channel_id"))
    own = next((item for item in listed if parse_external_id(item.get("channel_id")) == wanted), None)
    values = {"id": wanted, "kind": as_text((own or {}).get("channel_type"))}
    if own is None:
        chats = [as_text(item.get("channel_id")) for item in listed if item.get("channel_type") == "chat"]
        sentence = _("There is no channel %(id)s in Usedesk. Chat channels there: %(chats)s.")
        return HelpdeskFinding(
            level="error", sentence=str(sentence) % (values | {"chats": ", ".join(chats[:10]) or "—"})
        )
    if values["kind"] != "chat":
        sentence = _("Channel %(id)s is not a chat channel: its type is “%(kind)s”.")
        return HelpdeskFinding(level="error", sentence=str(sentence) % values)
    return HelpdeskFinding(level="ok", sentence=str(_("Chat channel %(id)s exists.")) % values)


provider = Usedesk()
