"""Admin pages of alerts: what is wrong, since when, who has seen it, and what to do."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from bridge import alert_catalog, outcomes
from bridge.channel_health import alerts
from bridge.models import Alert, AlertNotice, Mismatch, WebhookEvent
from bridge.outcomes import SuggestedAction
from channels_setup.models import AlertSeverity

from .base import (
    ChoiceFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    field_column,
    format_moment,
    render_link,
    render_pill,
)

SEVERITY_PILLS = {AlertSeverity.INFO: "new", AlertSeverity.WARNING: "paused", AlertSeverity.CRITICAL: "failing"}


class AlertStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    options = {
        "open": (_("Open"), lambda rows: rows.filter(settled_at=None)),
        "unseen": (_("Open and not acknowledged"), lambda rows: rows.filter(settled_at=None, acknowledged_at=None)),
        "resolved": (_("Resolved"), lambda rows: rows.exclude(settled_at=None)),
    }


def _filter_severity(severity: AlertSeverity, rows: QuerySet[Alert]) -> QuerySet[Alert]:
    kinds = [kind for kind, definition in alert_catalog.CATALOG.items() if definition.severity == severity]
    return rows.filter(kind__in=kinds)


class SeverityFilter(ChoiceFilter):
    title = _("severity")
    parameter_name = "severity"
    options = {
        severity.value: (severity.label, partial(_filter_severity, severity)) for severity in reversed(AlertSeverity)
    }


class NoticeInline(ReadOnlyInline):
    """Routes that were notified of the alert."""

    model = AlertNotice
    fields = readonly_fields = ("route_link", "event", "sent")
    ordering = ("pk",)
    verbose_name_plural = _("told by")

    sent = field_column("delivery__finished_at", _("sent"))

    @admin.display(description=_("alert route"))
    def route_link(self, notice: AlertNotice) -> SafeString | str:
        return render_link(notice.route)


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("id", "severity", "raised", "sentence", "state_shown", "opened")
    list_display_links = ("id", "raised")
    list_select_related = ("api_channel", "opened_by", "acknowledged_by")
    list_filter = (AlertStateFilter, SeverityFilter)
    search_fields = ()
    fields = readonly_fields = (
        *("severity", "raised", "sentence", "what_to_do", "action_link", "delivery_shown"),
        *("state_shown", "opened", "acknowledged", "resolved"),
    )
    inlines = (NoticeInline,)
    buttons = {"acknowledge": (_("Acknowledge"), "acknowledge_selected")}

    raised = field_column("raised_at", _("since"))
    resolved = field_column("settled_at", _("resolved"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the page. The first look is recorded: it ends the escalation."""
        alert = self.get_object(request, object_id)
        if alert is not None and request.method == "GET" and self.has_view_permission(request, alert):
            alerts.mark_opened(alert, by=request.user)
        return super().change_view(request, object_id, form_url, extra_context)

    def is_button_available(self, name: str, row: Any) -> bool:
        return row.settled_at is None and row.acknowledged_at is None

    def acknowledge_selected(self, request: HttpRequest, rows: QuerySet[Alert]) -> tuple[int, str]:
        found = list(rows.filter(settled_at=None, acknowledged_at=None))
        for alert in found:
            alerts.mark_opened(alert, by=request.user, acknowledge=True)
        if not found:
            return messages.WARNING, gettext("Only open alerts that nobody has acknowledged can be acknowledged.")
        return messages.SUCCESS, ngettext("%d alert is acknowledged.", "%d alerts are acknowledged.", len(found)) % len(
            found
        )

    @admin.display(description=_("severity"))
    def severity(self, alert: Alert) -> SafeString:
        severity = alert_catalog.CATALOG[alert.kind].severity
        return render_pill(SEVERITY_PILLS[severity], severity.label)

    @admin.display(description=_("alert"))
    def sentence(self, alert: Alert) -> str:
        return alerts.describe_alert(alert)

    @admin.display(description=_("what to do"))
    def what_to_do(self, alert: Alert) -> str:
        return str(alert_catalog.CATALOG[alert.kind].action)

    @admin.display(description=_("state"))
    def state_shown(self, alert: Alert) -> SafeString:
        if alert.settled_at is not None:
            return render_pill("delivered", _("resolved"))
        if alert.acknowledged_at is not None:
            return render_pill("pending", _("acknowledged"))
        return render_pill("paused", _("open"))

    @admin.display(description=_("opened by"))
    def opened(self, alert: Alert) -> SafeString | str:
        return _render_person(alert.opened_by, alert.opened_at)

    @admin.display(description=_("acknowledged by"))
    def acknowledged(self, alert: Alert) -> SafeString | str:
        return _render_person(alert.acknowledged_by, alert.acknowledged_at)

    @admin.display(description=_("page"))
    def action_link(self, alert: Alert) -> SafeString | str:
        action = outcomes.suggest_action(str(alert.details.get("why_code", "")), for_admin=True)
        if action == SuggestedAction.RESEND and alert.delivery:
            return render_link(alert.delivery, action.label)
        if alert.kind in (Alert.Kind.MISMATCH, Alert.Kind.UNCONFIRMED):
            url = reverse("admin:bridge_mismatch_changelist")
            query = f"?api_channel__id__exact={alert.api_channel_id}"
            return _render_page_link(url + query, Mismatch._meta.verbose_name_plural)
        if alert.kind in (Alert.Kind.UNROUTED, Alert.Kind.GROUPS):
            return _render_page_link(alerts.build_events_url(alert), WebhookEvent._meta.verbose_name_plural)
        if alert.api_channel is None:
            return _link_subject(alert)
        return render_link(
            alert.api_channel, (action if action == SuggestedAction.RESUME else SuggestedAction.CHANNEL).label
        )

    @admin.display(description=_("delivery"))
    def delivery_shown(self, alert: Alert) -> SafeString | str:
        return render_link(alert.delivery)


def _link_subject(alert: Alert) -> SafeString | str:
    """Return a link to the page where an alert of the portal as a whole can be looked into."""
    lists = {
        Alert.Kind.EVENTS_FAILED: ("bridge_webhookevent_changelist", "?state=failed", _("webhook events")),
        Alert.Kind.INBOX_LATE: ("bridge_webhookevent_changelist", "?state=new", _("webhook events")),
        Alert.Kind.DEAD_LETTERS: ("bridge_deadletter_changelist", "?state=dead", _("dead letters")),
        Alert.Kind.COMPONENT_STOPPED: ("bridge_heartbeat_changelist", "", _("heartbeats")),
    }
    if alert.kind in lists:
        name, query, label = lists[Alert.Kind(alert.kind)]
        return _render_page_link(reverse(f"admin:{name}") + query, label)
    pages = {
        Alert.Kind.ROUTE_FAILING: ("channels_setup_alertroute_change", _("Open the alert route")),
        Alert.Kind.HELPDESK_DOWN: ("channels_setup_chatchannel_change", _("Open the chat channel")),
    }
    if alert.kind in pages:
        name, label = pages[Alert.Kind(alert.kind)]
        return _render_page_link(reverse(f"admin:{name}", args=[alert.subject]), label)
    return "–"


def _render_page_link(url: str, label: object) -> SafeString:
    return format_html('<a class="to" href="{}">{}</a>', url, label)


def _render_person(person: Any, at: Any) -> SafeString | str:
    if at is None:
        return "–"
    return format_html("{} {}", person if person is not None else gettext("deleted user"), format_moment(at))
