"""System checks of the settings, and the connection check of one channel (button "Check the connection")."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils import timezone
from django.utils.translation import gettext as _

from . import account_settings, encryption, http_client
from .models import ApiChannel, ChannelState
from .providers.base import ACCEPTED, ApiRequest, ApiResponse, DeliveryRequest

# --- system checks: `manage.py check` ---------------------------------------------------------------------


@register(Tags.security)
def check_field_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Require usable FIELD_KEYS: without them no secret can be stored or read."""
    if not settings.FIELD_KEYS:
        return [Error("FIELD_KEYS is empty: secrets cannot be stored.", hint=_KEY_HINT, id="okno.E001")]
    found: list[CheckMessage] = []
    for position, key in enumerate(settings.FIELD_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            found.append(Error(f"FIELD_KEYS: key {position} is not a Fernet key.", hint=_KEY_HINT, id="okno.E002"))
    return found


_KEY_HINT = "Generate a key: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"


@register(Tags.security)
def check_private_networks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for text in settings.RELAY_ALLOWED_PRIVATE_CIDRS:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            found.append(Error(f"RELAY_ALLOWED_PRIVATE_CIDRS: {text!r} is not a network.", id="okno.E003"))
    return found


@register(Tags.security, deploy=True)
def warn_of_private_networks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.RELAY_ALLOWED_PRIVATE_CIDRS:
        return []
    listed = ", ".join(settings.RELAY_ALLOWED_PRIVATE_CIDRS)
    return [
        Warning(
            f"A Redirect URL may point into {listed}, without TLS and on any port.",
            hint="Leave RELAY_ALLOWED_PRIVATE_CIDRS empty unless one of your own receivers is there.",
            id="okno.W001",
        )
    ]


@register(Tags.security, deploy=True)
def warn_of_plain_public_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.PUBLIC_URL.startswith("https://"):
        return []
    return [
        Warning(
            f"PUBLIC_URL is {settings.PUBLIC_URL}: providers would send clients' messages and keys in clear.",
            hint="Set PUBLIC_URL to the portal's https:// address.",
            id="okno.W002",
        )
    ]


# --- connection check of one channel ------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One result. ``level`` is ok, warning or error; ``sentence`` is for the admin."""

    level: str
    sentence: str


def check_connection(channel: ApiChannel) -> list[CheckResult]:
    """Check everything that a first message needs. Calls the Redirect URL and the provider, but no client."""
    return [*_check_setup(channel), *_ping_redirect_url(channel), *_check_account(channel)]


def _check_setup(channel: ApiChannel) -> Sequence[CheckResult]:
    found: list[CheckResult] = []
    if channel.current_secret() is None:
        found.append(CheckResult(level="error", sentence=_("The channel has no secret key.")))
    if not channel.watched.exists():
        found.append(
            CheckResult(level="error", sentence=_("The channel watches no chat channel, so messages cannot be stored."))
        )
    elif not channel.watched.filter(operators__is_active=True).exists():
        found.append(
            CheckResult(
                level="warning",
                sentence=_("The watched chat channels have no operators. Only admins see the chats."),
            )
        )
    if not channel.track_message and channel.redirect_url:
        found.append(
            CheckResult(
                level="warning", sentence=_("“All chat messages” is off: messages from other sources send no event.")
            )
        )
    if channel.state == ChannelState.PAUSED:
        found.append(CheckResult(level="warning", sentence=_("The channel is paused. Nothing is sent.")))
    if not found:
        found.append(CheckResult(level="ok", sentence=_("The settings are complete.")))
    return found


def _check_account(channel: ApiChannel) -> Sequence[CheckResult]:
    """Ask the provider about the account: its identity, its status and its webhook subscription."""
    if not channel.provider.settings:
        return []
    if gaps := account_settings.missing_settings(channel):
        names = ", ".join(str(setting.label) for setting in gaps)
        return [CheckResult(level="error", sentence=_("Missing account settings: %(names)s") % {"names": names})]
    account = channel.account()
    answers: dict[str, ApiResponse | None] = {}
    for name, request in channel.provider.build_check_requests(account).items():
        try:
            answers[name] = http_client.send(request)
        except http_client.ForbiddenAddress as problem:
            return [CheckResult(level="error", sentence=str(problem))]
        except (http_client.ConnectionFailed, http_client.NoResponse):
            answers[name] = None
    found = channel.provider.read_check_findings(answers, account)
    facts = {name: value for finding in found for name, value in finding.facts.items()}
    if facts:
        channel.update_provider_status(**facts, checked_at=timezone.now().isoformat())
    # One cause, such as a wrong token, is reported once, however many requests failed because of it.
    distinct = dict.fromkeys((finding.level, str(finding.sentence)) for finding in found)
    return [*(CheckResult(level=level, sentence=sentence) for level, sentence in distinct), *_check_webhooks(channel)]


def _check_webhooks(channel: ApiChannel) -> Sequence[CheckResult]:
    """Report whether the provider's webhooks reach us and are accepted."""
    status = channel.provider_status
    if status.get("refused_at"):
        sentence = _(
            "Webhooks are refused because their signature is wrong. Check the app secret: it must be that of the app "
            "that sends the webhooks."
        )
        return [CheckResult(level="error", sentence=sentence)]
    if status.get("handshake_at") or channel.first_inbound_at:
        return [CheckResult(level="ok", sentence=_("The provider has verified the webhook address."))]
    if status.get("handshake_refused_at"):
        sentence = _("The provider used a different verify token. Copy ours into the provider's webhook form.")
        return [CheckResult(level="error", sentence=sentence)]
    sentence = _(
        "The webhook address has not been verified yet. Enter it and the verify token in the provider's webhook form."
    )
    return [CheckResult(level="warning", sentence=sentence)]


def _ping_redirect_url(channel: ApiChannel) -> Sequence[CheckResult]:
    """Send a ping to the Redirect URL, as the helpdesk does when settings are saved."""
    if not channel.redirect_url:
        if channel.provider.needs_redirect_url:
            return [
                CheckResult(
                    level="error", sentence=_("There is no Redirect URL, so operators' replies cannot be sent.")
                )
            ]
        return []
    started = time.monotonic()
    try:
        answer = http_client.send(ping_request(channel))
    except http_client.ForbiddenAddress as problem:
        return [CheckResult(level="error", sentence=str(problem))]
    except http_client.ConnectionFailed:
        return [CheckResult(level="error", sentence=_("The Redirect URL cannot be reached."))]
    except http_client.NoResponse:
        return [
            CheckResult(
                level="error", sentence=_("The Redirect URL accepted the connection but did not respond in time.")
            )
        ]
    took = int((time.monotonic() - started) * 1000)
    return [_ping_result(channel, answer, took)]


def ping_request(channel: ApiChannel) -> ApiRequest:
    """Build the ping request, encoded and signed like an event of this channel."""
    event = {"ping": "ping"}
    knock = DeliveryRequest(key=f"ping_{encryption.new_path_token()}", attempt=1, at=timezone.now(), event=event)
    return channel.provider.build_event_request(knock, channel.account())


def _ping_result(channel: ApiChannel, answer: ApiResponse, took: int) -> CheckResult:
    values = {"status": answer.status, "ms": took}
    if channel.provider.judge_event_response(answer).verdict == ACCEPTED:
        return CheckResult(level="ok", sentence=_("The Redirect URL answered %(status)d in %(ms)d ms.") % values)
    return CheckResult(
        level="error",
        sentence=_("The Redirect URL answered %(status)d in %(ms)d ms. It must answer with 200 to 299.") % values,
    )
