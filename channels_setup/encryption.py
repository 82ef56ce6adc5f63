"""Secrets at rest: encrypted with the first of FIELD_KEYS, readable with any of them.

Rotate by putting a new key in front and running ``manage.py rotate_field_keys``; afterwards the old one may go.
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
    """Raises ImproperlyConfigured where no key fits: a wrong FIELD_KEYS must be loud, not look like an empty secret."""
    try:
        return _fernet().decrypt(bytes(token)).decode()
    except InvalidToken:
        raise ImproperlyConfigured("None of FIELD_KEYS opens a stored secret. Was a key removed too early?") from None


def re_encrypt(token: bytes | memoryview) -> bytes:
    """The same secret under the first key."""
    return _fernet().rotate(bytes(token))


def new_secret_key() -> str:
    """40 lower-case hex digits, as the helpdesk's own API keys look."""
    return random.token_hex(20)


def new_path_token() -> str:
    """An unguessable part of a URL."""
    return random.token_urlsafe(24)


def new_webhook_token() -> str:
    """An unguessable part of a webhook address that proves by itself that this portal made it."""
    random_part = new_path_token()
    return random_part + _sign(random_part)


def has_valid_signature(token: str) -> bool:
    """Whether this portal made a webhook token, without asking the database. Older tokens carry no mark.

    For turning a flood of made-up addresses away cheaply; whether the address is in force only the database knows.
    """
    random_part, mark = token[:-SIGNATURE_LENGTH], token[-SIGNATURE_LENGTH:]
    return token.isascii() and random.compare_digest(mark, _sign(random_part))


def _sign(random_part: str) -> str:
    digest = salted_hmac("webhook address", random_part, algorithm="sha256").digest()
    return urlsafe_b64encode(digest)[:SIGNATURE_LENGTH].decode()


def fingerprint(secret: str) -> bytes:
    """What a secret is looked up by. The secrets are 160 random bits, so an unsalted hash gives nothing away."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def visible_tail(secret: str) -> str:
    """So much of a key as may be shown to tell it from others."""
    return secret[-4:] if len(secret) > 12 else ""
