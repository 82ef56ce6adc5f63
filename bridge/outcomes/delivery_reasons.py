"""Why a delivery or a download failed, and what an admin decided about it."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import FailureEffects, OutcomeClass, Reason, SuggestedAction

DELIVERY_REASONS: Mapping[str, Reason] = {
    "rate_limited": Reason(
        outcome_class=OutcomeClass.RETRYABLE, sentence=_("The provider asks us to slow down. We will try again.")
    ),
    "destination_error": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The provider answered with an error of its own. We will try again."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "name_not_found": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The provider's address cannot be found. We will try again; an admin should look at it."),
        admin_sentence=_("The provider's address cannot be found. Check the Redirect URL."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "cannot_connect": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The provider cannot be reached. We will try again."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "tls": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The provider's certificate is not valid. We do not send past that; the provider must mend it."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "forbidden": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The Redirect URL leads to a place that we may not call. An admin must check it."),
        admin_sentence=_("The Redirect URL leads to a private or forbidden address: correct it, or allow the network."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "redirected": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The provider's address has moved, so the message was not taken. An admin must check the address."),
        admin_sentence=_(
            "The Redirect URL answers with a redirect, and redirects are not followed. Check the address."
        ),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.CHANNEL,
    ),
    "unauthorized": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("The provider did not let us in. The key may have changed: an admin must check it."),
        admin_sentence=_(
            "The provider did not let us in. Compare the secret key with the provider's, then resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
        effects=FailureEffects(credentials_rejected=True),
    ),
    "gone": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("The provider no longer uses the address that we have. An admin must ask for the new one."),
        admin_sentence=_("The provider says that this address is no longer used. Ask for the new Redirect URL."),
        admin_action=SuggestedAction.RESUME,
    ),
    "failing_for_days": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("its destination has failed for five days."),
        admin_action=SuggestedAction.RESUME,
    ),
    "rejected": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The provider refused the message."),
        admin_sentence=_("The provider refused the message; its answer stands with the attempt."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.RESEND,
    ),
    "outcome_unknown": Reason(
        outcome_class=OutcomeClass.UNKNOWN,
        sentence=_("The provider did not answer in time. The message may have been sent."),
        action=SuggestedAction.DECIDE,
        admin_action=SuggestedAction.DECIDE,
    ),
    "retries_exhausted": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("We tried many times without success and gave up. You can send it again."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.RESEND,
    ),
    "provider_failed": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp could not deliver the message: %(said)s"),
        without_values=_("WhatsApp could not deliver the message and gave no reason."),
        action=SuggestedAction.EDIT,
    ),
    "no_redirect_url": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The API channel has no Redirect URL, so there is nowhere to send to."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.CHANNEL,
    ),
    "internal_error": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("Something went wrong on our side. We will try again; an admin can see what it was."),
        admin_sentence=_("Something went wrong on our side; what it was stands with the attempt. We will try again."),
    ),
    "file_gone": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The provider no longer has this file. Ask the client to send it again."),
        action=SuggestedAction.RESEND,
    ),
    "file_too_large": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The file is larger than we take. Ask the client for a smaller one."),
        action=SuggestedAction.RESEND,
    ),
    "file_corrupted": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The file came damaged: it is not what the provider announced."),
    ),
    "file_host_not_allowed": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The file lies in a place that is not the provider's, so we did not fetch it."),
    ),
    "no_disk_space": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The portal's disk is almost full, so the file was not fetched. An admin has to make room."),
    ),
    "discarded": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("An admin put it aside. It will not be sent."),
        action=SuggestedAction.RESEND,
    ),
    "left_as_is": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("It may have been sent, and was left as it is. It will not be sent again by itself."),
        action=SuggestedAction.RESEND,
    ),
    "would_be_sent": Reason(
        outcome_class=OutcomeClass.FORECAST, sentence=_("It would go out now."), action=SuggestedAction.RESEND
    ),
    "window_closed_since": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("The window has closed since: it would come back. Choose a template instead."),
        action=SuggestedAction.TEMPLATE,
    ),
    "possible_duplicate": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("It may have been sent already: the client might get it twice. Send it only if you are sure."),
        action=SuggestedAction.DECIDE,
    ),
    "channel_paused": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("The channel is paused: it would wait until the channel is resumed."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.RESUME,
    ),
    "breaker_open": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("The destination does not answer just now: it would wait in line until it does."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.CHANNEL,
    ),
    "destination_paused": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("The destination asked for a pause: it would wait in line until the pause is over."),
        action=SuggestedAction.RESEND,
    ),
}
