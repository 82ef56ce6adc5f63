"""The portal's keys for web push (VAPID, RFC 8292), and the header that proves who sends."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from bridge.models import PushKey
from channels_setup import encryption

from .message_encryption import encode_base64, encode_public_key

TOKEN_SECONDS = 12 * 3600  # push services refuse tokens of more than 24 hours
RENEWAL_SECONDS = 3600


def get_public_key() -> str:
    """Return the key that browsers need to subscribe. The first call makes the key pair."""
    return get_key().public_key


def get_key() -> PushKey:
    if (key := PushKey.objects.first()) is not None:
        return key
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = encode_base64(encode_public_key(private.public_key()))
    PushKey.objects.bulk_create(
        [PushKey(id=1, public_key=public, secret=encryption.encrypt(pem.decode()))], ignore_conflicts=True
    )
    return PushKey.objects.get()  # another process may have been faster


def build_authorization(endpoint: str, key: PushKey) -> str:
    """Return the ``Authorization`` header for a push service."""
    parts = urlsplit(endpoint)
    period = int(time.time()) // RENEWAL_SECONDS
    token = _sign(f"{parts.scheme}://{parts.netloc}", bytes(key.secret), settings.PUBLIC_URL, period)
    return f"vapid t={token}, k={key.public_key}"


@lru_cache(maxsize=64)
def _sign(audience: str, secret: bytes, subject: str, period: int) -> str:
    expires = (period + 1) * RENEWAL_SECONDS + TOKEN_SECONDS
    pem = encryption.decrypt(secret).encode()
    private = cast(ec.EllipticCurvePrivateKey, serialization.load_pem_private_key(pem, password=None))
    return jwt.encode({"aud": audience, "exp": expires, "sub": subject}, private, algorithm="ES256")
