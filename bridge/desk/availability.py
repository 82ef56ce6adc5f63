"""The user's own availability, as the account menu shows and changes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bridge.conversations import availability
from bridge.conversations.availability import Status

from . import presentation

TOMORROW_HOUR = 8
# Button → status and duration. None: until the user changes it.
CHOICES: dict[str, tuple[Status, Any, Any]] = {
    "online": (Status.ONLINE, None, Status.ONLINE.label),
    "away": (Status.AWAY, None, Status.AWAY.label),
    "dnd-30": (Status.DND, timedelta(minutes=30), gettext_lazy("Do not disturb for 30 minutes")),
    "dnd-60": (Status.DND, timedelta(hours=1), gettext_lazy("Do not disturb for 1 hour")),
    "dnd-tomorrow": (Status.DND, "tomorrow", gettext_lazy("Do not disturb until tomorrow")),
}


def choose(user: Any, choice: str) -> None:
    """Set the status of a button of the account menu. Raises KeyError for an unknown one."""
    status, duration, _label = CHOICES[choice]
    until = None
    if isinstance(duration, timedelta):
        until = timezone.now() + duration
    elif duration == "tomorrow":
        tomorrow = timezone.localtime() + timedelta(days=1)
        until = tomorrow.replace(hour=TOMORROW_HOUR, minute=0, second=0, microsecond=0)
    availability.choose_status(user, status, until=until)


def describe_own(status: Status, until: datetime | None) -> dict[str, Any]:
    """Return the chosen status for the account menu: its code, words, and its buttons."""
    return {"status": status.value, "label": describe(status, until), "choices": CHOICES}


def describe(status: Status, until: datetime | None) -> str:
    if until is None:
        return str(status.label)
    moment = presentation.format_moment(until, now=timezone.now())
    return _("%(status)s until %(moment)s") % {"status": status.label, "moment": moment}
