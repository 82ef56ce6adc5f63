"""Kinds of settings: functions that read the text of an environment variable, and raise ValueError for a wrong one.

Standard library only, because the supervisor of `make up` does not load Django.
"""

import base64
import binascii
import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Kind = Callable[[str], Any]
REQUIRED = object()


@dataclass(frozen=True)
class EnvironmentSetting:
    """One row of the table in config.environment. The value of a secret setting is never shown."""

    name: str
    kind: Kind
    default: Any
    help: str
    is_secret: bool = False


ALERT_ROUTE_SCHEMES = ("mailto:", "telegram://", "chat+https://", "webhook+https://")
ALERT_ROUTE_FORMS = re.compile(r"mailto:[^@]+@.+|telegram://[^/]+/.+|(chat|webhook)\+https://.+")
_MINUTES = re.compile("[0-9]{1,3}|1[0-3][0-9]{2}|14[0-3][0-9]|1440")
ALERT_ROUTE_RULES = {
    "name": re.compile(".+"),
    "severity": re.compile("info|warning|critical"),
    "language": re.compile("ru|en"),
    "after": _MINUTES,
    "digest": _MINUTES,
    "key": re.compile(".+"),
}
EMAIL_SCHEMES = ("smtp", "smtps", "smtp+tls", "smtp+ssl", "consolemail", "filemail", "memorymail", "dummymail")
DATABASE_SCHEMES = ("postgres", "postgresql")
REDIS_SCHEMES = ("redis", "rediss")  # Celery knows no others that redis-py knows, too
SECRET_KEY_LENGTH = 50
TOKEN_LENGTH = 24  # of a token that programs send
FIELD_KEY_BYTES = 32
PORTAL_LANGUAGES = ("ru", "en")
BOOL_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def parse_bool(text: str) -> bool:
    if text.lower() not in BOOL_WORDS:
        raise ValueError
    return BOOL_WORDS[text.lower()]


def parse_list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def parse_networks(text: str) -> list[str]:
    return [str(ipaddress.ip_network(word)) for word in parse_list(text)]


def parse_time_zone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:  # a folder of the database is an OSError
        raise ValueError from error
    return text


def parse_language(text: str) -> str:
    """Return ru or en. GNU gettext uses the same variable for a list of locales, such as `de_DE:en_US:en`."""
    for word in text.replace("-", "_").split(":"):
        if (language := word.partition("_")[0].lower()) in PORTAL_LANGUAGES:
            return language
    if "_" in text or ":" in text:  # the shell's, about another language
        return PORTAL_LANGUAGES[0]
    raise ValueError


def parse_origin(text: str) -> str:
    """Return the scheme, host and port of a URL."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or url.username is not None:
        raise ValueError
    if url.path.strip("/") or url.query or url.fragment or set(text) & set(" \\"):
        raise ValueError
    return text.rstrip("/")


def parse_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or set(text) & set(" \\"):
        raise ValueError
    return text


def parse_database_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in DATABASE_SCHEMES or not url.path.strip("/") or url.port == 0:
        raise ValueError
    return text


def parse_redis_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in REDIS_SCHEMES or not url.hostname or url.port == 0:
        raise ValueError
    return text


def parse_email_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in EMAIL_SCHEMES or (url.scheme.startswith("smtp") and not url.hostname) or url.port == 0:
        raise ValueError
    return text


def parse_alert_routes(text: str) -> list[str]:
    """Return the routes, which spaces separate. `bridge.alert_routes.environment` reads their parts."""
    routes = text.split()
    for route in routes:
        address, _hash, rules = route.partition("#")
        if not ALERT_ROUTE_FORMS.fullmatch(address):
            raise ValueError
        given = dict(rule.partition("=")[::2] for rule in rules.split("&") if rule)
        if any(name not in ALERT_ROUTE_RULES or not ALERT_ROUTE_RULES[name].fullmatch(given[name]) for name in given):
            raise ValueError
        if address.startswith("webhook") and "key" not in given:
            raise ValueError
    return routes


def parse_secret_key(text: str) -> str:
    if len(text) < SECRET_KEY_LENGTH:
        raise ValueError
    return text


def parse_token(text: str) -> str:
    if len(text) < TOKEN_LENGTH or not text.isascii() or any(character.isspace() for character in text):
        raise ValueError
    return text


def parse_dsn(text: str) -> str:
    """Return the DSN of a Sentry project: a URL with a key, and the project's number as the last part of its path."""
    parts = urlsplit(text)
    is_complete = parts.scheme in ("https", "http") and parts.username and parts.hostname
    if not is_complete or not parts.path.rpartition("/")[2].isdigit():
        raise ValueError
    return text


