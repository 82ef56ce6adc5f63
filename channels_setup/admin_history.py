"""Base admin class whose change history can be translated.

Django stores the labels of changed fields untranslated and translates them on display. It stores the form's label,
whose first letter is a capital, so our translations are not found. This class stores the model's own label.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Field
from django.http import HttpRequest
from django.utils import translation
from django.utils.text import capfirst
from unfold.admin import ModelAdmin


class HistoryModelAdmin(ModelAdmin):
    """Model admin that logs the model's labels of changed fields."""

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        message = super().construct_change_message(request, form, formsets, add)
        fields = [field for field in self.model._meta.get_fields() if isinstance(field, Field)]
        with translation.override(None):  # untranslated labels
            own = {capfirst(str(field.verbose_name)): str(field.verbose_name) for field in fields}
        for change in message if isinstance(message, list) else ():
            if "fields" in (changed := change.get("changed", {})):
                changed["fields"] = [own.get(label, label) for label in changed["fields"]]
        return message
