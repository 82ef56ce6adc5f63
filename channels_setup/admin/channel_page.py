"""Buttons of an API channel's admin page. Each is a POST that performs one action, logs it and shows a message.

Secrets that are shown once (a key, a hand-over link) are in the response of the POST or of one GET. They are never in
a session, a message or a log.
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

from channels_setup import account_settings, checks, onboarding, shown_secrets
from channels_setup.models import ApiChannel, ChannelState, Handover, Secret
from config.audit import record
from config.audit.models import Action

from . import account_status, address_actions
from .shown_once import render_once

if TYPE_CHECKING:
    from .channels import ApiChannelAdmin

KEY_OVERLAP = timedelta(hours=24)
NEW_KEY_SESSION_KEY = "fresh_key_of"  # session key: number of the channel whose new key is shown next, never the key

ChannelAction = Callable[["ApiChannelAdmin", HttpRequest, ApiChannel], HttpResponse | None]


def page_context(request: HttpRequest, channel: ApiChannel) -> dict[str, Any]:
    """Return the context of the part above the form."""
    now = timezone.now()
    secrets = [secret for secret in channel.secrets.order_by("-id") if secret.is_valid(now)]
    fresh_key = pop_new_key(request, channel)
    fresh_address = channel.webhook_url if fresh_key and len(secrets) == 1 else ""
    fresh_settings = account_settings.generated_secrets(channel) if fresh_key else {}
    if fresh_address:
        shown_secrets.record_shown_address(channel)
    shown_secrets.record_shown_settings(channel, *fresh_settings)
    return {
        **address_actions.address_context(channel),
        "channel": channel,
        "steps": onboarding.list_steps(channel),
        "keys": secrets,
        "fresh_key": fresh_key,
        "fresh_address": fresh_address,
        "fresh_made": fresh_settings,
        "has_account": bool(channel.provider.settings),
        "account": account_status.get_account_status(channel),
        "overlap_runs": any(secret.expires_at for secret in secrets),
        "chat_channels": list(channel.watched.all()),
        "handover": channel.handovers.first(),
        "states": ChannelState,
        "webhook_secret_tail": channel.secret_tails().get(channel.provider.webhook_secret),
        "may_prepare": channel.watched.exists() and bool(secrets),
    }


def pop_new_key(request: HttpRequest, channel: ApiChannel) -> str:
    """Return a new key in full, once, and only to the admin who created it."""
    if request.method != "GET" or request.session.get(NEW_KEY_SESSION_KEY) != channel.pk:
        return ""
    del request.session[NEW_KEY_SESSION_KEY]
    secret = channel.current_secret()
    # The conditional update decides which of two tabs shows the key.
    claimed = secret and Secret.objects.filter(pk=secret.pk, shown_at=None).update(shown_at=timezone.now())
    if secret is None or not claimed:
        return ""
    shown_secrets.record_shown_key(secret)
    return secret.reveal()


# --- the buttons -----------------------------------------------------------------------------------------


@transaction.atomic
def start_verification(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    if channel.start_verification():
        admin.log_change(request, channel, _("Submitted for verification."))
        messages.success(request, _("Saved. The provider's verification usually takes 2–3 weeks."))


@transaction.atomic
def finish_verification(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    if channel.finish_verification():
        admin.log_change(request, channel, _("Verification complete."))
        messages.success(request, _("Saved. Next, hand over the key and the chat ID to the provider."))


@transaction.atomic
def pause(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    channel.pause()
    admin.log_change(request, channel, _("Paused."))
    messages.success(
        request,
        _(
            "Paused. Incoming messages are stored; outgoing messages wait. Windows keep running: if a window closes "
            "before the reply is sent, the operator gets the reply back as a draft."
        ),
    )


@transaction.atomic
def resume(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    channel.resume()
    admin.log_change(request, channel, _("Resumed."))
    messages.success(request, _("Resumed. Waiting messages are sent now, in order."))


@transaction.atomic
def archive(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    if channel.archive():
        admin.log_change(request, channel, _("Archived."))
        messages.success(request, _("Archived. The channel receives and sends nothing; its chats stay readable."))


@transaction.atomic
def unarchive(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    if channel.unarchive():
        admin.log_change(request, channel, _("Taken out of the archive."))
        messages.success(request, _("Taken out of the archive. The channel is paused: resume it to send messages."))


@transaction.atomic
def show_key(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> HttpResponse | None:
    secret = channel.current_secret()
    if secret is None:
        messages.error(request, _("This channel has no secret key. Issue one."))
        return None
    admin.log_change(request, channel, _("Secret key …%(tail)s shown.") % {"tail": secret.tail})
    shown_secrets.record_shown_key(secret)
    Secret.objects.filter(pk=secret.pk, shown_at=None).update(shown_at=timezone.now())
    return render_once(
        admin,
        request,
        channel,
        title=_("Secret key"),
        value=secret.reveal(),
        notes=[_("The history of this channel records that you viewed it.")],
    )


@transaction.atomic
def issue_key(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    if any(secret.expires_at for secret in channel.secrets.all() if secret.is_valid(timezone.now())):
        messages.error(request, _("Two keys are valid. Stop the old one first, or wait until it expires."))
        return
    secret = channel.issue_secret(overlap=KEY_OVERLAP)
    request.session[NEW_KEY_SESSION_KEY] = channel.pk
    admin.log_change(request, channel, _("Secret key …%(tail)s issued.") % {"tail": secret.tail})


@transaction.atomic
def stop_old_key(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    now = timezone.now()
    if channel.secrets.filter(expires_at__gt=now).update(expires_at=now):
        admin.log_change(request, channel, _("Old secret key stopped."))
        messages.success(request, _("The old key no longer works. Calls with it are refused from now on."))


@transaction.atomic
def prepare_handover(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> HttpResponse | None:
    if channel.current_secret() is None or not channel.watched.exists():
        messages.error(
            request, _("Nothing to hand over yet. The channel needs a secret key and a watched chat channel.")
        )
        return None
    handover, token = Handover.prepare(channel, user=request.user, language=(get_language() or "ru")[:2])
    admin.log_change(request, channel, _("Hand-over link created."))
    record.record_action(Action.LINK_CREATED, "channels_setup.handover", handover.pk)
    return render_once(
        admin,
        request,
        channel,
        title=_("Link for the provider's staff"),
        value=settings.PUBLIC_URL + reverse("handover", args=[token]),
        notes=[
            _("It opens exactly once and works until %(until)s. It cannot be shown again.")
            % {"until": timezone.localtime(handover.expires_at).strftime("%d.%m.%Y %H:%M")},
            _("The page contains the secret key. Send the link to the provider's staff only."),
            _("Earlier unopened links no longer work."),
        ],
    )


def check_connection(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    levels = {"ok": messages.SUCCESS, "warning": messages.WARNING, "error": messages.ERROR}
    for finding in checks.check_connection(channel):
        messages.add_message(request, levels[finding.level], finding.sentence)


@transaction.atomic
def issue_verify_token(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> HttpResponse | None:
    """Issue a verify token and show it once. The previous one works for 24 more hours."""
    account_settings.generate_secrets(channel, provided={})
    generated = account_settings.generated_secrets(channel)
    if not generated:
        return None
    admin.log_change(request, channel, _("New verify token issued."))
    shown_secrets.record_shown_settings(channel, *generated)
    shown_secrets.record_shown_address(channel)
    return render_once(
        admin,
        request,
        channel,
        title=_("Verify token"),
        value=next(iter(generated.values())),
        notes=[
            _("Enter it in the provider's webhook form together with this address: %(url)s")
            % {"url": channel.webhook_url},
            _("It is not shown again. You can issue a new one at any time."),
        ],
    )


@transaction.atomic
def issue_webhook_secret(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> HttpResponse | None:
    """Issue the secret for unsigned webhooks and show it once. The previous one works for 24 more hours."""
    header = channel.provider.webhook_header
    if not header:
        return None
    value = account_settings.issue_webhook_secret(channel)
    admin.log_change(request, channel, _("Webhook secret issued."))
    shown_secrets.record_shown_settings(channel, channel.provider.webhook_secret)
    shown_secrets.record_shown_address(channel)
    return render_once(
        admin,
        request,
        channel,
        title=_("Webhook secret"),
        value=value,
        notes=[
            _("Header: %(header)s") % {"header": header},
            _("Enter the header and the secret in the provider's webhook settings together with this address: %(url)s")
            % {"url": channel.webhook_url},
            _("It is not shown again. The previous one works for 24 more hours."),
        ],
    )


CHANNEL_ACTIONS: dict[str, ChannelAction] = {
    "sent-for-verification": start_verification,
    "verified": finish_verification,
    "pause": pause,
    "resume": resume,
    "archive": archive,
    "unarchive": unarchive,
    "show-key": show_key,
    "new-key": issue_key,
    "stop-old-key": stop_old_key,
    "hand-over": prepare_handover,
    "check": check_connection,
    "new-verify-token": issue_verify_token,
    "new-webhook-secret": issue_webhook_secret,
    **address_actions.ACTIONS,
}
