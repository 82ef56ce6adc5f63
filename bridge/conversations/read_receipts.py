"""Read receipts: show the client that a message was read (two blue ticks), if the provider supports it.

Best effort: requested when an operator opens the chat, tried once, errors are only logged.
"""

from __future__ import annotations

import logging

from bridge import wakeups
from bridge.models import Conversation, Message
from channels_setup import http_client
from channels_setup.providers.base import ACCEPTED

logger = logging.getLogger(__name__)


def request_read_receipt(conversation: Conversation) -> None:
    """Request a read receipt after an operator has read the chat."""
    if conversation.api_channel.provider.sends_read_receipts:
        wakeups.enqueue_after_commit("send_read_receipt", conversation.pk)


def send_read_receipt(conversation_id: int) -> bool:
    """Mark the client's newest message and all earlier ones as read. Return whether the provider accepted it."""
    conversation = Conversation.objects.select_related("api_channel").get(pk=conversation_id)
    provider = conversation.api_channel.provider
    inbound = Message.objects.filter(conversation=conversation_id, direction=Message.Direction.INBOUND)
    external_id = inbound.exclude(external_id="").order_by("-pk").values_list("external_id", flat=True).first()
    if not external_id or not provider.sends_read_receipts:
        return False
    try:
        response = http_client.send(
            provider.build_read_receipt_request(external_id, conversation.api_channel.account())
        )
    except (http_client.ForbiddenAddress, http_client.ConnectionFailed, http_client.NoResponse) as problem:
        logger.info("read receipt not sent", extra={"chat": conversation_id, "error": type(problem).__name__})
        return False
    return provider.judge_response(response).verdict == ACCEPTED
