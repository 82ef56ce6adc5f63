"""A person's own API tokens: who may create them, with which scope, channels and lifetime."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import formats, timezone
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ChatChannel
from channels_setup.roles import Role

from .models import ApiToken, Scope

DEFAULT_DAYS = 365
MAX_ACTIVE = 50  # of one person; a program in a loop must not fill the table


def may_create(user: Any) -> bool:
    """Return whether the user's role allows tokens of their own (``OWN_TOKEN_ROLES``)."""
    return Role.of_user(user) in settings.OWN_TOKEN_ROLES


class OwnTokenForm(forms.Form):
    """New token of the signed-in user: never wider than what the user may do."""

    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("The program that uses the token, for example “CRM”.")
    )
    scope = forms.ChoiceField(label=_("Scope"), initial=Scope.READ)
    chat_channels = forms.ModelMultipleChoiceField(
        ChatChannel.objects.none(),
        label=_("Only these chat channels"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("If you tick none, the program sees the same chats as you."),
    )
    valid_until = forms.DateField(
        label=_("Valid until"), widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user, today = user, timezone.localdate()
        self.last_day = today + timedelta(days=max(1, settings.OWN_TOKEN_MAX_DAYS))
        fields: dict[str, Any] = self.fields
        scopes = [Scope.READ, Scope.WRITE, *([Scope.METRICS] if user.is_staff else [])]
        fields["scope"].choices = [(scope.value, scope.label) for scope in scopes]
        fields["chat_channels"].queryset = ChatChannel.objects.all().visible_to(user).order_by("pk")
        fields["valid_until"].initial = min(today + timedelta(days=DEFAULT_DAYS), self.last_day)
        fields["valid_until"].widget.attrs |= {"min": today.isoformat(), "max": self.last_day.isoformat()}

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise ValidationError(_("Enter a name without control characters."))
        return name

    def clean_valid_until(self) -> datetime:
        """Return the end of the chosen day in the user's time zone."""
        day: date = self.cleaned_data["valid_until"]
        if not timezone.localdate() <= day <= self.last_day:
            last = formats.date_format(self.last_day, "j M Y")
            raise ValidationError(_("Choose a day from today to %(last)s."), params={"last": last})
        return timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("scope") == Scope.METRICS and values.get("chat_channels"):
            self.add_error("chat_channels", _("A token for metrics opens no chats, so choose no chat channels."))
        if ApiToken.objects.filter(user=self.user).active(timezone.now()).count() >= MAX_ACTIVE:
            raise ValidationError(_("You have too many tokens. Revoke one that is not used."))
        return values

    def issue(self) -> tuple[ApiToken, str]:
        """Create the token. Return it with its text."""
        values = self.cleaned_data
        return ApiToken.issue(
            self.user,
            name=values["name"],
            scope=Scope(values["scope"]),
            chat_channels=values["chat_channels"] or None,
            expires_at=values["valid_until"],
        )
