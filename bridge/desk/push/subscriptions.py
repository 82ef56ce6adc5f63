"""Browsers that are subscribed to push messages. A subscription lives as long as its session."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.translation import get_language

from bridge.models import PushSubscription
from channels_setup import encryption

from . import keys
from .message_encryption import decode_base64, encode_base64

MAX_DEVICES = 10  # of one user; the oldest go
MAX_ENDPOINT = 1000  # characters
MAX_HOST = 200  # characters
AUTH_BYTES = 16
HOST = re.compile(rf"[a-z0-9.-]{{1,{MAX_HOST}}}")


class InvalidSubscription(Exception):
    """The browser's subscription cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Where the messages of a subscription go, and the keys that encrypt them."""

    endpoint: str
    public_key: str
    auth: str


def parse_receiver(values: Any) -> Receiver:
    """Check what a browser has posted. Raises InvalidSubscription.

    The endpoint is an address from a browser, and the portal will call it: only known push services are accepted.
    """
    try:
        receiver = Receiver(
            endpoint=str(values["endpoint"]), public_key=str(values["public_key"]), auth=str(values["auth"])
        )
        parts = urlsplit(receiver.endpoint)
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode_base64(receiver.public_key))
        is_address = parts.scheme == "https" and parts.port in (None, 443) and HOST.fullmatch(parts.hostname or "")
        is_valid = bool(is_address) and len(decode_base64(receiver.auth)) == AUTH_BYTES
    except (KeyError, ValueError) as problem:
        raise InvalidSubscription from problem
    if not is_valid or len(receiver.endpoint) > MAX_ENDPOINT or not is_push_service(parts.hostname or ""):
        raise InvalidSubscription
    return Receiver(
        endpoint=receiver.endpoint,
        public_key=encode_base64(decode_base64(receiver.public_key)),
        auth=encode_base64(decode_base64(receiver.auth)),
    )


def is_push_service(host: str) -> bool:
    """Return whether the host is one of WEB_PUSH_HOSTS; ``*.`` there means any name below."""
    for allowed in settings.WEB_PUSH_HOSTS:
        if host == allowed or (allowed.startswith("*.") and host.endswith(allowed[1:])):
            return True
    return False


def is_available() -> bool:
    return bool(settings.WEB_PUSH_HOSTS)


def subscribe(request: HttpRequest, receiver: Receiver) -> PushSubscription:
    """Store the subscription of this browser for the user and session of the request."""
    values = {
        "user": request.user,
        "secret": encryption.encrypt(json.dumps(asdict(receiver))),
        "host": urlsplit(receiver.endpoint).hostname or "",
        "user_agent": request.headers.get("User-Agent", "")[:300],
        "session_key": request.session.session_key or "",
        "language": get_language() or settings.LANGUAGE_CODE,
    }
    found, _is_new = PushSubscription.objects.update_or_create(digest=digest(receiver.endpoint), defaults=values)
    own = PushSubscription.objects.filter(user=found.user_id).order_by("-pk").values_list("pk", flat=True)
    PushSubscription.objects.filter(pk__in=list(own[MAX_DEVICES:])).delete()
    return found


def unsubscribe(user: Any, endpoint: str) -> None:
    PushSubscription.objects.filter(user=user.pk, digest=digest(endpoint)).delete()


def delete_ended() -> int:
    """Delete the subscriptions whose session has ended: by signing out, an admin, a new password, or time."""
    sessions = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=Now())
    ended = PushSubscription.objects.exclude(Exists(sessions))
    return ended.delete()[0]


def list_devices(user: Any) -> QuerySet[PushSubscription]:
    return PushSubscription.objects.filter(user=user.pk).order_by("-pk")


def read_receiver(subscription: PushSubscription) -> Receiver:
    return Receiver(**json.loads(encryption.decrypt(subscription.secret)))


def digest(endpoint: str) -> str:
    return hashlib.sha256(endpoint.encode("utf-8", "surrogatepass")).hexdigest()


def push_context(user: Any) -> dict[str, Any]:
    """Return what the page of desk settings shows of push messages."""
    if not is_available():
        return {"push_key": "", "devices": []}
    return {"push_key": keys.get_public_key(), "devices": list_devices(user)}
