"""Text of alert messages: what, where, since when, what to do, and a link. No clients' words and no phone numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge import alert_catalog
from bridge.channel_health import alerts
from bridge.models import Alert, AlertNotice
from channels_setup.models import AlertSeverity

MAX_LISTED = 8  # alerts written out in one message; the others are counted
MAX_LISTED_TEXT = 3_500  # characters of them: with subject and count, a message stays below Telegram's 4,096
MAX_SENTENCE = 300
Event = AlertNotice.Event


@dataclass(frozen=True, kw_only=True)
class AlertNews:
    """What is new about an alert: it was raised, or resolved."""

    alert: Alert
    event: str

    @property
    def severity(self) -> AlertSeverity:
        return alert_catalog.CATALOG[self.alert.kind].severity


def render_message(news: Sequence[AlertNews], *, language: str) -> dict[str, Any]:
    """Return the payload of an alert message: subject, text, and the facts for a program. Most severe first."""
    ordered = sorted(news, key=lambda item: (item.event == Event.RESOLVED, -item.severity.rank, item.alert.raised_at))
    with translation.override(language):
        parts = _render_parts(ordered[:MAX_LISTED])
        listed, others = ordered[: len(parts)], len(ordered) - len(parts)
        if others:
            more = ngettext("And %d more alert.", "And %d more alerts.", others) % others
            parts.append(f"{more}\n{build_url('admin:bridge_alert_changelist')}")
        return {
            "type": "alert.changed",
            "subject": _render_subject(ordered),
            "text": "\n\n".join(parts),
            "alerts": [_describe_facts(item) for item in listed],
            "others": others,
        }


def render_test(name: str, *, language: str) -> dict[str, Any]:
    """Return the payload of a test message."""
    with translation.override(language):
        subject = _("Test message of the alert route “%(name)s”") % {"name": name}
        text = _("If you can read this, alerts of %(portal)s arrive here.") % {"portal": settings.PUBLIC_URL}
        return {"type": "alert.test", "subject": subject, "text": text, "alerts": [], "others": 0}


def _render_subject(news: Sequence[AlertNews]) -> str:
    if len(news) == 1:
        return render_title(news[0])
    raised = sum(item.event == Event.RAISED for item in news)
    if raised:
        sentence = ngettext("%(count)d new alert, %(severity)s", "%(count)d new alerts, at most %(severity)s", raised)
        worst = max((item.severity for item in news if item.event == Event.RAISED), key=lambda each: each.rank)
        return sentence % {"count": raised, "severity": worst.label}
    return ngettext("%d alert is resolved", "%d alerts are resolved", len(news)) % len(news)


def render_title(item: AlertNews) -> str:
    """Return one line: severity or “resolved”, what, and where."""
    alert = item.alert
    state = _("Resolved") if item.event == Event.RESOLVED else str(item.severity.label).capitalize()
    where = alert.api_channel.name if alert.api_channel else str(alert.details.get("name") or "")
    what = str(alert.get_kind_display())
    return f"{state}: {what} ({where})" if where else f"{state}: {what}"


def _render_parts(news: Sequence[AlertNews]) -> list[str]:
    """Write out as many alerts as fit in a message, and at least one."""
    parts: list[str] = []
    for item in news:
        part = _render_part(item)
        if parts and sum(map(len, parts)) + len(part) > MAX_LISTED_TEXT:
            break
        parts.append(part)
    return parts


def _render_part(item: AlertNews) -> str:
    alert = item.alert
    lines = [render_title(item)]
    if item.event == Event.RESOLVED:
        lasted = _format_duration((alert.settled_at or timezone.now()) - alert.raised_at)
        lines.append(_("Since %(since)s, lasted %(lasted)s.") % {"since": _format(alert.raised_at), "lasted": lasted})
    else:
        lines += [_cut(alerts.describe_alert(alert)), _("Since %(since)s.") % {"since": _format(alert.raised_at)}]
        lines.append(_("What to do: %(action)s") % {"action": alert_catalog.CATALOG[alert.kind].action})
    return "\n".join([*lines, build_url("admin:bridge_alert_change", alert.pk)])


def _describe_facts(item: AlertNews) -> dict[str, Any]:
    alert = item.alert
    return {
        "id": alert.pk,
        "kind": alert.kind,
        "event": item.event,
        "severity": item.severity.value,
        "title": render_title(item),
        "sentence": _cut(alerts.describe_alert(alert)),
        "action": str(alert_catalog.CATALOG[alert.kind].action),
        "api_channel": {"id": alert.api_channel.pk, "name": alert.api_channel.name} if alert.api_channel else None,
        "raised_at": alert.raised_at.isoformat(),
        "resolved_at": alert.settled_at.isoformat() if alert.settled_at else None,
        "url": build_url("admin:bridge_alert_change", alert.pk),
    }


def build_url(name: str, *args: object) -> str:
    return settings.PUBLIC_URL.rstrip("/") + reverse(name, args=args)


def _cut(text: str) -> str:
    return Truncator(text).chars(MAX_SENTENCE)


def _format(moment: datetime) -> str:
    return f"{date_format(timezone.localtime(moment), 'DATETIME_FORMAT')} ({settings.TIME_ZONE})"


def _format_duration(lasted: timedelta) -> str:
    minutes = max(round(lasted / timedelta(minutes=1)), 1)
    if minutes < 120:
        return _("%(count)d min") % {"count": minutes}
    return _("%(count)d h") % {"count": round(minutes / 60)}
