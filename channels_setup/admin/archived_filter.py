"""Filter of the list of API channels: archived ones are hidden unless they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ApiChannel

ARCHIVED, ALL = "yes", "all"


class ArchivedFilter(admin.SimpleListFilter):
    title = _("archive")
    parameter_name = "archived"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(None, _("In use")), (ARCHIVED, _("Archived")), (ALL, _("All"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, title in self.lookup_choices:
            chosen = {self.parameter_name: value} if value else {}
            query = changelist.get_query_string(chosen, [self.parameter_name])
            yield {"selected": self.value() == value, "query_string": query, "display": title}

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiChannel]) -> QuerySet[ApiChannel]:
        if self.value() == ALL:
            return queryset
        return queryset.filter(archived_at__isnull=self.value() != ARCHIVED)
