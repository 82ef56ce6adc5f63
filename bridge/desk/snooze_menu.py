"""Snooze menu of a chat: choices with the time at which the chat would wake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from bridge import service_window
from bridge.conversations import snoozing
from bridge.models import Conversation

from . import presentation

LABELS = {
    "later": gettext_lazy("In 3 hours"),
    "tomorrow": gettext_lazy("Tomorrow, 9:00"),
    "monday": gettext_lazy("Next Monday, 9:00"),
    "reply": gettext_lazy("Until the client writes"),
}
FIELD_FORMAT = "%Y-%m-%dT%H:%M"  # of a datetime-local field


@dataclass(frozen=True, kw_only=True)
class SnoozeMenu:
    """Content of the menu. ``snoozed_until``: words, if the chat is snoozed now. ``refusal``: why it cannot be."""

    snoozed_until: str = ""
    refusal: str = ""
    choices: tuple[dict[str, Any], ...] = ()
    earliest: str = ""  # of the field for another time
    suggested: str = ""


def build_menu(conversation: Conversation, *, window: service_window.WindowState, now: datetime) -> SnoozeMenu:
    """Build the menu without queries."""
    if conversation.snoozed_until is not None:
        return SnoozeMenu(snoozed_until=describe_wake(conversation.snoozed_until, now=now))
    choices = []
    for choice in snoozing.CHOICES:
        until = snoozing.compute_choice(choice, now=now)
        try:
            plan = snoozing.plan_snooze(conversation, until, window=window, now=now)
        except snoozing.SnoozeRefused as problem:
            return SnoozeMenu(refusal=str(problem))
        if plan.is_before_closing and until is not None:
            continue  # the same as "until the client writes", which says when the chat wakes
        choices.append({"key": choice, "label": LABELS[choice], "hint": _describe_limit(plan, now=now)})
    return SnoozeMenu(choices=tuple(choices), **time_field(now))


def list_choices() -> list[dict[str, Any]]:
    """List the choices for several chats, whose windows may close at different times."""
    return [{"key": choice, "label": LABELS[choice]} for choice in snoozing.CHOICES]


def time_field(now: datetime) -> dict[str, str]:
    """Return the earliest and the suggested value of the field for another time."""
    local = timezone.localtime(now)
    return {
        "earliest": local.strftime(FIELD_FORMAT),
        "suggested": (local + timedelta(hours=1)).strftime(FIELD_FORMAT),
    }


def describe_wake(wakes_at: datetime, *, now: datetime) -> str:
    """Return when a snoozed chat wakes, in words."""
    if wakes_at > now + snoozing.LONGEST - timedelta(days=30):
        return pgettext("snoozed", "until the client writes")
    return _("until %(time)s") % {"time": presentation.format_moment(wakes_at, now=now)}


def describe_snooze(wakes_at: datetime, *, now: datetime) -> str:
    """Return "Snoozed until …", for the list."""
    return _("Snoozed %(until)s") % {"until": describe_wake(wakes_at, now=now)}


def _describe_limit(plan: snoozing.SnoozePlan, *, now: datetime) -> str:
    if not plan.is_before_closing:
        return ""
    return _("Wakes %(time)s, before the window closes") % {"time": presentation.format_moment(plan.wakes_at, now=now)}
