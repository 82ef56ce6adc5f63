"""Alert routes from the environment: ALERT_ROUTES lists them as URLs, with their rules after ``#``.

For example ``mailto:ops@company.example#severity=critical``. Admins see these routes and cannot change them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from channels_setup import encryption
from channels_setup.advisory_locks import LockSpace, exclusive
from channels_setup.failing_items import FailingItems
from channels_setup.models import AlertRoute, AlertSeverity
from channels_setup.models.alert_routes import MAX_DELAY_MINUTES

Kind = AlertRoute.Kind
NEW_ROUTES = FailingItems("routes of ALERT_ROUTES")
SYNC = 0  # second key of the lock
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


def _parse_minutes(value: str) -> int:
    minutes = int(value)
    if not 0 <= minutes <= MAX_DELAY_MINUTES:
        raise ValueError
    return minutes


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
    "after": ("wait_minutes", _parse_minutes),
    "digest": ("collect_minutes", _parse_minutes),
    "key": ("secret", str),
}


def parse_route(text: str) -> dict[str, Any]:
    """Return the fields of a route from its text. Raises ImproperlyConfigured, without quoting the text's secrets."""
    address, _hash, options = text.partition("#")
    scheme = next((each for each in SCHEMES if address.startswith(each)), None)
    if scheme is None:
        raise ImproperlyConfigured(f"ALERT_ROUTES: each route begins with {', '.join(SCHEMES)}; for example {EXAMPLE}.")
    fields = SCHEMES[scheme](address.removeprefix(scheme))
    for name, value in _split_options(options):
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


def _split_options(text: str) -> list[tuple[str, str]]:
    """Return names and values. ``+`` means itself: keys in Base64 contain it."""
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return [(name, unquote(value)) for name, _equals, value in pairs]


def sync_routes() -> None:
    """Make the rows equal to ALERT_ROUTES. If they are, this is one query. One process at a time changes them."""
    wanted = {encryption.fingerprint(text): text for text in settings.ALERT_ROUTES}
    if _find_routes().keys() == wanted.keys():
        return
    with exclusive(LockSpace.ALERT_ROUTES, SYNC) as is_free:
        if is_free:
            _change_routes(wanted)


def _find_routes() -> dict[bytes, int]:
    rows = AlertRoute.objects.exclude(environment_digest=None).values_list("environment_digest", "pk")
    return {bytes(digest or b""): pk for digest, pk in rows}


def _change_routes(wanted: Mapping[bytes, str]) -> None:
    """Delete the routes that are no longer in the setting, and add the new ones. A wrong one prevents no other."""
    rows = _find_routes()
    AlertRoute.objects.filter(pk__in=[pk for digest, pk in rows.items() if digest not in wanted]).delete()
    for number, (digest, text) in enumerate(wanted.items(), start=1):
        if digest not in rows and not NEW_ROUTES.is_in_backoff(digest):
            with NEW_ROUTES.isolate(digest), transaction.atomic():
                _add_route(digest, text, number=number)


def _add_route(digest: bytes, text: str, *, number: int) -> None:
    fields = parse_route(text)
    secret = fields.pop("secret", "")
    name = fields.pop("name", f"ALERT_ROUTES {number}")[:90]
    while AlertRoute.objects.filter(name=name).exists():
        name = f"{name[:90]} ({number})"
    route = AlertRoute(name=name, environment_digest=digest, **fields)
    route.set_secret(secret)
    route.save()
