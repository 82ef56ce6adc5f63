"""Message statuses from the provider: sent, delivered, read, failed. They only move forward.

A status that arrives before its message is stored as a StrayStatus and applied when the message is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import connection, transaction
from django.utils import timezone

from bridge import outcomes, tracing
from bridge.channel_health import failure_effects
from bridge.fanout import operator_notes
from bridge.files import provider_uploads
from bridge.metrics import recording
from bridge.models import Conversation, Delivery, Message, StrayStatus
from bridge.row_inserts import update_rows
from bridge.row_reads import RowReader
from channels_setup.models import ApiChannel
from channels_setup.providers.base import StatusChanged

from . import consents, erased_ids, message_lookup, reactions

MESSAGES = RowReader(Message, "m")
STATUS_FIELDS = ("status", "status_at", "reason", "details", "external_id")


@dataclass(frozen=True, kw_only=True)
class StatusTarget:
    """The people of the message that a status is about. ``is_erased``: their data was erased, so it is not applied."""

    contact_ids: Collection[int | None]
    is_erased: bool


# Locks messages in the order of their IDs, without their conversations. Only by primary key: with the channel as a
# condition, PostgreSQL may read all messages of the channel.
LOCK_MESSAGES_SQL = f"""
SELECT c.contact_id, {MESSAGES.columns}
FROM bridge_message m JOIN bridge_conversation c ON c.id = m.conversation_id
WHERE m.id = ANY(%s) ORDER BY m.id FOR NO KEY UPDATE OF m
"""


def _lock_messages(api_channel: ApiChannel, ids: Iterable[int]) -> dict[Message, int]:
    """Lock messages. Return the outbound ones of the channel with the IDs of their conversations' contacts."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_MESSAGES_SQL, [sorted(ids)])
        rows = [(MESSAGES.read(values), contact_id) for contact_id, *values in cursor.fetchall()]
    return {
        row: contact_id
        for row, contact_id in rows
        if row.api_channel_id == api_channel.pk and row.direction == Message.Direction.OUTBOUND
    }


@transaction.atomic(savepoint=False)
def apply_statuses(api_channel: ApiChannel, facts: Sequence[StatusChanged]) -> list[StatusTarget | None]:
    """Apply statuses to messages. A status of an unknown message is stored as a StrayStatus.

    Return what each status is about; None for an unknown message.
    """
    ids_by_key, reaction_keys = _match_delivery_keys(api_channel, [fact for fact in facts if fact.key])
    ids = {fact.message_id for fact in facts if fact.message_id is not None} | set(ids_by_key.values())
    ids |= set(message_lookup.find_message_ids(api_channel.pk, (fact.external_id for fact in facts)).values())
    ids |= {row.message_id for row in reaction_keys.values() if row.message_id}  # locked in one order with the others
    contact_ids = _lock_messages(api_channel, ids)
    by_id = {row.pk: row for row in contact_ids}
    by_external = {row.external_id: row for row in by_id.values() if row.external_id}
    pairs = [
        (fact, by_id.get(fact.message_id or ids_by_key.get(fact.key, 0)) or by_external.get(fact.external_id))
        for fact in facts
    ]
    # Asked again after the lock, which may have waited for an erasure.
    unknown = [fact for fact, message in pairs if message is None and fact.key not in reaction_keys]
    reaction_facts = [fact for fact, message in pairs if message is None and fact.key in reaction_keys]
    reaction_targets = _apply_reaction_statuses(reaction_facts, reaction_keys)
    unmatched = erased_ids.drop_erased(api_channel, unknown)
    stray_facts = {id(fact) for fact in unmatched}
    erased_chats = _find_erased_chats(by_id.values())
    strays, changed = [], set()
    failed: list[Message] = []
    targets: list[StatusTarget | None] = []
    for fact, message in pairs:
        if message is None and fact.key in reaction_targets:
            targets.append(reaction_targets[fact.key])
            continue
        if message is None:
            is_stray = id(fact) in stray_facts
            targets.append(None if is_stray else StatusTarget(contact_ids=(), is_erased=True))
            strays += [_build_stray(api_channel, fact)] if is_stray else []
            continue
        target = StatusTarget(
            contact_ids=[contact_ids[message], message.merged_contact_id],
            is_erased=message.conversation_id in erased_chats,
        )
        targets.append(target)
        if target.is_erased:
            continue
        if advance_status(message, fact):
            changed.add(message.pk)
            if fact.status == Message.Status.FAILED:
                failed.append(message)
    if changed:
        update_rows([by_id[pk] for pk in sorted(changed)], STATUS_FIELDS)
        recording.count_statuses(by_id[pk] for pk in changed)
        tracing.record_statuses(by_id[pk] for pk in changed)
        _handle_failures(api_channel, failed)
    if strays:
        StrayStatus.objects.bulk_create(strays)
    return targets


def _find_erased_chats(messages: Iterable[Message]) -> set[int]:
    """Return the erased chats of locked messages.

    Asked after the lock: the query that waits for a running erasure sees the chat as it was before. A message with a
    text or a provider ID was not erased, so usually there is no query.
    """
    chats = {message.conversation_id for message in messages if not message.external_id and not message.text}
    return (
        set(Conversation.objects.filter(pk__in=chats, is_erased=True).values_list("pk", flat=True)) if chats else set()
    )


