"""Account updates: webhooks about the account or number, stored for the channel's page."""

from __future__ import annotations

from django.utils import timezone

from channels_setup.models import ApiChannel
from channels_setup.providers.base import AccountUpdate

MAX_KEPT_UPDATES = 20  # older ones remain in the raw events only


def record_account_update(api_channel: ApiChannel, fact: AccountUpdate) -> None:
    """Store an account update, newest first. A repeat of the newest one replaces it (Meta repeats webhooks)."""
    at = fact.at or timezone.now()
    update = {"event": fact.event, "details": fact.details, "level": fact.level, "at": at.isoformat()}
    earlier = [row for row in api_channel.provider_status.get("updates", []) if isinstance(row, dict)]
    values = {name: value for name, value in (("quality", fact.quality), ("limit", fact.limit)) if value}
    if any((row.get("event"), row.get("details")) == (fact.event, fact.details) for row in earlier[:1]):
        earlier = earlier[1:]
    api_channel.update_provider_status(updates=[update, *earlier][:MAX_KEPT_UPDATES], **values)
