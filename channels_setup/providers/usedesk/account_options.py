"""Settings of a chat channel at Usedesk, and the checkboxes of Usedesk's own webhook page."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import CHOICE, DECIMAL, NUMBER, SECRET, SWITCH, URL, AccountSetting
from channels_setup.providers.base.helpdesk import EventCheckbox

CALLS_PER_SECOND = 5.0

SETTINGS: tuple[AccountSetting, ...] = (
    AccountSetting(
        name="base_url",
        label=_("API address"),
        kind=URL,
        required=True,
        default="https://secure.usedesk.com/uapi/",
        help=_("With its path. Others in use: https://secure.usedesk.ru/uapi/, https://api.usedesk.ru/, your own."),
    ),
    AccountSetting(
        name="channel_id",
        label=_("Chat channel's ID in Usedesk"),
        kind=NUMBER,
        required=True,
        help=_("From the settings of the chat channel there."),
    ),
    AccountSetting(
        name="secret_key",
        label=_("Secret key of the API channel"),
        kind=SECRET,
        required=True,
        help=_("Shown in Usedesk after the API channel has been saved."),
    ),
    AccountSetting(
        name="app_id",
        label=_("app ID of the API channel"),
        required=True,
        help=_("Shown next to the secret key. Usedesk's events contain it."),
    ),
    AccountSetting(
        name="calls_per_second",
        label=_("Calls per second"),
        kind=DECIMAL,
        default=CALLS_PER_SECOND,
        help=_("Usedesk documents no limit; 5 is safe."),
    ),
    AccountSetting(
        name="language",
        label=_("Language of notes to operators"),
        kind=CHOICE,
        default="ru",
        choices=(("ru", "Русский"), ("en", "English")),
    ),
    AccountSetting(
        name="files",
        label=_("Clients' files"),
        kind=CHOICE,
        default="link",
        choices=(("link", _("by link in the message")), ("comment", _("as a comment once the request is known"))),
    ),
    AccountSetting(
        name="links_for_files",
        label=_("Send the client links to operators' files"),
        kind=SWITCH,
        default=False,
        help=_(
            "Files from Usedesk cannot be sent to WhatsApp. Off: the operator gets a notice. On: the link is "
            "sent as text."
        ),
    ),
    AccountSetting(
        name="relay_rules",
        label=_("Relay messages of rules and bots"),
        kind=SWITCH,
        default=False,
        help=_("Usedesk's automatic replies. They need the checkbox “Ticket change”."),
    ),
)

EVENT_CHECKBOXES: tuple[EventCheckbox, ...] = (
    EventCheckbox(track="message", label=_("All chat messages"), purpose=_("carries operators' replies")),
    EventCheckbox(track="new_chat", label=_("New chat"), purpose=_("shows that a first message arrived")),
    EventCheckbox(track="resumed", label=_("Chat resumed"), purpose=_("shows that a chat was opened again")),
    EventCheckbox(track="change", label=_("Ticket change"), purpose=_("keeps status and assignee in sync")),
    EventCheckbox(
        track="comment",
        label=_("New comment"),
        purpose=_("carries replies written in Tickets; distinguishes identical replies"),
    ),
    EventCheckbox(track="new_ticket", label=_("New ticket"), purpose=_("not needed"), needed=False),
    EventCheckbox(track="rating", label=_("Rating"), purpose=_("not needed"), needed=False),
)
