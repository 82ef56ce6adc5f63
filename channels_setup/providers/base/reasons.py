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
    """What happens next without anybody's action."""

    REFUSAL = "refusal", _("refused at once: the words stay with whoever wrote them")
    RETRYABLE = "retryable", _("tried again by the timetable")
    CONTACT = "contact", _("this contact alone waits, then it is tried again")
    NUMBER = "number", _("everything on the number waits, then it goes on by itself")
    PAUSE = "pause", _("the channel is paused with everything kept, until an admin resumes it")
    TEMPLATE = "template", _("not tried again, and the template waits until the provider lets it go on")
    PERMANENT = "permanent", _("not tried again by itself")
    UNKNOWN = "unknown", _("may have been sent: repeated or asked about, as the channel says")
    SETTLED = "settled", _("somebody decided: nothing more happens")
    FORECAST = "forecast", _("what sending again would come to now")
    NOTICE = "notice", _("a word of the portal to the operator")


class SuggestedAction(LabeledEnum):
    """The action that helps against a failure: its name in pages, and its label."""

    NONE = "", ""
    TEMPLATE = "template", _("Choose a template")
    EDIT = "edit", _("Put into the box")
    RESEND = "resend", _("Send again")
    DECIDE = "decide", pgettext_lazy("button pair", "Send again, or leave it")
    CHANNEL = "channel", _("Open the channel")
    RESUME = "resume", _("Resume the channel")


class TemplateEffect(StrEnum):
    """What a failed message says about the template that it used."""

    NONE = ""
    RESYNC = "resync"  # the provider's list differs from our registry: read it again
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True, kw_only=True)
class FailureEffects:
    """What a failure means beyond its own message."""

    destination_down: bool = False  # the provider answered, but cannot work now: counts for the circuit breaker
    credentials_rejected: bool = False  # the account's key is refused: shown on the channel
    forget_upload: bool = False  # the provider may no longer know the uploaded file: upload it again
    template: TemplateEffect = TemplateEffect.NONE


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
