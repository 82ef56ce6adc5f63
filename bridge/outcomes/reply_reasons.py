"""Why a reply is refused or taken back before it is sent: the window, the contact, templates."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import OutcomeClass, Reason, SuggestedAction

REPLY_REASONS: Mapping[str, Reason] = {
    "window_closed": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The 24-hour window is closed: only an approved template may go out now."),
        action=SuggestedAction.TEMPLATE,
    ),
    "window_closed_before_sending": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "The 24-hour window closed before the message could be sent. "
            "It did not go out; its text is kept as a draft."
        ),
        action=SuggestedAction.TEMPLATE,
    ),
    "contact_never_wrote": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The client has not written yet: only an approved template may go out."),
        action=SuggestedAction.TEMPLATE,
    ),
    "nothing_to_quote": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The message that this one replies to cannot be quoted here. Send the reply without the quote."),
    ),
    "empty": Reason(outcome_class=OutcomeClass.REFUSAL, sentence=_("There is nothing to send: the text is empty.")),
    "contact_moved": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("Not sent: the client now writes as %(after)s. Continue in their other chat (No. %(chat)s)."),
        without_values=_(
            "Not sent: the client now writes from another number or account. Continue in their other chat."
        ),
    ),
    "contact_moved_before_sending": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_(
            "The client moved to another number or account before the message could be sent. It did not go out; "
            "its text is kept as a draft. Continue in the client's other chat."
        ),
        action=SuggestedAction.EDIT,
    ),
    "person_erased": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("All that was known of this person has been erased: nothing goes out to them."),
    ),
    "too_long": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The text is longer than WhatsApp takes (4,096 characters). Please shorten it."),
    ),
    "files_not_supported": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("This route carries no files. Put a link to the file in the text."),
    ),
    "template_ambiguous": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("Only a template may go out now, and the text fits more than one. %(why)s"),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_near_miss": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("Only a template may go out now, and the text is almost one, but not quite. %(why)s"),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_not_ready": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("Only a template may go out now, and this one is not ready. %(why)s"),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_not_sendable": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The template “%(name)s” may not be sent now: it is no longer approved."),
        without_values=_("The template may not be sent now: it is no longer approved."),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_not_fillable": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The template “%(name)s” cannot be sent from Okno: %(why)s."),
        without_values=_("This template cannot be sent from Okno."),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_unknown": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("There is no such template on this channel."),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_values": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The template's values need another look. %(why)s"),
        action=SuggestedAction.TEMPLATE,
    ),
    "templates_not_supported": Reason(
        outcome_class=OutcomeClass.REFUSAL, sentence=_("This provider sends no templates.")
    ),
    "hold_not_needed": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The window is open: the text can go out at once, there is no need to hold it."),
    ),
    "held_reply_dropped": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("A held reply was dropped: the client has not written. Its text is kept as a draft."),
        action=SuggestedAction.TEMPLATE,
    ),
    "held_reply_dropped_text": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("A held reply was dropped: the client has not written. It said “%(text)s”; you are at another."),
        without_values=_("A held reply was dropped: the client has not written."),
        action=SuggestedAction.TEMPLATE,
    ),
}
