"""Routing of webhook items to the API channel of their number or account.

One callback address may serve all numbers of a Meta app. An item for another number becomes an event of that number's
channel, so that each channel keeps one order. The target channel must hold the credential that authenticated the
request. Items without a channel are stored as unrouted events, one per number. They raise an alert and can be processed
again, in order, once the channel exists.

Runs under the inbox lock of the channel that received the event. ``routed_at`` is set and the new events are created in
one transaction, so that each item is routed exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from bridge import outcomes, wakeups
from bridge.channel_health import alerts
from bridge.metrics import recording
from bridge.models import Alert, WebhookEvent
from bridge.raw_requests import restore_request
from channels_setup import encryption
from channels_setup.models import ApiChannel, ChannelState, Credential
from channels_setup.providers.base import Account, MisroutedItem, credential_proof

ACTIVE_STATES = (ChannelState.LIVE, ChannelState.FAILING)


@dataclass
class SortedItems:
    """Items of one event by target: per channel ID, and per number or account if there is no channel."""

    channels: dict[int, ApiChannel] = field(default_factory=dict)
    items: dict[int, list[MisroutedItem]] = field(default_factory=dict)
    unrouted: dict[str, list[MisroutedItem]] = field(default_factory=dict)
    why_codes: dict[str, str] = field(default_factory=dict)


def sort_items(api_channel: ApiChannel, event: WebhookEvent, account: Account) -> SortedItems:
    """Return the event's items for other channels. None of an event that was routed already."""
    provider = api_channel.provider
    if not provider.shares_webhook_address or event.routed_at is not None:
        return SortedItems()
    items = provider.misrouted_items(restore_request(event), account)
    if event.routed_from is not None:  # items for all channels were routed with the original event
        items = [item for item in items if not item.is_optional]
    return _sort_by_target(api_channel, event, items)


def route_items(api_channel: ApiChannel, event: WebhookEvent, sorted_items: SortedItems) -> bool:
    """Route the event's items for other channels. Return whether the event itself must still be processed."""
    if not sorted_items.items and not sorted_items.unrouted:
        return True
    if event.routed_from is not None and not sorted_items.items:
        _keep_unrouted(api_channel, event, sorted_items)
        return False
    _create_child_events(api_channel, event, sorted_items)
    return True


def _sort_by_target(api_channel: ApiChannel, event: WebhookEvent, items: Sequence[MisroutedItem]) -> SortedItems:
    sorted_items = SortedItems()
    known: dict[tuple[tuple[tuple[str, str], ...], str], tuple[list[ApiChannel], str]] = {}
    for item in items:
        key = (tuple(item.address.items()), item.number)
        if key not in known:
            known[key] = _find_targets(api_channel, event, item)
        channels, why_code = known[key]
        for channel in channels:
            sorted_items.channels[channel.pk] = channel
            sorted_items.items.setdefault(channel.pk, []).append(item)
        if not channels and not item.is_optional:
            address = " ".join(item.address.values())
            sorted_items.unrouted.setdefault(address, []).append(item)
            sorted_items.why_codes[address] = why_code
    return sorted_items


def _find_targets(api_channel: ApiChannel, event: WebhookEvent, item: MisroutedItem) -> tuple[list[ApiChannel], str]:
    """Return the channels that may receive an item, or the code of the reason why there is none."""
    address = {f"options__{name}": value for name, value in item.address.items()}
    rows = list(ApiChannel.objects.filter(kind=api_channel.kind, **address).exclude(pk=api_channel.pk).order_by("pk"))
    if item.number and any(row.number == item.number for row in rows):
        rows = [row for row in rows if row.number == item.number]
    elif item.number:
        rows = [row for row in rows if not row.number]
    if not rows:
        return [], "unrouted_unknown"
    if event.proof is None:
        return [], "unrouted_unproven"
    holders = _find_credential_holders(rows, event)
    if not holders:
        return [], "unrouted_secret"
    if item.for_all:
        return holders, ""
    return [min(holders, key=lambda row: (row.state not in ACTIVE_STATES, row.pk))], ""


def _find_credential_holders(rows: Sequence[ApiChannel], event: WebhookEvent) -> list[ApiChannel]:
    """Return the channels that held the event's credential when the event was received."""
    proof = bytes(event.proof or b"")
    ids = {
        row.api_channel_id
        for row in Credential.objects.filter(api_channel__in=rows)
        if row.is_valid(event.received_at) and encryption.fingerprint(credential_proof(row.name, row.reveal())) == proof
    }
    return [row for row in rows if row.pk in ids]


