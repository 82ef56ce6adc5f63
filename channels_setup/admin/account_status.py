"""How the account stands at the provider, for the channel's page: by the last check and by what came since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import ApiChannel

MAX_UPDATES = 5  # news
STALE_AFTER = timedelta(days=7)  # of so long ago are the news that are no news any more
RESOLVED_BY = {"UNFLAGGED": "FLAGGED"}  # good news -> the bad ones that they end
RESOLVES_ALL = ("REINSTATE", "ACCOUNT_RECONNECTED")
LABELS: tuple[tuple[str, str | Promise], ...] = (
    ("number", _("Number")),
    ("name", pgettext_lazy("of a number", "Shown to clients as")),
    ("account", _("Account")),
    ("quality", _("Quality")),
    ("health", _("Sending messages")),
    ("limit", _("Clients written to first, in 24 hours")),
    ("throughput", _("Throughput")),
    ("status", pgettext_lazy("of a number", "Status")),
    ("subscribed", _("Webhooks go to")),
)


@dataclass(frozen=True, kw_only=True)
class AccountUpdate:
    what: str
    details: str
    is_bad: bool
    at: datetime
    terms: Mapping[str, str | Promise]  # the provider's codes of events in our words

    @property
    def said(self) -> dict[str, None]:
        return dict.fromkeys([self.what, *self.details.split(" · ")])

    @property
    def words(self) -> list[str | Promise]:
        """What we have a sentence for; beside it the page shows what was said."""
        return [self.terms[word] for word in self.said if word in self.terms]

    @property
    def sentence(self) -> str:
        """Ours, else what was said."""
        return " ".join(map(str, self.words)) or " · ".join(filter(None, self.said))


@dataclass(frozen=True, kw_only=True)
class AccountStatus:
    rows: list[tuple[str | Promise, str | Promise]]
    updates: list[AccountUpdate]
    checked_at: datetime | None


def get_account_status(channel: ApiChannel) -> AccountStatus | None:
    """None where nothing is known, or the provider has no account to speak of."""
    told = channel.provider_status
    words = channel.provider.account_labels
    rows = [(label, words.get(name, {}).get(told[name], told[name])) for name, label in LABELS if told.get(name)]
    updates = _updates(channel)[:MAX_UPDATES]
    if not rows and not updates:
        return None
    return AccountStatus(
        rows=rows, updates=updates, checked_at=_parse_time(told["checked_at"]) if told.get("checked_at") else None
    )


def latest_problem(channel: ApiChannel) -> AccountUpdate | None:
    """The newest bad news of late which no good news has ended, and after which nobody has asked the account."""
    checked_at = channel.provider_status.get("checked_at")
    since = max(timezone.now() - STALE_AFTER, _parse_time(checked_at)) if checked_at else timezone.now() - STALE_AFTER
    over: set[str] = set()
    for news in _updates(channel):
        if not news.said.keys().isdisjoint(RESOLVES_ALL):
            return None
        over |= {RESOLVED_BY[word] for word in news.said if word in RESOLVED_BY}
        if news.is_bad and news.at > since and over.isdisjoint(news.said):
            return news
    return None


def _updates(channel: ApiChannel) -> list[AccountUpdate]:
    """The newest first."""
    terms = channel.provider.account_labels.get("event", {})
    return [
        AccountUpdate(
            what=one["what"],
            details=one["details"],
            is_bad=one["level"] == "error",
            at=_parse_time(one["at"]),
            terms=terms,
        )
        for one in channel.provider_status.get("updates", [])
    ]


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)
