"""Admin list of the audit record: read-only, for those with permission to view it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from config.audit.models import Action, AuditRecord, Source
from config.audit.tables import AUDITED

from .base import ReadOnlyAdmin, field_column

MAX_ACTORS = 200  # in the filter; others are found by their names
EMPTY = "–"


class ActorFilter(admin.SimpleListFilter):
    title = _("user")
    parameter_name = "user"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        people = get_user_model()._default_manager.order_by("username").values_list("pk", "username")
        return [(str(pk), name) for pk, name in people[:MAX_ACTORS]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        if not value:
            return queryset
        return queryset.filter(actor_id=int(value)) if value.isdecimal() and len(value) < 19 else queryset.none()


class ObjectTypeFilter(admin.SimpleListFilter):
    title = _("type of object")
    parameter_name = "object"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = {".".join(name.split(".")[:2]) for name in AUDITED} | {"bridge.Message", "bridge.Delivery"}
        return sorted(((name.lower(), type_name(name)) for name in names), key=lambda pair: pair[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(object_type=self.value()) if self.value() else queryset


def type_name(object_type: str) -> str:
    """Return the name of a type of object for people; the stored text if the model no longer exists."""
    try:
        return capfirst(str(apps.get_model(object_type)._meta.verbose_name))
    except (LookupError, ValueError):
        return object_type


def search_records(term: str) -> Q:
    """Find by the number or name of the object, or by the actor's name."""
    return Q(object_id=term) | Q(object_label=term) | Q(actor=term)


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    list_display = ("time", "who", "what", "object_shown", "changes_shown", "origin")
    list_filter = (ActorFilter, "action", ObjectTypeFilter, "source", "at")
    searches = (search_records,)
    search_help_text = _("Number or name of the object, or user name")
    fields = readonly_fields = (
        "time",
        "who",
        "what",
        "object_shown",
        "changes_shown",
        "details_shown",
        "origin",
        "route",
        "address",
        "user_agent",
        "request_id",
        "token_id",
    )
    buttons: ClassVar[dict[str, Any]] = {}

    time = field_column("at", _("time"))
    what = field_column("get_action_display", _("action"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return all records: the permission to view them is not limited by channel."""
        return AuditRecord.objects.all()

    @admin.display(description=_("who"))
    def who(self, record: AuditRecord) -> str:
        if record.actor:
            return record.actor
        return gettext("the portal") if record.source == Source.WORKER else EMPTY

    @admin.display(description=_("object"))
    def object_shown(self, record: AuditRecord) -> str:
        number = f"№ {record.object_id}" if record.object_id else ""
        return " ".join(part for part in (type_name(record.object_type), number, record.object_label) if part) or EMPTY

    @admin.display(description=_("changes"))
    def changes_shown(self, record: AuditRecord) -> SafeString | str:
        if record.action == Action.DELETED or not record.changes:
            return EMPTY
        lines = [(name, shown(pair[0]), shown(pair[1])) for name, pair in record.changes.items()]
        return format_html("{}", format_html_join(SafeString("<br>"), "{}: {} → {}", lines))

    @admin.display(description=_("details"))
    def details_shown(self, record: AuditRecord) -> str:
        return json.dumps(record.details, ensure_ascii=False) if record.details else EMPTY

    @admin.display(description=_("origin"))
    def origin(self, record: AuditRecord) -> str:
        source = record.get_source_display()
        return " · ".join(part for part in (source, record.address) if part) or EMPTY


def shown(value: Any) -> str:
    """Return a recorded value for the list: short, without quotes around texts."""
    if value is None or value == "":
        return EMPTY
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:119]}…"
