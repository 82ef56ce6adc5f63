"""The client sees that their words were read (two blue ticks), where the provider tells it.

A courtesy: it is asked for when an operator has the chat before their eyes, tried once, and never stands in the way.
"""

from __future__ import annotations

import logging

from bridge import wakeups
from bridge.models import Conversation, Message
from channels_setup import http_client
from channels_setup.providers.base import ACCEPTED

logger = logging.getLogger(__name__)


def request_read_receipt(conversation: Conversation) -> None:
    """An operator has read what stood unread here."""
    if conversation.api_channel.provider.sends_read_receipts:
        wakeups.enqueue_after_commit("mark_read", conversation.pk)


def send_read_receipt(conversation_id: int) -> bool:
    """Mark the newest message of the client's, and with it all before; whether the provider took it."""
    conversation = Conversation.objects.select_related("api_channel").get(pk=conversation_id)
    provider = conversation.api_channel.provider
    said = Message.objects.filter(conversation=conversation_id, direction=Message.Direction.INBOUND)
    external_id = said.exclude(external_id="").order_by("-pk").values_list("external_id", flat=True).first()
    if not external_id or not provider.sends_read_receipts:
        return False
    try:
        answer = http_client.send(provider.build_read_receipt_request(external_id, conversation.api_channel.account()))
    except (http_client.ForbiddenAddress, http_client.ConnectionFailed, http_client.NoResponse) as problem:
        logger.info("not marked as read", extra={"chat": conversation_id, "error": type(problem).__name__})
        return False
    return provider.judge_response(answer).verdict == ACCEPTED
