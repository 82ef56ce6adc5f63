"""Counting of what the steps of a message do. Work inside a transaction is counted when it commits."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from . import catalog
from .counters import Counter

if TYPE_CHECKING:
    from bridge.models import Delivery, Message, WebhookEvent


def _after_commit(count: Callable[[], None]) -> None:
    transaction.on_commit(count, robust=True)


def count_tally(counter: Counter, tally: Mapping[tuple[str, ...], int]) -> None:
    """Add numbers by their labels to a counter."""
    for labels, number in tally.items():
        counter.count(*labels, number=number)


def _name_channel_of_event(event: WebhookEvent) -> str:
    if event.api_channel_id is not None:
        return catalog.name_api_channel(event.api_channel_id)
    return catalog.name_chat_channel(event.chat_channel_id)


def name_destination(delivery: Delivery) -> str:
    """Return the value of the label ``channel`` for the destination of a delivery."""
    if delivery.chat_channel_id is not None:
        return catalog.name_chat_channel(delivery.chat_channel_id)
    if delivery.alert_route_id is not None:
        return catalog.name_alert_route(delivery.alert_route_id)
    return catalog.name_api_channel(delivery.api_channel_id)


def count_stored_events(events: Iterable[WebhookEvent]) -> None:
    """Count webhooks that were stored."""
    tally: Tally[tuple[str, ...]] = Tally((_name_channel_of_event(event),) for event in events)
    _after_commit(lambda: count_tally(catalog.EVENTS_STORED, tally))


def count_finished_events(events: Sequence[WebhookEvent], outcome: str) -> None:
    """Count webhooks that the inbox has finished, and how long they waited."""
    tally: Tally[tuple[str, ...]] = Tally((_name_channel_of_event(event), str(outcome)) for event in events)
    arrivals = [event.received_at for event in events]

    def count() -> None:
        now = timezone.now()
        count_tally(catalog.EVENTS_FINISHED, tally)
        for arrived in arrivals:
            catalog.INBOX_DELAY.observe((now - arrived).total_seconds())

    _after_commit(count)


def count_received_messages(api_channel_id: int, *, new: int, duplicates: int) -> None:
    """Count messages of clients."""
    channel = catalog.name_api_channel(api_channel_id)
    tally: Tally[tuple[str, ...]] = Tally({(channel, catalog.NEW): new, (channel, catalog.DUPLICATE): duplicates})
    _after_commit(lambda: count_tally(catalog.MESSAGES_RECEIVED, +tally))


def count_statuses(messages: Iterable[Message]) -> None:
    """Count messages to clients that have just reached their status."""
    tally: Tally[tuple[str, ...]] = Tally(
        (catalog.name_api_channel(message.api_channel_id), str(message.status)) for message in messages
    )
    if tally:
        _after_commit(lambda: count_tally(catalog.MESSAGE_STATUSES, tally))


def count_status(api_channel_id: int, status: str) -> None:
    """Count a message to a client that has just reached a status."""
    _after_commit(lambda: catalog.MESSAGE_STATUSES.count(catalog.name_api_channel(api_channel_id), str(status)))


def count_reply(api_channel_id: int, decision: str) -> None:
    """Count the decision about a reply."""
    _after_commit(lambda: catalog.REPLIES.count(catalog.name_api_channel(api_channel_id), decision))


def count_file_download(api_channel_id: int, outcome: str) -> None:
    """Count an attempt to download a client's file."""
    _after_commit(lambda: catalog.FILE_DOWNLOADS.count(catalog.name_api_channel(api_channel_id), outcome))


def count_closed_windows(number: int) -> None:
    """Count service windows that expired."""
    _after_commit(lambda: catalog.WINDOWS_CLOSED.count(number=number))
