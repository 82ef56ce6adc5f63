"""Start page: the setup checklist and warnings for admins. Operators are redirected to the desk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge import alert_catalog
from bridge.channel_health import alerts
from bridge.maintenance import housekeeping
from bridge.models import Alert, Delivery, WebhookEvent
from channels_setup import permissions
from channels_setup.admin import account_status
from channels_setup.models import ApiChannel, ChannelState, ChatChannel
from channels_setup.onboarding import CURRENT, DONE, PENDING, PROBLEM
from templates_registry import history
from templates_registry.models import TemplateEvent

from . import channel_stats

EDIT_CHANNELS = "channels_setup.change_apichannel"
STALE_SECONDS = 60  # a component without a heartbeat for this long is not running
MAX_ALERTS = 5
CATEGORY_WARNING_PERIOD = timedelta(days=7)  # how long the start page shows a category change
MAX_NAMES = 3  # further names are counted


# Functions of apps above this one that return further warnings.
WARNING_SOURCES: list[Callable[[], list[dict[str, str]]]] = []


@dataclass(frozen=True, kw_only=True)
class ChecklistItem:
    """One item of the checklist. Its link leads to the page where the step is done or can be checked."""

    title: str
    note: str = ""
    url: str
    at: datetime | None = None
    state: str = PENDING


@login_required
def show_start_page(request: HttpRequest) -> HttpResponse:
    """Show the setup checklist and the warnings to admins. Others go to the desk, or to the admin site."""
    user: Any = request.user
    if not (user.has_perm(permissions.VIEW_ALL_CHATS) and user.has_perm(EDIT_CHANNELS)):
        return redirect("chats" if user.has_perm(permissions.VIEW_CHATS) or not user.is_staff else "admin:index")
    channels = list(ApiChannel.objects.unarchived().prefetch_related("watched", "handovers"))
    items = build_checklist(channels)
    return render(
        request,
        "bridge/start.html",
        {
            "items": items,
            "done": sum(item.state == DONE for item in items),
            "warnings": list_warnings(channels),
            "phone_channels": [channel for channel in channels if channel.phone_page_path],
            "section": "start",
        },
    )


def build_checklist(channels: list[ApiChannel]) -> list[ChecklistItem]:
    """Return the checklist in order. The first pending item becomes the current one, unless there is a problem."""
    items = [_build_chat_channels_item(), _build_api_channels_item(channels)]
    if external := [channel for channel in channels if not channel.provider.has_training_phone]:
        items.append(_build_handover_item(external))
    items += [_build_first_message_item(channels), _build_first_reply_item(channels), _build_operators_item()]
    if not any(item.state == PROBLEM for item in items):
        for index, item in enumerate(items):
            if item.state == PENDING:
                items[index] = replace(item, state=CURRENT)
                break
    return items


def _build_chat_channels_item() -> ChecklistItem:
    channels = list(ChatChannel.objects.order_by("id"))
    if not channels:
        return ChecklistItem(
            title=_("Create a chat channel"),
            note=_("Chats arrive here. Its number is the chat ID that the provider needs."),
            url=reverse("admin:channels_setup_chatchannel_add"),
        )
    return ChecklistItem(
        title=ngettext("%d chat channel", "%d chat channels", len(channels)) % len(channels),
        note=_join_names([_("“%(name)s”, chat ID %(id)d") % {"name": each.name, "id": each.pk} for each in channels]),
        url=_build_list_url("channels_setup_chatchannel", channels),
        at=channels[0].created_at,
        state=DONE,
    )


def _build_api_channels_item(channels: list[ApiChannel]) -> ChecklistItem:
    if not channels:
        return ChecklistItem(
            title=_("Add an API channel"),
            note=_("The WhatsApp account: provider, Redirect URL, watched chat channels, tracked events."),
            url=reverse("admin:channels_setup_apichannel_add"),
        )
    return ChecklistItem(
        title=ngettext("%d API channel", "%d API channels", len(channels)) % len(channels),
        note=_join_names([f"{_quote_name(channel)}: {channel.get_state_display()}" for channel in channels]),
        url=_build_list_url("channels_setup_apichannel", channels),
        at=min(channel.created_at for channel in channels),
        state=DONE,
    )


def _build_handover_item(channels: list[ApiChannel]) -> ChecklistItem:
    missing = [channel for channel in channels if not _is_handed_over(channel)]
    if missing:
        return ChecklistItem(
            title=_("Give the key and the chat ID to the provider"),
            note=_join_names([_quote_name(channel) for channel in missing]),
            url=_build_list_url("channels_setup_apichannel", missing),
        )
    times = [h.opened_at for channel in channels for h in channel.handovers.all() if h.opened_at]
    return ChecklistItem(
        title=_("The provider has the key and the chat ID"),
        url=_build_list_url("channels_setup_apichannel", channels),
        at=min(times, default=None),
        state=DONE,
    )


def _is_handed_over(channel: ApiChannel) -> bool:
    return channel.first_inbound_at is not None or any(handover.opened_at for handover in channel.handovers.all())


def _build_first_message_item(channels: list[ApiChannel]) -> ChecklistItem:
    times = [channel.first_inbound_at for channel in channels if channel.first_inbound_at]
    url = reverse("admin:bridge_webhookevent_changelist")
    if not times:
        return ChecklistItem(title=_("No message from a client yet"), note=_("Write to the WhatsApp number."), url=url)
    return ChecklistItem(title=_("First message from a client"), url=url, at=min(times), state=DONE)


def _build_first_reply_item(channels: list[ApiChannel]) -> ChecklistItem:
    times = [channel.first_outbound_at for channel in channels if channel.first_outbound_at]
    url = reverse("admin:bridge_delivery_changelist")
    if not times:
        return ChecklistItem(title=_("No reply to a client yet"), note=_("Reply in Chats."), url=url)
    return ChecklistItem(title=_("First reply to a client"), url=url, at=min(times), state=DONE)


def _build_operators_item() -> ChecklistItem:
    operators = Count("operators", filter=Q(operators__is_active=True))
    channels = list(ChatChannel.objects.annotate(active_operators=operators).order_by("id"))
    unassigned = [channel for channel in channels if not channel.active_operators]
    if unassigned or not channels:
        return ChecklistItem(
            title=_("Assign operators to the chat channels"),
            note=_("Only admins can see the chats of: %(names)s.")
            % {"names": _join_names([_quote_name(channel) for channel in unassigned])}
            if unassigned
            else _("Operators see the chats of their channels."),
            url=_build_list_url("channels_setup_chatchannel", unassigned),
        )
    count = ChatChannel.operators.through.objects.values("user").distinct().count()
    return ChecklistItem(
        title=ngettext("%d operator", "%d operators", count) % count,
        note=_("Every chat channel has an operator."),
        url=reverse("admin:accounts_user_changelist"),
        state=DONE,
    )


def _quote_name(channel: ApiChannel | ChatChannel) -> str:
    return _("“%(name)s”") % {"name": channel.name}


def _join_names(names: list[str]) -> str:
    shown = "; ".join(names[:MAX_NAMES])
    return (
        shown
        if len(names) <= MAX_NAMES
        else _("%(shown)s and %(more)d more") % {"shown": shown, "more": len(names) - MAX_NAMES}
    )


def _build_list_url(name: str, rows: list[Any]) -> str:
    """Return the URL of the only row's page, or of the list."""
    if len(rows) == 1:
        return reverse(f"admin:{name}_change", args=[rows[0].pk])
    return reverse(f"admin:{name}_changelist")


