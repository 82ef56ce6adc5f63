"""Account status for the channel's page: values of the last check, and updates received since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import ApiChannel

MAX_UPDATES = 5
STALE_AFTER = timedelta(days=7)  # older account problems are hidden
RESOLVED_BY = {"UNFLAGGED": "FLAGGED"}  # update -> the problem that it resolves
RESOLVES_ALL = ("REINSTATE", "ACCOUNT_RECONNECTED")
LABELS: tuple[tuple[str, str | Promise], ...] = (
    ("number", _("Number")),
    ("name", pgettext_lazy("of a number", "Shown to clients as")),
    ("account", _("Account")),
    ("quality", _("Quality")),
    ("health", _("Sending messages")),
    ("limit", _("Messaging limit, 24 hours")),
    ("throughput", _("Throughput")),
    ("status", pgettext_lazy("of a number", "Status")),
    ("subscribed", _("Webhooks go to")),
)


@dataclass(frozen=True, kw_only=True)
class ShownAccountUpdate:
    """An account update (fact ``AccountUpdate``) as the channel's page shows it."""

    event: str
    details: str
    is_bad: bool
    at: datetime
    terms: Mapping[str, str | Promise]  # sentences by the provider's event code

    @property
    def codes(self) -> dict[str, None]:
        return dict.fromkeys([self.event, *self.details.split(" · ")])

    @property
    def sentences(self) -> list[str | Promise]:
        """Return our sentences for the provider's codes; the page shows the codes, too."""
        return [self.terms[word] for word in self.codes if word in self.terms]

    @property
    def sentence(self) -> str:
        """Return our sentences, or the provider's own text if we have none."""
        return " ".join(map(str, self.sentences)) or " · ".join(filter(None, self.codes))


@dataclass(frozen=True, kw_only=True)
class AccountStatus:
    """Account status as shown: labeled values, updates and the time of the last check."""

    rows: list[tuple[str | Promise, str | Promise]]
    updates: list[ShownAccountUpdate]
    checked_at: datetime | None


def get_account_status(channel: ApiChannel) -> AccountStatus | None:
    """Return the account status of a channel; None if nothing is known."""
    status = channel.provider_status
    terms = channel.provider.account_labels
    rows = [(label, terms.get(name, {}).get(status[name], status[name])) for name, label in LABELS if status.get(name)]
    updates = _list_updates(channel)[:MAX_UPDATES]
    if not rows and not updates:
        return None
    return AccountStatus(
        rows=rows, updates=updates, checked_at=_parse_time(status["checked_at"]) if status.get("checked_at") else None
    )


def find_latest_problem(channel: ApiChannel) -> ShownAccountUpdate | None:
    """Return the latest unresolved account problem reported since the last connection check."""
    checked_at = channel.provider_status.get("checked_at")
    since = max(timezone.now() - STALE_AFTER, _parse_time(checked_at)) if checked_at else timezone.now() - STALE_AFTER
    resolved: set[str] = set()
    for update in _list_updates(channel):
        if not update.codes.keys().isdisjoint(RESOLVES_ALL):
            return None
        resolved |= {RESOLVED_BY[word] for word in update.codes if word in RESOLVED_BY}
        if update.is_bad and update.at > since and resolved.isdisjoint(update.codes):
            return update
    return None


def _list_updates(channel: ApiChannel) -> list[ShownAccountUpdate]:
    """Return the updates, newest first."""
    terms = channel.provider.account_labels.get("event", {})
    return [
        ShownAccountUpdate(
            event=update["event"],
            details=update["details"],
            is_bad=update["level"] == "error",
            at=_parse_time(update["at"]),
            terms=terms,
        )
        for update in channel.provider_status.get("updates", [])
    ]


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)
