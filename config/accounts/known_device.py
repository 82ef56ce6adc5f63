"""Known devices: browsers on which a user has signed in before. Failed attempts of others do not lock them out."""

import secrets

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.utils.crypto import constant_time_compare, salted_hmac

DAYS = 180
SALT = "okno.known_device"


def set_device_cookie(request: HttpRequest, response: HttpResponse, *, username: str) -> None:
    """Set the cookie that proves that this user signed in on this browser. It grants no access."""
    device = device_id(request.COOKIES.get(settings.KNOWN_DEVICE_COOKIE_NAME, "")) or secrets.token_hex(16)
    response.set_cookie(
        settings.KNOWN_DEVICE_COOKIE_NAME,
        signing.dumps([device, _fingerprint(username)], salt=SALT),
        max_age=DAYS * 24 * 3600,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def device_of(request: HttpRequest, *, username: str) -> str:
    """Return the device's ID if this user was the last to sign in on it, else an empty string."""
    device, fingerprint = _read_cookie(request.COOKIES.get(settings.KNOWN_DEVICE_COOKIE_NAME, ""))
    return device if constant_time_compare(fingerprint, _fingerprint(username)) else ""


def device_id(cookie: str) -> str:
    return _read_cookie(cookie)[0]


def has_device_cookie(cookie_header: str) -> bool:
    """Return whether a Cookie header contains a valid device cookie of any user."""
    name = settings.KNOWN_DEVICE_COOKIE_NAME
    return name in cookie_header and bool(device_id(parse_cookie(cookie_header).get(name, "")))


def _read_cookie(cookie: str) -> tuple[str, str]:
    try:
        device, fingerprint = signing.loads(cookie, salt=SALT, max_age=DAYS * 24 * 3600)
    except (signing.BadSignature, ValueError, TypeError):
        return "", ""
    return str(device), str(fingerprint)


def _fingerprint(username: str) -> str:
    return salted_hmac(SALT, username).hexdigest()[:32]
