"""Notices to operators and admins that do not report a failed delivery."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import OutcomeClass, Reason

NOTICE_REASONS: Mapping[str, Reason] = {
    "contact_changed": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("The client's number or account has changed: %(before)s → %(after)s."),
        without_values=_("The client's number or account has changed."),
    ),
    "contact_user_id_changed": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "WhatsApp has assigned another user ID (%(after)s) to the number %(before)s. The number may belong to "
            "another person now: make sure who it is before you write about earlier matters."
        ),
        without_values=_(
            "WhatsApp has assigned another user ID to the client's number. The number may belong to another person now."
        ),
    ),
    "contact_moved_away": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("The client now writes as %(after)s. Continue in their other chat (No. %(chat)s)."),
        without_values=_("The client now writes from another number or account. Continue in their other chat."),
    ),
    "contact_moved_here": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("This client also wrote as %(before)s. Their earlier messages are in another chat (No. %(chat)s)."),
        without_values=_(
            "This client also wrote from another number or account. Their earlier messages are in another chat."
        ),
    ),
    "contact_number_passed_on": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("The number %(number)s belongs to another client now."),
        without_values=_("The client's number belongs to another client now."),
    ),
    "contact_number_reused": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "The number %(number)s belonged to another client before (chat No. %(chat)s). Its owner may be another "
            "person now."
        ),
        without_values=_("The number belonged to another client before. Its owner may be another person now."),
    ),
    "contact_device_changed": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("The client has registered WhatsApp again, perhaps on another phone."),
    ),
    "marketing_stopped": Reason(
        outcome_class=OutcomeClass.NOTICE, sentence=_("The client has opted out of marketing messages.")
    ),
    "marketing_resumed": Reason(
        outcome_class=OutcomeClass.NOTICE, sentence=_("The client has opted in to marketing messages again.")
    ),
    "assignee_left": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("%(name)s can no longer answer in this chat. The chat is unassigned now."),
    ),
    "request_assignee_left": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("%(name)s can no longer answer in this chat. Request No. %(number)s is unassigned now."),
        without_values=_("A request is unassigned now: its assignee can no longer answer in this chat."),
    ),
    "unknown_message_deleted": Reason(
        outcome_class=OutcomeClass.NOTICE, sentence=_("The client deleted a message that had not reached the portal.")
    ),
    "unknown_reply_deleted": Reason(
        outcome_class=OutcomeClass.NOTICE, sentence=_("A reply that is not in the portal was deleted in the phone app.")
    ),
    "not_delivered": Reason(outcome_class=OutcomeClass.NOTICE, sentence=_("A message was not delivered. %(why)s")),
    "api_reply_refused": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("A message from the API was not sent to the client: “%(text)s”. %(why)s"),
        without_values=_("A message from the API was not sent to the client."),
    ),
    "note": Reason(outcome_class=OutcomeClass.NOTICE, sentence=_("A note for operators. %(text)s")),
    "unrouted_unknown": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "No API channel has this number or account. Add it, or correct its ID, and process the events again."
        ),
    ),
    "unrouted_secret": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "The API channel with this number or account has a different app secret from the one that signed the "
            "webhook. Enter that app secret there and process the events again."
        ),
    ),
    "unrouted_unproven": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("An earlier version of Okno received the webhook and did not record which app secret signed it."),
    ),
    "may_have_been_sent": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "The provider did not answer in time, so a message may have been sent or not. "
            "Send it again, or leave it as it is."
        ),
    ),
}
