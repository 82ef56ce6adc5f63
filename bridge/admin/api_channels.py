"""Admin pages of API channels with the channel's activity, and of chat channels with the helpdesk's."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext

from bridge import wakeups
from bridge.channel_health import circuit_breaker
from bridge.helpdesk import chat_channel_admin as helpdesk_page
from channels_setup.admin import channel_page
from channels_setup.admin.channels import ApiChannelAdmin
from channels_setup.models import ApiChannel

from . import channel_stats
from .base import sees_all
from .retention_warnings import retention_warnings

admin.site.unregister(ApiChannel)

__all__ = ["helpdesk_page"]  # importing it registers the chat channel's page


def retry_deliveries_now(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    """Channel action: retry waiting deliveries now."""
    count = circuit_breaker.retry_waiting_now(channel.pk)
    if not count:
        messages.info(request, gettext("No deliveries are waiting for a retry."))
        return
    admin.log_change(request, channel, gettext("Immediate retry requested."))
    wakeups.notify_after_commit(wakeups.OUTBOUND)
    wakeups.notify_after_commit(wakeups.EVENTS)
    messages.success(request, gettext("Waiting deliveries are being retried in order. This page shows the results."))


@admin.register(ApiChannel)
class ApiChannelStatsAdmin(ApiChannelAdmin):
    """Admin of API channels with the channel's activity and statistics."""

    activity_template = "bridge/channel_activity.html"
    page_actions: ClassVar = channel_page.CHANNEL_ACTIONS | {"try-now": retry_deliveries_now}

    def warn(self, request: HttpRequest, channel: ApiChannel) -> None:
        super().warn(request, channel)
        for sentence in retention_warnings(channel):
            messages.warning(request, sentence)

    def activity_context(self, request: HttpRequest, channel: ApiChannel) -> dict[str, Any]:
        if not sees_all(request.user):  # errors of events may quote clients
            return super().activity_context(request, channel) | {"activity_template": ""}
        dead_letters_url = reverse("admin:bridge_deadletter_changelist")
        return {
            **super().activity_context(request, channel),
            "stats": channel_stats.collect_channel_stats(channel),
            "undelivered_url": f"{dead_letters_url}?api_channel__id__exact={channel.pk}",
        }
