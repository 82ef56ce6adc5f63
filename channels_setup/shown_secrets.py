"""Audit records of keys, webhook addresses and account secrets that a page or a command shows in clear."""

from __future__ import annotations

from config.audit import record
from config.audit.models import Action

from .models import ApiChannel, ChatChannel, Secret


def record_shown_key(secret: Secret) -> None:
    record.record_action(Action.SECRET_SHOWN, "channels_setup.secret", secret.pk, label=secret.tail)


def record_shown_address(channel: ApiChannel | ChatChannel) -> None:
    """Record that the current webhook address was shown in full."""
    address = next(iter(channel.valid_addresses()), None)
    if address is not None:
        record.record_action(Action.SECRET_SHOWN, "channels_setup.webhookaddress", address.pk, label=address.tail)


def record_shown_settings(channel: ApiChannel, *names: str) -> None:
    """Record that these account settings were shown. ``names`` may be empty: then nothing was shown."""
    if names:
        details = {"settings": list(names)}
        record.record_action(
            Action.SECRET_SHOWN, "channels_setup.apichannel", channel.pk, label=channel.name, details=details
        )
