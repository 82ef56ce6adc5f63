"""What can be checked before a client is affected: the settings at every start, and one channel at a button's press."""

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

# --- the settings: `manage.py check` ---------------------------------------------------------------------


@register(Tags.security)
def check_field_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Fail closed: without a usable key no secret can be stored or read."""
    if not settings.FIELD_KEYS:
        return [Error("FIELD_KEYS is empty: secrets cannot be stored.", hint=_KEY_HINT, id="okno.E001")]
    found: list[CheckMessage] = []
    for place, key in enumerate(settings.FIELD_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            found.append(Error(f"FIELD_KEYS: key {place} is no Fernet key.", hint=_KEY_HINT, id="okno.E002"))
    return found


_KEY_HINT = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())' makes one."


@register(Tags.security)
def check_private_networks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for text in settings.RELAY_ALLOWED_PRIVATE_CIDRS:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            found.append(Error(f"RELAY_ALLOWED_PRIVATE_CIDRS: {text!r} is no network.", id="okno.E003"))
    return found


@register(Tags.security, deploy=True)
def warn_of_private_networks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.RELAY_ALLOWED_PRIVATE_CIDRS:
        return []
    listed = ", ".join(settings.RELAY_ALLOWED_PRIVATE_CIDRS)
    return [
        Warning(
            f"A Redirect URL may point into {listed}, without TLS and on any port.",
            hint="Leave RELAY_ALLOWED_PRIVATE_CIDRS empty unless a receiver of your own stands there.",
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


# --- one channel: the button "Check the connection" ------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """``level`` is ok, warning or error; the sentence is for the admin."""

    level: str
    sentence: str


def check_connection(channel: ApiChannel) -> list[CheckResult]:
    """Look at everything a first message will need, and knock at the Redirect URL. No client is touched."""
    return [*_check_setup(channel), *_ping_redirect_url(channel), *_check_account(channel)]


def _check_setup(channel: ApiChannel) -> Sequence[CheckResult]:
    found: list[CheckResult] = []
    if channel.current_secret() is None:
        found.append(CheckResult(level="error", sentence=_("The channel has no secret key.")))
    if not channel.watched.exists():
        found.append(
            CheckResult(level="error", sentence=_("It watches no chat channel: messages have nowhere to land."))
        )
    elif not channel.watched.filter(operators__is_active=True).exists():
        found.append(
            CheckResult(
                level="warning",
                sentence=_("No operator works in the watched chat channels: only admins see the chats."),
            )
        )
    if not channel.track_message and channel.redirect_url:
        found.append(
            CheckResult(
                level="warning", sentence=_("“All chat messages” is not ticked: others' messages raise no event.")
            )
        )
    if channel.state == ChannelState.PAUSED:
        found.append(CheckResult(level="warning", sentence=_("The channel is paused: nothing goes out.")))
    if not found:
        found.append(CheckResult(level="ok", sentence=_("The settings are complete.")))
    return found


def _check_account(channel: ApiChannel) -> Sequence[CheckResult]:
    """What the provider says of the account: who it is, how it stands, whether our webhooks are wanted there."""
    if not channel.provider.settings:
        return []
    if gaps := account_settings.missing_settings(channel):
        names = ", ".join(str(setting.label) for setting in gaps)
        return [CheckResult(level="error", sentence=_("The account's data are missing: %(names)s") % {"names": names})]
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
    told = {name: value for finding in found for name, value in finding.facts.items()}
    if told:
        channel.update_provider_status(**told, checked_at=timezone.now().isoformat())
    # One cause, such as a wrong token, is said once, however many questions failed by it.
    said = dict.fromkeys((finding.level, str(finding.sentence)) for finding in found)
    return [*(CheckResult(level=level, sentence=sentence) for level, sentence in said), *_check_webhooks(channel)]


def _check_webhooks(channel: ApiChannel) -> Sequence[CheckResult]:
    """What our own address has seen of the provider; the account's answers know nothing of it."""
    told = channel.provider_status
    if told.get("refused_at"):
        sentence = _(
            "Webhooks come, but their signature does not fit: the app secret is not that of the app that sends them."
        )
        return [CheckResult(level="error", sentence=sentence)]
    if told.get("handshake_at") or channel.first_inbound_at:
        return [CheckResult(level="ok", sentence=_("The provider has verified the webhook address."))]
    if told.get("handshake_refused_at"):
        sentence = _("The provider asked for the webhook address with another verify token: copy ours into its form.")
        return [CheckResult(level="error", sentence=sentence)]
    sentence = _(
        "The webhook address has not been verified yet: write it and the verify token into the provider's webhook form."
    )
    return [CheckResult(level="warning", sentence=sentence)]


def _ping_redirect_url(channel: ApiChannel) -> Sequence[CheckResult]:
    """Send a ping to the Redirect URL, as the helpdesk does when settings are saved."""
    if not channel.redirect_url:
        if channel.provider.needs_redirect_url:
            return [
                CheckResult(level="error", sentence=_("There is no Redirect URL: operators' answers cannot go out."))
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
        return [CheckResult(level="error", sentence=_("The Redirect URL took the call and did not answer in time."))]
    took = int((time.monotonic() - started) * 1000)
    return [_ping_result(channel, answer, took)]


def ping_request(channel: ApiChannel) -> ApiRequest:
    """The call that ``check_connection`` makes: in the channel's own encoding, signed like an event."""
    event = {"ping": "ping"}
    knock = DeliveryRequest(key=f"ping_{encryption.new_path_token()}", attempt=1, at=timezone.now(), event=event)
    return channel.provider.build_event_request(knock, channel.account())


def _ping_result(channel: ApiChannel, answer: ApiResponse, took: int) -> CheckResult:
    values = {"status": answer.status, "ms": took}
    if channel.provider.judge_event_response(answer).verdict == ACCEPTED:
        return CheckResult(level="ok", sentence=_("The Redirect URL answered %(status)d in %(ms)d ms.") % values)
    return CheckResult(
        level="error",
        sentence=_("The Redirect URL answered %(status)d in %(ms)d ms: it must answer 200 to 299.") % values,
    )
