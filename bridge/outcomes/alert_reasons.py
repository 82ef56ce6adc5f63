"""Reasons why an alert message was not sent."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import OutcomeClass, Reason, SuggestedAction

ALERT_REASONS: Mapping[str, Reason] = {
    "alert_route_refused": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The service refused the alert message. Correct the route's recipient or key."),
        admin_action=SuggestedAction.ROUTE,
    ),
    "alert_route_forbidden": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The route leads to a private or forbidden address. Correct it, or allow the network."),
        admin_action=SuggestedAction.ROUTE,
    ),
    "alert_route_unreachable": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The service is unreachable or has an internal error. We will try again."),
        admin_action=SuggestedAction.ROUTE,
    ),
    "alert_email_off": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("No SMTP server is set: the system administrator must set EMAIL_URL."),
        admin_action=SuggestedAction.ROUTE,
    ),
}
