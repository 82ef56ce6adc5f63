"""Settings of a provider account: form fields, validation and storage.

Each provider declares its settings (``provider.settings``); API channels and chat channels work alike. Plain values
are stored in ``channel.options``. Secret values are encrypted, and only their last characters are ever shown again.
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

FIELD_PREFIX = "account_"  # of form field names
MAX_LENGTH = 2_000
EMPTY_VALUES = ("", None)
REFUSAL_KEYS = ("refused_at", "handshake_refused_at")

Channel = ApiChannel | ChatChannel


# --- form fields ------------------------------------------------------------------------------------------


def form_fields(channel: Channel) -> dict[str, forms.Field]:
    """Return a form field for each setting. A stored secret is not shown; an empty field keeps it."""
    tails = channel.secret_tails()
    return {FIELD_PREFIX + setting.name: _field(setting, channel, tails) for setting in channel.provider.settings}


def _field(setting: AccountSetting, channel: Channel, tails: Mapping[str, str]) -> forms.Field:
    common: dict[str, Any] = {"label": setting.label, "help_text": setting.help, "required": setting.required}
    if setting.kind == SECRET:
        tail = tails.get(setting.name, "")
        hint = _("Saved: •••• %(tail)s. Leave empty to keep it.") if tail else _("Saved. Leave empty to keep it.")
        hint = hint % {"tail": tail} if setting.name in tails else ""
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
    """A Boolean field that also reads the values of a command line: 1, on, true, yes."""

    def to_python(self, value: Any) -> bool:
        return value.strip().lower() in ("1", "on", "true", "yes") if isinstance(value, str) else bool(value)


def _check_printable(value: str) -> None:
    if len(value) > MAX_LENGTH or not value.isprintable():
        raise ValidationError(_("This value is not valid. Check that you copied all of it and nothing else."))


def _check_ascii(value: str) -> None:
    if not value.isascii():
        raise ValidationError(_("This value is not valid. Check that you copied all of it and nothing else."))


def _check_callable(value: str) -> None:
    try:
        unresolved_warning(value)
    except ForbiddenAddress as problem:
        raise ValidationError(str(problem)) from problem


# --- values --------------------------------------------------------------------------------------


def values_from_form(cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the account settings of a form's cleaned data by setting name."""
    return {name.removeprefix(FIELD_PREFIX): value for name, value in cleaned.items() if name.startswith(FIELD_PREFIX)}


def clean_values(channel: Channel, provided: Mapping[str, str], *, complete: bool = False) -> dict[str, Any]:
    """Validate texts and return their values by setting name.

    Raises ValidationError with messages by setting name. With ``complete``, a required setting must not be missing.
    """
    own = {setting.name: setting for setting in channel.provider.settings}
    if unknown := sorted(provided.keys() - own.keys()):
        raise ValidationError(f"Unknown settings: {', '.join(unknown)}. Known: {', '.join(own)}.")
    values: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name, field in form_fields(channel).items():
        setting = own[name.removeprefix(FIELD_PREFIX)]
        if text := str(provided.get(setting.name) or "").strip():
            try:
                values[setting.name] = field.clean(text)
            except ValidationError as problem:
                errors[setting.name] = problem.messages
    if complete:
        for setting in missing_settings(channel, provided=values):
            if setting.name not in errors:
                errors[setting.name] = _("“%(name)s” is missing.") % {"name": setting.label}
    if errors:
        raise ValidationError(errors)
    return values


def unresolved_address_warnings(channel: Channel) -> list[str]:
    """Return a warning for each saved URL whose host name does not resolve now."""
    addresses = [str(channel.options.get(each.name) or "") for each in channel.provider.settings if each.kind == URL]
    found: list[str] = []
    for address in [getattr(channel, "redirect_url", ""), *addresses]:
        with suppress(ForbiddenAddress):  # a forbidden address is refused on saving and at every call
            found.append(unresolved_warning(address) if address else "")
    return [sentence for sentence in dict.fromkeys(found) if sentence]


def save_values(channel: Channel, values: Mapping[str, Any]) -> list[str]:
    """Save validated values and return the names of the settings that changed.

    An empty plain value resets the setting to its default; an empty secret keeps the stored one.
    """
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
            # The next webhook shows whether the change helped.
            channel.update_provider_status(**dict.fromkeys(REFUSAL_KEYS, ""))
        _advance_state(channel, resolved={reason for setting in changed for reason in setting.resolves})
    return [setting.name for setting in changed]


def _advance_state(channel: ApiChannel, *, resolved: set[str]) -> None:
    """Resume a channel whose problem the change resolves; move a complete draft to the next state."""
    if channel.state == ChannelState.PAUSED and channel.last_error in resolved:
        channel.resume()
    if channel.state == ChannelState.DRAFT and not missing_settings(channel):
        ApiChannel.objects.filter(pk=channel.pk, state=ChannelState.DRAFT).update(state=ChannelState.WAITING)
        channel.refresh_from_db(fields=["state"])


def generate_secrets(channel: ApiChannel, *, provided: Mapping[str, str]) -> None:
    """Generate the secrets that the portal creates itself, except for those in ``provided``."""
    for setting in channel.provider.settings:
        if setting.generated and not provided.get(setting.name):
            channel.save_credential(setting.name, encryption.new_path_token())


def generated_secrets(channel: ApiChannel) -> dict[str, str]:
    """Return the secrets that the portal generated, in clear, to show once for the provider's form."""
    names = [setting.name for setting in channel.provider.settings if setting.generated]
    rows = channel.credentials.filter(name__in=names, expires_at=None)
    return {row.name: row.reveal() for row in rows}


def issue_webhook_secret(channel: ApiChannel) -> str:
    """Issue the secret that the provider sends in its webhook header. The previous one works for 24 more hours."""
    value = encryption.new_path_token()
    channel.save_credential(channel.provider.webhook_secret, value)
    if channel.provider_status.get("refused_at"):
        channel.update_provider_status(refused_at="")
    _advance_state(channel, resolved=set())
    return value


def missing_settings(channel: Channel, *, provided: Container[str] = ()) -> list[AccountSetting]:
    """Return the required settings that are neither saved nor in ``provided``.

    Of a ``required_group``, in which one setting is enough, one setting is returned, labeled with all of them.
    """
    needed = [setting for setting in channel.provider.settings if setting.required or setting.required_group]
    saved = {name for name, value in channel.options.items() if value}
    if any(setting.kind == SECRET for setting in needed):
        saved |= channel.secret_tails().keys()
    has_value = {setting.name: setting.name in saved or setting.name in provided for setting in needed}
    found = [setting for setting in needed if setting.required and not has_value[setting.name]]
    for group in dict.fromkeys(setting.required_group for setting in needed if setting.required_group):
        either = [setting for setting in needed if setting.required_group == group]
        if not any(has_value[setting.name] for setting in either):
            found.append(replace(either[0], label=" / ".join(str(setting.label) for setting in either)))
    return found
