"""Failure codes of the WhatsApp Cloud API: sentences, suggested actions and effects.

``graph_errors`` maps the Graph API's error codes to these.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import FailureEffects, OutcomeClass, Reason, SuggestedAction, TemplateEffect

REASONS: Mapping[str, Reason] = {
    "wa_token": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("WhatsApp no longer accepts our access token. Messages wait; an admin must enter a new one."),
        admin_sentence=_(
            "The access token is not valid or has run out. Enter a new one: the channel resumes by itself."
        ),
        admin_action=SuggestedAction.CHANNEL,
        effects=FailureEffects(credentials_rejected=True),
    ),
    "wa_permission": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("WhatsApp does not let us send from this number. Messages wait; an admin must look at it."),
        admin_sentence=_(
            "The access token lacks a permission for this number or account. Give it both WhatsApp permissions, "
            "or enter another."
        ),
        admin_action=SuggestedAction.CHANNEL,
        effects=FailureEffects(credentials_rejected=True),
    ),
    "wa_account_locked": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("WhatsApp has locked or restricted the account. Messages wait; an admin must look at it."),
        admin_sentence=_(
            "WhatsApp has locked or restricted the account: see WhatsApp Manager, then resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
    ),
    "wa_account_setup": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_(
            "The WhatsApp account is not in order (payment, display name). Messages wait; an admin must look at it."
        ),
        admin_sentence=_(
            "The account's payment method or display name is not in order: mend it in WhatsApp Manager, then "
            "resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
    ),
    "wa_registration": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("The number is not registered with WhatsApp. Messages wait; an admin must look at it."),
        admin_sentence=_(
            "The number is not registered with the Cloud API: register it in WhatsApp Manager, then resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
    ),
    "wa_spam_limit": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_(
            "WhatsApp has stopped this number for a while: clients block or report its messages. Messages wait."
        ),
        admin_sentence=_(
            "WhatsApp has stopped this number for a while because clients block or report it. Look at its "
            "quality before you resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
    ),
    "wa_busy": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("WhatsApp has trouble of its own just now. We will try again."),
        effects=FailureEffects(destination_down=True),
    ),
    "wa_call_limit": Reason(
        outcome_class=OutcomeClass.NUMBER,
        sentence=_("The account has made too many calls to WhatsApp. Everything waits a few minutes, then goes on."),
    ),
    "wa_throughput": Reason(
        outcome_class=OutcomeClass.NUMBER,
        sentence=_("The number sends faster than WhatsApp allows. It goes on in a moment."),
    ),
    "wa_maintenance": Reason(
        outcome_class=OutcomeClass.NUMBER,
        sentence=_("WhatsApp is working on this number. It goes on in a minute or two."),
    ),
    "wa_flow_busy": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The form in this template is used too often just now. We will try again."),
    ),
    "wa_pair_limit": Reason(
        outcome_class=OutcomeClass.CONTACT,
        sentence=_("This client was sent too many messages in a short time. Only this chat waits, then it goes on."),
    ),
    "wa_invalid_request": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp did not take the message as it is."),
        admin_sentence=_("WhatsApp did not take the message as it is; its answer stands with the attempt."),
        action=SuggestedAction.EDIT,
        admin_action=SuggestedAction.RESEND,
        effects=FailureEffects(forget_upload=True),
    ),
    "wa_no_recipient": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The client has neither a phone nor an id by which WhatsApp could reach them."),
        action=SuggestedAction.EDIT,
    ),
    "wa_caption_not_allowed": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "Words beside a file may have 1,024 characters, beside a sound none. Send them as a message of their own."
        ),
        action=SuggestedAction.EDIT,
    ),
    "wa_blocked_by_us": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("This client is on the business's own block list in WhatsApp."),
        action=SuggestedAction.EDIT,
    ),
    "wa_experiment": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "WhatsApp keeps this client out of marketing messages for an experiment of its own. It would fail again."
        ),
        action=SuggestedAction.EDIT,
    ),
    "wa_country": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp does not let this account write to clients in this country."),
        action=SuggestedAction.EDIT,
    ),
    "wa_undeliverable": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "This client cannot be reached on WhatsApp: no account on this number, an old app, or terms not "
            "accepted. Try another way."
        ),
        action=SuggestedAction.EDIT,
    ),
    "wa_test_number": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The number is a test number and may write only to the phones on its list."),
        action=SuggestedAction.EDIT,
    ),
    "wa_window_closed": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp says that the client's 24 hours are over: only an approved template may go out."),
        action=SuggestedAction.TEMPLATE,
    ),
    "wa_marketing_limit": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "This client gets much advertising just now, so WhatsApp did not deliver it. Not again within 24 hours."
        ),
        action=SuggestedAction.EDIT,
    ),
    "wa_marketing_stopped": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("This client has stopped marketing messages from the business. Do not send any more of them."),
        action=SuggestedAction.EDIT,
    ),
    "wa_marketing_off": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("Marketing messages are switched off for this account."),
        action=SuggestedAction.EDIT,
    ),
    "wa_client_file_failed": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "WhatsApp could not take the client's file, perhaps because it is too large. Ask for it in another way."
        ),
        action=SuggestedAction.EDIT,
    ),
    "wa_file_rejected": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp could not take our file: its type or its link does not do."),
        action=SuggestedAction.RESEND,
        effects=FailureEffects(forget_upload=True),
    ),
    "wa_needs_phone": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("This message needs the client's phone number, and WhatsApp gives us none for them."),
        action=SuggestedAction.EDIT,
    ),
    "wa_categories_limit": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp limits this account's templates for a time, because some had the wrong category."),
        action=SuggestedAction.TEMPLATE,
    ),
    "wa_template_values": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp did not take the template's values: look at line breaks, empty values and their number."),
        action=SuggestedAction.TEMPLATE,
        effects=FailureEffects(template=TemplateEffect.RESYNC),
    ),
    "wa_template_unknown": Reason(
        outcome_class=OutcomeClass.TEMPLATE,
        sentence=_("WhatsApp does not know this template in this language, or has not approved it."),
        action=SuggestedAction.TEMPLATE,
        effects=FailureEffects(template=TemplateEffect.RESYNC),
    ),
    "wa_template_too_long": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("With these values the template is longer than WhatsApp allows."),
        action=SuggestedAction.TEMPLATE,
    ),
    "wa_template_policy": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The template breaks a rule of WhatsApp's and was not sent."),
        action=SuggestedAction.TEMPLATE,
    ),
    "wa_template_paused": Reason(
        outcome_class=OutcomeClass.TEMPLATE,
        sentence=_("WhatsApp has paused this template because clients do not like it. Choose another."),
        action=SuggestedAction.TEMPLATE,
        effects=FailureEffects(template=TemplateEffect.PAUSED),
    ),
    "wa_template_disabled": Reason(
        outcome_class=OutcomeClass.TEMPLATE,
        sentence=_("WhatsApp has switched this template off for good. Choose another."),
        action=SuggestedAction.TEMPLATE,
        effects=FailureEffects(template=TemplateEffect.DISABLED),
    ),
    "wa_flow_blocked": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The form in this template is blocked."),
        action=SuggestedAction.TEMPLATE,
    ),
    "wa_held_for_quality": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("WhatsApp holds the message back while it looks at the template's quality: it may still fail."),
    ),
    "wa_unavailable": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("The client wrote something that WhatsApp does not pass on to us. Ask them to write it again."),
    ),
}
