"""Routing of webhook items to the API channel they concern, whichever channel's address they came to.

One callback address may serve all numbers of an app. An item for another number or account becomes an event of that
number's channel, so that its inbox has one drainer and one order. It is handed over only to a channel that holds the
very credential with which the request was proven. What nobody can be found for is put aside as unrouted events, one
for each number, which raise an alert and can be processed again, in their order, once the channel is there.

Runs under the inbox lock of the channel whose address it was. ``routed_at`` is claimed and the new events are made in
one transaction, so that each item is handed over exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from bridge import outcomes, wakeups
from bridge.channel_health import alerts
from bridge.models import Alert, WebhookEvent
from bridge.raw_requests import restore_request
from channels_setup import encryption
from channels_setup.models import ApiChannel, ChannelState, Credential
from channels_setup.providers.base import Account, MisroutedItem, credential_proof

ACTIVE_STATES = (ChannelState.LIVE, ChannelState.FAILING)


@dataclass
class _SortedItems:
    """The items of one event by where they go: channel by channel, and by ID those that go nowhere yet."""

    channels: dict[int, ApiChannel] = field(default_factory=dict)
    items: dict[int, list[MisroutedItem]] = field(default_factory=dict)
    unrouted: dict[str, list[MisroutedItem]] = field(default_factory=dict)
    why_codes: dict[str, str] = field(default_factory=dict)


def route_items(api_channel: ApiChannel, event: WebhookEvent, account: Account) -> bool:
    """Hand the event's items for other channels over. Return whether the event itself is still to be processed."""
    provider = api_channel.provider
    if not provider.shares_webhook_address or event.routed_at is not None:
        return True
    items = provider.misrouted_items(restore_request(event), account)
    if event.routed_from is not None:  # what concerns all was given to all already
        items = [item for item in items if not item.is_optional]
    if not items:
        return True
    found = _sort_items(api_channel, event, items)
    if not found.items and not found.unrouted:
        return True
    if event.routed_from is not None and not found.items:
        _keep_unrouted(api_channel, event, found)
        return False
    _hand_over(api_channel, event, found)
    return True


def _sort_items(api_channel: ApiChannel, event: WebhookEvent, items: Sequence[MisroutedItem]) -> _SortedItems:
    found = _SortedItems()
    known: dict[tuple[tuple[tuple[str, str], ...], str], tuple[list[ApiChannel], str]] = {}
    for item in items:
        key = (tuple(item.address.items()), item.number)
        if key not in known:
            known[key] = _find_targets(api_channel, event, item)
        channels, why_code = known[key]
        for channel in channels:
            found.channels[channel.pk] = channel
            found.items.setdefault(channel.pk, []).append(item)
        if not channels and not item.is_optional:
            wanted = " ".join(item.address.values())
            found.unrouted.setdefault(wanted, []).append(item)
            found.why_codes[wanted] = why_code
    return found


def _find_targets(api_channel: ApiChannel, event: WebhookEvent, item: MisroutedItem) -> tuple[list[ApiChannel], str]:
    """The channels that an item concerns and that may have it; else why there is none."""
    asked = {f"options__{name}": value for name, value in item.address.items()}
    rows = list(ApiChannel.objects.filter(kind=api_channel.kind, **asked).exclude(pk=api_channel.pk).order_by("pk"))
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
    """Those that hold the credential which proved the event, or held it when it came."""
    given = bytes(event.proof or b"")
    ids = {
        row.api_channel_id
        for row in Credential.objects.filter(api_channel__in=rows)
        if row.is_valid(event.received_at) and encryption.fingerprint(credential_proof(row.name, row.reveal())) == given
    }
    return [row for row in rows if row.pk in ids]


@transaction.atomic
def _hand_over(api_channel: ApiChannel, event: WebhookEvent, found: _SortedItems) -> None:
    waiting = WebhookEvent.objects.filter(pk=event.pk, state=WebhookEvent.State.NEW, routed_at=None)
    now = timezone.now()
    if not waiting.update(routed_at=now):
        return  # handed over by another, whose lock we have now
    event.routed_at = now
    pack = api_channel.provider.pack_items
    made = [_build_child_event(event, channel_id, pack(items)) for channel_id, items in found.items.items()]
    for wanted, items in found.unrouted.items():
        aside = _build_child_event(event, api_channel.pk, pack(items))
        aside.state, aside.error = WebhookEvent.State.UNROUTED, _explain_unrouted(found, wanted)
        made.append(aside)
    WebhookEvent.objects.bulk_create(made)
    event.note, event.error = WebhookEvent.Note.ROUTED, _describe_routing(found)[:2000]
    WebhookEvent.objects.filter(pk=event.pk).update(note=event.note)
    if found.unrouted:
        _raise_alert(api_channel, found)
    if found.items:
        wakeups.notify_after_commit(wakeups.INBOUND)
    settle_unrouted_alerts([api_channel.pk])


def _describe_routing(found: _SortedItems) -> str:
    said = []
    if found.items:
        names = ", ".join(_("“%(name)s”") % {"name": found.channels[pk].name} for pk in found.items)
        said.append(_("Items for other channels were handed over to: %(names)s.") % {"names": names})
    if found.unrouted:
        ids = ", ".join(found.unrouted)
        said.append(_("Items for an unknown number or account were put aside: %(ids)s.") % {"ids": ids})
    return " ".join(said)


def _build_child_event(event: WebhookEvent, api_channel_id: int, body: bytes) -> WebhookEvent:
    """Items of an event as an event of their own, received and proven when the whole was."""
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
def _keep_unrouted(api_channel: ApiChannel, event: WebhookEvent, found: _SortedItems) -> None:
    """An event that was put aside is tried again in vain: it keeps its place in the order."""
    why = " ".join(_explain_unrouted(found, wanted) for wanted in found.unrouted)[:2000]
    WebhookEvent.objects.filter(pk=event.pk, state=WebhookEvent.State.NEW).update(
        state=WebhookEvent.State.UNROUTED, error=why
    )
    _raise_alert(api_channel, found)


def _explain_unrouted(found: _SortedItems, wanted: str) -> str:
    return _("For %(ids)s. %(why)s") % {
        "ids": wanted,
        "why": outcomes.render_sentence(found.why_codes[wanted], for_admin=True),
    }


def _raise_alert(api_channel: ApiChannel, found: _SortedItems) -> None:
    count = WebhookEvent.objects.filter(api_channel=api_channel, state=WebhookEvent.State.UNROUTED).count()
    alerts.raise_alert(
        Alert.Kind.UNROUTED,
        api_channel_id=api_channel.pk,
        count=count,
        ids=", ".join(list(found.unrouted)[:5]),
        why_code=next(iter(found.why_codes.values())),
    )


def settle_unrouted_alerts(api_channel_ids: Iterable[int | None] | None = None) -> None:
    """End the alerts of channels that have no unrouted events left: of these channels, or of all."""
    standing = Alert.objects.filter(kind=Alert.Kind.UNROUTED, settled_at=None)
    if api_channel_ids is not None:
        standing = standing.filter(api_channel__in=list(api_channel_ids))
    waiting = WebhookEvent.objects.filter(state=WebhookEvent.State.UNROUTED).values("api_channel")
    standing.exclude(api_channel__in=waiting).update(settled_at=timezone.now())