def _match_delivery_keys(
    api_channel: ApiChannel, facts: Sequence[StatusChanged]
) -> tuple[dict[str, int], Mapping[str, Delivery]]:
    """Return message IDs by delivery key, for statuses whose provider ID is not known yet, and deliveries of reactions.

    Such a status proves that the message arrived. A delivery with an unknown outcome is settled and not repeated.
    """
    if not facts:
        return {}, {}
    known_ids = message_lookup.find_message_ids(api_channel.pk, (fact.external_id for fact in facts))
    keys = {fact.key for fact in facts if fact.external_id not in known_ids}
    if not keys:
        return {}, {}
    # Locked in any state, to wait for a delivery that another transaction is setting to unknown.
    found = Delivery.objects.filter(key__in=keys).select_for_update(no_key=True).order_by("pk")
    rows = [
        row
        for row in found.only("key", "message_id", "state", "attempts", "api_channel_id", "kind", "payload")
        if row.api_channel_id == api_channel.pk and row.kind in Delivery.TO_CONTACT
    ]
    unconfirmed = (Delivery.State.UNKNOWN, Delivery.State.PENDING)
    arrived = [row.pk for row in rows if row.state in unconfirmed and row.attempts > 0]
    if arrived:
        Delivery.objects.filter(pk__in=arrived).update(
            state=Delivery.State.DELIVERED, finished_at=timezone.now(), reason=""
        )
    reactions_by_key = {row.key: row for row in rows if row.kind == Delivery.Kind.REACTION}
    messages = {row.key: row.message_id for row in rows if row.message_id and row.key not in reactions_by_key}
    return messages, reactions_by_key


def _apply_reaction_statuses(
    facts: Sequence[StatusChanged], deliveries: Mapping[str, Delivery]
) -> dict[str, StatusTarget]:
    """Apply statuses of our reactions, which have no messages of their own. Their messages are locked.

    Return the people of these messages by delivery key.
    """
    if not facts:
        return {}
    reactions.confirm_reactions(
        {fact.key: deliveries[fact.key] for fact in facts if fact.status != Message.Status.FAILED}.values()
    )
    for fact in facts:
        if fact.status == Message.Status.FAILED:
            error = {"code": fact.code, "title": fact.title, "details": fact.details}
            reactions.fail_reaction(deliveries[fact.key], fact.reason or "provider_failed", error=error)
    rows = Delivery.objects.filter(pk__in=[deliveries[fact.key].pk for fact in facts])
    people = rows.values_list(
        "key", "message__conversation__contact_id", "message__merged_contact_id", "message__conversation__is_erased"
    )
    return {
        key: StatusTarget(contact_ids=(contact_id, merged_id), is_erased=is_erased is not False)
        for key, contact_id, merged_id, is_erased in people
    }


def advance_status(message: Message, fact: StatusChanged) -> bool:
    """Apply one status to an unsaved message if it is a step forward. Return whether it was."""
    is_expired = message.expired_at is not None  # retention deleted its provider ID and the provider's words
    if fact.external_id and not message.external_id and not is_expired:
        message.external_id = fact.external_id
    if Message.RANK[fact.status] <= Message.RANK[message.status]:
        return False
    message.status = fact.status
    message.status_at = fact.at or timezone.now()
    if fact.status == Message.Status.FAILED:
        message.reason = fact.reason or "provider_failed"
        error = {"code": fact.code} if is_expired else {"code": fact.code, "title": fact.title, "details": fact.details}
        message.details = message.details | {name: value for name, value in error.items() if value or name != "details"}
    else:
        message.reason = ""
    return True


def _handle_failures(api_channel: ApiChannel, failed: Sequence[Message]) -> None:
    """Apply the side effects of failures and notify operators of external helpdesks."""
    operator_notes.note_failed_messages(message for message in failed if message.status == Message.Status.FAILED)
    for message in failed:
        forget_upload = outcomes.get_effects(message.reason).forget_upload
        for delivery in Delivery.objects.filter(message=message) if forget_upload else ():
            provider_uploads.forget_rejected_upload(delivery, message.reason)
        failure_effects.apply_failure(api_channel, message.reason, template=message.template, at=message.status_at)
    consents.apply_failures((message, message.reason, message.status_at) for message in failed)


def _build_stray(api_channel: ApiChannel, fact: StatusChanged) -> StrayStatus:
    return StrayStatus(
        api_channel=api_channel,
        external_id=fact.external_id
        or f"message_id {fact.message_id}",  # an ID that we never issued, shown to an admin
        status=fact.status,
        at=fact.at,
        code=fact.code,
        title=fact.title,
        reason=fact.reason,
        details=fact.details[:500],
    )


def apply_stray_statuses(api_channel: ApiChannel, messages: Iterable[Message]) -> None:
    """Apply statuses that arrived before their messages. The caller holds the messages' row locks."""
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
            recording.count_statuses([message])
            if fact.status == Message.Status.FAILED:
                failed.append(message)
    _handle_failures(api_channel, failed)
    if strays:
        StrayStatus.objects.filter(pk__in=[stray.pk for stray in strays]).delete()