@transaction.atomic
def _create_child_events(api_channel: ApiChannel, event: WebhookEvent, sorted_items: SortedItems) -> None:
    rows = WebhookEvent.objects.filter(pk=event.pk, state=WebhookEvent.State.NEW, routed_at=None)
    now = timezone.now()
    if not rows.update(routed_at=now):
        return  # another worker routed it before we got the lock
    event.routed_at = now
    pack_items = api_channel.provider.pack_items
    children = [
        _build_child_event(event, channel_id, pack_items(items)) for channel_id, items in sorted_items.items.items()
    ]
    for address, items in sorted_items.unrouted.items():
        child = _build_child_event(event, api_channel.pk, pack_items(items))
        child.state, child.error = WebhookEvent.State.UNROUTED, _explain_unrouted(sorted_items, address)
        children.append(child)
    WebhookEvent.objects.bulk_create(children)
    unrouted = [child for child in children if child.state == WebhookEvent.State.UNROUTED]
    recording.count_finished_events(unrouted, WebhookEvent.State.UNROUTED)
    event.note, event.error = WebhookEvent.Note.ROUTED, _describe_routing(sorted_items)[:2000]
    WebhookEvent.objects.filter(pk=event.pk).update(note=event.note)
    if sorted_items.unrouted:
        _raise_alert(api_channel, sorted_items)
    if sorted_items.items:
        wakeups.notify_after_commit(wakeups.INBOUND)
    settle_unrouted_alerts([api_channel.pk])


def _describe_routing(sorted_items: SortedItems) -> str:
    sentences = []
    if sorted_items.items:
        names = ", ".join(_("“%(name)s”") % {"name": sorted_items.channels[pk].name} for pk in sorted_items.items)
        sentences.append(_("Items for other channels were routed to: %(names)s.") % {"names": names})
    if sorted_items.unrouted:
        ids = ", ".join(sorted_items.unrouted)
        sentences.append(_("Items for an unknown number or account were set aside: %(ids)s.") % {"ids": ids})
    return " ".join(sentences)


def _build_child_event(event: WebhookEvent, api_channel_id: int, body: bytes) -> WebhookEvent:
    """Return an unsaved event with some items of another one. It keeps receipt time and credential."""
    return WebhookEvent(
        api_channel_id=api_channel_id,
        endpoint=event.endpoint,
        method=event.method,
        query_string=event.query_string,
        content_type=event.content_type,
        headers=event.headers,
        body=body,
        received_at=event.received_at,
        proof=event.proof,
        routed_from=event.pk,
    )


@transaction.atomic
def _keep_unrouted(api_channel: ApiChannel, event: WebhookEvent, sorted_items: SortedItems) -> None:
    """Set a retried event aside again. It keeps its position in the order."""
    why = " ".join(_explain_unrouted(sorted_items, address) for address in sorted_items.unrouted)[:2000]
    WebhookEvent.objects.filter(pk=event.pk, state=WebhookEvent.State.NEW).update(
        state=WebhookEvent.State.UNROUTED, error=why
    )
    recording.count_finished_events([event], WebhookEvent.State.UNROUTED)
    _raise_alert(api_channel, sorted_items)


def _explain_unrouted(sorted_items: SortedItems, address: str) -> str:
    return _("For %(ids)s. %(why)s") % {
        "ids": address,
        "why": outcomes.render_sentence(sorted_items.why_codes[address], for_admin=True),
    }


def _raise_alert(api_channel: ApiChannel, sorted_items: SortedItems) -> None:
    count = WebhookEvent.objects.filter(api_channel=api_channel, state=WebhookEvent.State.UNROUTED).count()
    alerts.raise_alert(
        Alert.Kind.UNROUTED,
        api_channel_id=api_channel.pk,
        count=count,
        ids=", ".join(list(sorted_items.unrouted)[:5]),
        why_code=next(iter(sorted_items.why_codes.values())),
    )


def settle_unrouted_alerts(api_channel_ids: Iterable[int | None] | None = None) -> None:
    """Settle alerts of channels without unrouted events. ``api_channel_ids``: None checks all channels."""
    open_alerts = Alert.objects.filter(kind=Alert.Kind.UNROUTED, settled_at=None)
    if api_channel_ids is not None:
        open_alerts = open_alerts.filter(api_channel__in=list(api_channel_ids))
    waiting = WebhookEvent.objects.filter(state=WebhookEvent.State.UNROUTED).values("api_channel")
    alerts.settle_alerts(open_alerts.exclude(api_channel__in=waiting))
