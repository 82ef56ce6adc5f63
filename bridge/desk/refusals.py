"""Which event removes a refusal from the composer: the one table for pages and scripts.

A refusal is removed when something that it depends on has changed, and by nothing else. ``static/refusals.js`` applies
the events of the open page; the server leaves out a draft's refusal that has ended (`has_ended`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class End(StrEnum):
    """What removes a refusal. The values are words of the attribute ``data-until``."""

    TEXT = "text"  # the operator changes the text
    FILES = "files"  # a file is added or removed
    QUOTE = "quote"  # another quote, or none
    TEMPLATE = "template"  # a template or the picker is shown: its panel explains what is missing
    WINDOW = "window"  # the window opens
    CONSENT = "consent"  # the client has no opt-out any more
    ACTION = "action"  # another action succeeds


LIVE_ENDS = frozenset({End.WINDOW, End.CONSENT})  # the server tells open pages; the others happen in the page

TYPING: tuple[End, ...] = (End.TEXT, End.TEMPLATE)
CLOSED_WINDOW: tuple[End, ...] = (*TYPING, End.WINDOW)
OF_ACTIONS: tuple[End, ...] = (End.ACTION, End.TEXT)  # also of refusals without a code

# Codes of `outcomes` that the composer shows. The notices above the composer stay with what no event here ends: an
# archived channel, an erased or moved client.
ENDS: Mapping[str, tuple[End, ...]] = {
    "window_closed": CLOSED_WINDOW,
    "contact_never_wrote": CLOSED_WINDOW,
    "template_ambiguous": CLOSED_WINDOW,
    "template_near_miss": CLOSED_WINDOW,
    "template_not_ready": CLOSED_WINDOW,
    "client_opted_out": (*CLOSED_WINDOW, End.CONSENT),
    "client_opted_out_of_marketing": (*CLOSED_WINDOW, End.CONSENT),
    "window_closed_before_sending": TYPING,  # the operator has to learn that it was not sent
    "template_placeholder_left": TYPING,
    "template_not_sendable": TYPING,
    "template_not_fillable": TYPING,
    "template_unknown": TYPING,
    "template_values": TYPING,
    "templates_not_supported": TYPING,
    "hold_not_needed": TYPING,
    "too_long": (End.TEXT,),
    "empty": (End.TEXT, End.FILES),
    "files_not_supported": (End.FILES,),
    "nothing_to_quote": (End.QUOTE,),
    "channel_archived": (End.TEXT,),
    "person_erased": (End.TEXT,),
    "contact_moved": (End.TEXT,),
    "contact_moved_before_sending": (End.TEXT,),
    "window_closed_for_reactions": (*OF_ACTIONS, End.WINDOW),
    "reactions_not_supported": OF_ACTIONS,
    "nothing_to_react_to": OF_ACTIONS,
    "not_an_emoji": OF_ACTIONS,
}


def list_ends(code: str, *, window_is_open: bool = False) -> tuple[End, ...]:
    """Return the events that remove the refusal with this code; those of actions for other codes and "".

    ``window_is_open``: in the chat, when the action was refused. Then the window ends nothing, as for a template to a
    client who opted out.
    """
    return tuple(end for end in ENDS.get(code, OF_ACTIONS) if not (window_is_open and end == End.WINDOW))


def render_until(ends: Iterable[End]) -> str:
    """Return the value of ``data-until``."""
    return " ".join(ends)


def find_ended(*, window_is_open: bool, is_opted_out: bool, has_files: bool, has_quote: bool) -> set[End]:
    """Return the events that have happened in a chat, whenever its page was made."""
    facts = {
        End.WINDOW: window_is_open,
        End.CONSENT: not is_opted_out,
        End.FILES: not has_files,
        End.QUOTE: not has_quote,
    }
    return {end for end, has_happened in facts.items() if has_happened}


def has_ended(code: str, ended: Iterable[End]) -> bool:
    """Return whether one of these events removes the refusal with this code."""
    return not set(list_ends(code)).isdisjoint(ended)
