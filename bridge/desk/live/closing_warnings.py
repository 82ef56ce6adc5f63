"""Warnings about closing windows for the open desk: toasts and browser notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.translation import ngettext

from bridge.conversations import availability, closing_reminders
from bridge.desk import notification_settings, presentation
from bridge.message_text import render_preview
from bridge.models import ClosingReminder, NotificationKind

from . import notifications

MAX_SHOWN = 4  # the rest is shown as a number


def warnings_json(pending: closing_reminders.PendingReminders, *, user: Any, now: datetime) -> dict[str, Any]:
    """Return what pages show. With ``is_quiet``, they make neither a sound nor a browser notification of it."""
    chosen = notification_settings.get_settings(user)
    is_disturbed = availability.get_chosen_status(user) != availability.Status.DND
    shown, remaining = pending.reminders[:MAX_SHOWN], len(pending.reminders) - MAX_SHOWN
    rest = (
        ngettext("%d more window closes soon.", "%d more windows close soon.", remaining) % remaining
        if remaining > 0
        else ""
    )
    return {
        "last": pending.last,
        "items": [_warning_json(warning, now=now) for warning in shown],
        "rest": rest,
        "is_quiet": NotificationKind.CLOSING in chosen.muted_kinds or not is_disturbed,
        "shows_text": chosen.shows_text,
    }


def _warning_json(warning: ClosingReminder, *, now: datetime) -> dict[str, Any]:
    conversation = warning.window.conversation
    name = presentation.contact_name(conversation.contact)
    return {
        "chat": conversation.pk,
        "key": f"c{warning.pk}",
        "title": notifications.closing_title(name, warning.expires_at - now),
        "text": render_preview(conversation.last_text),
        "url": reverse("chat", args=[conversation.pk]),
        "level": "critical" if warning.expires_at - now < presentation.CRITICAL_BELOW else "warning",
    }
