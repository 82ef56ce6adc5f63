"""Usedesk as an external helpdesk.

Outbound: ``create/client``, ``chat/addMessage`` and private ``create/comment`` of its public API. Inbound: chat,
ticket, comment and change events of its API channel, in the encoding set there. Events carry ``secret``: the app ID in
newer versions of Usedesk, the secret key in older ones.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from urllib3.filepost import encode_multipart_formdata

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.html_text import text_to_html
from channels_setup.codecs.values import as_text, parse_external_id
from channels_setup.providers.base import (
    ACCEPTED,
    PERMANENT,
    RETRY,
    ApiRequest,
    ApiResponse,
    CallRate,
    Json,
    Outcome,
    RawRequest,
    RequestRejected,
)
from channels_setup.providers.base import helpdesk as contract
from channels_setup.providers.base.helpdesk import (
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

from . import connection_check, payloads, responses, webhook_events
from .account_options import CALLS_PER_SECOND, EVENT_CHECKBOXES, SETTINGS


class Usedesk(Helpdesk):
    label = "Usedesk"

    settings = SETTINGS
    event_checkboxes = EVENT_CHECKBOXES

    # --- commands ---

    def build_request(self, command: HelpdeskCommand, account: HelpdeskAccount) -> ApiRequest | Outcome:
        if command.kind == contract.CLIENT:
            client_id = command.remote_ids.client_id
            method = "update/client" if client_id else "create/client"
            return _build_call(account, method, payloads.build_client_card(command.contact, client_id=client_id))
        if command.kind == contract.NOTE:
            if command.remote_ids.ticket_id is None:
                return Outcome(verdict=RETRY, reason="request_unknown")
            note = {
                "ticket_id": command.remote_ids.ticket_id,
                "type": "private",
                "message": _build_marked_text(command),
            }
            return _build_call(account, "create/comment", note)
        if command.uploads and command.remote_ids.ticket_id is not None:
            return _build_comment_with_files(account, command)
        return _build_call(account, "chat/addMessage", _build_message(command, account))

    def read_response(self, command: HelpdeskCommand, response: ApiResponse) -> HelpdeskResult:
        failure, body = responses.judge_response(response)
        is_update = command.kind == contract.CLIENT and command.remote_ids.client_id is not None
        if failure is not None:
            if is_update and failure.reason == "helpdesk_refused":
                failure = replace(failure, verdict=PERMANENT)  # an outdated card must not block messages
            return HelpdeskResult(outcome=failure)
        is_comment = command.kind == contract.NOTE or bool(command.uploads and command.remote_ids.ticket_id)
        if is_comment or is_update:
            return HelpdeskResult(outcome=Outcome(verdict=ACCEPTED))
        known = RemoteIds(
            chat_id=parse_external_id(body.get("chat_id")),
            client_id=parse_external_id(body.get("client_id")),
            ticket_id=parse_external_id(body.get("ticket_id")),
        )
        required_id = known.client_id if command.kind == contract.CLIENT else known.chat_id
        if required_id is None:
            return HelpdeskResult(outcome=Outcome(verdict=RETRY, reason="helpdesk_refused"))
        return HelpdeskResult(outcome=Outcome(verdict=ACCEPTED), remote_ids=known)

    def build_lookup_request(self, command: HelpdeskCommand, account: HelpdeskAccount) -> ApiRequest | None:
        """Look up a client by phone, and messages and notes among the comments of the client's newest request."""
        known = command.remote_ids
        if command.kind == contract.CLIENT:
            phone = payloads.extract_digits(command.contact.phone)
            if known.client_id or not phone:
                return None
            return _build_call(account, "clients", {"query": phone, "search_type": "full_match"})
        if command.kind == contract.MESSAGE and known.client_id:
            return _build_call(account, "tickets", {"client_id": known.client_id})
        return _build_call(account, "ticket", {"ticket_id": known.ticket_id}) if known.ticket_id else None

    def read_lookup(self, command: HelpdeskCommand, response: ApiResponse, account: HelpdeskAccount) -> LookupResult:
        if command.kind == contract.CLIENT:
            rows = responses.read_rows(response.body, "clients") or []
            client_id = responses.find_client(rows, command.contact.phone)
            return LookupResult(arrived=client_id is not None, remote_ids=RemoteIds(client_id=client_id))
        ticket_rows = responses.read_rows(response.body, "tickets")
        if ticket_rows is not None:
            is_conclusive, ticket_id = responses.find_newest_ticket(ticket_rows, command.remote_ids.client_id)
            next_request = _build_call(account, "ticket", {"ticket_id": ticket_id}) if ticket_id else None
            arrived = False if is_conclusive and next_request is None else None
            return LookupResult(arrived=arrived, next_request=next_request)
        failure, body = responses.judge_response(response)
        comments, ticket = body.get("comments"), body.get("ticket")
        if failure is not None or not isinstance(comments, list):
            return LookupResult(arrived=None)
        if command.kind == contract.NOTE:  # a note contains its own mark
            texts = [as_text(item.get("message")) for item in comments if isinstance(item, dict)]
            return LookupResult(arrived=any(_build_mark(command) in text for text in texts))
        # A message has no mark. It arrived if the client's latest comments repeat its text once more than before.
        repeats = responses.count_trailing_repeats(comments, payloads.append_links(command.text, command.files))
        ticket_id = parse_external_id(ticket.get("id")) if isinstance(ticket, dict) else None
        return LookupResult(arrived=repeats > command.repeats, remote_ids=RemoteIds(ticket_id=ticket_id))

    def build_operators_request(self, account: HelpdeskAccount) -> ApiRequest:
        return _build_call(account, "users", {})

    def read_operators(self, response: ApiResponse) -> dict[str, str]:
        return responses.read_operator_names(responses.read_rows(response.body, "users") or [])

    def call_rate(self, account: HelpdeskAccount) -> CallRate:
        per_second = account.options.get("calls_per_second") or CALLS_PER_SECOND
        return CallRate(key="", every=1 / float(per_second))

    # --- webhooks ---

    def authenticate(self, request: RawRequest, account: HelpdeskAccount) -> None:
        """Require the secret for events that cause an action; pings, statuses and unknown events are harmless."""
        try:
            body = request.decoded()
        except BadBody:
            return
        if not webhook_events.is_event(body):
            return
        presented = as_text(body.get("secret")).encode()
        accepted = [as_text(account.options.get("app_id")).encode(), account.secret.encode()]
        if not any(secret and hmac.compare_digest(presented, secret) for secret in accepted):
            raise RequestRejected

    def parse(self, request: RawRequest, account: HelpdeskAccount) -> list[HelpdeskFact]:
        if request.body.strip().strip(b'"').lower() == b"ping":
            return [EventSeen(track="ping")]
        body = request.decoded()
        if webhook_events.has_converted_characters(request.content_type):
            body = webhook_events.restore_characters(body)
        return list(webhook_events.read_facts(body, channel_id=parse_external_id(account.options.get("channel_id"))))

    # --- connection check ---

    def build_check_request(self, account: HelpdeskAccount) -> ApiRequest:
        query = urlencode({"api_token": account.secret})
        return ApiRequest(method="GET", url=f"{_build_url(account, 'channels')}?{query}", headers={}, body=b"")

    def read_check_findings(self, response: ApiResponse, account: HelpdeskAccount) -> list[HelpdeskFinding]:
        return connection_check.read_findings(response, account)


