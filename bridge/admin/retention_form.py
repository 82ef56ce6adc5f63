"""Form of the retention rules: one field per kind, and one per API channel and kind that channels may set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext_lazy as _

from bridge.maintenance import retention_preview, retention_rules
from bridge.models import RetentionKind, RetentionRule
from channels_setup.models import ApiChannel
from channels_setup.models.api_channels import MAX_RETENTION_DAYS

CHANNEL_KINDS = tuple(kind for kind, spec in retention_rules.KINDS.items() if spec.channel_field)


@dataclass(frozen=True, kw_only=True)
class RuleRow:
    """One kind in the page's table."""

    rule: retention_rules.EffectiveRule
    field: forms.BoundField
    due: int  # rows that the current rule would delete now

    @property
    def is_many(self) -> bool:
        return self.due >= retention_preview.MAX_COUNTED


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """Rows that a changed value deletes."""

    label: str
    days: int
    count: int

    @property
    def is_many(self) -> bool:
        return self.count >= retention_preview.MAX_COUNTED


class DaysField(forms.IntegerField):
    """Days, 0 for no limit, or empty for the default. Values below the kind's minimum are refused."""

    def __init__(self, kind: RetentionKind, *, default: str, label: str, **options: Any) -> None:
        self.minimum = retention_rules.KINDS[kind].minimum
        attrs = {"placeholder": default, "inputmode": "numeric", "aria-label": label}
        super().__init__(
            label=label,
            required=False,
            min_value=0,
            max_value=MAX_RETENTION_DAYS,
            widget=forms.NumberInput(attrs=attrs),
            **options,
        )

    def clean(self, value: Any) -> int | None:
        days: int | None = super().clean(value)
        if days and days < self.minimum:
            sentence = _("At least %(minimum)d days, or 0 for no limit.")
            raise forms.ValidationError(sentence % {"minimum": self.minimum})
        return days


class RetentionForm(forms.Form):
    """Values of all rules. Saving deletes nothing itself: the next run does, which begins within ten minutes."""

    confirmed = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rules = retention_rules.list_rules()
        self.channels = list(ApiChannel.objects.order_by("name", "pk"))
        stored = dict(RetentionRule.objects.values_list("kind", "days"))
        for kind, rule in self.rules.items():
            name = kind.value
            default = str(rule.days if rule.is_fixed else rule.spec.default)
            self.fields[name] = DaysField(kind, default=default, label=str(kind.label), disabled=rule.is_fixed)
            self.initial[name] = stored.get(kind)
        for channel in self.channels:
            for kind in CHANNEL_KINDS:
                label = f"{channel.name}: {kind.label}"
                name = channel_field_name(channel, kind)
                self.fields[name] = DaysField(kind, default=str(self.rules[kind].days), label=label)
                self.initial[name] = getattr(channel, retention_rules.KINDS[kind].channel_field)

    def list_rows(self) -> list[RuleRow]:
        due = retention_preview.count_due_rows()
        return [RuleRow(rule=rule, field=self[kind.value], due=due[kind]) for kind, rule in self.rules.items()]

    def list_channel_rows(self) -> list[tuple[ApiChannel, list[forms.BoundField]]]:
        return [
            (channel, [self[channel_field_name(channel, kind)] for kind in CHANNEL_KINDS]) for channel in self.channels
        ]

    def list_deletions(self) -> list[Deletion]:
        """Return what the changed values would delete now."""
        found = []
        for kind, rule in self.rules.items():
            own = self.cleaned_data[kind.value]
            days = rule.days if rule.is_fixed else rule.spec.default if own is None else own
            followers = []
            for channel in self.channels if rule.spec.channel_field else ():
                name = channel_field_name(channel, kind)
                limit = self.cleaned_data[name]
                if limit is None:
                    followers.append(channel.pk)
                    limit = days
                if name in self.changed_data:
                    count = retention_preview.count_channel_rows(kind, channel.pk, limit)
                    found.append(Deletion(label=f"{channel.name}: {kind.label}", days=limit, count=count))
            if kind.value in self.changed_data:
                count = retention_preview.count_portal_rows(kind, days, channel_ids=followers)
                found.append(Deletion(label=str(kind.label), days=days, count=count))
        return [deletion for deletion in found if deletion.count]

    def sign_values(self) -> str:
        """Return a signature of the entered values, which confirms exactly these."""
        values = sorted((name, str(value)) for name, value in self.cleaned_data.items() if name != "confirmed")
        return salted_hmac("okno.retention", repr(values), algorithm="sha256").hexdigest()

    def is_confirmed(self) -> bool:
        return constant_time_compare(self.cleaned_data["confirmed"], self.sign_values())

    @transaction.atomic
    def save(self) -> None:
        """Save what was changed. An empty field returns to the default, or to the portal's rule."""
        for kind, rule in self.rules.items():
            if kind.value not in self.changed_data or rule.is_fixed:
                continue
            days = self.cleaned_data[kind.value]
            if days is None:
                RetentionRule.objects.filter(kind=kind).delete()
            else:
                RetentionRule.objects.update_or_create(kind=kind, defaults={"days": days})
        for channel in self.channels:
            changes = {
                retention_rules.KINDS[kind].channel_field: self.cleaned_data[name]
                for kind in CHANNEL_KINDS
                if (name := channel_field_name(channel, kind)) in self.changed_data
            }
            if changes:
                ApiChannel.objects.filter(pk=channel.pk).update(**changes)


def channel_field_name(channel: ApiChannel, kind: RetentionKind) -> str:
    return f"channel-{channel.pk}-{kind.value}"
