"""Search and order of templates for an operator: favorites, recently used ones, then the others by name."""

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
from .content.components import split_placeholders
from .content.graph_format import InvalidTemplate
from .models import Category, Status, Template, TemplateUse

RECENT_PERIOD = timedelta(days=14)
MAX_QUERY_LENGTH = 80
EXCERPT_LENGTH = 200  # characters of the body

FAVORITE, RECENT, OTHER = "favorite", "recent", "other"
GROUPS: Mapping[str, Promise] = {
    FAVORITE: pgettext_lazy("templates", "Favorites"),
    RECENT: pgettext_lazy("templates", "Recently used"),
    OTHER: pgettext_lazy("templates", "Other"),
}


class ComponentTexts(Func):
    """SQL: all texts of a template's components as one string, for searching."""

    function = "jsonb_path_query_array"
    template = "%(function)s(%(expressions)s, '$[*].text')::text"
    output_field = TextField()


@dataclass(frozen=True, kw_only=True)
class TemplateSearch:
    """Search text and filters of the Templates page. Empty fields match everything."""

    query: str = ""
    channel: int | None = None
    status: str = ""
    language: str = ""
    category: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> TemplateSearch:
        """Parse the parameters of a URL. Invalid ones are ignored."""
        return cls(
            query=query.get("q", "").replace("\0", "").strip()[:MAX_QUERY_LENGTH],
            channel=parse_whole_number(query.get("channel")),
            status=query.get("status", "") if query.get("status") in Status.values else "",
            language=query.get("language", "").replace("\0", "")[:20],
            category=query.get("category", "") if query.get("category") in Category.values else "",
        )

    @property
    def has_filters(self) -> bool:
        return bool(self.channel or self.status or self.language or self.category)


def filter_templates(rows: QuerySet[Template], search: TemplateSearch) -> QuerySet[Template]:
    """Return the templates that match. Archived ones match only if the search asks for that status."""
    rows = rows.filter(status=search.status) if search.status else rows.exclude(status=Status.ARCHIVED)
    if search.channel:
        rows = rows.filter(api_channel=search.channel)
    if search.language:
        rows = rows.filter(language=search.language)
    if search.category:
        rows = rows.filter(category=search.category)
    return search_templates(rows, search.query)


def search_templates(rows: QuerySet[Template], query: str) -> QuerySet[Template]:
    """Return the templates whose name or text contains every word of the query. Deleted ones never match."""
    rows = rows.exclude(status=Status.DELETED)
    words = query.split()
    if words:
        rows = rows.alias(texts=ComponentTexts(F("components")))
    for word in words:
        rows = rows.filter(Q(name__icontains=word) | Q(texts__icontains=word))
    return rows


def order_for_user(rows: QuerySet[Template], *, user: Any, client_language: str = "") -> QuerySet[Template]:
    """Order templates for a user, and annotate each with ``is_favorite`` and ``used_by_me`` (time of the last use).

    Favorites come first, then templates in the client's language. Without a client, the interface's language decides
    between templates of one name.
    """
    own_uses = TemplateUse.objects.filter(user=user, template=OuterRef("pk"))
    recent_uses = own_uses.filter(last_used_at__gte=timezone.now() - RECENT_PERIOD)
    approved = _is_true(Q(status=Status.APPROVED))
    own_language = _is_true(Q(language__startswith=(get_language() or "")[:2]))
    for_client = _is_true(Q(language__startswith=client_language[:2])) if client_language else Value(False)
    return (
        rows.annotate(
            is_favorite=Exists(own_uses.filter(is_favorite=True)),
            used_by_me=Subquery(recent_uses.values("last_used_at")[:1]),
            is_approved=approved,
            is_own_language=own_language,
            is_for_client=for_client,
        )
        .select_related("api_channel")
        .order_by(
            *("-is_favorite", "-is_for_client", F("used_by_me").desc(nulls_last=True), "-is_approved", "name"),
            *("-is_own_language", "pk"),
        )
    )


def _is_true(condition: Q) -> Case:
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


@dataclass(frozen=True, kw_only=True)
class TemplateListItem:
    """One row of a list of templates."""

    template: Template
    is_favorite: bool

    @property
    def level(self) -> str:
        return timeline.status_level(self.template.status)

    @property
    def excerpt(self) -> str:
        """Return the beginning of the body, with labels in place of its variables."""
        try:
            definition = self.template.definition
        except InvalidTemplate:
            return ""
        pieces = split_placeholders(definition.body[:EXCERPT_LENGTH])
        return " ".join("".join(definition.label_piece(piece) for piece in pieces).split())


@dataclass(frozen=True, kw_only=True)
class TemplateGroup:
    """Rows of a list under one heading."""

    key: str
    title: Promise
    rows: list[TemplateListItem]


def group_templates(rows: Iterable[Any]) -> Iterator[TemplateGroup]:
    """Group rows of ``order_for_user`` under their headings. Empty groups are left out."""
    groups: dict[str, list[TemplateListItem]] = {key: [] for key in GROUPS}
    for row in rows:
        key = FAVORITE if row.is_favorite else RECENT if row.used_by_me else OTHER
        groups[key].append(TemplateListItem(template=row, is_favorite=row.is_favorite))
    return (TemplateGroup(key=key, title=GROUPS[key], rows=found) for key, found in groups.items() if found)
