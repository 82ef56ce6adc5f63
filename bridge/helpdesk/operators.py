"""The names of an outside helpdesk's operators: its events tell numbers only.

Asked for when a number comes that has no name yet, and seldom. A courtesy, tried once: until it is known, the number
is shown.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from bridge import wakeups
from bridge.models import HelpdeskConnection
from channels_setup import http_client
from channels_setup.models import ChatChannel
from channels_setup.providers.base import ApiResponse

logger = logging.getLogger(__name__)

FETCH_INTERVAL = timedelta(minutes=10)


def request_operator_names(connection: HelpdeskConnection, number: str) -> None:
    """Somebody answers there. Whoever is not known by name is asked for, unless everybody was a moment ago."""
    is_due = (
        connection.operators_fetched_at is None or timezone.now() - connection.operators_fetched_at >= FETCH_INTERVAL
    )
    if number and number not in connection.operators and is_due:
        wakeups.enqueue_after_commit("fetch_operator_names", connection.pk)


def fetch_operator_names(chat_channel_id: int) -> int:
    """Ask for all of them; how many names are known now."""
    now = timezone.now()
    connection = HelpdeskConnection.objects.filter(pk=chat_channel_id)
    if not connection.filter(Q(operators_fetched_at=None) | Q(operators_fetched_at__lte=now - FETCH_INTERVAL)).update(
        operators_fetched_at=now
    ):
        return 0
    chat_channel = ChatChannel.objects.get(pk=chat_channel_id)
    answer = _fetch_response(chat_channel)
    found = dict(chat_channel.provider.read_operators(answer)) if answer is not None else {}
    if found:
        connection.update(operators=found)
    return len(found)


def _fetch_response(chat_channel: ChatChannel) -> ApiResponse | None:
    request = chat_channel.provider.build_operators_request(chat_channel.helpdesk_account())
    if request is None:
        return None
    try:
        return http_client.send(request, max_bytes=1024 * 1024)
    except (http_client.ForbiddenAddress, http_client.ConnectionFailed, http_client.NoResponse) as problem:
        logger.info("operators not learned", extra={"channel": chat_channel.pk, "error": type(problem).__name__})
        return None
