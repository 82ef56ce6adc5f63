"""The admin's history of a row, readable in the language of whoever reads it.

Django keeps the labels of changed fields untranslated and translates them when they are read: by the whole label, whose
first letter a form has made a capital, so that none of ours is found. Here the model's own label is kept.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Field
from django.http import HttpRequest
from django.utils import translation
from django.utils.text import capfirst
from unfold.admin import ModelAdmin


class HistoryModelAdmin(ModelAdmin):
    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        message = super().construct_change_message(request, form, formsets, add)
        fields = [field for field in self.model._meta.get_fields() if isinstance(field, Field)]
        with translation.override(None):  # the labels as the sources have them
            own = {capfirst(str(field.verbose_name)): str(field.verbose_name) for field in fields}
        for change in message if isinstance(message, list) else ():
            if "fields" in (told := change.get("changed", {})):
                told["fields"] = [own.get(label, label) for label in told["fields"]]
        return message
