"""The page after login: for operators the desk, for admins what is set up so far and what proves it."""

from __future__ import annotations

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

from bridge.channel_health import alerts
from bridge.maintenance import housekeeping
from bridge.models import Alert, Delivery, WebhookEvent
from channels_setup.admin import account_status
from channels_setup.models import ApiChannel, ChannelState, ChatChannel
from channels_setup.onboarding import CURRENT, DONE, PENDING, PROBLEM
from templates_registry import history
from templates_registry.models import TemplateEvent

from . import channel_stats

STALE_SECONDS = 60  # a part that has not shown itself for so long is not at work
MAX_ALERTS = 5
CATEGORY_WARNING_PERIOD = timedelta(days=7)  # how long a category change stays on the start page
MAX_NAMES = 3  # as many names a line says; the rest as a number


@dataclass(frozen=True, kw_only=True)
class ChecklistItem:
    """One line of the check list, leading to where it is done or proved."""

    title: str
    note: str = ""
    url: str
    at: datetime | None = None
    state: str = PENDING


@login_required
def show_start_page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("channels_setup.change_apichannel"):
        return redirect("chats")
    channels = list(ApiChannel.objects.prefetch_related("watched", "handovers"))
    lines = setup_checklist(channels)
    return render(
        request,
        "bridge/start.html",
        {
            "lines": lines,
            "done": sum(line.state == DONE for line in lines),
            "warnings": admin_warnings(channels),
            "phones": [channel for channel in channels if channel.phone_page_path],
            "section": "start",
        },
    )


def setup_checklist(channels: list[ApiChannel]) -> list[ChecklistItem]:
    """Set-up in its order. The first line that waits is what to do ``now``."""
    lines = [_chat_channels_item(), _api_channels_item(channels)]
    if outside := [channel for channel in channels if not channel.provider.has_training_phone]:
        lines.append(_handover_item(outside))
    lines += [_first_message_item(channels), _first_reply_item(channels), _operators_item()]
    if not any(line.state == PROBLEM for line in lines):
        for place, line in enumerate(lines):
            if line.state == PENDING:
                lines[place] = replace(line, state=CURRENT)
                break
    return lines


def _chat_channels_item() -> ChecklistItem:
    found = list(ChatChannel.objects.order_by("id"))
    if not found:
        return ChecklistItem(
            title=_("Create a chat channel"),
            note=_("Chats arrive here. Its number is the chat ID that the provider needs."),
            url=reverse("admin:channels_setup_chatchannel_add"),
        )
    return ChecklistItem(
        title=ngettext("%d chat channel", "%d chat channels", len(found)) % len(found),
        note=_join_names([_("“%(name)s”, chat ID %(id)d") % {"name": each.name, "id": each.pk} for each in found]),
        url=_list_or_one("channels_setup_chatchannel", found),
        at=found[0].created_at,
        state=DONE,
    )


def _api_channels_item(channels: list[ApiChannel]) -> ChecklistItem:
    if not channels:
        return ChecklistItem(
            title=_("Add an API channel"),
            note=_("The WhatsApp account: provider, Redirect URL, watched chat channels, tracked events."),
            url=reverse("admin:channels_setup_apichannel_add"),
        )
    return ChecklistItem(
        title=ngettext("%d API channel", "%d API channels", len(channels)) % len(channels),
        note=_join_names([f"{_quote_name(channel)}: {channel.get_state_display()}" for channel in channels]),
        url=_list_or_one("channels_setup_apichannel", channels),
        at=min(channel.created_at for channel in channels),
        state=DONE,
    )


def _handover_item(channels: list[ApiChannel]) -> ChecklistItem:
    missing = [channel for channel in channels if not _is_handed_over(channel)]
    if missing:
        return ChecklistItem(
            title=_("Give the key and the chat ID to the provider"),
            note=_join_names([_quote_name(channel) for channel in missing]),
            url=_list_or_one("channels_setup_apichannel", missing),
        )
    times = [h.opened_at for channel in channels for h in channel.handovers.all() if h.opened_at]
    return ChecklistItem(
        title=_("The provider has the key and the chat ID"),
        url=_list_or_one("channels_setup_apichannel", channels),
        at=min(times, default=None),
        state=DONE,
    )


def _is_handed_over(channel: ApiChannel) -> bool:
    return channel.first_inbound_at is not None or any(handover.opened_at for handover in channel.handovers.all())


def _first_message_item(channels: list[ApiChannel]) -> ChecklistItem:
    times = [channel.first_inbound_at for channel in channels if channel.first_inbound_at]
    events = reverse("admin:bridge_webhookevent_changelist")
    if not times:
        return ChecklistItem(
            title=_("No message from a client yet"), note=_("Write to the WhatsApp number."), url=events
        )
    return ChecklistItem(title=_("First message from a client"), url=events, at=min(times), state=DONE)


def _first_reply_item(channels: list[ApiChannel]) -> ChecklistItem:
    times = [channel.first_outbound_at for channel in channels if channel.first_outbound_at]
    deliveries = reverse("admin:bridge_delivery_changelist")
    if not times:
        return ChecklistItem(title=_("No reply to a client yet"), note=_("Reply in Chats."), url=deliveries)
    return ChecklistItem(title=_("First reply to a client"), url=deliveries, at=min(times), state=DONE)


