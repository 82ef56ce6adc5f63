"""What operators write with, and the receipts of erasures."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from bridge.desk import canned_responses
from bridge.models import CannedResponse, ContactMerge, Erasure
from channels_setup.admin.channels import two_column_field
from channels_setup.admin_history import HistoryModelAdmin

from .base import ReadOnlyAdmin, column, search_by_id


class CannedResponseForm(forms.ModelForm):
    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if sentence := canned_responses.describe_problem(text):
            raise forms.ValidationError(sentence)
        return text


@admin.register(CannedResponse)
class CannedResponseAdmin(HistoryModelAdmin):
    form = CannedResponseForm
    list_display = ("name", "beginning", "is_used", "updated_at")
    search_fields = ("name", "text")
    list_filter = ("is_used", "chat_channels")
    ordering = ("name", "pk")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return two_column_field(super(), db_field, request, _("chat channels"), **kwargs)

    @admin.display(description=_("text"))
    def beginning(self, answer: CannedResponse) -> str:
        words = " ".join(answer.text.split())
        return words if len(words) <= 90 else words[:89] + "…"


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    list_display = ("id", "at", "by", "contact_number", "what")
    list_select_related = ("by",)
    searches = (search_by_id("contact_id"),)
    search_help_text = _("Erasure or contact number")
    fields = readonly_fields = ("when", "by", "contact_number", "what")

    when = column("at", _("at"))

    @admin.display(description=_("contact"))
    def contact_number(self, erasure: Erasure) -> str:
        return f"№ {erasure.contact_id}"

    @admin.display(description=_("erased data"))
    def what(self, erasure: Erasure) -> str:
        counts: dict[str, Any] = erasure.counts
        return ", ".join(f"{name}: {count}" for name, count in counts.items())


@admin.register(ContactMerge)
class ContactMergeAdmin(ReadOnlyAdmin):
    list_display = ("id", "when", "by", "who", "into", "what", "undone", "undone_by")
    list_select_related = ("by", "undone_by", "source", "target")
    searches = (search_by_id("source_id", "target_id"),)
    search_help_text = _("Merge or contact number")
    fields = readonly_fields = ("when", "by", "who", "into", "what", "undone", "undone_by")

    when = column("at", _("at"))
    undone = column("undone_at", _("undone at"))

    @admin.display(description=_("merged contact"))
    def who(self, merge: ContactMerge) -> str:
        return f"№ {merge.source_id}: {merge.source}"

    @admin.display(description=_("merged into"))
    def into(self, merge: ContactMerge) -> str:
        return f"№ {merge.target_id}: {merge.target}"

    @admin.display(description=_("moved data"))
    def what(self, merge: ContactMerge) -> str:
        return ", ".join(f"{name}: {count}" for name, count in merge.counts.items() if count)
