"""Results of bulk actions on chats, in sentences: what changed, and why the rest did not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .changes import Change


class Action(StrEnum):
    ASSIGN = "assign"
    CLOSE = "close"
    TAG = "tag"
    UNTAG = "untag"
    SNOOZE = "snooze"
    WAKE = "wake"
    READ = "read"
    UNREAD = "unread"
    PIN = "pin"
    UNPIN = "unpin"
    MACRO = "macro"


class Skip(StrEnum):
    """Why a chat was not changed."""

    SAME = "same"  # it is as wanted
    CLOSED = "closed"
    WROTE = "wrote"
    TAKEN = "taken"
    CHANNEL = "channel"
    NO_REQUEST = "no_request"
    ERASED = "erased"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """``skipped``: number of chats by reason, a Skip or a sentence."""

    action: Action
    changed: list[Change] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    is_undo: bool = False

    @property
    def count(self) -> int:
        return len(self.changed) + self.skipped.total()

    def after(self, earlier: BulkResult | None) -> BulkResult:
        """Return this result together with that of the earlier parts of the same action."""
        if earlier is None:
            return self
        changed, skipped = [*earlier.changed, *self.changed], earlier.skipped + self.skipped
        return replace(self, changed=changed, skipped=skipped)


def describe_result(result: BulkResult) -> str:
    """Return the sentences for the user: "3 chats assigned. 1 was already closed."."""
    count = len(result.changed)
    sentences = []
    if count and result.is_undo:
        sentences.append(ngettext("%d chat restored.", "%d chats restored.", count) % count)
    elif count:
        sentences.append(_describe_change(result.action, count))
    sentences += [_describe_skip(reason, number) for reason, number in sorted(result.skipped.items())]
    return " ".join(sentences) or _("Nothing to change.")


def _describe_change(action: Action, n: int) -> str:
    words: dict[Action, Any] = {
        Action.ASSIGN: lambda: ngettext("%d chat assigned.", "%d chats assigned.", n),
        Action.CLOSE: lambda: ngettext("%d request closed.", "%d requests closed.", n),
        Action.TAG: lambda: ngettext("Tag added to %d request.", "Tag added to %d requests.", n),
        Action.UNTAG: lambda: ngettext("Tag removed from %d request.", "Tag removed from %d requests.", n),
        Action.SNOOZE: lambda: ngettext("%d chat snoozed.", "%d chats snoozed.", n),
        Action.WAKE: lambda: ngettext("Snooze ended in %d chat.", "Snooze ended in %d chats.", n),
        Action.READ: lambda: ngettext("%d chat marked as read.", "%d chats marked as read.", n),
        Action.UNREAD: lambda: ngettext("%d chat marked as unread.", "%d chats marked as unread.", n),
        Action.PIN: lambda: ngettext("%d chat pinned.", "%d chats pinned.", n),
        Action.UNPIN: lambda: ngettext("%d chat unpinned.", "%d chats unpinned.", n),
        Action.MACRO: lambda: ngettext("Macro applied to %d chat.", "Macro applied to %d chats.", n),
    }
    return str(words[action]()) % n


def _describe_skip(reason: str, n: int) -> str:
    words: dict[str, Any] = {
        Skip.SAME: lambda: ngettext("%d unchanged.", "%d unchanged.", n),
        Skip.CLOSED: lambda: ngettext("%d was already closed.", "%d were already closed.", n),
        Skip.WROTE: lambda: ngettext(
            "%d not changed: the client wrote meanwhile.", "%d not changed: the clients wrote meanwhile.", n
        ),
        Skip.TAKEN: lambda: ngettext(
            "%d not assigned: its assignee changed meanwhile.", "%d not assigned: their assignees changed meanwhile.", n
        ),
        Skip.CHANNEL: lambda: ngettext(
            "%d not assigned: the person or team does not serve its channel.",
            "%d not assigned: the person or team does not serve their channels.",
            n,
        ),
        Skip.NO_REQUEST: lambda: ngettext(
            "%d not changed: it has no request.", "%d not changed: they have no requests.", n
        ),
        Skip.ERASED: lambda: ngettext(
            "%d not changed: the client’s data was deleted.", "%d not changed: the clients’ data was deleted.", n
        ),
        Skip.GONE: lambda: ngettext(
            "%d not found, or you do not have access.", "%d not found, or you do not have access.", n
        ),
    }
    if reason in words:
        return str(words[reason]()) % n
    return ngettext("%(number)d not changed: %(reason)s", "%(number)d not changed: %(reason)s", n) % {
        "number": n,
        "reason": reason,
    }
