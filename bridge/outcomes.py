"""Every outcome that is not the usual one: a closed catalogue of codes.

A code is stable (API callers and stored rows carry it). It has a class, a sentence for the operator, another for the
admin where they can do different things about it, and the button that helps each of them. A test holds that every
code used anywhere stands here and that none stands here unused; ``manage.py outcomes_page`` prints it for the docs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class OutcomeClass(TextChoices):
    """What comes of it by itself."""

    REFUSAL = "refusal", _("refused at once: the words stay with whoever wrote them")
    RETRYABLE = "retryable", _("tried again by the timetable")
    CONTACT = "contact", _("this contact alone waits, then it is tried again")
    NUMBER = "number", _("everything on the number waits, then it goes on by itself")
    PAUSE = "pause", _("the channel is paused with everything kept, until an admin resumes it")
    TEMPLATE = "template", _("not tried again, and the template waits until the provider lets it go on")
    PERMANENT = "permanent", _("not tried again by itself")
    UNKNOWN = "unknown", _("may have been sent: repeated or asked about, as the channel says")
    SETTLED = "settled", _("somebody decided: nothing more happens")
    FORECAST = "forecast", _("what sending again would come to now")
    NOTICE = "notice", _("a word of the portal to the operator")


class SuggestedAction(TextChoices):
    """The button that helps: its name in pages and programs, and its label."""

    NONE = "", ""
    TEMPLATE = "template", _("Choose a template")
    EDIT = "edit", _("Put into the box")
    RESEND = "resend", _("Send again")
    DECIDE = "decide", pgettext_lazy("button pair", "Send again, or leave it")
    CHANNEL = "channel", _("Open the channel")
    RESUME = "resume", _("Resume the channel")


@dataclass(frozen=True, kw_only=True)
class Reason:
    """``admin`` and ``admin_help`` where an admin reads another sentence or has another button.

    ``without`` is the sentence where none of its values is known; see ``render_sentence``.
    """

    outcome_class: OutcomeClass
    sentence: Promise
    action: SuggestedAction = SuggestedAction.NONE
    admin_sentence: Promise | None = None
    admin_action: SuggestedAction = SuggestedAction.NONE
    without_values: Promise | None = None


CATALOG: Mapping[str, Reason] = {
    # --- why a reply does not go out ---
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
    # --- templates ---
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
    # --- what the other side said ---
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
    # --- what WhatsApp itself says; the codes are in the provider's graph_errors ---
    "wa_token": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("WhatsApp no longer accepts our access token. Messages wait; an admin must enter a new one."),
        admin_sentence=_(
            "The access token is not valid or has run out. Enter a new one: the channel resumes by itself."
        ),
        admin_action=SuggestedAction.CHANNEL,
    ),
    "wa_permission": Reason(
        outcome_class=OutcomeClass.PAUSE,
        sentence=_("WhatsApp does not let us send from this number. Messages wait; an admin must look at it."),
        admin_sentence=_(
            "The access token lacks a permission for this number or account. Give it both WhatsApp permissions, "
            "or enter another."
        ),
        admin_action=SuggestedAction.CHANNEL,
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
    ),
    "wa_template_unknown": Reason(
        outcome_class=OutcomeClass.TEMPLATE,
        sentence=_("WhatsApp does not know this template in this language, or has not approved it."),
        action=SuggestedAction.TEMPLATE,
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
    ),
    "wa_template_disabled": Reason(
        outcome_class=OutcomeClass.TEMPLATE,
        sentence=_("WhatsApp has switched this template off for good. Choose another."),
        action=SuggestedAction.TEMPLATE,
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
    # --- files of clients ---
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
    # --- what an outside helpdesk said, or did not ---
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
    # --- what somebody decided ---
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
    # --- what sending again would come to ---
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
    # --- notices ---
    "contact_changed": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("The client's number or account has changed: %(before)s → %(after)s."),
        without_values=_("The client's number or account has changed."),
    ),
    "contact_user_id_changed": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "WhatsApp now gives the number %(before)s another user ID (%(after)s). The number may belong to another "
            "person now: make sure before you write about earlier matters."
        ),
        without_values=_(
            "WhatsApp gives the client's number another user ID. The number may belong to another person now."
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
            "The number %(number)s was another client's before (chat No. %(chat)s). It may be another person now."
        ),
        without_values=_("The number was another client's before. It may be another person now."),
    ),
    "contact_device_changed": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("The client has registered WhatsApp anew, perhaps on another phone."),
    ),
    "marketing_stopped": Reason(
        outcome_class=OutcomeClass.NOTICE, sentence=_("The client wants no more marketing messages from the business.")
    ),
    "marketing_resumed": Reason(
        outcome_class=OutcomeClass.NOTICE, sentence=_("The client wants marketing messages from the business again.")
    ),
    "assignee_left": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("%(name)s can no longer answer in this chat. It is unassigned now."),
    ),
    "request_assignee_left": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("%(name)s can no longer answer in this chat. Request № %(number)s is unassigned now."),
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
        sentence=_("A program's message was not sent to the client: “%(text)s”. %(why)s"),
        without_values=_("A program's message was not sent to the client."),
    ),
    "note": Reason(outcome_class=OutcomeClass.NOTICE, sentence=_("A note for operators. %(text)s")),
    # --- webhooks that no channel could be found for ---
    "unrouted_unknown": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "No API channel has this number or account. Add it, or correct its ID, and process the events again."
        ),
    ),
    "unrouted_secret": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "The API channel with this number or account has another app secret than the webhook was signed with. "
            "Enter the same one there and process the events again."
        ),
    ),
    "unrouted_unproven": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_("It was received before this version, so it is not known which app secret it was signed with."),
    ),
    "may_have_been_sent": Reason(
        outcome_class=OutcomeClass.NOTICE,
        sentence=_(
            "The provider did not answer in time: a message may have been sent, or not. "
            "Send it again, or leave it as it is."
        ),
    ),
}


def find_reason(code: str) -> Reason | None:
    """Return the reason of a code; None if there is no such code."""
    return CATALOG.get(code)


def render_sentence(code: str, details: Mapping[str, Any] | None = None, *, for_admin: bool = False) -> str:
    """Return the sentence of a code in the active language.

    No value is left blank: where none is known there is another sentence, where one of several is not, a dash. A code
    that is not in the catalogue is told in the provider's words, or as it is.
    """
    values = {name: value for name, value in (details or {}).items() if str(value).strip()}
    values["said"] = format_provider_error(values)
    reason = find_reason(code)
    if reason is None:
        return render_sentence("provider_failed", values) if values["said"] else code
    text = str(reason.admin_sentence if for_admin and reason.admin_sentence is not None else reason.sentence)
    if "why_code" in values:
        values["why"] = render_sentence(str(values.pop("why_code")), values, for_admin=for_admin)
    names = PLACEHOLDER.findall(text)
    if not names:
        return text
    if reason.without_values is not None and not any(values.get(name) for name in names):
        return str(reason.without_values)
    blank = "" if reason.without_values is None else "—"
    return (text % {name: values.get(name) or blank for name in names}).strip()


def format_provider_error(details: Mapping[str, Any]) -> str:
    """Return what the provider said of a failure: its words and its code, as far as they are known."""
    code = str(details.get("code") or "").strip()
    words = REPEATED_ERROR_CODE.sub("", str(details.get("title") or details.get("details") or "")).strip()
    return f"{words} ({code})" if words and code else words or code


PLACEHOLDER = re.compile(r"%\((\w+)\)s")
REPEATED_ERROR_CODE = re.compile(r"^\(#\d+\)\s*")  # Meta begins its titles with the code


def suggest_action(code: str, *, for_admin: bool = False) -> SuggestedAction:
    """Return the action that helps against a failure code; SuggestedAction.NONE if none does."""
    reason = find_reason(code)
    if reason is None:
        return SuggestedAction.NONE
    return reason.admin_action if for_admin else reason.action


# What waits for its destination to be well again, and for nothing else.
RETRYABLE_CODES = tuple(code for code, reason in CATALOG.items() if reason.outcome_class is OutcomeClass.RETRYABLE)


class BlankMissing(dict[str, Any]):
    """A value that nobody gave is left out of the sentence."""

    def __missing__(self, key: str) -> str:
        return ""
