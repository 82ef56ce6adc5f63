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

SHOWN = 5  # news
LATE = timedelta(days=7)  # of so long ago are the news that are no news any more
OVER = {"UNFLAGGED": "FLAGGED"}  # good news -> the bad ones that they end
ALL_OVER = ("REINSTATE", "ACCOUNT_RECONNECTED")
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
class News:
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
class Card:
    rows: list[tuple[str | Promise, str | Promise]]
    news: list[News]
    checked_at: datetime | None


def of(channel: ApiChannel) -> Card | None:
    """None where nothing is known, or the provider has no account to speak of."""
    told = channel.standing
    words = channel.provider.account_labels
    rows = [(label, words.get(name, {}).get(told[name], told[name])) for name, label in LABELS if told.get(name)]
    news = _news(channel)[:SHOWN]
    if not rows and not news:
        return None
    return Card(rows=rows, news=news, checked_at=_time(told["checked_at"]) if told.get("checked_at") else None)


def trouble(channel: ApiChannel) -> News | None:
    """The newest bad news of late which no good news has ended, and after which nobody has asked the account."""
    checked_at = channel.standing.get("checked_at")
    since = max(timezone.now() - LATE, _time(checked_at)) if checked_at else timezone.now() - LATE
    over: set[str] = set()
    for news in _news(channel):
        if not news.said.keys().isdisjoint(ALL_OVER):
            return None
        over |= {OVER[word] for word in news.said if word in OVER}
        if news.is_bad and news.at > since and over.isdisjoint(news.said):
            return news
    return None


def _news(channel: ApiChannel) -> list[News]:
    """The newest first."""
    terms = channel.provider.account_labels.get("event", {})
    return [
        News(what=one["what"], details=one["details"], is_bad=one["level"] == "error", at=_time(one["at"]), terms=terms)
        for one in channel.standing.get("news", [])
    ]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
