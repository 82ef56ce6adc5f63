"""How the account stands at the provider, for the channel's page: by the last check and by what came since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .codecs.graph_account import LIMITS, QUALITY, STATUS, THROUGHPUT, WHAT_HAPPENED
from .models import ApiChannel

SHOWN = 5  # news
LABELS: tuple[tuple[str, str | Promise], ...] = (
    ("number", _("Number")),
    ("name", pgettext_lazy("of a number", "Shown to clients as")),
    ("account", _("Account")),
    ("quality", _("Quality")),
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

    @property
    def words(self) -> list[str | Promise]:
        """What we have a sentence for; beside it the page shows what was said."""
        said = [self.what, *self.details.split(" · ")]
        return [WHAT_HAPPENED[word] for word in dict.fromkeys(said) if word in WHAT_HAPPENED]


@dataclass(frozen=True, kw_only=True)
class Card:
    rows: list[tuple[str | Promise, str | Promise]]
    news: list[News]
    checked_at: datetime | None


def of(channel: ApiChannel) -> Card | None:
    """None where nothing is known, or the provider has no account to speak of."""
    told = channel.standing
    words: dict[str, Mapping[str, str | Promise]] = {
        "quality": QUALITY,
        "limit": LIMITS,
        "throughput": THROUGHPUT,
        "status": STATUS,
    }
    rows = [(label, words.get(name, {}).get(told[name], told[name])) for name, label in LABELS if told.get(name)]
    news = [
        News(what=one["what"], details=one["details"], is_bad=one["level"] == "error", at=_time(one["at"]))
        for one in told.get("news", [])[:SHOWN]
    ]
    if not rows and not news:
        return None
    return Card(rows=rows, news=news, checked_at=_time(told["checked_at"]) if told.get("checked_at") else None)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
