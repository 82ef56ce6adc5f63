"""Names of an external helpdesk's operators: its events have only their IDs.

Names are fetched rarely, when an unknown ID appears, without retries. Until then the ID is shown.
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
    """Fetch operators' names after the commit if this one is unknown and the last fetch is old enough."""
    is_due = (
        connection.operators_fetched_at is None or timezone.now() - connection.operators_fetched_at >= FETCH_INTERVAL
    )
    if number and number not in connection.operators and is_due:
        wakeups.enqueue_after_commit("fetch_operator_names", connection.pk)


def fetch_operator_names(chat_channel_id: int) -> int:
    """Fetch the names of all operators. Return their number."""
    now = timezone.now()
    connection = HelpdeskConnection.objects.filter(pk=chat_channel_id)
    if not connection.filter(Q(operators_fetched_at=None) | Q(operators_fetched_at__lte=now - FETCH_INTERVAL)).update(
        operators_fetched_at=now
    ):
        return 0
    chat_channel = ChatChannel.objects.get(pk=chat_channel_id)
    response = _fetch_response(chat_channel)
    names = dict(chat_channel.provider.read_operators(response)) if response is not None else {}
    if names:
        connection.update(operators=names)
    return len(names)


def _fetch_response(chat_channel: ChatChannel) -> ApiResponse | None:
    request = chat_channel.provider.build_operators_request(chat_channel.helpdesk_account())
    if request is None:
        return None
    try:
        return http_client.send(request, max_bytes=1024 * 1024)
    except (http_client.ForbiddenAddress, http_client.ConnectionFailed, http_client.NoResponse) as problem:
        logger.info("operator names not fetched", extra={"channel": chat_channel.pk, "error": type(problem).__name__})
        return None
