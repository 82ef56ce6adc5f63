"""Admin of canned responses, and lists of erasures and contact merges."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from bridge.automation import macros
from bridge.desk import reply_forms
from bridge.maintenance import outside_copies
from bridge.models import CannedResponse, ContactMerge, Erasure, Macro
from channels_setup.admin.channels import two_column_field
from channels_setup.admin_history import HistoryModelAdmin
from channels_setup.permissions import VIEW_CHATS, users_with

from .base import ReadOnlyAdmin, field_column, search_by_id


class SharedRecordAdmin(HistoryModelAdmin):
    """Shared records of chat channels. An operator's own ones are managed at the desk."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request).filter(owner=None)
        return found

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return two_column_field(super(), db_field, request, _("chat channels"), **kwargs)


@admin.register(CannedResponse)
class CannedResponseAdmin(SharedRecordAdmin):
    form = reply_forms.CannedResponseForm
    fields = ("name", "folder", "text", "chat_channels", "is_used")
    list_display = ("name", "folder", "text_excerpt", "is_used", "updated_at")
    search_fields = ("name", "text", "folder")
    list_filter = ("is_used", "folder", "chat_channels")
    ordering = ("folder", "name", "pk")

    @admin.display(description=_("text"))
    def text_excerpt(self, response: CannedResponse) -> str:
        text = " ".join(response.text.split())
        return text if len(text) <= 90 else text[:89] + "…"


@admin.register(Macro)
class MacroAdmin(SharedRecordAdmin):
    form = reply_forms.MacroForm
    list_select_related = ("assign_user", "assign_team")
    list_display = ("name", "actions_shown", "is_used", "updated_at")
    search_fields = ("name", "reply_text")
    list_filter = ("is_used", "chat_channels")
    ordering = ("name", "pk")
    fieldsets = (
        (None, {"fields": ("name", "chat_channels", "is_used")}),
        (
            _("Actions, in this order"),
            {
                "fields": (
                    *("reply_text", "note_text", "add_tags", "remove_tags"),
                    *("assignment", "assign_user", "assign_team", "status", "snooze"),
                )
            },
        ),
    )

    def get_form(self, request: HttpRequest, obj: Macro | None = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["widgets"] = dict.fromkeys(("add_tags", "remove_tags"), UnfoldAdminTextInputWidget)
        kwargs["help_texts"] = dict.fromkeys(("add_tags", "remove_tags"), _("Several tags are separated by commas."))
        return super().get_form(request, obj, change, **kwargs)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "assign_user":
            people = db_field.remote_field.model.objects.people()
            kwargs["queryset"] = people.filter(is_active=True, pk__in=users_with(VIEW_CHATS).values("pk"))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @admin.display(description=_("actions"))
    def actions_shown(self, macro: Macro) -> str:
        return " · ".join(macros.describe_actions(macro, None))[:160]


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    list_display = ("id", "at", "by", "source", "contact_number", "counts_shown")
    list_select_related = ("by",)
    list_filter = ("source",)
    searches = (search_by_id("contact_id"),)
    search_help_text = _("Erasure or contact number")
    fields = readonly_fields = ("erased", "by", "source", "contact_number", "counts_shown", "outside_shown")

    erased = field_column("at", _("at"))

    @admin.display(description=_("contact"))
    def contact_number(self, erasure: Erasure) -> str:
        return f"№ {erasure.contact_id}"

    @admin.display(description=_("erased data"))
    def counts_shown(self, erasure: Erasure) -> str:
        return outside_copies.describe_counts(erasure)

    @admin.display(description=_("stays outside"))
    def outside_shown(self, erasure: Erasure) -> str:
        return format_html_join("", "<p>{}</p>", [(line,) for line in outside_copies.describe_copies(erasure)])


@admin.register(ContactMerge)
class ContactMergeAdmin(ReadOnlyAdmin):
    list_display = ("id", "merged", "by", "source_shown", "target_shown", "counts_shown", "undone", "undone_by")
    list_select_related = ("by", "undone_by", "source", "target")
    searches = (search_by_id("source_id", "target_id"),)
    search_help_text = _("Merge or contact number")
    fields = readonly_fields = ("merged", "by", "source_shown", "target_shown", "counts_shown", "undone", "undone_by")

    merged = field_column("at", _("at"))
    undone = field_column("undone_at", _("undone at"))

    @admin.display(description=_("merged contact"))
    def source_shown(self, merge: ContactMerge) -> str:
        return f"№ {merge.source_id}: {merge.source}"

    @admin.display(description=_("merged into"))
    def target_shown(self, merge: ContactMerge) -> str:
        return f"№ {merge.target_id}: {merge.target}"

    @admin.display(description=_("moved data"))
    def counts_shown(self, merge: ContactMerge) -> str:
        return ", ".join(f"{name}: {count}" for name, count in merge.counts.items() if count)
