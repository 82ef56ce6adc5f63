"""Commands of the desk's keyboard: names, keys and titles, for shortcuts, the command palette and the list of keys.

``static/desk-commands.js`` runs them. Letters name physical keys, so that they work in every keyboard layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, pgettext_lazy

GENERAL, LIST, SELECTION, CHAT, PAGES, VIEWS = "general", "list", "selection", "chat", "pages", "views"
SECTIONS: dict[str, Promise] = {
    GENERAL: pgettext_lazy("keyboard shortcuts", "Everywhere"),
    LIST: pgettext_lazy("keyboard shortcuts", "List of chats"),
    SELECTION: pgettext_lazy("keyboard shortcuts", "Selected chats"),  # before the keys of the open chat
    CHAT: pgettext_lazy("keyboard shortcuts", "Open chat"),
    PAGES: pgettext_lazy("keyboard shortcuts", "Pages"),
    VIEWS: gettext_lazy("Saved views"),  # the palette adds them
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """``keys``: empty if the command is only in the palette."""

    name: str
    section: str
    title: Promise
    keys: str = ""


COMMANDS = (
    Command(name="palette", section=GENERAL, keys="Ctrl+K", title=gettext_lazy("Find a chat or a command")),
    Command(name="keys", section=GENERAL, keys="?", title=gettext_lazy("Keyboard shortcuts")),
    Command(name="undo", section=GENERAL, keys="Ctrl+Z", title=gettext_lazy("Undo the last action on chats")),
    Command(name="next-waiting", section=GENERAL, keys="N", title=gettext_lazy("Next chat that needs a reply")),
    Command(name="search", section=LIST, keys="/", title=gettext_lazy("Search chats")),
    Command(name="next-row", section=LIST, keys="J", title=gettext_lazy("Next chat in the list")),
    Command(name="previous-row", section=LIST, keys="K", title=gettext_lazy("Previous chat in the list")),
    Command(name="unread", section=LIST, keys="U", title=gettext_lazy("Mark the chat as unread, or as read")),
    Command(name="pin", section=LIST, keys="P", title=gettext_lazy("Pin or unpin the chat")),
    Command(name="filters", section=LIST, keys="F", title=gettext_lazy("Sort and filter")),
    Command(name="views", section=LIST, keys="V", title=gettext_lazy("Saved views")),
    Command(name="select-row", section=SELECTION, keys="X", title=gettext_lazy("Select the chat in focus")),
    Command(name="bulk-assign-me", section=SELECTION, keys="M", title=pgettext_lazy("several chats", "Assign to me")),
    Command(name="bulk-assign", section=SELECTION, keys="A", title=pgettext_lazy("several chats", "Assign to…")),
    Command(name="bulk-close", section=SELECTION, keys="E", title=gettext_lazy("Close the requests")),
    Command(name="bulk-snooze", section=SELECTION, keys="Z", title=gettext_lazy("Snooze the chats…")),
    Command(name="bulk-tag", section=SELECTION, keys="G", title=gettext_lazy("Tags of the requests…")),
    Command(name="bulk-clear", section=SELECTION, keys="Escape", title=gettext_lazy("Clear the selection")),
    Command(name="reply", section=CHAT, keys="R", title=pgettext_lazy("command", "Write a reply")),
    Command(name="note", section=CHAT, keys="I", title=gettext_lazy("Write a note")),
    Command(name="leave-text", section=CHAT, keys="Escape", title=gettext_lazy("Leave the text, for single keys")),
    Command(name="assign-me", section=CHAT, keys="M", title=gettext_lazy("Assign to me")),
    Command(name="assign", section=CHAT, keys="A", title=gettext_lazy("Assign to…")),
    Command(name="close", section=CHAT, keys="E", title=gettext_lazy("Close the request")),
    Command(
        name="close-next", section=CHAT, keys="Shift+E", title=gettext_lazy("Close the request and open the next chat")
    ),
    Command(name="snooze", section=CHAT, keys="Z", title=gettext_lazy("Snooze the chat…")),
    Command(name="macros", section=CHAT, keys="X", title=gettext_lazy("Run a macro…")),
    Command(name="template", section=CHAT, keys="T", title=gettext_lazy("Choose a template")),
    Command(name="quick-reply", section=CHAT, keys="Q", title=gettext_lazy("Insert a quick reply")),
    Command(name="client", section=CHAT, title=gettext_lazy("About the client")),
    Command(name="chats", section=PAGES, title=gettext_lazy("Chats")),
    Command(name="requests", section=PAGES, title=gettext_lazy("Requests")),
    Command(name="windows", section=PAGES, title=gettext_lazy("Missed windows")),
    Command(name="reply-times", section=PAGES, title=gettext_lazy("Reply times")),
    Command(name="templates", section=PAGES, title=gettext_lazy("Templates")),
    Command(name="contacts", section=PAGES, title=gettext_lazy("Contacts")),
    Command(name="saved-views", section=PAGES, title=gettext_lazy("Manage saved views")),
    Command(name="new-chat", section=PAGES, title=gettext_lazy("New chat")),
    Command(name="settings", section=PAGES, title=gettext_lazy("Desk settings")),
    Command(name="account", section=PAGES, title=gettext_lazy("My account")),
)


def build_command_data() -> dict[str, Any]:
    """Return the commands with their titles in the page's language, and in the others for searching."""
    others = [code for code, _name in settings.LANGUAGES if code != translation.get_language()]
    return {
        "sections": {key: str(title) for key, title in SECTIONS.items()},
        "commands": [
            {
                "name": command.name,
                "section": command.section,
                "keys": command.keys,
                "title": str(command.title),
                "also": " ".join(_translate(command.title, code) for code in others),
            }
            for command in COMMANDS
        ],
    }


def _translate(title: Promise, language: str) -> str:
    with translation.override(language):
        return str(title)
