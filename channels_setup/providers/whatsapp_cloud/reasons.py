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
            "The access token is not valid or has expired. Enter a new one: the channel resumes automatically."
        ),
        admin_action=SuggestedAction.CHANNEL,
        effects=FailureEffects(credentials_rejected=True),
    ),
    "wa_permission": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("WhatsApp does not allow sending from this number. Messages wait; an admin must check the account."),
        admin_sentence=_(
            "The access token lacks a permission for this number or account. Give it both WhatsApp permissions, "
            "or enter another."
        ),
        admin_action=SuggestedAction.CHANNEL,
        effects=FailureEffects(credentials_rejected=True),
    ),
    "wa_account_locked": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("WhatsApp has locked or restricted the account. Messages wait; an admin must check the account."),
        admin_sentence=_(
            "WhatsApp has locked or restricted the account. Check WhatsApp Manager, then resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
    ),
    "wa_account_setup": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_(
            "The WhatsApp account has a problem (payment or display name). Messages wait; an admin must check "
            "the account."
        ),
        admin_sentence=_(
            "The account has a problem with its payment method or display name. Fix it in WhatsApp Manager, then "
            "resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
    ),
    "wa_registration": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("The number is not registered with WhatsApp. Messages wait; an admin must check the account."),
        admin_sentence=_(
            "The number is not registered with the Cloud API. Register it in WhatsApp Manager, then resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
    ),
    "wa_spam_limit": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("WhatsApp has temporarily blocked this number because clients block or report it. Messages wait."),
        admin_sentence=_(
            "WhatsApp has temporarily blocked this number because clients block or report it. Check its quality "
            "rating before you resume the channel."
        ),
        admin_action=SuggestedAction.RESUME,
    ),
    "wa_busy": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("WhatsApp has a temporary problem. We will try again."),
        effects=FailureEffects(destination_down=True),
    ),
    "wa_call_limit": Reason(
        outcome_class=OutcomeClass.NUMBER,
        sentence=_("The account has made too many calls to WhatsApp. Sending resumes in a few minutes."),
    ),
    "wa_throughput": Reason(
        outcome_class=OutcomeClass.NUMBER,
        sentence=_("The number sends faster than WhatsApp allows. Sending resumes in a few seconds."),
    ),
    "wa_maintenance": Reason(
        outcome_class=OutcomeClass.NUMBER,
        sentence=_("WhatsApp is doing maintenance on this number. Sending resumes in a minute or two."),
    ),
    "wa_flow_busy": Reason(
        outcome_class=OutcomeClass.RETRYABLE,
        sentence=_("The form in this template is used too often right now. We will try again."),
    ),
    "wa_pair_limit": Reason(
        outcome_class=OutcomeClass.CONTACT,
        sentence=_(
            "Too many messages to this client in a short time. Only this chat waits; sending resumes automatically."
        ),
    ),
    "wa_invalid_request": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp rejected the message as invalid."),
        admin_sentence=_("WhatsApp rejected the message as invalid. Its response is recorded with the attempt."),
        action=SuggestedAction.EDIT,
        admin_action=SuggestedAction.RESEND,
        effects=FailureEffects(forget_upload=True),
    ),
    "wa_no_recipient": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The client has neither a phone number nor a WhatsApp ID."),
        action=SuggestedAction.EDIT,
    ),
    "wa_caption_not_allowed": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("A caption can have up to 1,024 characters; audio cannot have one. Send the text separately."),
        action=SuggestedAction.EDIT,
    ),
    "wa_blocked_by_us": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("This client is on your business's block list in WhatsApp."),
        action=SuggestedAction.EDIT,
    ),
    "wa_experiment": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp excludes this client from marketing messages for an experiment. Resending does not help."),
        action=SuggestedAction.EDIT,
    ),
    "wa_country": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp does not allow this account to write to clients in this country."),
        action=SuggestedAction.EDIT,
    ),
    "wa_undeliverable": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "This client cannot be reached on WhatsApp: no account, an outdated app, or terms not accepted. "
            "Contact them another way."
        ),
        action=SuggestedAction.EDIT,
    ),
    "wa_test_number": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("This is a test number. It can write only to the phone numbers on its list."),
        action=SuggestedAction.EDIT,
    ),
    "wa_window_closed": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp says that the client's 24-hour window is closed. Only an approved template can be sent."),
        action=SuggestedAction.TEMPLATE,
    ),
    "wa_marketing_limit": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "WhatsApp limits marketing messages to this client, so this one was not delivered. Do not retry "
            "within 24 hours."
        ),
        action=SuggestedAction.EDIT,
    ),
    "wa_marketing_stopped": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("This client has opted out of marketing messages. Do not send any more."),
        action=SuggestedAction.EDIT,
        effects=FailureEffects(opts_out_of_marketing=True),
    ),
    "wa_marketing_off": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("Marketing messages are disabled for this account."),
        action=SuggestedAction.EDIT,
    ),
    "wa_client_file_failed": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "WhatsApp could not process the client's file; it may be too large. Ask the client to send it another way."
        ),
        action=SuggestedAction.EDIT,
    ),
    "wa_file_rejected": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp could not process our file: its type or its link is not valid."),
        action=SuggestedAction.RESEND,
        effects=FailureEffects(forget_upload=True),
    ),
    "wa_needs_phone": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("This message needs the client's phone number, but WhatsApp does not provide it."),
        action=SuggestedAction.EDIT,
    ),
    "wa_categories_limit": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("WhatsApp temporarily limits this account's templates because some had the wrong category."),
        action=SuggestedAction.TEMPLATE,
    ),
    "wa_template_values": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "WhatsApp rejected the template's values. Check line breaks, empty values and the number of values."
        ),
        action=SuggestedAction.TEMPLATE,
        effects=FailureEffects(template=TemplateEffect.RESYNC),
    ),
    "wa_template_unknown": Reason(
        outcome_class=OutcomeClass.TEMPLATE,
        sentence=_("WhatsApp has no approved template with this name in this language."),
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
        sentence=_("The template violates WhatsApp's policy and was not sent."),
        action=SuggestedAction.TEMPLATE,
    ),
    "wa_template_paused": Reason(
        outcome_class=OutcomeClass.TEMPLATE,
        sentence=_("WhatsApp has paused this template because of negative feedback from clients. Choose another one."),
        action=SuggestedAction.TEMPLATE,
        effects=FailureEffects(template=TemplateEffect.PAUSED),
    ),
    "wa_template_disabled": Reason(
        outcome_class=OutcomeClass.TEMPLATE,
        sentence=_("WhatsApp has permanently disabled this template. Choose another one."),
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
        sentence=_("WhatsApp is holding the message while it checks the template's quality. It may still fail."),
    ),
    "wa_unavailable": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("The client sent something that WhatsApp does not forward to us. Ask them to send it again."),
    ),
}
