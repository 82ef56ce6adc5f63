"""Alert routes from the environment: ALERT_ROUTES lists them as URLs, with their rules after ``#``.

For example ``mailto:ops@company.example#severity=critical``. Admins see these routes and cannot change them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from channels_setup import encryption
from channels_setup.models import AlertRoute, AlertSeverity

Kind = AlertRoute.Kind
EXAMPLE = "mailto:ops@company.example#severity=critical"


def _parse_email(rest: str) -> dict[str, Any]:
    return {"kind": Kind.EMAIL, "target": rest}


def _parse_telegram(rest: str) -> dict[str, Any]:
    token, _slash, chat = rest.removeprefix("//").rpartition("/")
    return {"kind": Kind.TELEGRAM, "target": chat, "secret": token}


def _parse_chat(rest: str) -> dict[str, Any]:
    return {"kind": Kind.CHAT, "target": "", "secret": rest}


def _parse_webhook(rest: str) -> dict[str, Any]:
    return {"kind": Kind.WEBHOOK, "target": rest}


SCHEMES: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "mailto:": _parse_email,
    "telegram:": _parse_telegram,
    "chat+": _parse_chat,
    "webhook+": _parse_webhook,
}
OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "name": ("name", str),
    "severity": ("min_severity", lambda value: AlertSeverity(value).value),
    "language": ("language", lambda value: AlertRoute.Language(value).value),
    "after": ("wait_minutes", int),
    "digest": ("collect_minutes", int),
    "key": ("secret", str),
}


def parse_route(text: str) -> dict[str, Any]:
    """Return the fields of a route from its text. Raises ImproperlyConfigured, without quoting the text's secrets."""
    address, _hash, options = text.partition("#")
    scheme = next((each for each in SCHEMES if address.startswith(each)), None)
    if scheme is None:
        raise ImproperlyConfigured(f"ALERT_ROUTES: each route begins with {', '.join(SCHEMES)}; for example {EXAMPLE}.")
    fields = SCHEMES[scheme](address.removeprefix(scheme))
    for name, value in parse_qsl(options, keep_blank_values=True):
        if name not in OPTIONS:
            raise ImproperlyConfigured(f"ALERT_ROUTES: “{name}” is no option. Options: {', '.join(OPTIONS)}.")
        field, convert = OPTIONS[name]
        try:
            fields[field] = convert(value)
        except ValueError:
            raise ImproperlyConfigured(f"ALERT_ROUTES: “{value}” is no value for “{name}”.") from None
    if fields["kind"] in (Kind.TELEGRAM, Kind.CHAT, Kind.WEBHOOK) and not fields.get("secret"):
        raise ImproperlyConfigured(f"ALERT_ROUTES: a route of kind {fields['kind']} has no secret.")
    if fields["kind"] != Kind.CHAT and not fields["target"]:
        raise ImproperlyConfigured(f"ALERT_ROUTES: a route of kind {fields['kind']} has no recipient.")
    return fields


@transaction.atomic
def sync_routes() -> None:
    """Make the rows equal to ALERT_ROUTES. Without the setting and without such rows, this is one query."""
    wanted = {encryption.fingerprint(text): text for text in settings.ALERT_ROUTES}
    rows = {bytes(row.environment_digest or b""): row for row in AlertRoute.objects.exclude(environment_digest=None)}
    for digest, row in rows.items():
        if digest not in wanted:
            row.delete()
    for number, (digest, text) in enumerate(wanted.items(), start=1):
        if digest not in rows:
            fields = parse_route(text)
            secret = fields.pop("secret", "")
            name = fields.pop("name", f"ALERT_ROUTES {number}")
            while AlertRoute.objects.filter(name=name).exists():
                name = f"{name} ({number})"
            route = AlertRoute(name=name[:100], environment_digest=digest, **fields)
            route.set_secret(secret)
            route.save()