def parse_field_keys(text: str) -> list[str]:
    """Return the keys, each of which must be a Fernet key: 32 bytes as URL-safe Base64."""
    keys = parse_list(text)
    for key in keys:
        try:
            length = len(base64.urlsafe_b64decode(key))
        except binascii.Error as error:
            raise ValueError from error
        if length != FIELD_KEY_BYTES:
            raise ValueError
    if not keys:
        raise ValueError
    return keys


LABELS: dict[Kind, str] = {
    str: "text",
    int: "whole number",
    parse_bool: "yes or no",
    parse_list: "comma-separated list",
    parse_alert_routes: f"routes separated by spaces, each beginning with {', '.join(ALERT_ROUTE_SCHEMES)}, with rules "
    "as in docs/alerts.md",
    parse_networks: "comma-separated list of networks such as 10.0.0.0/8",
    parse_time_zone: "name of a time zone such as Europe/Moscow",
    parse_language: "ru or en",
    parse_origin: "URL such as https://okno.example, without a path",
    parse_url: "URL that begins with https:// or http://",
    parse_database_url: "URL such as postgres://user:password@host:5432/name",
    parse_redis_url: "URL such as redis://:password@host:6379/0",
    parse_email_url: "URL such as smtp+tls://user:password@mail.example:587",
    parse_secret_key: f"text of at least {SECRET_KEY_LENGTH} characters",
    parse_token: f"at least {TOKEN_LENGTH} ASCII characters without spaces",
    parse_dsn: "URL such as https://key@sentry.example/1",
    parse_field_keys: "comma-separated list of Fernet keys",
}


def _range(minimum: int, maximum: int | None) -> str:
    return f"from {minimum} to {maximum}" if maximum is not None else f"from {minimum}"


def whole_number(minimum: int, maximum: int | None = None) -> Kind:
    """Return a kind for whole numbers within limits."""

    def parse(text: str) -> int:
        number = int(text)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError
        return number

    LABELS[parse] = "whole number " + _range(minimum, maximum)
    return parse


positive, not_negative = whole_number(1), whole_number(0)


def whole_numbers(minimum: int, maximum: int | None = None) -> Kind:
    """Return a kind for a comma-separated list of whole numbers within limits."""
    parse_one = whole_number(minimum, maximum)

    def parse(text: str) -> list[int]:
        return [parse_one(word) for word in parse_list(text)]

    LABELS[parse] = "comma-separated list of whole numbers " + _range(minimum, maximum)
    return parse


def choice(*words: str) -> Kind:
    """Return a kind for one of several words, in upper or lower case."""
    by_lower = {word.lower(): word for word in words}

    def parse(text: str) -> str:
        if text.lower() not in by_lower:
            raise ValueError
        return by_lower[text.lower()]

    LABELS[parse] = _join(words)
    return parse


def choices(*words: str) -> Kind:
    """Return a kind for a comma-separated list of some words."""

    def parse(text: str) -> list[str]:
        found = parse_list(text)
        if set(found) - set(words):
            raise ValueError
        return found

    LABELS[parse] = f"comma-separated list of {', '.join(words)}"
    return parse


def pairs(*words: str) -> Kind:
    """Return a kind for a comma-separated list of name=word."""

    def parse(text: str) -> list[str]:
        found = parse_list(text)
        if any(not name or word not in words for name, _, word in (pair.rpartition("=") for pair in found)):
            raise ValueError
        return found

    LABELS[parse] = f"comma-separated list of name=word; words: {', '.join(words)}"
    return parse


def _join(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]
