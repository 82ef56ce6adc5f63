"""Reasons to refuse a reply, or to cancel it before it is sent: the window, the contact, templates."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import OutcomeClass, Reason, SuggestedAction

REPLY_REASONS: Mapping[str, Reason] = {
    "window_closed": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The 24-hour window is closed. Only an approved template can be sent now."),
        action=SuggestedAction.TEMPLATE,
    ),
    "window_closed_before_sending": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The 24-hour window closed before the message could be sent. The text is saved as a draft."),
        action=SuggestedAction.TEMPLATE,
    ),
    "contact_never_wrote": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The client has not written yet. Only an approved template can be sent."),
        action=SuggestedAction.TEMPLATE,
    ),
    "nothing_to_quote": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The quoted message cannot be quoted on this channel. Send the reply without the quote."),
    ),
    "reactions_not_supported": Reason(
        outcome_class=OutcomeClass.REFUSAL, sentence=_("This provider cannot send reactions.")
    ),
    "window_closed_for_reactions": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The 24-hour window is closed. You can react again after the client writes."),
    ),
    "nothing_to_react_to": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("WhatsApp accepts no reaction to this message: it was deleted or is older than 30 days."),
    ),
    "not_an_emoji": Reason(outcome_class=OutcomeClass.REFUSAL, sentence=_("A reaction is one emoji.")),
    "reaction_replaced": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("A newer reaction to the same message was chosen."),
    ),
    "empty": Reason(outcome_class=OutcomeClass.REFUSAL, sentence=_("The text is empty.")),
    "channel_archived": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("This channel is archived. Nothing can be sent in its chats."),
    ),
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
            "The client moved to another number or account before the message could be sent. The text is saved "
            "as a draft. Continue in the client's other chat."
        ),
        action=SuggestedAction.EDIT,
    ),
    "person_erased": Reason(
        outcome_class=OutcomeClass.SETTLED,
        sentence=_("This person's data has been erased. Nothing is sent to them."),
    ),
    "client_opted_out": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_(
            "The client has opted out of templates. Answer in free text after the client writes, or record their new "
            "consent in the client pane."
        ),
    ),
    "client_opted_out_of_marketing": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The client has opted out of marketing. Choose a template of another category."),
        action=SuggestedAction.TEMPLATE,
    ),
    "too_long": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The text is longer than WhatsApp allows (4,096 characters). Shorten it."),
    ),
    "files_not_supported": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("This channel cannot send files. Put a link to the file in the text."),
    ),
    "template_ambiguous": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("Only a template can be sent now, and the text matches more than one. %(why)s"),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_near_miss": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("Only a template can be sent now, and the text does not quite match one. %(why)s"),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_not_ready": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("Only a template can be sent now, and this one is not ready. %(why)s"),
        action=SuggestedAction.TEMPLATE,
    ),
    "template_placeholder_left": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("This is a template's text with a placeholder that is not filled in. %(why)s"),
        without_values=_("This is a template's text with a placeholder that is not filled in."),
        action=SuggestedAction.EDIT,
    ),
    "template_not_sendable": Reason(
        outcome_class=OutcomeClass.PERMANENT,
        sentence=_("The template “%(name)s” cannot be sent: it is no longer approved."),
        without_values=_("The template cannot be sent: it is no longer approved."),
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
        sentence=_("Check the template's values. %(why)s"),
        action=SuggestedAction.TEMPLATE,
    ),
    "templates_not_supported": Reason(
        outcome_class=OutcomeClass.REFUSAL, sentence=_("This provider cannot send templates.")
    ),
    "hold_not_needed": Reason(
        outcome_class=OutcomeClass.REFUSAL,
        sentence=_("The window is open, so the text can be sent at once."),
    ),
    "held_reply_dropped": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("A held reply was canceled because the client has not written. The text is saved as a draft."),
        action=SuggestedAction.TEMPLATE,
    ),
    "held_reply_dropped_text": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "A held reply was canceled because the client has not written: “%(text)s”. Your draft contains "
            "another text."
        ),
        without_values=_("A held reply was canceled because the client has not written."),
        action=SuggestedAction.TEMPLATE,
    ),
}
