"""Notification settings of a user: reading them, and their form."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from bridge.models import NotificationKind, NotificationSettings, OperatorAvailability
from bridge.models.availability import AWAY_AFTER_MINUTES

AWAY_AFTER = (5, AWAY_AFTER_MINUTES, 30, 60)  # minutes
NEVER = 0


def get_settings(user: Any) -> NotificationSettings:
    """Return the user's settings. Without a row, an unsaved object with the defaults."""
    return NotificationSettings.objects.filter(user=user.pk).first() or NotificationSettings(user_id=user.pk)


def list_away_choices() -> list[tuple[int, Any]]:
    """Return the choices in the language of the page: the numbers in them are formatted now."""
    minutes = [(number, ngettext("%d minute", "%d minutes", number) % number) for number in AWAY_AFTER]
    return [*minutes, (NEVER, _("never, while a page is open"))]


class NotificationSettingsForm(forms.ModelForm):
    kinds = forms.MultipleChoiceField(
        label=_("Notify me of"), choices=NotificationKind.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
    away_after = forms.TypedChoiceField(
        label=_("Away without activity for"),
        coerce=int,
        choices=list_away_choices,
        help_text=_("Colleagues see you as away, and chats are not assigned to you automatically."),
    )

    class Meta:
        model = NotificationSettings
        fields = ("scope", "shows_text", "sound", "volume", "sound_when_hidden")
        widgets = {"volume": forms.NumberInput(attrs={"type": "range", "min": 0, "max": 100, "step": 5})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        muted = set(self.instance.muted_kinds)
        self.fields["kinds"].initial = [kind for kind in NotificationKind.values if kind not in muted]
        row = OperatorAvailability.objects.filter(user=self.instance.user_id).first()
        self.fields["away_after"].initial = row.away_after_minutes if row else AWAY_AFTER_MINUTES

    def save(self, commit: bool = True) -> NotificationSettings:
        """Save the settings, and the user's ``away_after_minutes``."""
        kinds = self.cleaned_data["kinds"]
        self.instance.muted_kinds = [kind for kind in NotificationKind.values if kind not in kinds]
        OperatorAvailability.objects.update_or_create(
            user_id=self.instance.user_id, defaults={"away_after_minutes": self.cleaned_data["away_after"]}
        )
        saved: NotificationSettings = super().save(commit)
        return saved


def build_form(user: Any, data: Any = None) -> NotificationSettingsForm:
    return NotificationSettingsForm(data, instance=get_settings(user), prefix="notify")


def session_mark(request: HttpRequest) -> str:
    """Return a mark for the scripts of every page that changes with the session."""
    return salted_hmac("push session", request.session.session_key or "").hexdigest()[:12]
