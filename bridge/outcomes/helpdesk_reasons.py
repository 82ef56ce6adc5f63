"""Why a command to an outside helpdesk failed, whichever helpdesk it is."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import OutcomeClass, Reason

HELPDESK_REASONS: Mapping[str, Reason] = {
    "helpdesk_unreachable": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk cannot be reached or does not answer sensibly. We will try again."),
    ),
    "helpdesk_possible_duplicate": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_(
            "The answer to an earlier attempt was lost, and there was no way to see whether it arrived: "
            "it may stand in the helpdesk twice."
        ),
    ),
    "helpdesk_refused": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk did not take it; what it said stands with the attempt. We will try a few more times."),
    ),
    "helpdesk_unauthorized": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk does not accept the secret key. Everything waits until an admin has mended it."),
    ),
    "helpdesk_wrong_address": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk's API address is wrong. Everything waits until an admin has mended it."),
    ),
    "helpdesk_wrong_channel": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk has no such chat channel. Everything waits until an admin has mended it."),
    ),
    "request_unknown": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The helpdesk has not told us the request's number yet. We will try again."),
    ),
}
