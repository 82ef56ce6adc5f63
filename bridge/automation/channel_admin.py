"""Admin form of the automation of a chat channel, on the channel's page."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import StackedInline

from bridge import canned_variables
from bridge.models import ChannelAutomation


class AutomationForm(forms.ModelForm):
    def clean_away_text(self) -> str:
        return _check_text(self.cleaned_data["away_text"], canned_variables.OF_AWAY_TEXT)

    def clean_greeting_text(self) -> str:
        return _check_text(self.cleaned_data["greeting_text"], canned_variables.OF_CLIENT)


class AutomationFormSet(forms.BaseInlineFormSet):
    """Check the automation against the channel as it is about to be saved."""

    def clean(self) -> None:
        super().clean()
        for form in self.forms:
            values = getattr(form, "cleaned_data", {})
            if values.get("away_text") and self.instance.work_from is None:
                form.add_error("away_text", _("Set the working hours of this channel first."))
            team = values.get("team")
            if team is not None and not team.chat_channels.filter(pk=self.instance.pk).exists():
                form.add_error("team", _("This team does not serve this channel."))


def _check_text(text: str, allowed: frozenset[str]) -> str:
    if sentence := canned_variables.describe_problem(text, allowed):
        raise forms.ValidationError(sentence)
    return text


class AutomationInline(StackedInline):
    """Automatic assignment and automatic replies, on the page of the chat channel."""

    model = ChannelAutomation
    form = AutomationForm
    formset = AutomationFormSet
    can_delete = False
    fieldsets = (
        (
            gettext_lazy("Automatic assignment"),
            {
                "fields": (
                    *("assigns_chats", "team", "max_waiting_chats", "prefers_former_assignee"),
                    "returns_after_minutes",
                )
            },
        ),
        (gettext_lazy("Automatic replies"), {"fields": ("away_text", "greeting_text")}),
    )
