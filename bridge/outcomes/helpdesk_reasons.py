"""Reasons why a command to an external helpdesk failed, the same for every helpdesk."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import OutcomeClass, Reason

HELPDESK_REASONS: Mapping[str, Reason] = {
    "helpdesk_unreachable": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk is unreachable, or its response is not valid. We will try again."),
    ),
    "helpdesk_possible_duplicate": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("The response to an earlier attempt was lost, so the message may be in the helpdesk twice."),
    ),
    "helpdesk_refused": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_(
            "The helpdesk rejected the message. Its response is recorded with the attempt. We will retry a few times."
        ),
    ),
    "helpdesk_unauthorized": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk does not accept the secret key. Messages wait until an admin corrects it."),
    ),
    "helpdesk_wrong_address": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk's API address is wrong. Messages wait until an admin corrects it."),
    ),
    "helpdesk_wrong_channel": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk has no such chat channel. Messages wait until an admin corrects the settings."),
    ),
    "request_unknown": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk has not sent the request's number yet. We will try again."),
    ),
}
