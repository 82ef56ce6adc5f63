"""What an erasure cannot reach: copies at the external helpdesk, at the provider, and at programs that get events.

The receipt keeps the person's numbers in the helpdesk, because an admin needs them to erase the copy there. After
KEEP_NUMBERS pruning removes them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from bridge import service_window
from bridge.conversations import erased_ids
from bridge.models import Contact, Conversation, Delivery, Erasure, HelpdeskChat, MergedConversation, Ticket

KEEP_NUMBERS = timedelta(days=90)


def collect_outside_copies(contact: Contact, chats: QuerySet[Conversation]) -> list[dict[str, Any]]:
    """Return what stays outside, and remember the helpdesk's numbers, so that its late events are refused."""
    copies: list[dict[str, Any]] = [{"where": "provider", "api_channel": contact.api_channel_id}]
    copies += [
        {"where": "helpdesk", "chat_channel": channel_id, **numbers}
        for channel_id, numbers in sorted(_collect_numbers(chats).items())
    ]
    subscribers = Delivery.objects.filter(conversation__in=chats, kind=Delivery.Kind.EVENT, attempts__gt=0)
    copies += [
        {"where": "program", "api_channel": pk}
        for pk in sorted(subscribers.order_by().values_list("api_channel", flat=True).distinct())
        if pk is not None
    ]
    return copies


def _collect_numbers(chats: QuerySet[Conversation]) -> dict[int, dict[str, list[int]]]:
    """Return the person's numbers by chat channel: ``chats``, ``clients`` and ``tickets`` of the helpdesk."""
    found: dict[int, dict[str, set[int]]] = {}

    def add(channel_id: int, kind: str, number: int | None) -> None:
        if number:
            found.setdefault(channel_id, {}).setdefault(kind, set()).add(number)

    for link in HelpdeskChat.objects.filter(conversation__in=chats):
        add(link.chat_channel_id, "chat", link.chat_id)
        add(link.chat_channel_id, "client", link.client_id)
        add(link.chat_channel_id, "ticket", link.ticket_id)
    merged = MergedConversation.objects.filter(conversation__in=chats, helpdesk_chat_id__isnull=False)
    for channel_id, number in merged.values_list("conversation__chat_channel", "helpdesk_chat_id"):
        add(channel_id, "chat", number)
    tickets = Ticket.objects.filter(conversation__in=chats, external_id__isnull=False)
    for channel_id, number in tickets.values_list("conversation__chat_channel", "external_id"):
        add(channel_id, "ticket", number)
    for channel_id, numbers in found.items():
        pairs = [(kind, number) for kind, values in numbers.items() for number in values]
        erased_ids.remember_erased_numbers(channel_id, pairs)
    return {channel_id: {kind: sorted(rows) for kind, rows in kinds.items()} for channel_id, kinds in found.items()}


def forget_old_numbers() -> int:
    """Remove the helpdesk's numbers from receipts after KEEP_NUMBERS. Return how many receipts were changed."""
    before = service_window.database_now() - KEEP_NUMBERS
    return Erasure.objects.filter(at__lt=before).exclude(outside=[]).update(outside=[])
