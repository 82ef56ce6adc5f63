"""Sandbox clock: let time pass for one contact without waiting. Only the training phone sends ``TimePassed``."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F

from bridge.models import (
    Attempt,
    Contact,
    Conversation,
    ConversationActivity,
    ConversationNote,
    Delivery,
    Message,
    ServiceWindow,
    Ticket,
)
from channels_setup.models import ApiChannel
from channels_setup.providers.base import TimePassed


@transaction.atomic
def advance_clock(api_channel: ApiChannel, fact: TimePassed) -> None:
    """Move one contact's conversations into the past: the training phone's "let 25 hours pass"."""
    by = timedelta(seconds=fact.seconds)
    contacts = Contact.objects.filter(api_channel=api_channel, external_id=fact.contact.external_id)
    conversations = Conversation.objects.select_for_update(no_key=True).filter(
        contact__in=[contact.owner_id for contact in contacts]
    )
    for conversation in conversations.order_by("pk"):
        ServiceWindow.objects.filter(conversation=conversation).update(
            opened_at=F("opened_at") - by, expires_at=F("expires_at") - by
        )
        # Deliveries first: the lock order.
        Delivery.objects.filter(conversation=conversation).update(
            created_at=F("created_at") - by, finished_at=F("finished_at") - by
        )
        Attempt.objects.filter(delivery__conversation=conversation).update(started_at=F("started_at") - by)
        for rows in (ConversationActivity.objects, ConversationNote.objects):
            rows.filter(conversation=conversation).update(created_at=F("created_at") - by)
        Message.objects.filter(conversation=conversation).update(
            created_at=F("created_at") - by,
            provider_time=F("provider_time") - by,
            status_at=F("status_at") - by,
        )
        Ticket.objects.filter(conversation=conversation).update(
            opened_at=F("opened_at") - by, first_answer_at=F("first_answer_at") - by, closed_at=F("closed_at") - by
        )
        Conversation.objects.filter(pk=conversation.pk).update(
            last_message_at=F("last_message_at") - by, waiting_since=F("waiting_since") - by
        )