def _build_channel_url(channel_id: int) -> str:
    return reverse("admin:channels_setup_apichannel_change", args=[channel_id])


def _build_alert_url(alert: Alert) -> str:
    """Return the URL of the list or row that the alert is about, or of its channel."""
    if alert.kind in (Alert.Kind.MISMATCH, Alert.Kind.UNCONFIRMED):
        return reverse("admin:bridge_mismatch_changelist") + f"?api_channel__id__exact={alert.api_channel_id}"
    if alert.kind in (Alert.Kind.UNROUTED, Alert.Kind.GROUPS):
        return alerts.build_events_url(alert)
    if alert.delivery_id:
        return reverse("admin:bridge_delivery_change", args=[alert.delivery_id])
    if alert.api_channel_id is None:
        return reverse("admin:bridge_alert_change", args=[alert.pk])
    return _build_channel_url(alert.api_channel_id)


def list_warnings(channels: list[ApiChannel]) -> list[dict[str, str]]:
    """Return sentences about urgent problems, each with the URL of the page to look at."""
    by_severity = channel_stats.find_open_alerts().annotate(is_critical=alert_catalog.IS_CRITICAL)
    open_alerts = list(by_severity.order_by("-is_critical", "-raised_at")[:MAX_ALERTS])
    warnings = [{"sentence": alerts.describe_alert(alert), "url": _build_alert_url(alert)} for alert in open_alerts]
    more = channel_stats.find_open_alerts().count() - MAX_ALERTS if len(open_alerts) == MAX_ALERTS else 0
    if more:
        sentence = ngettext("And %d more alert.", "And %d more alerts.", more) % more
        warnings.append({"sentence": sentence, "url": reverse("admin:bridge_alert_changelist") + "?state=open"})
    urls = {warning["url"] for warning in warnings}
    for channel in channels:
        why = channel_stats.describe_last_error(channel)
        is_in_alerts = any(
            alert.api_channel_id == channel.pk and why in alerts.describe_alert(alert) for alert in open_alerts
        )
        url = _build_channel_url(channel.pk)
        if channel.state == ChannelState.FAILING and not is_in_alerts and url not in urls:
            sentence = _("“%(name)s” is failing: %(why)s") % {"name": channel.name, "why": why}
            warnings.append({"sentence": sentence, "url": url})
    warnings += [*_list_account_warnings(channels), *_list_category_warnings()]
    dead = Delivery.objects.filter(state=Delivery.State.DEAD, alert_route=None)[: channel_stats.COUNT_LIMIT].count()
    if dead:
        sentence = ngettext("%d delivery failed.", "%d deliveries failed.", dead) % dead
        warnings.append({"sentence": sentence, "url": reverse("admin:bridge_deadletter_changelist") + "?state=dead"})
    failed = WebhookEvent.objects.filter(state=WebhookEvent.State.FAILED)[: channel_stats.COUNT_LIMIT].count()
    if failed:
        sentence = ngettext("%d event could not be read.", "%d events could not be read.", failed) % failed
        warnings.append(
            {"sentence": sentence, "url": reverse("admin:bridge_webhookevent_changelist") + "?state=failed"}
        )
    ages = housekeeping.get_heartbeat_ages()
    if ages.get("beat", STALE_SECONDS + 1) > STALE_SECONDS:
        warnings.append(
            {
                "sentence": _("The scheduler (Celery beat) is not running: windows do not close and retries wait."),
                "url": reverse("admin:bridge_heartbeat_changelist"),
            }
        )
    warnings += [warning for source in WARNING_SOURCES for warning in source()]
    if settings.RELAY_ALLOWED_PRIVATE_CIDRS:
        networks = ", ".join(settings.RELAY_ALLOWED_PRIVATE_CIDRS)
        sentence = _(
            "A Redirect URL may point to private addresses: %(networks)s. "
            "This is fine on your own machine but unsafe in production."
        )
        warnings.append({"sentence": sentence % {"networks": networks}, "url": ""})
    return warnings


