"""Admin buttons for a channel's webhook address: show it, issue a new one, end the old one.

Used on the pages of API channels and of chat channels with an external helpdesk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from channels_setup.models import ADDRESS_OVERLAP
from channels_setup.shown_secrets import record_shown_address

from .shown_once import render_once

NEW_ADDRESS_KEY = "fresh_address_of"  # session key: number of the chat channel, never its address

AddressAction = Callable[[Any, HttpRequest, Any], HttpResponse | None]


def address_context(channel: Any) -> dict[str, Any]:
    """Return the context of ``webhook_addresses.html``."""
    addresses = channel.valid_addresses()
    return {
        "addresses": addresses,
        "two_addresses": len(addresses) > 1,
        "address_days": ADDRESS_OVERLAP.days,
        "address_action": f"admin:{channel._meta.app_label}_{channel._meta.model_name}_action",
        "address_channel": channel,
    }


def show_address_next(request: HttpRequest, channel: Any) -> None:
    """Show the address of a new channel once, to the admin who created it, on the next page."""
    request.session[NEW_ADDRESS_KEY] = channel.pk


def pop_new_address(request: HttpRequest, channel: Any) -> str:
    """Return the address of a channel that this admin has just created; empty after the first call."""
    if request.method != "GET" or request.session.get(NEW_ADDRESS_KEY) != channel.pk:
        return ""
    del request.session[NEW_ADDRESS_KEY]
    record_shown_address(channel)
    return str(channel.webhook_url)


@transaction.atomic
def show_address(admin: Any, request: HttpRequest, channel: Any) -> HttpResponse | None:
    current = next(iter(channel.valid_addresses()), None)
    if current is None:
        return None
    admin.log_change(request, channel, _("Webhook address …%(tail)s shown.") % {"tail": current.tail})
    record_shown_address(channel)
    notes = [
        _("Anyone with this address can send data to it. Give it to the provider only."),
        _("The history of this channel records that you viewed it."),
    ]
    return render_once(admin, request, channel, title=_("Webhook address"), value=channel.webhook_url, notes=notes)


@transaction.atomic
def issue_address(admin: Any, request: HttpRequest, channel: Any) -> HttpResponse | None:
    address = channel.issue_address()
    if address is None:
        messages.error(request, _("Two addresses are valid. End the old one first, or wait until it expires."))
        return None
    admin.log_change(request, channel, _("Webhook address …%(tail)s issued.") % {"tail": address.tail})
    record_shown_address(channel)
    notes = [
        _("Replace the old address with it at the provider."),
        _("The old address works for %(days)d more days. The channel's page shows when each was last used.")
        % {"days": ADDRESS_OVERLAP.days},
    ]
    return render_once(admin, request, channel, title=_("New webhook address"), value=channel.webhook_url, notes=notes)


@transaction.atomic
def end_old_address(admin: Any, request: HttpRequest, channel: Any) -> None:
    if channel.end_old_address():
        admin.log_change(request, channel, _("Old webhook address ended."))
        messages.success(request, _("The old address no longer works. It may take two seconds to reach every process."))


ACTIONS: dict[str, AddressAction] = {
    "show-address": show_address,
    "new-address": issue_address,
    "end-old-address": end_old_address,
}
