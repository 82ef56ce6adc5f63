"""What an erasure cannot reach: copies at the external helpdesk, at the provider, and at programs that get events.

The receipt keeps the person's numbers in the helpdesk, because an admin needs them to erase the copy there. After
KEEP_NUMBERS pruning removes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bridge import service_window
from bridge.conversations import erased_ids
from bridge.models import Contact, Conversation, Delivery, Erasure, HelpdeskChat, MergedConversation, Ticket
from channels_setup.models import ApiChannel, ChatChannel

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


def describe_copies(erasure: Erasure) -> list[str]:
    """Return a sentence for each copy outside: where it is, and how to erase it there."""
    return [_describe_copy(copy) for copy in erasure.outside]


def _describe_copy(copy: Mapping[str, Any]) -> str:
    if copy["where"] == "helpdesk":
        name = ChatChannel.objects.filter(pk=copy["chat_channel"]).values_list("name", flat=True).first()
        labels = {"client": _("clients"), "chat": _("chats"), "ticket": _("requests")}
        known = {label: ", ".join(map(str, copy[kind])) for kind, label in labels.items() if kind in copy}
        numbers = "; ".join(f"{label}: {values}" for label, values in known.items())
        sentence = _("The helpdesk of “%(name)s” keeps its copy. Erase there: %(numbers)s.")
        return sentence % {"name": name or copy["chat_channel"], "numbers": numbers}
    name = ApiChannel.objects.filter(pk=copy["api_channel"]).values_list("name", flat=True).first()
    if copy["where"] == "program":
        sentence = _("The program that receives the events of “%(name)s” got this client's messages. Ask its owner.")
    else:
        sentence = _("The provider of “%(name)s” keeps messages and files by its own rules. Ask its support.")
    return sentence % {"name": name or copy["api_channel"]}


COUNT_LABELS = {
    "deliveries": gettext_lazy("deliveries"),
    "requests received": gettext_lazy("raw requests"),
    "files": gettext_lazy("files"),
    "messages": gettext_lazy("messages"),
    "notes": gettext_lazy("notes"),
    "consents": gettext_lazy("consents"),
    "changes": gettext_lazy("changes"),
    "drafts": gettext_lazy("drafts"),
    "held replies": gettext_lazy("held replies"),
}


def describe_counts(erasure: Erasure) -> str:
    """Return what was erased, as one line, without zeros."""
    found = [f"{COUNT_LABELS.get(name, name)}: {count}" for name, count in erasure.counts.items() if count]
    return ", ".join(found) or _("Nothing was found to erase.")


def forget_old_numbers() -> int:
    """Remove the helpdesk's numbers from receipts after KEEP_NUMBERS. Return how many receipts were changed."""
    before = service_window.database_now() - KEEP_NUMBERS
    return Erasure.objects.filter(at__lt=before).exclude(outside=[]).update(outside=[])
