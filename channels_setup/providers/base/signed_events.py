"""Signed events to a Redirect URL, the same for every kind of API channel (Standard Webhooks)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime

from channels_setup.codecs.bodies import encode_event

from .accounts import Account
from .deliveries import DeliveryRequest
from .http_messages import ApiRequest


def signed_event_request(delivery: DeliveryRequest, account: Account) -> ApiRequest:
    """Build the POST to the Redirect URL, in the account's encoding and with Standard Webhooks headers.

    ``webhook-id`` is the same on every retry. The signature is HMAC-SHA256 over ``id.timestamp.body``, keyed with the
    bytes of the secret key as shown to the admin; during a rotation every valid key signs.
    """
    content_type, body = encode_event(
        delivery.event, as_json=account.send_json, utf8=account.send_utf8, multipart=account.send_multipart
    )
    return ApiRequest(
        method="POST",
        url=account.redirect_url,
        headers={
            "content-type": content_type,
            **sign_body(body, key=delivery.key, at=delivery.at, secrets=account.secrets),
            "okno-attempt": str(delivery.attempt),
        },
        body=body,
    )


def sign_body(body: bytes, *, key: str, at: datetime, secrets: Iterable[str]) -> dict[str, str]:
    """Return the Standard Webhooks headers of a body: every secret signs."""
    timestamp = str(int(at.timestamp()))
    signed = f"{key}.{timestamp}.".encode() + body
    return {
        "webhook-id": key,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_sign(secret, signed)}" for secret in secrets),
    }


def _sign(secret: str, signed: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
