"""What the workers are called for. Each fetches, calls one function, and is done; PostgreSQL holds the truth."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from channels_setup.failing_items import FailingItems
from templates_registry.provider import provider_sync

from . import wakeups
from .channel_health import alerts, webhook_inactivity
from .conversations import assignments, closing_reminders, read_receipts
from .files import inbound_downloads
from .helpdesk import operators, sending
from .inbox import pending_corrections, processing, routing, unsupported
from .maintenance import housekeeping, reconciliation
from .outbox import bulk_resend, dispatcher
from .relay import held_replies

WATCHES = FailingItems("watch")


@shared_task
def drain_inbox() -> int:
    housekeeping.record_heartbeat_throttled("inbound")
    return processing.process_inbox()


@shared_task(bind=True)
def drain_outbox(self: Any) -> int:
    housekeeping.record_heartbeat_throttled("outbound")
    with dispatcher.acquire_run_slot(str(self.request.hostname)) as is_free:
        return dispatcher.send_due_deliveries() if is_free else 0


@shared_task(bind=True)
def drain_helpdesk(self: Any) -> int:
    wakeups.clear_notification(wakeups.HELPDESK)
    with dispatcher.acquire_run_slot(str(self.request.hostname)) as is_free:
        return sending.send_due_commands() if is_free else 0


@shared_task
def fetch_files() -> int:
    wakeups.clear_notification(wakeups.FILES)
    return inbound_downloads.download_due_files()


@shared_task
def expire_windows() -> int:
    return housekeeping.expire_windows()


@shared_task
def warn_of_closing() -> int:
    return closing_reminders.send_reminders()


@shared_task
def release_assignments() -> int:
    return assignments.release_lost_assignments()


@shared_task
def settle_corrections() -> int:
    return pending_corrections.process_pending_corrections()


@shared_task
def heartbeat() -> None:
    housekeeping.record_heartbeat("beat")


@shared_task
def drop_held_replies() -> int:
    return held_replies.drop_expired_replies()


@shared_task
def sync_templates() -> int:
    return provider_sync.sync_due_channels()


@shared_task
def run_bulk_actions() -> int:
    return bulk_resend.run_bulk_actions()


@shared_task
def watch() -> int:
    standing = 0
    with WATCHES.isolate("alerts"):
        standing = alerts.review_alerts()
    with WATCHES.isolate("groups"):
        unsupported.settle_group_alerts()
    with WATCHES.isolate("unrouted"):
        routing.settle_unrouted_alerts()
    with WATCHES.isolate("silence"):
        webhook_inactivity.check_webhook_inactivity()
    return standing


@shared_task(expires=600)
def mark_read(conversation_id: int) -> bool:
    return read_receipts.send_read_receipt(conversation_id)


@shared_task(expires=600)
def fetch_operator_names(chat_channel_id: int) -> int:
    return operators.fetch_operator_names(chat_channel_id)


@shared_task
def reconcile() -> int:
    return reconciliation.reconcile_messages()


@shared_task
def prune() -> int:
    return housekeeping.prune_expired_rows()
