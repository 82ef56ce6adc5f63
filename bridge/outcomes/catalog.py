"""All reasons by code: the bridge's own and those of every provider."""

from __future__ import annotations

from collections.abc import Mapping

from channels_setup.providers import all_providers
from channels_setup.providers.base import FailureEffects, OutcomeClass, Reason, SuggestedAction

from .alert_reasons import ALERT_REASONS
from .delivery_reasons import DELIVERY_REASONS
from .helpdesk_reasons import HELPDESK_REASONS
from .notice_reasons import NOTICE_REASONS
from .reply_reasons import REPLY_REASONS

CATALOG: Mapping[str, Reason] = {
    **REPLY_REASONS,
    **DELIVERY_REASONS,
    **{code: reason for provider in all_providers().values() for code, reason in provider.reasons.items()},
    **HELPDESK_REASONS,
    **NOTICE_REASONS,
    **ALERT_REASONS,
}

# Codes of failures that end without a person's action, once the destination works again.
RETRYABLE_CODES = tuple(code for code, reason in CATALOG.items() if reason.outcome_class is OutcomeClass.RETRYABLE)


def find_reason(code: str) -> Reason | None:
    """Return the reason of a code; None if there is no such code."""
    return CATALOG.get(code)


def suggest_action(code: str, *, for_admin: bool = False) -> SuggestedAction:
    """Return the action that helps against a failure; ``SuggestedAction.NONE`` if none does."""
    reason = find_reason(code)
    if reason is None:
        return SuggestedAction.NONE
    return reason.admin_action if for_admin else reason.action


def get_effects(code: str) -> FailureEffects:
    """Return the effects of a failure beyond its own message. Unknown codes have none."""
    reason = find_reason(code)
    return reason.effects if reason is not None else FailureEffects()
