"""Step 1, webhooks: authenticate the raw bytes, store the raw event, answer.

A 2xx means committed. A wrong token or signature is rejected and stores nothing. A failed commit is a 503, so that the
provider retries. The inbox parses the body later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from bridge import tracing
from bridge.helpdesk import incoming
from bridge.models import WebhookEvent
from bridge.raw_requests import BodyTooLarge, build_event, read_raw_request
from bridge.settings_cache import SettingsCache
from channels_setup.models import ApiChannel, ChatChannel, WebhookAddress
from channels_setup.providers import helpdesks, messengers
from channels_setup.providers.base import Account, RawRequest, RequestRejected
from channels_setup.providers.base.helpdesk import HelpdeskAccount

from .flood_guard import unknown_token_guard
from .group_commit import group_committer

logger = logging.getLogger(__name__)

ACCEPTED = b'{"status": "accepted"}'


@csrf_exempt
def provider_webhook(request: HttpRequest, kind: str, token: str) -> HttpResponse:
    """View of ``/webhooks/<kind>/<token>/``: receive an event for one API channel or chat channel."""
    if request.method not in ("POST", "GET"):
        return JsonResponse({"error": "Use POST."}, status=405)
    return respond_to_errors(lambda: receive_webhook(request, kind=kind, token=token))


def receive_from_training_phone(request: HttpRequest, api_channel: ApiChannel) -> HttpResponse:
    """Store one event of a training phone. The caller has checked the user's session and access."""
    if api_channel.archived_at is not None:
        return _reject_archived()
    return respond_to_errors(
        lambda: _store_event(build_event(read_raw_request(request), api_channel=api_channel, endpoint="webhook"))
    )


def respond_to_errors(receive: Callable[[], HttpResponse]) -> HttpResponse:
    """Call ``receive`` and turn its exceptions into error responses."""
    try:
        return receive()
    except BodyTooLarge:
        return JsonResponse({"error": "The body is too large."}, status=413)
    except RequestRejected:
        return JsonResponse({"error": "Not accepted."}, status=403)
    except DatabaseError:
        logger.exception("event not stored")
        return JsonResponse({"error": "Not saved. Try again."}, status=503, headers={"Retry-After": "5"})


def receive_webhook(request: HttpRequest, *, kind: str, token: str) -> HttpResponse:
    """Store one event of the channel with this token and answer 200. Raises BodyTooLarge, RequestRejected."""
    if kind in helpdesks():
        return receive_helpdesk_webhook(request, kind=kind, token=token)
    known = _api_channels.get((kind, token)) if kind in messengers() else None
    if known is None:
        return _reject_unknown_address()
    address, api_channel, account = known
    # A shared address also receives the messages of other numbers, which the inbox routes to their channels.
    if api_channel.archived_at is not None and not api_channel.provider.shares_webhook_address:
        return _reject_archived()
    raw = read_raw_request(request)
    try:
        return _authenticate_and_store(raw, address, api_channel, account)
    except RequestRejected:
        # Record the rejection: a mistyped secret or verify token would look like an account without messages.
        if api_channel.authenticates_webhooks:
            api_channel.record_refusal("handshake_refused_at" if raw.method == "GET" else "refused_at")
        raise


def _authenticate_and_store(
    raw: RawRequest, address: WebhookAddress, api_channel: ApiChannel, account: Account
) -> HttpResponse:
    provider = api_channel.provider
    if raw.method == "GET":
        # Plain text: the challenge comes from the caller and must not be rendered as HTML.
        answer = HttpResponse(provider.answer_handshake(raw, account), content_type="text/plain; charset=utf-8")
        answer["X-Content-Type-Options"] = "nosniff"
        api_channel.record_handshake()
        address.record_use(timezone.now())
        return answer
    proof = provider.authenticate(raw, account)
    api_channel.clear_refusal()
    address.record_use(timezone.now())
    secrets = account.all_secrets()
    event = build_event(raw, api_channel=api_channel, endpoint="webhook", proof=proof, secrets=secrets)
    return _store_event(event, is_last_query=True)


def _read_api_channel(address_key: tuple[str, str]) -> tuple[WebhookAddress, ApiChannel, Account] | None:
    address = WebhookAddress.objects.all().by_token(*address_key)
    channel = address.api_channel if address else None
    if address is None or channel is None:
        return None
    return address, channel, channel.account() if channel.authenticates_webhooks else channel.account_without_secrets()


def _read_chat_channel(address_key: tuple[str, str]) -> tuple[WebhookAddress, ChatChannel, HelpdeskAccount] | None:
    """Return the address, channel and account of an external helpdesk."""
    address = WebhookAddress.objects.all().by_token(*address_key)
    channel = address.chat_channel if address else None
    if address is None or channel is None or channel.provider.built_in:
        return None
    return address, channel, channel.helpdesk_account()


_api_channels = SettingsCache(_read_api_channel)  # by kind and token
_chat_channels = SettingsCache(_read_chat_channel)


def receive_helpdesk_webhook(request: HttpRequest, *, kind: str, token: str) -> HttpResponse:
    """Store one event of the external helpdesk with this token. Raises BodyTooLarge, RequestRejected."""
    known = _chat_channels.get((kind, token))
    if known is None:
        return _reject_unknown_address()
    (address, chat_channel, account), raw = known, read_raw_request(request)
    try:
        try:
            chat_channel.provider.authenticate(raw, account)
        except RequestRejected:  # a helpdesk does not retry: the cached key may be outdated, so read it again
            _chat_channels.discard((kind, token))
            address, chat_channel, account = _chat_channels.get((kind, token)) or known
            chat_channel.provider.authenticate(raw, account)
    except RequestRejected:
        incoming.record_refused_event(chat_channel)
        raise
    address.record_use(timezone.now())
    # Older helpdesk versions include the key in the request.
    event = build_event(raw, chat_channel=chat_channel, endpoint="webhook", secrets=[account.secret])
    return _store_event(event, is_last_query=True)


def _reject_unknown_address() -> HttpResponse:
    unknown_token_guard.count_unknown()
    return JsonResponse({"error": "No such webhook address."}, status=404)


def _reject_archived() -> HttpResponse:
    return JsonResponse({"error": "This channel is archived."}, status=410)


def _store_event(event: WebhookEvent, *, is_last_query: bool = False) -> HttpResponse:
    group_committer.store(event, is_last_query=is_last_query)
    tracing.record_stored_event(event)
    return HttpResponse(ACCEPTED, content_type="application/json")
