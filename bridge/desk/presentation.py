"""Formatting of windows, times and people for the desk. Holds no business rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Protocol

import phonenumbers
from django.utils import formats, timezone
from django.utils.translation import get_language, pgettext
from django.utils.translation import gettext as _

from bridge import phone_visibility
from bridge.models import Conversation
from bridge.models.contacts import get_initials
from bridge.service_window import WINDOW_LENGTH, WindowState, is_open
from channels_setup.codecs.visible_names import is_visible

WARNING_BELOW = timedelta(hours=4)  # amber below
CRITICAL_BELOW = timedelta(hours=1)  # red below
NBSP = "\u00a0"
HUES = 8  # colors of clients in okno.css


class NamedContact(Protocol):
    """The fields of a contact that its displayed name needs."""

    @property
    def pk(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def phone(self) -> str: ...
    @property
    def external_id(self) -> str: ...
    @property
    def user_id(self) -> str: ...
    @property
    def api_channel_id(self) -> int: ...
    @property
    def erased_at(self) -> datetime | None: ...


@dataclass(frozen=True, kw_only=True)
class WindowView:
    """A service window for display. ``state`` is one of ``service_window.WindowState.state``."""

    state: str
    expires_at: datetime | None = None
    now: datetime

    @cached_property
    def left(self) -> timedelta:
        if self.state != "open" or self.expires_at is None:
            return timedelta(0)
        return max(self.expires_at - self.now, timedelta(0))

    @cached_property
    def level(self) -> str:
        """Return ok, warning or critical for an open window, otherwise its state. Used as a CSS class."""
        if self.state != "open":
            return "ok" if self.state == "unrestricted" else self.state
        if self.left < CRITICAL_BELOW:
            return "critical"
        return "warning" if self.left < WARNING_BELOW else "ok"

    @cached_property
    def percent(self) -> int:
        """Return the percentage of the 24 hours that is left, for the ring."""
        if self.state == "unrestricted":
            return 100
        return round(100 * min(self.left / WINDOW_LENGTH, 1))

    @cached_property
    def words(self) -> str:
        """Return the time left (``3 h 12 min``, ``20 h``), or the state in words."""
        if self.state == "open":
            return format_duration(self.left)
        return {
            "closed": pgettext("window", "closed"),
            "none": pgettext("window", "not open yet"),
            "unrestricted": pgettext("window", "no limit"),
        }[self.state]

    @property
    def iso(self) -> str:
        return self.expires_at.isoformat() if self.expires_at else ""

    @property
    def clock(self) -> str:
        """Return the time left as ``h:mm:ss``; countdown.js continues from it."""
        if self.state != "open":
            return self.words
        seconds = int(self.left.total_seconds())
        return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


def window_view(state: WindowState, *, now: datetime) -> WindowView:
    return WindowView(state=state.state, expires_at=state.expires_at, now=now)


def window_from_expiry(expires_at: datetime | None, *, is_unrestricted: bool, now: datetime) -> WindowView:
    """Build the view from an expiry time. ``is_unrestricted``: the provider has no 24-hour rule."""
    if is_unrestricted:
        return WindowView(state="unrestricted", now=now)
    if expires_at is None:
        return WindowView(state="none", now=now)
    return WindowView(state="open" if is_open(expires_at, now=now) else "closed", expires_at=expires_at, now=now)


def countdown_texts() -> dict[str, str]:
    """Return the texts that static/countdown.js shows."""
    return {
        "hours": pgettext("short for hours", "h"),
        "minutes": pgettext("short for minutes", "min"),
        "seconds": pgettext("short for seconds", "s"),
        "days": pgettext("short for days", "d"),
        "closed": pgettext("window", "closed"),
        "hours_left": _("The window closes in less than 4 hours."),
        "hour_left": _("The window closes in less than an hour."),
        "quarter_left": _("The window closes in less than 15 minutes."),
        "is_closed": _("The window is closed: only an approved template can be sent."),
    }


def format_duration(span: timedelta) -> str:
    """Format a time span: ``20 h``, below 4 hours ``3 h 12 min``, below an hour ``12 min``, below a minute ``5 s``."""
    seconds = int(span.total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if not hours and not minutes:
        return f"{seconds}{NBSP}{pgettext('short for seconds', 's')}"
    in_hours = f"{hours}{NBSP}{pgettext('short for hours', 'h')}" if hours else ""
    in_minutes = f"{minutes}{NBSP}{pgettext('short for minutes', 'min')}" if hours < 4 else ""
    return " ".join(filter(None, (in_hours, in_minutes)))


def format_waiting(span: timedelta) -> str:
    """Format how long a client has been waiting: ``12 min``, ``5 h``, from two days on ``3 d``."""
    minutes = max(int(span.total_seconds()) // 60, 0)
    if minutes >= 48 * 60:
        return f"{minutes // (24 * 60)}{NBSP}{pgettext('short for days', 'd')}"
    if minutes >= 60:
        return f"{minutes // 60}{NBSP}{pgettext('short for hours', 'h')}"
    return f"{minutes or '<1'}{NBSP}{pgettext('short for minutes', 'min')}"


def format_seconds(milliseconds: int) -> str:
    """Format milliseconds as ``1.2 s``, with the locale's decimal separator."""
    return f"{formats.number_format(milliseconds / 1000, 1)}{NBSP}{pgettext('short for seconds', 's')}"