def _list_account_warnings(channels: list[ApiChannel]) -> list[dict[str, str]]:
    """Return warnings about problems that providers report, until an admin checks the connection."""
    problems = [(channel, problem) for channel in channels if (problem := account_status.find_latest_problem(channel))]
    sentence = _("“%(name)s”: %(news)s Press “Check the connection” to see the account status.")
    return [
        {"sentence": sentence % {"name": channel.name, "news": problem.sentence}, "url": _build_channel_url(channel.pk)}
        for channel, problem in problems
    ]


def _list_category_warnings() -> list[dict[str, str]]:
    since = timezone.now() - CATEGORY_WARNING_PERIOD
    events = TemplateEvent.objects.filter(
        pk__gte=channel_stats.find_first_id_since(TemplateEvent, "at", since),
        kind__in=history.CATEGORY_EVENTS,
        at__gte=since,
    )
    moves = history.category_moves(events.select_related("template"))
    if len(moves) > MAX_NAMES:
        sentence = ngettext(
            "The provider has moved or will move %d template to another category, which changes its price.",
            "The provider has moved or will move %d templates to another category, which changes their price.",
            len(moves),
        )
        return [{"sentence": sentence % len(moves), "url": reverse("admin:templates_registry_template_changelist")}]
    page = "admin:templates_registry_template_change"
    return [{"sentence": sentence, "url": reverse(page, args=[template.pk])} for template, sentence in moves.items()]
