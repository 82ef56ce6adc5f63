"""The settings of an outside helpdesk as form fields and as ``name=value`` of a command, by what its kind asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from .models import ChatChannel
from .outgoing import Forbidden, check_url
from .providers import base_helpdesk as contract
from .providers.base_helpdesk import Helpdesk, Setting

PREFIX = "helpdesk_"  # of the fields' names


def fields_of(provider: Helpdesk, chat_channel: ChatChannel | None = None) -> dict[str, forms.Field]:
    """A form field for each setting, filled with what is stored. A secret is never filled in."""
    stored = chat_channel.options if chat_channel is not None else {}
    has_secret = chat_channel is not None and bool(chat_channel.secret)
    return {
        PREFIX + setting.name: _field(setting, stored.get(setting.name, setting.default), has_secret=has_secret)
        for setting in provider.settings
    }


def _field(setting: Setting, value: Any, *, has_secret: bool) -> forms.Field:
    common: dict[str, Any] = {"label": setting.label, "help_text": setting.help, "required": setting.required}
    if setting.kind == contract.SECRET:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"})
        if has_secret:
            common |= {"required": False, "help_text": _("Stored and never shown. Leave empty to keep it.")}
        return forms.CharField(widget=widget, max_length=200, **common)
    common["initial"] = value
    if setting.kind == contract.NUMBER:
        return forms.IntegerField(min_value=1, max_value=2**63 - 1, **common)
    if setting.kind == contract.DECIMAL:
        return forms.FloatField(min_value=0.01, max_value=1_000, **common)
    if setting.kind == contract.SWITCH:
        return forms.BooleanField(**(common | {"required": False}))
    if setting.kind == contract.CHOICE:
        return forms.ChoiceField(choices=setting.choices, **common)
    field = _Address if setting.kind == contract.URL else forms.CharField
    return field(max_length=1_000, **common)


class _Address(forms.CharField):
    """An address that the portal may call."""

    def clean(self, value: Any) -> str:
        text = str(super().clean(value)).strip()
        if text:
            try:
                check_url(text)
            except Forbidden as problem:
                raise ValidationError(str(problem)) from None
        return text


def keep(chat_channel: ChatChannel, cleaned: Mapping[str, Any]) -> None:
    """Put cleaned fields into the channel. Not saved. An empty secret leaves the stored one."""
    options = dict(chat_channel.options)
    for setting in chat_channel.provider.settings:
        value = cleaned.get(PREFIX + setting.name)
        if setting.kind == contract.SECRET:
            if value:
                chat_channel.set_secret(str(value).strip())
        elif PREFIX + setting.name in cleaned:
            options[setting.name] = value
    chat_channel.options = options


def configure(chat_channel: ChatChannel, given: Mapping[str, str]) -> None:
    """The same from texts, as a command gives them; settings not named keep their value. Raises ValidationError."""
    fields = fields_of(chat_channel.provider, chat_channel)
    unknown = [name for name in given if PREFIX + name not in fields]
    if unknown:
        known = ", ".join(setting.name for setting in chat_channel.provider.settings)
        raise ValidationError(f"Unknown settings: {', '.join(unknown)}. Known: {known}.")
    cleaned: dict[str, Any] = {}
    for name, field in fields.items():
        setting = name.removeprefix(PREFIX)
        text: Any = given.get(setting, field.initial if field.initial is not None else "")
        if isinstance(field, forms.BooleanField) and isinstance(text, str):
            text = text.strip().lower() in ("1", "on", "true", "yes")
        try:
            cleaned[name] = field.clean(text)
        except ValidationError as problem:
            raise ValidationError(f"{setting}: {' '.join(problem.messages)}") from None
    keep(chat_channel, cleaned)
