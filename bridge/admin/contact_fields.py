"""Admin of the additional fields of clients."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.utils.translation import gettext as _

from bridge.models import ContactField
from channels_setup.admin_history import HistoryModelAdmin


class ContactFieldForm(forms.ModelForm):
    def clean(self) -> dict[str, object]:
        values = super().clean() or self.cleaned_data
        if values.get("kind") == ContactField.Kind.CHOICE and not str(values.get("choices", "")).strip():
            self.add_error("choices", _("Enter the values of this field, one per line."))
        return values


@admin.register(ContactField)
class ContactFieldAdmin(HistoryModelAdmin):
    form = ContactFieldForm
    list_display = ("number", "name", "kind", "position", "created_at")
    list_display_links = ("number", "name")
    search_fields = ("name",)
    fields = ("name", "kind", "choices", "position")

    @admin.display(description="field_id", ordering="pk")
    def number(self, field: ContactField) -> int:
        return field.pk
