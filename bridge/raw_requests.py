"""Raw requests: read the exact bytes within a limit, redact secrets, store them as a webhook event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.utils import timezone

from channels_setup import encryption
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.error_descriptions import describe_error, describe_traceback
from channels_setup.codecs.redaction import redact_text
from channels_setup.codecs.request_redaction import redact_body, redact_query
from channels_setup.codecs.secret_search import is_distinctive
from channels_setup.models import ApiChannel, ChatChannel, known_secrets
from channels_setup.providers.base import RawRequest

from .metrics import recording
from .models import WebhookEvent
from .row_inserts import build_row

MAX_BYTES = 4 * 1024 * 1024  # Meta's batches have up to 3 MB
MAX_BYTES_WITH_FILES = 20 * 1024 * 1024

KEPT_HEADERS = (
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "idempotency-key",
    "x-request-id",
)

# What is emptied in an event that names an erased person.
CLEARED_FIELDS: dict[str, Any] = {
    "body": b"",
    "headers": {},
    "query_string": "",
    "content_type": "",
    "error": "",
    "traceback": "",
}


class BodyTooLarge(Exception):
    """The body is larger than the limit."""


def read_raw_request(request: HttpRequest, *, limit: int = MAX_BYTES) -> RawRequest:
    """Return the request with its exact body. Raises BodyTooLarge.

    Bytes are counted while they are read, because a chunked body does not declare its length.
    """
    chunked = "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limit:
        raise BodyTooLarge
    stream = request.META["wsgi.input"] if chunked else request
    body = b"".join(_chunks(stream, limit=limit))
    return RawRequest(
        method=request.method or "",
        query_string=request.META.get("QUERY_STRING", ""),
        content_type=request.META.get("CONTENT_TYPE", ""),
        headers=_read_headers(request.META),
        body=body,
    )


def _read_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by lower-case names. `request.headers` builds a slower mapping first."""
    return {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in HttpHeaders.UNPREFIXED_HEADERS
    }


def _chunks(stream: object, *, limit: int) -> list[bytes]:
    parts: list[bytes] = []
    total = 0
    while total <= limit and (part := stream.read(min(65_536, limit + 1 - total))):  # type: ignore[attr-defined]  # WSGI input
        parts.append(part)
        total += len(part)
    if total > limit:
        raise BodyTooLarge
    return parts


def build_event(
    raw: RawRequest,
    *,
    endpoint: str,
    api_channel: ApiChannel | None = None,
    chat_channel: ChatChannel | None = None,
    proof: str | None = "",
    secrets: Iterable[str] = (),
) -> WebhookEvent:
    """Return the unsaved event of a request, without secrets and with the headers in KEPT_HEADERS only.

    ``proof``: the credential that authenticated the request; its fingerprint is stored. ``secrets``: the caller's
    secrets, if already loaded.
    """
    raw = redact_request(
        raw,
        secrets=secrets,
        api_channel=api_channel.pk if api_channel else None,
        chat_channel=chat_channel.pk if chat_channel else None,
    )
    return build_row(
        WebhookEvent,
        api_channel=api_channel,
        chat_channel=chat_channel,
        endpoint=endpoint[:60],
        method=raw.method[:10],
        query_string=_sanitize(raw.query_string),
        content_type=_sanitize(raw.content_type)[:200],
        headers={name: _sanitize(raw.headers[name])[:300] for name in KEPT_HEADERS if name in raw.headers},
        body=raw.body,
        proof=encryption.fingerprint(proof) if proof else None,
    )


def _sanitize(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def redact_request(
    raw: RawRequest, *, secrets: Iterable[str] = (), api_channel: int | None = None, chat_channel: int | None = None
) -> RawRequest:
    """Return the request with secrets overwritten: this installation's by value, others by field name."""
    known = known_secrets.current()
    channels = known.for_channel(api_channel=api_channel, chat_channel=chat_channel)
    own = frozenset((*filter(is_distinctive, secrets), *channels))
    return RawRequest(
        method=raw.method,
        query_string=redact_query(raw.query_string, own, tokens=known.tokens) if raw.query_string else "",
        content_type=redact_text(raw.content_type, own, tokens=known.tokens),
        headers={
            name: redact_text(value, own, tokens=known.tokens)
            for name, value in raw.headers.items()
            if name in KEPT_HEADERS
        },
        body=redact_body(raw.body, raw.content_type, own, tokens=known.tokens),
    )


def mask_secret(raw: RawRequest, secret: str) -> RawRequest:
    """Return the request without its key, so that a repeat with a rotated key is still the same request."""
    stars = "*" * len(secret)
    return RawRequest(
        method=raw.method,
        query_string=raw.query_string.replace(secret, stars),
        content_type=raw.content_type,
        headers=raw.headers,
        body=raw.body.replace(secret.encode(), stars.encode()) if secret else raw.body,
    )


def restore_request(event: WebhookEvent) -> RawRequest:
    return RawRequest(
        method=event.method,
        query_string=event.query_string,
        content_type=event.content_type,
        headers=event.headers,
        body=bytes(event.body),
    )


def mark_event_failed(event: WebhookEvent, problem: Exception | str) -> None:
    """Mark an event as failed. It stays for an admin to inspect and to process again.

    A sentence of ours is stored as it is. Of any other exception only what never quotes the client's words.
    """
    if isinstance(problem, str | BadBody):
        error, trace = str(problem), ""
    else:
        error, trace = describe_error(problem), describe_traceback(problem)
    WebhookEvent.objects.filter(pk=event.pk).update(
        state=WebhookEvent.State.FAILED,
        error=error.replace("\0", "\ufffd")[:2000],
        traceback=trace[-8000:],
        processed_at=timezone.now(),
    )
    recording.count_finished_events([event], WebhookEvent.State.FAILED)


def clear_events(event_ids: Iterable[int]) -> int:
    """Empty raw events about an erased person. Return how many."""
    return WebhookEvent.objects.filter(pk__in=list(event_ids)).update(**CLEARED_FIELDS)