# --- calls -----------------------------------------------------------------------------------------------


def _build_url(account: HelpdeskAccount, method: str) -> str:
    return f"{as_text(account.options.get('base_url')).rstrip('/')}/{method}"


def _build_call(account: HelpdeskAccount, method: str, values: Mapping[str, Any]) -> ApiRequest:
    body = {"api_token": account.secret, **{name: value for name, value in values.items() if value not in ("", None)}}
    return ApiRequest(
        method="POST",
        url=_build_url(account, method),
        headers={"content-type": "application/json", "accept": "application/json"},
        body=json.dumps(body, ensure_ascii=False).encode(),
    )


def _build_message(command: HelpdeskCommand, account: HelpdeskAccount) -> Json:
    text = payloads.append_links(command.text, command.files)
    return {
        "company_id": account.company_id,
        "channel_id": account.options.get("channel_id"),
        "chat_id": command.remote_ids.chat_id,
        "message": payloads.build_message_body(
            command.contact, text, client_id=command.remote_ids.client_id, key=command.key, at=command.at
        ),
    }


def _build_comment_with_files(account: HelpdeskAccount, command: HelpdeskCommand) -> ApiRequest:
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
    # The key is the boundary, so that a retry sends the same bytes.
    body, content_type = encode_multipart_formdata(fields, boundary=f"okno{command.key}")
    return ApiRequest(
        method="POST", url=_build_url(account, "create/comment"), headers={"content-type": content_type}, body=body
    )


def _build_mark(command: HelpdeskCommand) -> str:
    return f"Okno {command.key[-8:]}"


def _build_marked_text(command: HelpdeskCommand) -> str:
    return f"{text_to_html(command.text)}<p><small>{_build_mark(command)}</small></p>"


provider = Usedesk()
