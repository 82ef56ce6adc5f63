"""Station 1: authenticate on raw bytes, store the raw event, answer. Nothing else happens while the caller waits.

A 2xx means committed. A wrong token or signature is refused and leaves no row; a commit that fails is a 503, so
that the provider tries again. What the body says is read later, by the inbox.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers import helpdesks, messengers
from channels_setup.providers.base import Account, Refused
from channels_setup.providers.base_helpdesk import DeskAccount

from . import doorbell
from .helpdesk import incoming
from .models import WebhookEvent
from .requests_in import TooLarge, blotted, event_row, exact_request
from .strangers import strangers

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS = 2.0  # so long a change of a channel's keys takes to reach every web process


class ProviderWebhook(APIView):
    """``/webhooks/<kind>/<token>/``: a provider's own events, for one API channel."""

    authentication_classes: tuple[type, ...] = ()
    permission_classes: tuple[type, ...] = ()
    schema = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Straight to the work: DRF's negotiation and parsing would read the body before we do."""
        if request.method not in ("POST", "GET"):
            return JsonResponse({"error": "Use POST."}, status=405)
        try:
            return receive(request, kind=kwargs["kind"], token=kwargs["token"])
        except TooLarge:
            return JsonResponse({"error": "The body is too large."}, status=413)
        except Refused:
            return JsonResponse({"error": "Not accepted."}, status=403)
        except DatabaseError:
            logger.exception("event not stored")
            return JsonResponse({"error": "Not stored. Please try again."}, status=503, headers={"Retry-After": "5"})

    def post(self, request: Request, kind: str, token: str) -> Response:
        """Documented for the schema; ``dispatch`` answers."""
        return Response()


def receive(request: HttpRequest, *, kind: str, token: str) -> HttpResponse:
    """Store one event of the channel whose path this is, and answer 200. Raises TooLarge, Refused."""
    if kind in helpdesks():
        return receive_from_helpdesk(request, kind=kind, token=token)
    known = _at(kind, token) if kind in messengers() else None
    if known is None:
        return _no_such_address()
    api_channel, account = known
    provider, raw = api_channel.provider, exact_request(request)
    if raw.method == "GET":
        # Plain text, whatever it is: it was given by whoever asks, and must never be read as a page.
        answer = HttpResponse(provider.handshake(raw, account), content_type="text/plain; charset=utf-8")
        answer["X-Content-Type-Options"] = "nosniff"
        api_channel.note_handshake()
        return answer
    provider.authenticate(raw, account)
    return _stored(event_row(raw, api_channel=api_channel, endpoint="webhook"))


# A provider posts hundreds of events a second to one address: what stands behind it is not read anew for each.
_known: dict[tuple[str, str], tuple[float, ApiChannel, Account]] = {}


def _at(kind: str, token: str) -> tuple[ApiChannel, Account] | None:
    """The API channel with this address, and its account: as they were REMEMBERED_SECONDS ago at most."""
    now = time.monotonic()
    read_at, api_channel, account = _known.get((kind, token)) or (-1e9, None, None)
    if api_channel is None or account is None or now - read_at > REMEMBERED_SECONDS:
        api_channel = ApiChannel.objects.filter(kind=kind).by_path_token(token)
        if api_channel is None:
            _known.pop((kind, token), None)
            return None
        account = api_channel.account() if api_channel.provider.signs_requests else api_channel.bare_account()
        _known[kind, token] = now, api_channel, account
    return api_channel, account


_known_desks: dict[tuple[str, str], tuple[float, ChatChannel, DeskAccount]] = {}


def _desk_at(kind: str, token: str) -> tuple[ChatChannel, DeskAccount] | None:
    """The same for an outside helpdesk's chat channel."""
    now = time.monotonic()
    read_at, chat_channel, account = _known_desks.get((kind, token)) or (-1e9, None, None)
    if chat_channel is None or account is None or now - read_at > REMEMBERED_SECONDS:
        chat_channel = ChatChannel.objects.filter(kind=kind).by_path_token(token)
        if chat_channel is None or chat_channel.provider.built_in:
            _known_desks.pop((kind, token), None)
            return None
        account = chat_channel.desk_account()
        _known_desks[kind, token] = now, chat_channel, account
    return chat_channel, account


def receive_from_helpdesk(request: HttpRequest, *, kind: str, token: str) -> HttpResponse:
    """Store one event of the outside helpdesk whose path this is. Whatever is authentic or harmless gets its 200."""
    known = _desk_at(kind, token)
    if known is None:
        return _no_such_address()
    (chat_channel, account), raw = known, exact_request(request)
    try:
        try:
            chat_channel.provider.authenticate(raw, account)
        except Refused:  # it comes once: perhaps the key has been changed since we remembered it
            _known_desks.pop((kind, token), None)
            chat_channel, account = _desk_at(kind, token) or known
            chat_channel.provider.authenticate(raw, account)
    except Refused:
        incoming.note_refused(chat_channel)
        raise
    # Older versions of a helpdesk send the key itself along.
    return _stored(event_row(blotted(raw, account.secret), chat_channel=chat_channel, endpoint="webhook"))


def _no_such_address() -> HttpResponse:
    strangers.note()
    return JsonResponse({"error": "No such webhook address."}, status=404)


def _stored(event: WebhookEvent) -> HttpResponse:
    event.save(force_insert=True)  # one statement: it commits by itself
    doorbell.ring_after_commit(doorbell.INBOUND)
    return JsonResponse({"status": "accepted"})
