"""Reasons: what a failure code means, its sentences, the suggested action and its effects.

``bridge.outcomes`` is the catalog of all codes. A provider adds its own through ``Provider.reasons``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class LabeledEnum(StrEnum):
    """String enum whose members have a translated ``label``; ``TextChoices`` without ``django.db``."""

    label: Promise | str

    def __new__(cls, value: str, label: Promise | str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        return member


class OutcomeClass(LabeledEnum):
    """What happens next if nobody acts."""

    REFUSAL = "refusal", _("rejected at once; the author keeps the text")
    RETRYABLE = "retryable", _("retried on a schedule")
    CONTACT = "contact", _("only this contact waits, then it is retried")
    NUMBER = "number", _("everything on the number waits, then sending resumes automatically")
    PAUSE = "pause", _("the channel is paused until an admin resumes it; nothing is lost")
    TEMPLATE = "template", _("not retried; the template is unusable until the provider allows it again")
    PERMANENT = "permanent", _("not retried automatically")
    UNKNOWN = "unknown", _("may have been sent; retried or left to a person, by the channel's setting")
    SETTLED = "settled", _("decided by a person; nothing more happens")
    FORECAST = "forecast", _("forecast of a resend")
    NOTICE = "notice", _("notice to the operator")


class SuggestedAction(LabeledEnum):
    """The action that helps against a failure: its name in pages, and its label."""

    NONE = "", ""
    TEMPLATE = "template", _("Choose a template")
    EDIT = "edit", _("Edit and resend")
    RESEND = "resend", _("Resend")
    DECIDE = "decide", pgettext_lazy("button pair", "Resend, or leave it as it is")
    CHANNEL = "channel", _("Open the channel")
    RESUME = "resume", _("Resume the channel")
    ROUTE = "route", _("Open the alert route")


class TemplateEffect(StrEnum):
    """Effect of a failed message on its template."""

    NONE = ""
    RESYNC = "resync"  # the provider's list differs from our registry: read it again
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True, kw_only=True)
class FailureEffects:
    """Effects of a failure beyond its own message."""

    destination_down: bool = False  # the provider answered, but cannot work now: counts for the circuit breaker
    credentials_rejected: bool = False  # the account's key is refused: shown on the channel
    forget_upload: bool = False  # the provider may no longer know the uploaded file: upload it again
    template: TemplateEffect = TemplateEffect.NONE
    opts_out_of_marketing: bool = False  # the contact wants no marketing templates


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Meaning of a failure code.

    ``admin_sentence`` and ``admin_action`` replace ``sentence`` and ``action`` for admins, where those differ.
    ``without_values`` is the sentence if none of its placeholders has a value.
    """

    outcome_class: OutcomeClass
    sentence: Promise
    action: SuggestedAction = SuggestedAction.NONE
    admin_sentence: Promise | None = None
    admin_action: SuggestedAction = SuggestedAction.NONE
    without_values: Promise | None = None
    effects: FailureEffects = FailureEffects()
