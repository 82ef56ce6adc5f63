"""Reasons why a delivery or a download failed, decisions of admins, and forecasts of a resend."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import FailureEffects, OutcomeClass, Reason, SuggestedAction

DELIVERY_REASONS: Mapping[str, Reason] = {
    "content_deleted": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("The content was deleted: it was older than the channel keeps messages."),
    ),
    "rate_limited": Reason(
        outcome_class=OutcomeClass.RETRYABLE, sentence=_("The provider limits our rate of messages. We will try again.")
    ),
    "destination_error": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The provider has an internal error. We will try again."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "name_not_found": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The provider's address was not found. We will try again. An admin should check the address."),
        admin_sentence=_("The provider's address was not found. Check the Redirect URL."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "cannot_connect": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The provider cannot be reached. We will try again."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "tls": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The provider's TLS certificate is not valid, so nothing is sent. The provider must fix it."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "forbidden": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The Redirect URL is not allowed. An admin must check it."),
        admin_sentence=_("The Redirect URL leads to a private or forbidden address. Correct it, or allow the network."),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "redirected": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "The provider's address has changed, so the message was not accepted. An admin must check the address."
        ),
        admin_sentence=_("The Redirect URL answers with a redirect. Redirects are not followed: check the address."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.CHANNEL,
    ),
    "unauthorized": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("The provider rejected our key. It may have changed: an admin must check it."),
        admin_sentence=_(
            "The provider rejected our key. Compare the secret key with the provider's, then resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
        effects=FailureEffects(credentials_rejected=True),
    ),
    "gone": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("The provider no longer uses this address. An admin must ask for the new one."),
        admin_sentence=_("The provider says that this address is no longer used. Ask for the new Redirect URL."),
        admin_action=SuggestedAction.RESUME,
    ),
    "failing_for_days": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("The destination has been failing for five days."),
        admin_action=SuggestedAction.RESUME,
    ),
    "rejected": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The provider rejected the message."),
        admin_sentence=_("The provider rejected the message. Its response is recorded with the attempt."),
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
        sentence=_("All attempts failed, so we stopped trying. You can resend the message."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.RESEND,
    ),
    "provider_failed": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp could not deliver the message: %(provider_error)s"),
        without_values=_("WhatsApp could not deliver the message and gave no reason."),
        action=SuggestedAction.EDIT,
    ),
    "no_redirect_url": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The API channel has no Redirect URL, so the message cannot be sent."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.CHANNEL,
    ),
    "internal_error": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("An internal error occurred. We will try again. An admin can see the details."),
        admin_sentence=_("An internal error occurred. We will try again. The details are recorded with the attempt."),
    ),
    "file_gone": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The provider no longer has this file. Ask the client to send it again."),
        action=SuggestedAction.RESEND,
    ),
    "file_too_large": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The file is too large. Ask the client for a smaller one."),
        action=SuggestedAction.RESEND,
    ),
    "file_corrupted": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The file is corrupted: it does not match the provider's checksum."),
    ),
    "file_host_not_allowed": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The file is not on the provider's server, so it was not downloaded."),
    ),
    "no_disk_space": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The portal's disk is almost full, so the file was not downloaded. An admin must free up space."),
    ),
    "discarded": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("An admin discarded this message. It will not be sent."),
        action=SuggestedAction.RESEND,
    ),
    "left_as_is": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("The message may have been sent. It was left as it is and will not be resent automatically."),
        action=SuggestedAction.RESEND,
    ),
    "would_be_sent": Reason(
        outcome_class=OutcomeClass.FORECAST, sentence=_("It would be sent now."), action=SuggestedAction.RESEND
    ),
    "window_closed_since": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("The window has closed since then, so it would be rejected. Choose a template instead."),
        action=SuggestedAction.TEMPLATE,
    ),
    "possible_duplicate": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_(
            "The message may have been sent already, so the client might get it twice. Send it only if you are sure."
        ),
        action=SuggestedAction.DECIDE,
    ),
    "channel_paused": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("The channel is paused. The message would wait until the channel is resumed."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.RESUME,
    ),
    "breaker_open": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("The destination is not responding. The message would wait in the queue until it does."),
        action=SuggestedAction.RESEND,
        admin_action=SuggestedAction.CHANNEL,
    ),
    "destination_backoff": Reason(
        outcome_class=OutcomeClass.FORECAST,
        sentence=_("The destination asked us to wait. The message would stay in the queue until then."),
        action=SuggestedAction.RESEND,
    ),
}
