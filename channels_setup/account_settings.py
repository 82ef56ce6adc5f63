"""What a provider has to be told of an account: read from a form or the command line, checked, kept.

Each kind says what it needs (``provider.settings``). Plain values stand in ``ApiChannel.options``, secret ones are
encrypted rows of ``Credential``, of which nobody sees more than the last digits again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from . import secrecy
from .models import ApiChannel, ChannelState
from .outgoing import Forbidden, check_url
from .providers.base import Setting

PREFIX = "account_"  # of the form's fields
LONGEST = 2_000


def checked(channel: ApiChannel, given: Mapping[str, str], *, complete: bool = False) -> dict[str, str]:
    """The given values, cleaned. Raises ValidationError by name. ``complete``: what is required must be there."""
    values: dict[str, str] = {}
    errors: dict[str, Any] = {}
    for setting in channel.provider.settings:
        value = str(given.get(setting.name) or "").strip()
        if not value:
            if complete and setting.required:
                errors[setting.name] = _("“%(name)s” is missing.") % {"name": setting.label}
            continue
        try:
            values[setting.name] = _checked(setting, value)
        except ValidationError as problem:
            errors[setting.name] = problem.messages
    if errors:
        raise ValidationError(errors)
    return values


def _checked(setting: Setting, value: str) -> str:
    if len(value) > LONGEST or not value.isprintable() or (setting.secret and not value.isascii()):
        raise ValidationError(_("This cannot be right: check that it was copied whole, and nothing else with it."))
    if setting.choices and value not in dict(setting.choices):
        raise ValidationError(_("Choose one of: %(choices)s.") % {"choices": ", ".join(dict(setting.choices))})
    if setting.is_url:
        try:
            check_url(value)
        except Forbidden as problem:
            raise ValidationError(str(problem)) from problem
    return value


def take(channel: ApiChannel, values: Mapping[str, str]) -> list[str]:
    """Keep checked values; the names of those that changed. One that mends a pause resumes the channel."""
    changed: list[str] = []
    mended: set[str] = set()
    for setting in channel.provider.settings:
        value = values.get(setting.name, "")
        if not value:
            continue
        if setting.secret:
            before = channel.credentials.filter(name=setting.name, expires_at=None).first()
            is_new = channel.keep_credential(setting.name, value) != before
        else:
            is_new = channel.options.get(setting.name) != value
            channel.options[setting.name] = value
        if is_new:
            changed.append(setting.name)
            mended.update(setting.mends)
    ApiChannel.objects.filter(pk=channel.pk).update(options=channel.options)
    if channel.state == ChannelState.PAUSED and channel.last_error in mended:
        channel.resume()
    if channel.state == ChannelState.DRAFT and not missing(channel):
        ApiChannel.objects.filter(pk=channel.pk, state=ChannelState.DRAFT).update(state=ChannelState.WAITING)
        channel.refresh_from_db(fields=["state"])
    return changed


def make_ours(channel: ApiChannel, *, given: Mapping[str, str]) -> None:
    """Make what we are to make ourselves, where nobody gave one."""
    for setting in channel.provider.settings:
        if setting.made_by_us and not given.get(setting.name):
            channel.keep_credential(setting.name, secrecy.new_path_token())


def made_by_us(channel: ApiChannel) -> dict[str, str]:
    """What we made, in clear: to be shown once, for the provider's own form."""
    names = [setting.name for setting in channel.provider.settings if setting.made_by_us]
    rows = channel.credentials.filter(name__in=names, expires_at=None)
    return {row.name: row.reveal() for row in rows}


def missing(channel: ApiChannel) -> list[Setting]:
    """What is required and not there yet."""
    kept = {row.name for row in channel.credentials.filter(expires_at=None)} if channel.provider.settings else set()
    kept |= {name for name, value in channel.options.items() if value}
    return [setting for setting in channel.provider.settings if setting.required and setting.name not in kept]


# --- the form --------------------------------------------------------------------------------------------


def form_fields(channel: ApiChannel) -> dict[str, forms.Field]:
    """A field for each setting. A secret one is empty, whatever is kept; left empty it stays."""
    tails = {row.name: row.tail for row in channel.credentials.filter(expires_at=None)}
    return {PREFIX + setting.name: _field(setting, channel, tails) for setting in channel.provider.settings}


def _field(setting: Setting, channel: ApiChannel, tails: Mapping[str, str]) -> forms.Field:
    common: dict[str, Any] = {"label": setting.label, "help_text": setting.help, "required": False}
    if setting.secret:
        is_kept = setting.name in tails
        tail = tails.get(setting.name, "")
        hint = _("Kept: •••• %(tail)s. Leave it empty to keep it.") % {"tail": tail} if is_kept else ""
        attrs = {"autocomplete": "new-password", "placeholder": hint}
        return forms.CharField(**common, widget=UnfoldAdminPasswordWidget(attrs=attrs, render_value=False))
    value = channel.options.get(setting.name) or setting.default
    if setting.choices:
        return forms.ChoiceField(**common, choices=setting.choices, initial=value, widget=UnfoldAdminSelectWidget())
    common["required"] = setting.required
    return forms.CharField(**common, initial=value, max_length=LONGEST, widget=UnfoldAdminTextInputWidget())


def from_form(cleaned: Mapping[str, Any]) -> dict[str, str]:
    return {name.removeprefix(PREFIX): value for name, value in cleaned.items() if name.startswith(PREFIX)}
