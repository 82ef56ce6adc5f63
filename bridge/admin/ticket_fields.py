"""Admin of the additional fields of requests."""

from __future__ import annotations

from django.contrib import admin

from bridge.models import TicketField
from channels_setup.admin_history import HistoryModelAdmin


@admin.register(TicketField)
class TicketFieldAdmin(HistoryModelAdmin):
    list_display = ("number", "name", "kind", "created_at")
    list_display_links = ("number", "name")
    search_fields = ("name",)
    fields = ("name", "kind")

    @admin.display(description="field_id", ordering="pk")
    def number(self, field: TicketField) -> int:
        return field.pk
