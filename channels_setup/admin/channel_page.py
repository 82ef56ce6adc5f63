"""The buttons on an API channel's admin page: each a POST that does one thing, logs who did it, and says so.

What is shown once (a key, a hand-over link) is answered to the POST itself or claimed by one GET; it is never put
into a session, a message or the log.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from channels_setup import account_settings, checks, onboarding
from channels_setup.models import ApiChannel, ChannelState, Handover, Secret

from . import account_status, address_actions
from .shown_once import shown_once

if TYPE_CHECKING:
    from .channels import ApiChannelAdmin

OVERLAP = timedelta(hours=24)
FRESH_KEY = "fresh_key_of"  # session: the API channel whose new key this admin is about to see; never the key itself

Deed = Callable[["ApiChannelAdmin", HttpRequest, ApiChannel], HttpResponse | None]


def context(request: HttpRequest, channel: ApiChannel) -> dict[str, Any]:
    """What the page shows above the form."""
    now = timezone.now()
    secrets = [secret for secret in channel.secrets.order_by("-id") if secret.is_valid(now)]
    fresh_key = claim_fresh_key(request, channel)
    return {
        **address_actions.context(channel),
        "channel": channel,
        "steps": onboarding.steps(channel),
        "keys": secrets,
        "fresh_key": fresh_key,
        "fresh_address": channel.webhook_url if fresh_key and len(secrets) == 1 else "",
        "fresh_made": account_settings.made_by_us(channel) if fresh_key else {},
        "has_account": bool(channel.provider.settings),
        "account": account_status.of(channel),
        "overlap_runs": any(secret.expires_at for secret in secrets),
        "chat_channels": list(channel.watched.all()),
        "handover": channel.handovers.first(),
        "states": ChannelState,
        "webhook_secret_tail": channel.kept_secrets().get(channel.provider.webhook_secret),
        "may_prepare": channel.watched.exists() and bool(secrets),
    }


def claim_fresh_key(request: HttpRequest, channel: ApiChannel) -> str:
    """The new key in full: once, and only to the admin who has just made it."""
    if request.method != "GET" or request.session.get(FRESH_KEY) != channel.pk:
        return ""
    del request.session[FRESH_KEY]
    secret = channel.current_secret()
    # The conditional update is the claim: of two tabs one shows the key.
    claimed = secret and Secret.objects.filter(pk=secret.pk, shown_at=None).update(shown_at=timezone.now())
    return secret.reveal() if secret and claimed else ""


# --- the buttons -----------------------------------------------------------------------------------------


@transaction.atomic
def send_for_verification(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    if channel.sent_for_verification():
        admin.log_change(request, channel, _("Sent for verification."))
        messages.success(request, _("Noted. The provider's verification usually takes 2–3 weeks."))


@transaction.atomic
def verified(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    if channel.verified():
        admin.log_change(request, channel, _("Verification is through."))
        messages.success(request, _("Noted. Next: hand the key and the chat id over to the provider."))


@transaction.atomic
def pause(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    channel.pause()
    admin.log_change(request, channel, _("Paused."))
    messages.success(
        request,
        _(
            "Paused. What comes in is stored, what goes out waits. Windows run on: a reply whose window closes "
            "meanwhile comes back to its operator as a draft."
        ),
    )


@transaction.atomic
def resume(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    channel.resume()
    admin.log_change(request, channel, _("Resumed."))
    messages.success(request, _("Resumed. What was waiting goes out now, in its order."))


@transaction.atomic
def show_key(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> HttpResponse | None:
    secret = channel.current_secret()
    if secret is None:
        messages.error(request, _("This channel has no secret key. Issue one."))
        return None
    admin.log_change(request, channel, _("Secret key …%(tail)s shown.") % {"tail": secret.tail})
    Secret.objects.filter(pk=secret.pk, shown_at=None).update(shown_at=timezone.now())
    return shown_once(
        admin,
        request,
        channel,
        title=_("Secret key"),
        value=secret.reveal(),
        notes=[_("That you looked at it stands in this channel's history.")],
    )


@transaction.atomic
def new_key(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    if any(secret.expires_at for secret in channel.secrets.all() if secret.is_valid(timezone.now())):
        messages.error(request, _("Two keys are valid already. Stop the old one first, or wait until it runs out."))
        return
    secret = channel.issue_secret(overlap=OVERLAP)
    request.session[FRESH_KEY] = channel.pk
    admin.log_change(request, channel, _("Secret key …%(tail)s issued.") % {"tail": secret.tail})


@transaction.atomic
def stop_old_key(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    now = timezone.now()
    if channel.secrets.filter(expires_at__gt=now).update(expires_at=now):
        admin.log_change(request, channel, _("The old secret key was stopped."))
        messages.success(request, _("The old key no longer works. Calls with it are refused from now on."))


@transaction.atomic
def prepare_handover(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> HttpResponse | None:
    if channel.current_secret() is None or not channel.watched.exists():
        messages.error(request, _("There is nothing to hand over yet: a key and a watched chat channel are needed."))
        return None
    handover, token = Handover.prepare(channel, user=request.user, language=(get_language() or "ru")[:2])
    admin.log_change(request, channel, _("Hand-over link prepared."))
    return shown_once(
        admin,
        request,
        channel,
        title=_("Link for the provider's staff"),
        value=settings.PUBLIC_URL + reverse("handover", args=[token]),
        notes=[
            _("It opens exactly once and works until %(until)s. Nobody can look it up again, not even you.")
            % {"until": timezone.localtime(handover.expires_at).strftime("%d.%m.%Y %H:%M")},
            _("The page holds the secret key: send the link to the provider's staff only."),
            _("Links prepared earlier and not opened no longer work."),
        ],
    )


def check(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    levels = {"ok": messages.SUCCESS, "warning": messages.WARNING, "error": messages.ERROR}
    for finding in checks.dry_run(channel):
        messages.add_message(request, levels[finding.level], finding.sentence)


@transaction.atomic
def new_made(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> HttpResponse | None:
    """Make anew what we make for the provider's form, and show it once; the former one works for a day."""
    account_settings.make_ours(channel, given={})
    made = account_settings.made_by_us(channel)
    if not made:
        return None
    admin.log_change(request, channel, _("Verify token made anew."))
    return shown_once(
        admin,
        request,
        channel,
        title=_("Verify token"),
        value=next(iter(made.values())),
        notes=[
            _("Write it into the provider's webhook form, beside this address: %(url)s") % {"url": channel.webhook_url},
            _("It is not shown again; a new one can be made at any time."),
        ],
    )


@transaction.atomic
def new_webhook_secret(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> HttpResponse | None:
    """Make the secret for the header of unsigned webhooks, and show it once; the former one works for a day."""
    header = channel.provider.webhook_header
    if not header:
        return None
    value = account_settings.make_webhook_secret(channel)
    admin.log_change(request, channel, _("Webhook secret made."))
    return shown_once(
        admin,
        request,
        channel,
        title=_("Webhook secret"),
        value=value,
        notes=[
            _("Header: %(header)s") % {"header": header},
            _("Enter header and secret in the provider's webhook settings, beside this address: %(url)s")
            % {"url": channel.webhook_url},
            _("It is not shown again. A former one works for 24 more hours."),
        ],
    )


DEEDS: dict[str, Deed] = {
    "sent-for-verification": send_for_verification,
    "verified": verified,
    "pause": pause,
    "resume": resume,
    "show-key": show_key,
    "new-key": new_key,
    "stop-old-key": stop_old_key,
    "hand-over": prepare_handover,
    "check": check,
    "new-verify-token": new_made,
    "new-webhook-secret": new_webhook_secret,
    **address_actions.ACTIONS,
}
