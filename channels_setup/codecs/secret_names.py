"""Names of fields, headers and parameters whose value is a secret."""

from __future__ import annotations

import re

_STRONG = frozenset(
    (
        *("authorization", "proxyauthorization", "cookie", "setcookie", "sessionid", "csrfmiddlewaretoken"),
        *("password", "passwd", "pwd", "passphrase", "secret", "privatekey"),
    )
)
_STRONG_ENDS = (
    *("accesstoken", "apitoken", "apikey", "authtoken", "authkey", "bearertoken", "refreshtoken", "verifytoken"),
    *("appsecret", "apisecret", "clientsecret", "webhooksecret", "secretkey", "sharedsecret", "privatekey"),
    *("password", "apppassword"),
)
_WEAK = frozenset(("token", "auth", "key", "sig", "signature", "credential", "credentials", "pass"))
_OTHERS = re.compile(r"[^a-z0-9]")


def is_secret_name(name: str) -> bool:
    """Tell whether any value with this name is a secret."""
    plain = _OTHERS.sub("", name[-80:].lower())
    return plain in _STRONG or plain.endswith(_STRONG_ENDS)


def may_be_secret_name(name: str) -> bool:
    """Tell whether a value with this name is a secret if it looks like a key."""
    return _OTHERS.sub("", name[-80:].lower()) in _WEAK


def looks_like_key(value: str) -> bool:
    """Tell whether a value looks like a key: long, without spaces, not a word or number."""
    if len(value) < 12 or any(character.isspace() for character in value):
        return False
    has_digit = any(character.isdigit() for character in value)
    return (has_digit and not value.isdigit()) or len(value) >= 32
