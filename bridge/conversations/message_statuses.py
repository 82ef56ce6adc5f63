"""What became of our messages, as the provider reports it: ticks that only move forward.

Part of station 3. A status that comes before its message waits, and is joined when the message is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from bridge import outcomes
from bridge.channel_health import failure_effects
from bridge.fanout import operator_notes
from bridge.files import provider_uploads
from bridge.models import Delivery, Message, StrayStatus
from channels_setup.models import ApiChannel
from channels_setup.providers.base import StatusChanged


@transaction.atomic
def apply_statuses(api_channel: ApiChannel, facts: Sequence[StatusChanged]) -> None:
    """Move ticks forward. A status whose message is not known yet waits in StrayStatus."""
    keyed = _match_delivery_keys(api_channel, [fact for fact in facts if fact.key])
    ids = {fact.message_id for fact in facts if fact.message_id is not None} | set(keyed.values())
    external_ids = {fact.external_id for fact in facts if fact.external_id}
    rows = (
        Message.objects.select_for_update(no_key=True)
        .filter(api_channel=api_channel, direction=Message.Direction.OUTBOUND)
        .filter(Q(pk__in=ids) | Q(external_id__in=external_ids - {""}))
        .order_by("pk")
    )
    by_id = {row.pk: row for row in rows}
    by_external = {row.external_id: row for row in by_id.values() if row.external_id}
    strays, changed = [], set()
    failed: list[Message] = []
    for fact in facts:
        message = by_id.get(fact.message_id or keyed.get(fact.key, 0)) or by_external.get(fact.external_id)
        if message is None:
            strays.append(_build_stray(api_channel, fact))
            continue
        if advance_status(message, fact):
            changed.add(message.pk)
            if fact.status == Message.Status.FAILED:
                failed.append(message)
    if changed:
        Message.objects.bulk_update(
            [by_id[pk] for pk in sorted(changed)], ["status", "status_at", "reason", "details", "external_id"]
        )
        _handle_failures(api_channel, failed)
    StrayStatus.objects.bulk_create(strays)


def _match_delivery_keys(api_channel: ApiChannel, facts: Sequence[StatusChanged]) -> dict[str, int]:
    """Message ids by the key that went out with them, where the provider's id is not known to us yet.

    That such a message is known there settles a delivery whose outcome nobody knew: it is not made again.
    """
    if not facts:
        return {}
    external_ids = {fact.external_id for fact in facts}
    known = set(
        Message.objects.filter(api_channel=api_channel, external_id__in=external_ids - {""}).values_list(
            "external_id", flat=True
        )
    )
    keys = {fact.key for fact in facts if fact.external_id not in known}
    if not keys:
        return {}
    mine = Delivery.objects.filter(key__in=keys, api_channel=api_channel, kind=Delivery.Kind.MESSAGE)
    # Locked whatever their state: one that is being settled as unknown at this moment is waited for, and then seen.
    rows = list(mine.select_for_update(no_key=True).order_by("pk").only("key", "message_id", "state", "attempts"))
    unsure = (Delivery.State.UNKNOWN, Delivery.State.PENDING)
    arrived = [row.pk for row in rows if row.state in unsure and row.attempts > 0]
    if arrived:
        Delivery.objects.filter(pk__in=arrived).update(
            state=Delivery.State.DELIVERED, finished_at=timezone.now(), reason=""
        )
    return {row.key: row.message_id for row in rows if row.message_id is not None}


def advance_status(message: Message, fact: StatusChanged) -> bool:
    """Apply one status to an unsaved message if it is further on; say whether it was."""
    if fact.external_id and not message.external_id:
        message.external_id = fact.external_id
    if Message.RANK[fact.status] <= Message.RANK[message.status]:
        return False
    message.status = fact.status
    message.status_at = fact.at or timezone.now()
    if fact.status == Message.Status.FAILED:
        message.reason = fact.reason or "provider_failed"
        told = {"code": fact.code, "title": fact.title, "details": fact.details}
        message.details = message.details | {name: value for name, value in told.items() if value or name != "details"}
    else:
        message.reason = ""
    return True


def _handle_failures(api_channel: ApiChannel, failed: Sequence[Message]) -> None:
    """What a report of failure means beyond its message, and the word to operators elsewhere."""
    operator_notes.note_failed_messages(message for message in failed if message.status == Message.Status.FAILED)
    for message in failed:
        forget_upload = outcomes.get_effects(message.reason).forget_upload
        for delivery in Delivery.objects.filter(message=message) if forget_upload else ():
            provider_uploads.forget_rejected_upload(delivery, message.reason)
        failure_effects.apply_failure(api_channel, message.reason, template=message.template, at=message.status_at)


def _build_stray(api_channel: ApiChannel, fact: StatusChanged) -> StrayStatus:
    return StrayStatus(
        api_channel=api_channel,
        external_id=fact.external_id or f"message_id {fact.message_id}",  # one that we never gave: for an admin to see
        status=fact.status,
        at=fact.at,
        code=fact.code,
        title=fact.title,
        reason=fact.reason,
        details=fact.details[:500],
    )


def apply_stray_statuses(api_channel: ApiChannel, messages: Iterable[Message]) -> None:
    """Apply the statuses that came before their messages. The messages' rows are locked by the caller."""
    by_external = {message.external_id: message for message in messages if message.external_id}
    strays = list(
        StrayStatus.objects.select_for_update(skip_locked=True, no_key=True).filter(
            api_channel=api_channel, external_id__in=by_external
        )
    )
    failed: list[Message] = []
    for stray in sorted(strays, key=lambda row: Message.RANK[row.status]):
        message = by_external[stray.external_id]
        fact = StatusChanged(
            status=stray.status,
            external_id=stray.external_id,
            at=stray.at,
            code=stray.code,
            title=stray.title,
            reason=stray.reason,
            details=stray.details,
        )
        if advance_status(message, fact):
            message.save(update_fields=["status", "status_at", "reason", "details"])
            if fact.status == Message.Status.FAILED:
                failed.append(message)
    _handle_failures(api_channel, failed)
    if strays:
        StrayStatus.objects.filter(pk__in=[stray.pk for stray in strays]).delete()
