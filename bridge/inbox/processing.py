"""Step 2, processing: turn stored events into facts, in batches, exactly once.

One worker at a time processes a channel (advisory lock), so that its events keep their order. Attempts are counted
before the work begins, so that an event that crashes its worker every time ends as failed. A bad event never blocks
good ones.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from bridge import person_erased, tracing
from bridge.conversations import erased_ids, identity_changes, message_statuses, receiving, sandbox_clock
from bridge.conversations.known_chats import lock_known_chats
from bridge.helpdesk import incoming
from bridge.models import WebhookEvent
from bridge.raw_requests import clear_events, mark_event_failed, restore_request
from bridge.relay import held_replies
from bridge.worker_runs import WorkerRun
from channels_setup import prepared_statements
from channels_setup.advisory_locks import LockSpace, exclusive
from channels_setup.codecs.bodies import BadBody
from channels_setup.database_schema import SchemaMismatch
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import (
    AccountUpdate,
    ContactChanged,
    Correction,
    EchoSeen,
    Fact,
    GroupActivity,
    MessageReceived,
    SampleReceived,
    StatusChanged,
    TemplateChanged,
    TimePassed,
)
from templates_registry.provider import provider_sync

from . import account_updates, channel_settings, echoes, event_notes, pending_corrections, routing, unsupported
from .contact_references import ContactReferences, finish_events
from .event_claims import claim_events

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # until the next try of a channel whose batch failed
# SQLSTATE classes of transient errors: rollback and deadlock, insufficient resources, object in use, shutdown.
TRANSIENT_ERROR_CLASSES = ("40", "53", "55", "57")


def process_inbox(run: WorkerRun | None = None) -> int:
    """Process events until none is waiting, or until the run is over. Return the number of events.

    Takes a batch of each channel in turn, so that a flood on one channel does not delay others. Another worker may hold
    a channel's lock: it looks for events once more after it has released the lock.
    """
    processed = 0
    retry_at: dict[tuple[str, int], float] = {}  # channels whose last batch failed
    while run is None or not run.is_over():
        if run is not None:
            run.clear()
        before = processed
        for source, channel_id in _find_channels_with_events():
            if retry_at.get((source, channel_id), 0.0) > time.monotonic():
                continue
            with exclusive(EVENT_SOURCES[source].lock, channel_id) as has_lock:
                if has_lock and (events := claim_events(channel_id, source=source)):
                    if not _try_processing(source, channel_id, events):
                        retry_at[source, channel_id] = time.monotonic() + RETRY_SECONDS
                    processed += len(events)
        if processed == before and (run is None or not run.wait()):
            break
    return processed


def _try_processing(source: str, channel_id: int, events: Sequence[WebhookEvent]) -> bool:
    """Process one batch. Return False if processing stopped early; the remaining events keep their order.

    If no event caused the error, the attempt is not counted: a full disk must not make events fail.
    """
    try:
        EVENT_SOURCES[source].process(channel_id, events)
        return True
    except (OperationalError, InterfaceError) as problem:
        logger.exception("events deferred to the next run", extra={source: channel_id})
        code = str(getattr(problem.__cause__, "pgcode", None) or "")
        is_external_cause = isinstance(problem, SchemaMismatch) or code.startswith(TRANSIENT_ERROR_CLASSES)
    except Exception:  # not an error of a single event: the channel's settings may be broken
        logger.exception("events of a channel not processed", extra={source: channel_id})
        is_external_cause = True
    if is_external_cause:
        waiting = WebhookEvent.objects.filter(pk__in=[event.pk for event in events], state=WebhookEvent.State.NEW)
        waiting.update(attempts=F("attempts") - 1)
    return False


# Channels by their oldest waiting event: one index lookup per channel. Plain SQL, because it runs after each batch and
# wake-up, and building it with the ORM cost more than the rest of an idle look.
CHANNELS_WITH_EVENTS_SQL = """
SELECT source, id FROM (
    SELECT 'api_channel' AS source, c.id,
        (SELECT min(e.id) FROM bridge_webhookevent e WHERE e.api_channel_id = c.id AND e.state = 'new') AS oldest
    FROM channels_setup_apichannel c
    UNION ALL
    SELECT 'chat_channel', c.id,
        (SELECT min(e.id) FROM bridge_webhookevent e WHERE e.chat_channel_id = c.id AND e.state = 'new')
    FROM channels_setup_chatchannel c
) channels WHERE oldest IS NOT NULL ORDER BY oldest
"""


def _find_channels_with_events() -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        prepared_statements.execute(cursor, CHANNELS_WITH_EVENTS_SQL)
        return list(cursor.fetchall())


def process_events(channel_id: int, events: Sequence[WebhookEvent]) -> None:
    """Parse events and apply their facts in one transaction. If that fails, process one event at a time."""
    settings = channel_settings.get_channel(channel_id)
    readable: list[tuple[WebhookEvent, list[Fact]]] = []
    for event in events:
        try:
            facts, targets = _read_event(settings, event)
            if targets.unrouted:  # the cached settings may not have the number yet
                channel_settings.discard_settings(channel_id)
                settings = channel_settings.get_channel(channel_id)
                facts, targets = _read_event(settings, event)
            if routing.route_items(settings.api_channel, event, targets):
                readable.append((event, facts))
        except (OperationalError, InterfaceError):
            raise
        except Exception as problem:
            mark_event_failed(event, problem)
    if not readable:
        return
    api_channel = settings.api_channel
    if channel_settings.needs_current_settings(fact for _event, facts in readable for fact in facts):
        channel_settings.discard_settings(channel_id)
        api_channel = channel_settings.get_channel(channel_id).api_channel
    try:
        _apply_all(api_channel, readable)
    except (OperationalError, InterfaceError):
        channel_settings.discard_settings(channel_id)
        raise
    except Exception:
        logger.warning("batch failed, processing its events one at a time", extra={"channel": channel_id})
        try:
            for event, facts in readable:
                channel_settings.discard_settings(channel_id)
                api_channel = channel_settings.get_channel(channel_id).api_channel
                _apply_one(api_channel, event, facts)
        finally:  # a rolled back event may have left its changes in the cached channel
            channel_settings.discard_settings(channel_id)


def _read_event(
    settings: channel_settings.ChannelSettings, event: WebhookEvent
) -> tuple[list[Fact], routing.SortedItems]:
    """Return the facts of an event, and its items for other channels. An archived channel gets no new facts."""
    api_channel = settings.api_channel
    facts: list[Fact] = []
    if api_channel.archived_at is None or event.received_at < api_channel.archived_at:
        facts = api_channel.provider.parse(restore_request(event), settings.account)
    return facts, routing.sort_items(api_channel, event, settings.account)


@transaction.atomic
def _apply_all(api_channel: ApiChannel, readable: Sequence[tuple[WebhookEvent, list[Fact]]]) -> None:
    references, started = ContactReferences(), time.perf_counter()
    apply_facts(api_channel, [fact for _event, facts in readable for fact in facts], references)
    finish_events(readable, references)
    event_notes.write_event_notes(readable, is_archived=api_channel.archived_at is not None)
    new_messages = ((event, pk) for event, facts in readable for pk in references.list_messages(facts))
    tracing.record_inbox(new_messages, seconds=time.perf_counter() - started, batch=len(readable))


def _apply_one(api_channel: ApiChannel, event: WebhookEvent, facts: list[Fact]) -> None:
    try:
        _apply_all(api_channel, [(event, facts)])
    except (OperationalError, InterfaceError):
        raise  # later events wait, so that their order is kept
    except Exception as problem:
        if person_erased.is_refusal(problem) and _apply_without_refused(api_channel, event, facts):
            return
        mark_event_failed(event, problem)


@transaction.atomic
def _apply_without_refused(api_channel: ApiChannel, event: WebhookEvent, facts: Sequence[Fact]) -> bool:
    """Apply the facts of an event that do not concern an erased person, and empty the event. False if one failed."""
    for fact in facts:
        try:
            with transaction.atomic():
                apply_facts(api_channel, [fact])
        except (OperationalError, InterfaceError):
            raise
        except Exception as problem:
            if not person_erased.is_refusal(problem):
                transaction.set_rollback(True)
                return False
    finish_events([(event, [])], ContactReferences())
    clear_events([event.pk])
    return True


def apply_facts(
    api_channel: ApiChannel, facts: Sequence[Fact], references: ContactReferences | None = None
) -> ContactReferences:
    """Apply facts in order. Consecutive messages or statuses are stored together. Return the contacts of each fact."""
    references = references or ContactReferences()
    chat_channel = channel_settings.get_default_chat_channel(api_channel.pk)
    plain = [fact for fact in facts if isinstance(fact, MessageReceived)]
    is_plain = len(plain) == len(facts)
    known_chats = lock_known_chats(api_channel, plain, chat_channel) if is_plain else None
    if known_chats is None:  # else no message was erased
        remaining = erased_ids.drop_erased(api_channel, facts)
        remaining_ids = {id(fact) for fact in remaining}
        references.mark_erased(fact for fact in facts if id(fact) not in remaining_ids)
        facts = remaining
    messages: list[receiving.IncomingMessage] = []
    statuses: list[StatusChanged] = []
    originals: dict[int, Fact] = {}  # ID of a stand-in → the fact that it replaces
    stand_ins: list[Fact] = []  # kept, so that no other object gets the same ID

    def store_collected() -> None:
        if messages:
            chats = known_chats
            if not is_plain:
                chats = lock_known_chats(api_channel, [item.fact for item in messages], chat_channel)
            received = receiving.receive_messages(
                api_channel, messages, known_chats=chats, find_watchers=channel_settings.get_watchers
            )
            held_replies.release_held_replies(item.conversation.pk for item in received if item.has_held_replies)
            for item, stored in zip(messages, received, strict=True):
                references.link(originals.get(id(item.fact), item.fact), stored.contact_ids)
                if stored.is_new:
                    references.link_message(originals.get(id(item.fact), item.fact), stored.message.pk)
                else:
                    pending_corrections.merge_late_original(api_channel, item.fact, stored.message)
            pending_corrections.apply_pending_corrections(
                api_channel, (stored.message.external_id for stored in received if stored.has_corrections)
            )
            messages.clear()
        if statuses:
            for status, target in zip(statuses, message_statuses.apply_statuses(api_channel, statuses), strict=True):
                if target is not None:
                    references.link(status, target.contact_ids)
                    references.mark_erased([status] if target.is_erased else [])
            statuses.clear()

    def store_echo(fact: EchoSeen) -> None:
        echo = echoes.store_echo(api_channel, fact, chat_channel=_require_chat_channel(chat_channel))
        references.link(originals.get(id(fact), fact), receiving.list_contact_ids(echo, echo.conversation))
        pending_corrections.merge_late_original(api_channel, fact, echo)
        pending_corrections.apply_pending_corrections(api_channel, [echo.external_id])

    for fact in facts:
        if isinstance(fact, MessageReceived):
            messages.append(receiving.IncomingMessage(fact=fact, chat_channel=_require_chat_channel(chat_channel)))
        elif isinstance(fact, StatusChanged):
            statuses.append(fact)
        elif isinstance(fact, EchoSeen):
            store_collected()
            store_echo(fact)
        elif isinstance(fact, Correction):
            store_collected()  # its message may be among the collected ones
            result = pending_corrections.apply_or_keep_correction(api_channel, fact)
            references.link(fact, result.contact_ids)
            for stand_in in result.stand_ins:
                originals[id(stand_in)] = fact
                stand_ins.append(stand_in)
                if isinstance(stand_in, EchoSeen):
                    store_echo(stand_in)
                else:
                    messages.append(
                        receiving.IncomingMessage(fact=stand_in, chat_channel=_require_chat_channel(chat_channel))
                    )
        elif isinstance(fact, ContactChanged):
            store_collected()
            changed = identity_changes.apply_identity_change(api_channel, fact)
            references.link(fact, [changed.pk, changed.owner_id] if changed else [])
        elif isinstance(fact, TimePassed):
            store_collected()
            sandbox_clock.advance_clock(api_channel, fact)
        elif isinstance(fact, TemplateChanged):
            provider_sync.apply_provider_change(api_channel, fact)
        elif isinstance(fact, AccountUpdate):
            account_updates.record_account_update(api_channel, fact)
    store_collected()
    unsupported.record_unsupported(api_channel, facts)
    if any(not isinstance(fact, GroupActivity | SampleReceived) for fact in facts):
        api_channel.record_inbound()
    return references


def _require_chat_channel(chat_channel: ChatChannel | None) -> ChatChannel:
    if chat_channel is None:
        raise BadBody(
            _("The message cannot be stored, because this API channel has no chat channel. Choose one on its page.")
        )
    return chat_channel


def reprocess_events(event_ids: Sequence[int]) -> int:
    """Queue failed and unrouted webhook events again. Return their number.

    API calls are excluded: their caller got an error response and decides about a retry.
    """
    stuck = WebhookEvent.objects.filter(pk__in=event_ids, state__in=WebhookEvent.STUCK, endpoint="webhook")
    return stuck.update(state=WebhookEvent.State.NEW, attempts=0, error="", traceback="")


def dismiss_events(event_ids: Sequence[int]) -> int:
    """Dismiss failed events that cannot be reprocessed: no more warnings, same retention. Return their number."""
    stuck = WebhookEvent.objects.filter(pk__in=event_ids, state__in=WebhookEvent.STUCK)
    channels = list(stuck.filter(state=WebhookEvent.State.UNROUTED).values_list("api_channel", flat=True).distinct())
    count = stuck.update(state=WebhookEvent.State.PROCESSED, processed_at=timezone.now())
    routing.settle_unrouted_alerts(channels)
    return count


@dataclass(frozen=True)
class EventSource:
    """Kind of event source: the function that processes its events, and the lock space."""

    process: Callable[[int, Sequence[WebhookEvent]], None]
    lock: LockSpace


EVENT_SOURCES = {
    "api_channel": EventSource(process_events, LockSpace.INBOX),
    "chat_channel": EventSource(incoming.process_helpdesk_events, LockSpace.HELPDESK_INBOX),  # an external helpdesk
}
