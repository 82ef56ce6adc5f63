"""What an outside service has to be told of an account: read from a form or the command line, checked, kept.

Each kind says what it needs (``provider.settings``); messengers' channels and helpdesks' are alike in this. Plain
values stand in ``options``, secret ones are encrypted, and nobody sees more of them than the last digits again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from . import encryption
from .http_client import ForbiddenAddress, unresolved_warning
from .models import ApiChannel, ChannelState, ChatChannel
from .providers.base import CHOICE, DECIMAL, NUMBER, SECRET, SWITCH, URL, AccountSetting

FIELD_PREFIX = "account_"  # of the form's fields
MAX_LENGTH = 2_000
EMPTY_VALUES = ("", None)
REFUSAL_KEYS = ("refused_at", "handshake_refused_at")

Channel = ApiChannel | ChatChannel


# --- the fields ------------------------------------------------------------------------------------------


def form_fields(channel: Channel) -> dict[str, forms.Field]:
    """A field for each setting. A secret one is empty, whatever is kept; left empty it stays."""
    tails = channel.secret_tails()
    return {FIELD_PREFIX + setting.name: _field(setting, channel, tails) for setting in channel.provider.settings}


def _field(setting: AccountSetting, channel: Channel, tails: Mapping[str, str]) -> forms.Field:
    common: dict[str, Any] = {"label": setting.label, "help_text": setting.help, "required": setting.required}
    if setting.kind == SECRET:
        tail = tails.get(setting.name, "")
        kept = _("Kept: •••• %(tail)s. Leave it empty to keep it.") if tail else _("Kept. Leave it empty to keep it.")
        hint = kept % {"tail": tail} if setting.name in tails else ""
        attrs = {"autocomplete": "new-password", "placeholder": hint}
        widget = UnfoldAdminPasswordWidget(attrs=attrs, render_value=False)
        common |= {"required": False, "min_length": setting.min_length or None}
        return forms.CharField(**common, validators=[_check_printable, _check_ascii], widget=widget)
    common["initial"] = channel.options.get(setting.name, setting.default)
    if setting.kind == NUMBER:
        return forms.IntegerField(**common, min_value=1, max_value=2**63 - 1, widget=UnfoldAdminIntegerFieldWidget())
    if setting.kind == DECIMAL:
        widget = UnfoldAdminDecimalFieldWidget(attrs={"step": "any"})
        return forms.FloatField(**common, min_value=0.01, max_value=1_000, widget=widget)
    if setting.kind == SWITCH:
        return _SwitchField(**(common | {"required": False}), widget=UnfoldBooleanSwitchWidget())
    if setting.kind == CHOICE:
        wrong = _("Choose one of: %(choices)s.") % {"choices": ", ".join(dict(setting.choices))}
        common |= {"required": False, "error_messages": {"invalid_choice": wrong}}
        return forms.ChoiceField(**common, choices=setting.choices, widget=UnfoldAdminSelectWidget())
    checks = [_check_printable, _check_callable] if setting.kind == URL else [_check_printable]
    return forms.CharField(**common, validators=checks, widget=UnfoldAdminTextInputWidget())


class _SwitchField(forms.BooleanField):
    """On and off in the words of a command line, too."""

    def to_python(self, value: Any) -> bool:
        return value.strip().lower() in ("1", "on", "true", "yes") if isinstance(value, str) else bool(value)


def _check_printable(value: str) -> None:
    if len(value) > MAX_LENGTH or not value.isprintable():
        raise ValidationError(_("This cannot be right: check that it was copied whole, and nothing else with it."))


def _check_ascii(value: str) -> None:
    if not value.isascii():
        raise ValidationError(_("This cannot be right: check that it was copied whole, and nothing else with it."))


def _check_callable(value: str) -> None:
    try:
        unresolved_warning(value)
    except ForbiddenAddress as problem:
        raise ValidationError(str(problem)) from problem


# --- what was given --------------------------------------------------------------------------------------


def values_from_form(cleaned: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(FIELD_PREFIX): value for name, value in cleaned.items() if name.startswith(FIELD_PREFIX)}


def clean_values(channel: Channel, given: Mapping[str, str], *, complete: bool = False) -> dict[str, Any]:
    """The given texts, cleaned. Raises ValidationError by name. ``complete``: what is required must be there."""
    own = {setting.name: setting for setting in channel.provider.settings}
    if unknown := sorted(given.keys() - own.keys()):
        raise ValidationError(f"Unknown settings: {', '.join(unknown)}. Known: {', '.join(own)}.")
    values: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name, field in form_fields(channel).items():
        setting = own[name.removeprefix(FIELD_PREFIX)]
        if text := str(given.get(setting.name) or "").strip():
            try:
                values[setting.name] = field.clean(text)
            except ValidationError as problem:
                errors[setting.name] = problem.messages
    if complete:
        for setting in missing_settings(channel, given=values):
            if setting.name not in errors:
                errors[setting.name] = _("“%(name)s” is missing.") % {"name": setting.label}
    if errors:
        raise ValidationError(errors)
    return values


def unresolved_address_warnings(channel: Channel) -> list[str]:
    """Return a sentence for each saved address that cannot be called now because its name is not found."""
    addresses = [str(channel.options.get(each.name) or "") for each in channel.provider.settings if each.kind == URL]
    found: list[str] = []
    for address in [getattr(channel, "redirect_url", ""), *addresses]:
        with suppress(ForbiddenAddress):  # refused when it is saved, and at every call
            found.append(unresolved_warning(address) if address else "")
    return [sentence for sentence in dict.fromkeys(found) if sentence]


def save_values(channel: Channel, values: Mapping[str, Any]) -> list[str]:
    """Keep checked values; the names of those that changed. An emptied one goes back to its default, a secret stays."""
    changed: list[AccountSetting] = []
    for setting in channel.provider.settings:
        value = values.get(setting.name)
        if setting.kind == SECRET:
            is_new = value not in EMPTY_VALUES and channel.save_secret(setting.name, str(value))
        elif setting.name not in values or (value in EMPTY_VALUES and setting.name not in channel.options):
            continue
        else:
            value = setting.default if value in EMPTY_VALUES else value
            is_new = channel.options.get(setting.name) != value
            channel.options[setting.name] = value
        if is_new:
            changed.append(setting)
    type(channel)._default_manager.filter(pk=channel.pk).update(options=channel.options)
    if isinstance(channel, ApiChannel):
        if changed and any(channel.provider_status.get(name) for name in REFUSAL_KEYS):
            channel.update_provider_status(
                **dict.fromkeys(REFUSAL_KEYS, "")
            )  # what comes next shows whether it is mended
        _advance_state(channel, mended={reason for setting in changed for reason in setting.resolves})
    return [setting.name for setting in changed]


def _advance_state(channel: ApiChannel, *, mended: set[str]) -> None:
    """What was mended resumes a paused channel; one that has all it needs is no draft any more."""
    if channel.state == ChannelState.PAUSED and channel.last_error in mended:
        channel.resume()
    if channel.state == ChannelState.DRAFT and not missing_settings(channel):
        ApiChannel.objects.filter(pk=channel.pk, state=ChannelState.DRAFT).update(state=ChannelState.WAITING)
        channel.refresh_from_db(fields=["state"])


def generate_secrets(channel: ApiChannel, *, given: Mapping[str, str]) -> None:
    """Make what we are to make ourselves, where nobody gave one."""
    for setting in channel.provider.settings:
        if setting.generated and not given.get(setting.name):
            channel.save_credential(setting.name, encryption.new_path_token())


def generated_secrets(channel: ApiChannel) -> dict[str, str]:
    """What we made, in clear: to be shown once, for the provider's own form."""
    names = [setting.name for setting in channel.provider.settings if setting.generated]
    rows = channel.credentials.filter(name__in=names, expires_at=None)
    return {row.name: row.reveal() for row in rows}


def issue_webhook_secret(channel: ApiChannel) -> str:
    """Make the secret that the provider is to show in its header; the former one works for a day."""
    value = encryption.new_path_token()
    channel.save_credential(channel.provider.webhook_secret, value)
    if channel.provider_status.get("refused_at"):
        channel.update_provider_status(refused_at="")
    _advance_state(channel, mended=set())
    return value


def missing_settings(channel: Channel, *, given: Container[str] = ()) -> list[AccountSetting]:
    """What is required and neither kept nor ``given``. Of settings of which one is enough: a setting named for all."""
    needed = [setting for setting in channel.provider.settings if setting.required or setting.required_group]
    kept = {name for name, value in channel.options.items() if value}
    if any(setting.kind == SECRET for setting in needed):
        kept |= channel.secret_tails().keys()
    is_there = {setting.name: setting.name in kept or setting.name in given for setting in needed}
    found = [setting for setting in needed if setting.required and not is_there[setting.name]]
    for group in dict.fromkeys(setting.required_group for setting in needed if setting.required_group):
        either = [setting for setting in needed if setting.required_group == group]
        if not any(is_there[setting.name] for setting in either):
            found.append(replace(either[0], label=" / ".join(str(setting.label) for setting in either)))
    return found
