"""Personal settings of the desk: reading them, and the form of their page."""

from __future__ import annotations

from typing import Any

from django import forms

from bridge.models import DeskSettings


def get_settings(user: Any) -> DeskSettings:
    """Return the user's settings. Without a row, an unsaved object with the defaults."""
    return DeskSettings.objects.filter(user=user.pk).first() or DeskSettings(user_id=user.pk)


class DeskSettingsForm(forms.ModelForm):
    class Meta:
        model = DeskSettings
        fields = ("enter_sends", "single_keys")