def format_day(moment: datetime, *, now: datetime) -> str:
    """Format a day: ``today``, ``yesterday``, ``tomorrow``, or the date, with the year if it is not this year."""
    day, today = timezone.localtime(moment).date(), timezone.localtime(now).date()
    if day == today:
        return _("today")
    if day == today - timedelta(days=1):
        return _("yesterday")
    if day == today + timedelta(days=1):
        return _("tomorrow")
    return _format_date(day, "j E" if day.year == today.year else "j E Y", get_language())


def format_short_moment(moment: datetime, *, now: datetime) -> str:
    """Format the time for today, otherwise the day. Fits at the end of a row."""
    if timezone.localtime(moment).date() == timezone.localtime(now).date():
        return format_clock(moment)
    return format_day(moment, now=now)


def format_moment(moment: datetime, *, now: datetime) -> str:
    """Format as ``today, 14:02``."""
    return f"{format_day(moment, now=now)}, {format_clock(moment)}"


def format_exact_moment(moment: datetime, *, now: datetime) -> str:
    """Format as ``today, 14:02:07``."""
    return f"{format_day(moment, now=now)}, {timezone.localtime(moment).strftime('%H:%M:%S')}"


def format_clock(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%H:%M}"


def contact_name(contact: NamedContact) -> str:
    """Return the name, or the formatted phone, or an ID. Invisible names are ignored."""
    if contact.erased_at:
        return pgettext("client", "Erased")
    name = contact.name if is_visible(contact.name) else ""
    name = phone_visibility.visible_id(name, contact.api_channel_id) or contact_phone(contact)
    return name or contact_number(contact, contact.external_id) or contact.user_id or str(contact.pk)


def contact_initials(contact: NamedContact) -> str:
    return get_initials(contact.name, contact.phone)


def format_full(at: datetime) -> str:
    """Return weekday, date and time, for the title of a short time."""
    at = timezone.localtime(at)
    return f"{_format_date(at.date(), 'l, j E Y', get_language())}, {at:%H:%M}"


@lru_cache(maxsize=1000)
def _format_date(day: date, pattern: str, language: str | None) -> str:
    """Format in the active language. Cached, because a page shows the same days again and again."""
    return formats.date_format(day, pattern)


def contact_hue(contact: NamedContact) -> str:
    """Return the CSS class of the contact's color, which never changes. An erased contact has none."""
    return "" if contact.erased_at else f" hue-{contact.pk % HUES}"


def contact_phone(contact: NamedContact) -> str:
    """Return the phone for display: formatted, or masked if it is hidden from the user."""
    return contact_number(contact, contact.phone)


def contact_number(contact: NamedContact, number: str) -> str:
    """Return a phone or provider ID of the contact for display."""
    if phone_visibility.hides_phones(contact.api_channel_id):
        return phone_visibility.visible_id(number, contact.api_channel_id)
    return format_phone(number)


def format_phone(phone: str) -> str:
    """Format as ``+7 905 123-18-04``. Return the input unchanged if it is not a possible phone number."""
    if not phone:
        return ""
    try:
        number = phonenumbers.parse(phone if phone.startswith("+") else f"+{phone}")
    except phonenumbers.NumberParseException:
        return phone
    if not phonenumbers.is_possible_number(number):
        return phone
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def person_name(user: Any) -> str:
    """Return the user's full name, or the login."""
    return user.get_full_name() or user.get_username() if user else ""


def assignee_name(user: Any, conversation: Conversation) -> str:
    """Return the assignee's name. An external helpdesk's operator without a known name is shown by number."""
    helpdesk_chat = getattr(conversation, "helpdesk_chat", None)
    if user is not None or helpdesk_chat is None or not helpdesk_chat.assignee:
        return person_name(user)
    helpdesk = str(conversation.chat_channel.provider.label)
    connection = getattr(conversation.chat_channel, "helpdesk_connection", None)
    if connection is not None and (name := connection.operators.get(helpdesk_chat.assignee)):
        return f"{name} ({helpdesk})"
    return _("%(helpdesk)s: operator %(number)s") % {"helpdesk": helpdesk, "number": helpdesk_chat.assignee}


def name_initials(name: str) -> str:
    words: Sequence[str] = [word for word in name.replace("_", " ").split() if word[0].isalnum()]
    return "".join(word[0] for word in words[:2]).upper() or "·"
