"""Base view of the Usedesk-compatible API, ``/uapi/…``, which Acebot, bots and scripts call.

The API follows Usedesk's conventions: the token is a field of the body, an error is HTTP 200 with
``{"error": sentence, "code": number}``, IDs are numbers or numeric strings, and the body can be JSON, a form,
multipart or a query string. Okno adds optional extensions: ``message.id`` makes addMessage idempotent,
``message.timestamp`` is the time from which the service window counts, and an ``Idempotency-Key`` header makes any
writing call safe to repeat.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from django.db import DatabaseError, DataError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from bridge import call_limits, person_erased
from bridge.files import storage_limits
from bridge.idempotency import IdempotencyKeyReused, InvalidIdempotencyKey, StoredResponse, run_once
from bridge.models import WebhookEvent
from bridge.raw_requests import (
    MAX_BYTES,
    BodyTooLarge,
    build_event,
    mask_secret,
    read_raw_request,
)
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody, decode_body
from channels_setup.models import ApiChannel
from channels_setup.providers.base import RawRequest
from config.audit.context import set_program

from .base_call import UapiCall
from .call_contacts import find_named_contacts
from .errors import (
    BAD_FIELD,
    BAD_TOKEN,
    ERASED,
    KEY_REUSED,
    NOT_FOUND,
    NOT_SENT,
    TOO_LARGE,
    TOO_MANY,
    UapiError,
)
from .parameters import MethodParameters

logger = logging.getLogger(__name__)


class UapiView(View):
    """View of one API method: authentication, limits, errors, idempotency and the record of the raw request.

    Subclasses implement ``answer``. The class name is the method's endpoint name on record.
    """

    methods: tuple[str, ...] = ("POST",)  # accepted HTTP methods
    limit = MAX_BYTES  # bytes of the request body
    writes = True  # store the raw request, and honor Idempotency-Key
    parameters = MethodParameters()

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        """Exempt the view from CSRF checks: callers authenticate with a token, not with a session."""
        return csrf_exempt(super().as_view(**initkwargs))

    def answer(self, call: UapiCall) -> Any:
        """Return the JSON body of the response. Raises UapiError or BadBody.

        Runs in the transaction that also stores the raw request.
        """
        # Every method of the API overrides it.
        raise NotImplementedError(f"{type(self).__name__} does not implement answer()")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Handle the call and turn every failure into a response of the documented shape."""
        if request.method not in self.methods:
            return JsonResponse(
                UapiError(BAD_FIELD, _("Use %(methods)s.") % {"methods": " / ".join(self.methods)}).body(),
                status=405,
            )
        try:
            return self._handle(read_raw_request(request, limit=self.limit))
        except BodyTooLarge:
            return JsonResponse(UapiError(TOO_LARGE, _("The body is too large.")).body(), status=413)
        except call_limits.TooManyCalls as problem:
            error = UapiError(TOO_MANY, _("Too many calls with this key. Try again later."))
            return JsonResponse(error.body(), status=429, headers={"Retry-After": str(problem.wait)})
        except storage_limits.DiskAlmostFull as problem:
            return JsonResponse({"error": str(problem), "code": 503}, status=503, headers={"Retry-After": "60"})
        except DataError:
            logger.exception("value not storable")
            return self._json(UapiError(BAD_FIELD, _("A value in the call cannot be saved.")).body())
        except (DatabaseError, OSError) as problem:  # OSError: a file could not be stored, for example on a full disk
            if person_erased.is_refusal(problem):
                return self._json(UapiError(ERASED, str(person_erased.SENTENCE)).body())
            logger.exception("call not stored")
            sentence = _("Not saved. Try again.")
            return JsonResponse({"error": sentence, "code": 503}, status=503, headers={"Retry-After": "5"})

    def _handle(self, raw: RawRequest) -> HttpResponse:
        try:
            decoded = decode_body(body=raw.body, content_type=raw.content_type, query_string=raw.query_string)
        except BadBody as problem:
            # Without a readable body the token is unknown, so the request belongs to no channel and is not stored.
            return self._json(UapiError(BAD_FIELD, str(problem)).body())
        token = values.as_text(decoded.values.get("api_token"))
        api_channel = ApiChannel.objects.all().by_secret(token)
        if api_channel is None:
            refused = self._json(UapiError(BAD_TOKEN, _("The api_token is missing or wrong.")).body())
            refused.is_token_refused = True  # type: ignore[attr-defined]  # for config.accounts.wrong_tokens
            return refused
        call_limits.call_counter.count(f"api_channel:{api_channel.pk}")
        set_program(self.request, f"API channel {api_channel.pk} ({api_channel.name})")
        without_key = mask_secret(raw, token)
        call = UapiCall(api_channel=api_channel, values=decoded.values, files=decoded.files, writes=self.writes)
        try:
            result = run_once(
                owner=f"api_channel:{api_channel.pk}",
                key=raw.headers.get("idempotency-key", "") if self.writes else "",
                request=f"{type(self).__name__}\n{without_key.query_string}\n".encode() + without_key.body,
                work=lambda: self._run(call, without_key, token),
            )
            return self._json(result.body, ignored=self.parameters.ignored(call.values))
        except (BadBody, InvalidIdempotencyKey) as problem:
            error = UapiError(BAD_FIELD, str(problem))
        except IdempotencyKeyReused as problem:
            error = UapiError(KEY_REUSED, str(problem))
        except UapiError as problem:
            error = problem
        except person_erased.PersonErased as problem:
            error = UapiError(ERASED, str(problem))
        if self.writes:
            self._store_failed_call(call, without_key, token, error)
        return self._json(error.body())

    def _run(self, call: UapiCall, raw: RawRequest, token: str) -> StoredResponse:
        self.parameters.check(call.values, has_files=bool(call.files))
        body = self.answer(call)
        if isinstance(body, dict) and (ignored := self.parameters.ignored(call.values)):
            body = body | {"ignored": sorted({*body.get("ignored", []), *ignored})}
        if self.writes:
            event = build_event(raw, api_channel=call.api_channel, endpoint=self._endpoint(), secrets=[token])
            event.state, event.processed_at = WebhookEvent.State.PROCESSED, timezone.now()
            event.contact_ids = sorted(call.contact_ids)
            event.save(force_insert=True)
        return StoredResponse(status=200, body=body, contact_ids=tuple(sorted(call.contact_ids)))

    def _store_failed_call(self, call: UapiCall, raw: RawRequest, token: str, error: UapiError) -> None:
        """Store a rejected call for the admin's list of raw events. Calls about erased persons are not stored."""
        named = [] if error.code == ERASED else find_named_contacts(call)
        if error.code == ERASED or any(contact.erased_at for contact in named):
            return
        event = build_event(raw, api_channel=call.api_channel, endpoint=self._endpoint(), secrets=[token])
        # NOT_SENT is a decision of the relay about a valid call, so the admin has nothing to fix.
        is_valid = error.code == NOT_SENT
        event.state = WebhookEvent.State.PROCESSED if is_valid else WebhookEvent.State.FAILED
        event.error, event.processed_at = error.sentence[:2000], timezone.now()
        event.contact_ids = sorted({contact.pk for contact in named} | call.contact_ids) or None
        event.save(force_insert=True)

    def _endpoint(self) -> str:
        return type(self).__name__[0].lower() + type(self).__name__[1:]

    def _json(self, body: Any, *, ignored: Sequence[str] = ()) -> JsonResponse:
        headers = {"Okno-Ignored": quote(", ".join(ignored), safe=", ")} if ignored else {}
        return JsonResponse(body, safe=False, json_dumps_params={"ensure_ascii": False}, headers=headers)


class NoSuchMethod(UapiView):
    """Answer calls of unknown methods with an error in the API's shape instead of an HTML page."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        sentence = _("Method “%(name)s” does not exist.") % {"name": kwargs["name"][:60]}
        return self._json(UapiError(NOT_FOUND, sentence).body())
