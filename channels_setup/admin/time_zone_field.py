"""Picker of a time zone by name and UTC offset."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminSelectWidget

from channels_setup import time_zones


def portal_zone_label() -> str:
    """Return the label of the empty choice: the portal's time zone."""
    return _("Time zone of the portal: %(name)s") % {"name": time_zones.label_time_zone(settings.TIME_ZONE)}


def list_choices() -> list[tuple[str, str]]:
    """Return the empty choice and all zones with their current offsets. Read for each form."""
    return [("", portal_zone_label()), *time_zones.list_time_zones()]


class TimeZonePicker:
    """Mixin of a model admin whose model has a ``time_zone``."""

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "time_zone":
            return super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        return forms.ChoiceField(
            label=capfirst(db_field.verbose_name),
            required=False,
            choices=list_choices,
            help_text=db_field.help_text,
            error_messages={"invalid_choice": _("Unknown time zone “%(value)s”. Example: Europe/Moscow.")},
            widget=UnfoldAdminSelectWidget,
        )
