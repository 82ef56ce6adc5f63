"""Every sentence a person reads when something does not go the usual way: one closed catalogue.

A code is stable (API callers and stored rows carry it); its sentence is for the operator, in their language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

SENTENCES: Mapping[str, Promise] = {
    # why a reply does not go out
    "window_shut": _("The 24-hour window is shut: only an approved template may go out now."),
    "window_shut_before_sending": _(
        "The 24-hour window shut before the message could be sent. It did not go out; its text is kept as a draft."
    ),
    "never_written": _("The client has not written yet: only an approved template may go out."),
    "empty": _("There is nothing to send: the text is empty."),
    "too_long": _("The text is longer than WhatsApp takes (4,096 characters). Please shorten it."),
    "files_not_supported": _("This route carries no files. Put a link to the file in the text."),
    # templates
    "template_ambiguous": _("Only a template may go out now, and the text fits more than one. %(why)s"),
    "template_near_miss": _("Only a template may go out now, and the text is almost one, but not quite. %(why)s"),
    "template_not_ready": _("Only a template may go out now, and this one is not ready. %(why)s"),
    "template_not_sendable": _("The template “%(name)s” may not be sent now: it is no longer approved."),
    "template_unknown": _("There is no such template on this channel."),
    "template_values": _("The template's values need another look. %(why)s"),
    "templates_not_supported": _("This provider sends no templates."),
    "hold_not_needed": _("The window is open: the text can go out at once, there is no need to hold it."),
    "held_dropped": _("A held reply was dropped: the client has not written. Its text is kept as a draft."),
    # what the other side said
    "rate_limited": _("The provider asks us to slow down. We will try again."),
    "destination_error": _("The provider answered with an error of its own. We will try again."),
    "name_not_found": _("The provider's address cannot be found. Check the Redirect URL."),
    "cannot_connect": _("The provider cannot be reached. We will try again."),
    "tls": _("The provider's certificate is not valid. We do not send past that; the provider must mend it."),
    "forbidden": _("The Redirect URL leads to a place that we may not call. An admin must check it."),
    "redirected": _("The Redirect URL answers with a redirect, and redirects are not followed. Check the address."),
    "not_let_in": _("The provider did not let us in. The key may have changed: an admin must check it."),
    "gone": _("The provider says that this address is no longer used. Ask for the new Redirect URL."),
    "rejected": _("The provider refused the message."),
    "outcome_unknown": _("The provider did not answer in time. The message may have been sent."),
    "failing_for_days": _("its destination has failed for five days."),
    "gave_up": _("We tried many times without success and gave up. You can send it again."),
    "provider_failed": _("WhatsApp could not deliver the message: %(title)s (%(code)s)"),
    "no_redirect_url": _("The API channel has no Redirect URL, so there is nowhere to send to."),
    "internal_error": _("Something went wrong on our side. We will try again; an admin can see what it was."),
    "discarded": _("An admin put it aside. It will not be sent."),
    # what sending again would come to
    "would_go_out": _("It would go out now."),
    "window_shut_since": _("The window has shut since: it would come back. Choose a template instead."),
    "may_be_second": _("It may have been sent already: the client might get it twice. Send it only if you are sure."),
    "channel_paused": _("The channel is paused: it would wait until the channel is resumed."),
    # notices
    "not_delivered": _("A message was not delivered. %(why)s"),
}

PERMANENT_UNTIL_MENDED = ("not_let_in", "gone", "redirected", "forbidden", "tls", "name_not_found")


def sentence(code: str, details: Mapping[str, Any] | None = None) -> str:
    """The sentence of a code in the active language; an unknown code is shown as it is."""
    text = SENTENCES.get(code)
    if text is None:
        return code
    values = dict(details or {})
    if "why_code" in values:
        values["why"] = sentence(str(values.pop("why_code")), values)
    return (str(text) % _Gaps(values)).strip() if "%(" in str(text) else str(text)


class _Gaps(dict[str, Any]):
    """A value that nobody gave is left out of the sentence."""

    def __missing__(self, key: str) -> str:
        return ""
