"""Forms of quick replies and macros, for admins (shared ones) and operators (their own)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _

from bridge import canned_variables, service_window
from bridge.models import CannedResponse, Macro
from channels_setup.models import ChatChannel, Team

from . import access, presentation

ACTIONS = ("reply_text", "note_text", "add_tags", "remove_tags", "assignment", "status", "snooze")


def check_variables(text: str) -> str:
    """Return the text. Raise a validation error for the first unknown variable."""
    if sentence := canned_variables.describe_problem(text):
        raise forms.ValidationError(sentence)
    return text


class CannedResponseForm(forms.ModelForm):
    def clean_text(self) -> str:
        return check_variables(self.cleaned_data["text"])


class OwnCannedResponseForm(CannedResponseForm):
    class Meta:
        model = CannedResponse
        fields = ("name", "folder", "text")
        widgets = {"text": forms.Textarea(attrs={"rows": 6})}


class MacroForm(forms.ModelForm):
    """A macro needs at least one action, and its actions must not contradict each other."""

    def clean_reply_text(self) -> str:
        return check_variables(self.cleaned_data["reply_text"])

    def clean_note_text(self) -> str:
        return check_variables(self.cleaned_data["note_text"])

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and not any(values.get(name) not in (None, "", []) for name in ACTIONS):
            raise forms.ValidationError(_("Choose at least one action."))
        if values.get("assignment") == Macro.Assignment.USER and not values.get("assign_user"):
            self.add_error("assign_user", _("Choose the person."))
        if values.get("assignment") == Macro.Assignment.TEAM and not values.get("assign_team"):
            self.add_error("assign_team", _("Choose the team."))
        if values.get("snooze") and values.get("status") in service_window.RESOLVED_STATUSES:
            self.add_error("snooze", _("A request that is closed or solved cannot be snoozed."))
        return values


class OwnMacroForm(MacroForm):
    class Meta:
        model = Macro
        fields = ("name", *ACTIONS[:5], "assign_user", "assign_team", "status", "snooze")
        widgets = {
            "reply_text": forms.Textarea(attrs={"rows": 4}),
            "note_text": forms.Textarea(attrs={"rows": 2}),
        }

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        channels = ChatChannel.objects.all().visible_to(user)
        people = access.list_operators().filter(chat_channels__in=channels)
        self.fields["assign_user"].queryset = people.distinct()  # type: ignore[attr-defined]
        self.fields["assign_user"].label_from_instance = presentation.person_name  # type: ignore[attr-defined]
        self.fields["assign_team"].queryset = Team.objects.filter(chat_channels__in=channels).distinct()  # type: ignore[attr-defined]
        for name in ("assign_user", "assign_team"):
            self.fields[name].empty_label = "—"  # type: ignore[attr-defined]
        statuses = [choice for choice in self.fields["status"].choices if choice[0] != ""]  # type: ignore[attr-defined]
        self.fields["status"].choices = [("", Macro.Assignment.KEEP.label), *statuses]  # type: ignore[attr-defined]
        hint = _("Several tags are separated by commas.")
        self.fields["add_tags"].help_text = self.fields["remove_tags"].help_text = hint
