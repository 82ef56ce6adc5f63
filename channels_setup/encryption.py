"""Encryption of stored secrets: the first of FIELD_KEYS encrypts, any of them decrypts.

To rotate, put a new key in front and run ``manage.py rotate_field_keys``. Then remove the old key.
"""

from __future__ import annotations

import hashlib
import secrets as random
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

SIGNATURE_LENGTH = 8


def _fernet() -> MultiFernet:
    keys = settings.FIELD_KEYS
    if not keys:
        raise ImproperlyConfigured("FIELD_KEYS is empty: secrets cannot be stored. Give at least one Fernet key.")
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str) -> bytes:
    return _fernet().encrypt(text.encode())


def decrypt(token: bytes | memoryview) -> str:
    """Decrypt a stored secret. Raises ImproperlyConfigured if no key fits, so that the error is not overlooked."""
    try:
        return _fernet().decrypt(bytes(token)).decode()
    except InvalidToken:
        raise ImproperlyConfigured(
            "None of FIELD_KEYS decrypts a stored secret. Was a key removed too early?"
        ) from None


def re_encrypt(token: bytes | memoryview) -> bytes:
    """Return the same secret encrypted with the first key."""
    return _fernet().rotate(bytes(token))


def new_secret_key() -> str:
    """Return 40 lower-case hex digits, the format of Usedesk's API keys."""
    return random.token_hex(20)


def new_path_token() -> str:
    """Return an unguessable URL segment."""
    return random.token_urlsafe(24)


def new_webhook_token() -> str:
    """Return an unguessable webhook token with a signature, which shows that this portal issued it."""
    random_part = new_path_token()
    return random_part + _sign(random_part)


def has_valid_signature(token: str) -> bool:
    """Return whether this portal issued a webhook token, without a query.

    This rejects floods of invented tokens cheaply. Only the database knows whether the token is still valid. Tokens
    issued by early versions have no signature.
    """
    random_part, signature = token[:-SIGNATURE_LENGTH], token[-SIGNATURE_LENGTH:]
    return token.isascii() and random.compare_digest(signature, _sign(random_part))


def _sign(random_part: str) -> str:
    digest = salted_hmac("webhook address", random_part, algorithm="sha256").digest()
    return urlsafe_b64encode(digest)[:SIGNATURE_LENGTH].decode()


def fingerprint(secret: str) -> bytes:
    """Return the hash by which a secret is looked up. Secrets have 160 random bits, so it needs no salt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def visible_tail(secret: str) -> str:
    """Return the last four characters, which may be shown to tell keys apart; empty for a short secret."""
    return secret[-4:] if len(secret) > 12 else ""
