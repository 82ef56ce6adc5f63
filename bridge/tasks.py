"""What the workers are called for. Each fetches, calls one function, and is done; PostgreSQL holds the truth."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from channels_setup.failing_items import FailingItems
from templates_registry import syncing

from . import (
    alerts,
    assignments,
    closing,
    doorbell,
    held,
    housekeeping,
    inbox,
    media,
    not_supported,
    outbox,
    pending_corrections,
    read_marks,
    reconciling,
    replay_many,
    routing,
    silence,
)
from .helpdesk import people, sending

WATCHES = FailingItems("watch")


@shared_task
def drain_inbox() -> int:
    housekeeping.beat_seldom("inbound")
    return inbox.drain()


@shared_task(bind=True)
def drain_outbox(self: Any) -> int:
    housekeeping.beat_seldom("outbound")
    with outbox.place(str(self.request.hostname)) as is_free:
        return outbox.drain() if is_free else 0


@shared_task(bind=True)
def drain_helpdesk(self: Any) -> int:
    doorbell.answered(doorbell.HELPDESK)
    with outbox.place(str(self.request.hostname)) as is_free:
        return sending.drain() if is_free else 0


@shared_task
def fetch_files() -> int:
    doorbell.answered(doorbell.FILES)
    return media.fetch_due()


@shared_task
def expire_windows() -> int:
    return housekeeping.expire_windows()


@shared_task
def warn_of_closing() -> int:
    return closing.warn()


@shared_task
def release_assignments() -> int:
    return assignments.release()


@shared_task
def settle_corrections() -> int:
    return pending_corrections.sweep()


@shared_task
def heartbeat() -> None:
    housekeeping.beat("beat")


@shared_task
def drop_held_replies() -> int:
    return held.drop_old()


@shared_task
def sync_templates() -> int:
    return syncing.sync_due()


@shared_task
def replay_waiting() -> int:
    return replay_many.work()


@shared_task
def watch() -> int:
    standing = 0
    with WATCHES.isolate("alerts"):
        standing = alerts.watch()
    with WATCHES.isolate("groups"):
        not_supported.settle_alerts()
    with WATCHES.isolate("unrouted"):
        routing.settle_alerts()
    with WATCHES.isolate("silence"):
        silence.watch()
    return standing


@shared_task(expires=600)
def mark_read(conversation_id: int) -> bool:
    return read_marks.tell(conversation_id)


@shared_task(expires=600)
def learn_people(chat_channel_id: int) -> int:
    return people.learn(chat_channel_id)


@shared_task
def reconcile() -> int:
    return reconciling.reconcile()


@shared_task
def prune() -> int:
    return housekeeping.prune()
