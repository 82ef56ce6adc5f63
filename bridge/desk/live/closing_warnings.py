"""Warnings about closing windows for the open desk: toasts and browser notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge.conversations import closing_reminders
from bridge.desk import presentation
from bridge.message_text import render_preview
from bridge.models import ClosingReminder

MAX_SHOWN = 4  # the rest is shown as a number


def warnings_json(pending: closing_reminders.PendingReminders, *, now: datetime) -> dict[str, Any]:
    shown, remaining = pending.reminders[:MAX_SHOWN], len(pending.reminders) - MAX_SHOWN
    rest = (
        ngettext("%d more window closes soon.", "%d more windows close soon.", remaining) % remaining
        if remaining > 0
        else ""
    )
    return {"last": pending.last, "items": [_warning_json(warning, now=now) for warning in shown], "rest": rest}


def _warning_json(warning: ClosingReminder, *, now: datetime) -> dict[str, Any]:
    conversation = warning.window.conversation
    name = presentation.contact_name(conversation.contact)
    left = presentation.format_duration(warning.expires_at - now)
    return {
        "chat": conversation.pk,
        "title": _("%(name)s: the window closes in %(left)s") % {"name": name, "left": left},
        "text": render_preview(conversation.last_text),
        "url": reverse("chat", args=[conversation.pk]),
        "level": "critical" if warning.expires_at - now < presentation.CRITICAL_BELOW else "warning",
    }
