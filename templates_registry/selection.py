"""Which templates somebody may choose from, and in which order: favorites, those used lately, the rest by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import (
    BooleanField,
    Case,
    Exists,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import get_language, pgettext_lazy

from channels_setup.codecs.values import parse_whole_number

from . import timeline
from .content.components import Placeholder, TemplateDefinition, add_braces, split_placeholders
from .content.graph_format import InvalidTemplate
from .models import Category, Status, Template, TemplateUse

RECENT_PERIOD = timedelta(days=14)
MAX_QUERY_LENGTH = 80
EXCERPT_LENGTH = 200  # characters of a text in a list

FAVORITE, RECENT, OTHER = "favorite", "recent", "other"
GROUPS: Mapping[str, Promise] = {
    FAVORITE: pgettext_lazy("templates", "Favorites"),
    RECENT: pgettext_lazy("templates", "Recently used"),
    OTHER: pgettext_lazy("templates", "Other"),
}


class ComponentTexts(Func):
    """All that stands in a template's components, as one text to search in."""

    function = "jsonb_path_query_array"
    template = "%(function)s(%(expressions)s, '$[*].text')::text"
    output_field = TextField()


@dataclass(frozen=True, kw_only=True)
class TemplateSearch:
    """What somebody looks for. Empty: anything."""

    query: str = ""
    channel: int | None = None
    status: str = ""
    language: str = ""
    category: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> TemplateSearch:
        """From an address; what cannot be read is not asked."""
        return cls(
            query=asked.get("q", "").replace("\0", "").strip()[:MAX_QUERY_LENGTH],
            channel=parse_whole_number(asked.get("channel")),
            status=asked.get("status", "") if asked.get("status") in Status.values else "",
            language=asked.get("language", "").replace("\0", "")[:20],
            category=asked.get("category", "") if asked.get("category") in Category.values else "",
        )

    @property
    def is_narrow(self) -> bool:
        return bool(self.channel or self.status or self.language or self.category)


def filter_templates(rows: QuerySet[Template], wanted: TemplateSearch) -> QuerySet[Template]:
    """Those that answer the question; archived ones only where they are asked for."""
    rows = rows.filter(status=wanted.status) if wanted.status else rows.exclude(status=Status.ARCHIVED)
    if wanted.channel:
        rows = rows.filter(api_channel=wanted.channel)
    if wanted.language:
        rows = rows.filter(language=wanted.language)
    if wanted.category:
        rows = rows.filter(category=wanted.category)
    return search_templates(rows, wanted.query)


def search_templates(rows: QuerySet[Template], query: str) -> QuerySet[Template]:
    """Every word stands in the name or in the text."""
    rows = rows.exclude(status=Status.DELETED)
    words = query.split()
    if words:
        rows = rows.alias(texts=ComponentTexts(F("components")))
    for word in words:
        rows = rows.filter(Q(name__icontains=word) | Q(texts__icontains=word))
    return rows


def order_for_user(rows: QuerySet[Template], *, user: Any) -> QuerySet[Template]:
    """Sorted for this person, each with ``is_favorite`` and ``used_by_me``."""
    mine = TemplateUse.objects.filter(user=user, template=OuterRef("pk"))
    lately = mine.filter(last_used_at__gte=timezone.now() - RECENT_PERIOD)
    approved = _is_true(Q(status=Status.APPROVED))
    own_language = _is_true(Q(language__startswith=(get_language() or "")[:2]))
    return (
        rows.annotate(
            is_favorite=Exists(mine.filter(is_favorite=True)),
            used_by_me=Subquery(lately.values("last_used_at")[:1]),
            is_approved=approved,
            is_own_language=own_language,
        )
        .select_related("api_channel")
        .order_by(
            "-is_favorite", F("used_by_me").desc(nulls_last=True), "-is_approved", "name", "-is_own_language", "pk"
        )
    )


def _is_true(condition: Q) -> Case:
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


@dataclass(frozen=True, kw_only=True)
class TemplateListItem:
    template: Template
    is_favorite: bool

    @property
    def level(self) -> str:
        return timeline.status_level(self.template.status)

    @property
    def words(self) -> str:
        """The beginning of the text, its variables under their titles."""
        try:
            pattern = self.template.pattern
        except InvalidTemplate:
            return ""
        pieces = split_placeholders(pattern.body[:EXCERPT_LENGTH])
        return " ".join("".join(_text_or_title(pattern, one) for one in pieces).split())


def _text_or_title(pattern: TemplateDefinition, piece: str | Placeholder) -> str:
    if not isinstance(piece, Placeholder):
        return piece
    variable = pattern.variable(piece.name)
    return f"[{variable.label}]" if variable and variable.label else add_braces(piece.name)


@dataclass(frozen=True, kw_only=True)
class TemplateGroup:
    key: str
    title: Promise
    rows: list[TemplateListItem]


def group_templates(rows: Iterable[Any]) -> Iterator[TemplateGroup]:
    """Rows ``order_for_user`` under their headings."""
    groups: dict[str, list[TemplateListItem]] = {key: [] for key in GROUPS}
    for row in rows:
        key = FAVORITE if row.is_favorite else RECENT if row.used_by_me else OTHER
        groups[key].append(TemplateListItem(template=row, is_favorite=row.is_favorite))
    return (TemplateGroup(key=key, title=GROUPS[key], rows=found) for key, found in groups.items() if found)