def _operators_item() -> ChecklistItem:
    active = Count("operators", filter=Q(operators__is_active=True))
    staffed = list(ChatChannel.objects.annotate(staff=active).order_by("id"))
    empty = [channel for channel in staffed if not channel.staff]
    if empty or not staffed:
        return ChecklistItem(
            title=_("Assign operators to the chat channels"),
            note=_("Only admins can see the chats of: %(names)s.")
            % {"names": _join_names([_quote_name(c) for c in empty])}
            if empty
            else _("Operators see the chats of their channels."),
            url=_list_or_one("channels_setup_chatchannel", empty),
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


def _join_names(words: list[str]) -> str:
    shown = "; ".join(words[:MAX_NAMES])
    return (
        shown
        if len(words) <= MAX_NAMES
        else _("%(shown)s and %(more)d more") % {"shown": shown, "more": len(words) - MAX_NAMES}
    )


def _list_or_one(name: str, rows: list[Any]) -> str:
    """The one row's page, or the list."""
    if len(rows) == 1:
        return reverse(f"admin:{name}_change", args=[rows[0].pk])
    return reverse(f"admin:{name}_changelist")


def _channel_url(channel_id: int) -> str:
    return reverse("admin:channels_setup_apichannel_change", args=[channel_id])


def _alert_url(alert: Alert) -> str:
    """Where what the alert tells of is listed, else its channel."""
    if alert.kind in (Alert.Kind.MISMATCH, Alert.Kind.UNCONFIRMED):
        return reverse("admin:bridge_mismatch_changelist") + f"?api_channel__id__exact={alert.api_channel_id}"
    if alert.kind in (Alert.Kind.UNROUTED, Alert.Kind.GROUPS):
        return alerts.build_events_url(alert)
    if alert.delivery_id:
        return reverse("admin:bridge_delivery_change", args=[alert.delivery_id])
    return _channel_url(alert.api_channel_id)


def admin_warnings(channels: list[ApiChannel]) -> list[dict[str, str]]:
    """What an admin should know at once; each with the page where to look."""
    standing = list(channel_stats.open_alerts()[:MAX_ALERTS])
    found = [{"sentence": alerts.describe_alert(alert), "url": _alert_url(alert)} for alert in standing]
    told = {warning["url"] for warning in found}
    for channel in channels:
        why = channel_stats.last_error(channel)
        is_told = any(alert.api_channel_id == channel.pk and why in alerts.describe_alert(alert) for alert in standing)
        if channel.state == ChannelState.FAILING and not is_told and _channel_url(channel.pk) not in told:
            sentence = _("“%(name)s” is failing: %(why)s") % {"name": channel.name, "why": why}
            found.append({"sentence": sentence, "url": _channel_url(channel.pk)})
    found += [*_account_warnings(channels), *_category_warnings()]
    dead = Delivery.objects.filter(state=Delivery.State.DEAD)[: channel_stats.COUNT_LIMIT].count()
    if dead:
        sentence = ngettext("%d delivery failed.", "%d deliveries failed.", dead) % dead
        found.append({"sentence": sentence, "url": reverse("admin:bridge_deadletter_changelist") + "?which=dead"})
    failed = WebhookEvent.objects.filter(state=WebhookEvent.State.FAILED)[: channel_stats.COUNT_LIMIT].count()
    if failed:
        sentence = ngettext("%d event could not be read.", "%d events could not be read.", failed) % failed
        found.append({"sentence": sentence, "url": reverse("admin:bridge_webhookevent_changelist") + "?state=failed"})
    beats = housekeeping.get_heartbeat_ages()
    if beats.get("beat", STALE_SECONDS + 1) > STALE_SECONDS:
        found.append(
            {
                "sentence": _("The scheduler (Celery beat) is not running: windows do not close and retries wait."),
                "url": reverse("admin:bridge_heartbeat_changelist"),
            }
        )
    if settings.RELAY_ALLOWED_PRIVATE_CIDRS:
        listed = ", ".join(settings.RELAY_ALLOWED_PRIVATE_CIDRS)
        sentence = _(
            "A Redirect URL may point to private addresses: %(networks)s. "
            "This is fine on your own machine but unsafe in production."
        )
        found.append({"sentence": sentence % {"networks": listed}, "url": ""})
    return found


def _account_warnings(channels: list[ApiChannel]) -> list[dict[str, str]]:
    """What providers say of the accounts and their numbers, until somebody has looked."""
    told = [(channel, news) for channel in channels if (news := account_status.latest_problem(channel))]
    sentence = _("“%(name)s”: %(news)s Press “Check the connection” to see the account status.")
    return [
        {"sentence": sentence % {"name": channel.name, "news": news.sentence}, "url": _channel_url(channel.pk)}
        for channel, news in told
    ]


def _category_warnings() -> list[dict[str, str]]:
    since = timezone.now() - CATEGORY_WARNING_PERIOD
    events = TemplateEvent.objects.filter(
        pk__gte=channel_stats.first_id_since(TemplateEvent, "at", since),
        what__in=history.CATEGORY_EVENTS,
        at__gte=since,
    )
    moved = history.category_moves(events.select_related("template"))
    if len(moved) > MAX_NAMES:
        sentence = ngettext(
            "The provider has moved or will move %d template to another category, which changes its price.",
            "The provider has moved or will move %d templates to another category, which changes their price.",
            len(moved),
        )
        return [{"sentence": sentence % len(moved), "url": reverse("admin:templates_registry_template_changelist")}]
    page = "admin:templates_registry_template_change"
    return [{"sentence": sentence, "url": reverse(page, args=[each.pk])} for each, sentence in moved.items()]
