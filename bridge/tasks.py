"""Celery tasks. Each calls one function; all state is in PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task

from channels_setup import advisory_locks
from channels_setup.advisory_locks import LockSpace
from channels_setup.failing_items import FailingItems
from templates_registry.provider import provider_sync

from . import wakeups, worker_runs
from .alert_routes import planning
from .automation import runs
from .channel_health import alerts, webhook_inactivity
from .conversations import assignments, closing_reminders, read_receipts, team_releases
from .desk.push import sending
from .files import inbound_downloads
from .helpdesk import operators
from .inbox import pending_corrections, processing, routing, unsupported
from .maintenance import erasure, housekeeping, portal_checks, reconciliation
from .outbox import bulk_resend, dispatcher
from .outbox.policies import Lane
from .relay import held_replies

REAPPLY_AFTER = timedelta(minutes=5)
HEALTH_CHECKS = FailingItems("watch")
EMAILS = 1  # second key of the lock
LANES = {wakeups.OUTBOUND: Lane.ANSWERS, wakeups.EVENTS: Lane.EVENTS}


@shared_task(bind=True)
def process_inbox(self: Any) -> int:
    with worker_runs.begin_run(wakeups.INBOUND, str(self.request.hostname)) as run:
        if run is None:
            return 0
        housekeeping.record_heartbeat_throttled("inbound")
        return processing.process_inbox(run)


@shared_task(bind=True)
def send_due_deliveries(self: Any) -> int:
    return _send_lane(wakeups.OUTBOUND, str(self.request.hostname))


@shared_task(bind=True)
def send_due_events(self: Any) -> int:
    return _send_lane(wakeups.EVENTS, str(self.request.hostname))


def _send_lane(channel: str, worker: str) -> int:
    """Send the deliveries of a lane, or of both lanes if the worker has the queues of both."""
    with worker_runs.begin_run(channel, worker) as run:
        if run is None:
            return 0
        for each in run.channels:
            housekeeping.record_heartbeat_throttled(each)
        if channel == wakeups.OUTBOUND:
            portal_checks.check_beat()
        return dispatcher.send_due_deliveries(LANES[channel] if run.channels == (channel,) else None, run)


@shared_task
def download_files() -> int:
    wakeups.clear_notification(wakeups.FILES)
    return inbound_downloads.download_due_files()


@shared_task
def expire_windows() -> int:
    return housekeeping.expire_windows()


@shared_task
def send_closing_reminders() -> int:
    return closing_reminders.send_reminders()


@shared_task
def run_automation() -> int:
    return runs.run_automation()


@shared_task
def release_assignments() -> int:
    return assignments.release_lost_assignments() + team_releases.release_lost_teams()


@shared_task
def process_pending_corrections() -> int:
    return pending_corrections.process_pending_corrections()


@shared_task
def record_heartbeat() -> None:
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
def check_health() -> int:
    open_alerts = 0
    with HEALTH_CHECKS.isolate("alerts"):
        open_alerts = alerts.review_alerts()
    with HEALTH_CHECKS.isolate("groups"):
        unsupported.settle_group_alerts()
    with HEALTH_CHECKS.isolate("unrouted"):
        routing.settle_unrouted_alerts()
    with HEALTH_CHECKS.isolate("silence"):
        webhook_inactivity.check_webhook_inactivity()
    return open_alerts


@shared_task
def check_portal() -> None:
    portal_checks.check_portal()


@shared_task
def route_alerts() -> int:
    """Plan the messages of alert routes, and send those that are emails. SMTP blocks, so one task at a time does it."""
    wakeups.clear_notification(wakeups.ALERTS)
    planned = planning.plan_messages()
    with advisory_locks.exclusive(LockSpace.ALERT_ROUTES, EMAILS) as is_free:
        if is_free:
            dispatcher.send_due_deliveries(Lane.MAIL)
    return planned


@shared_task
def send_pushes() -> int:
    return sending.send_pushes()


@shared_task(expires=600)
def send_read_receipt(conversation_id: int) -> bool:
    return read_receipts.send_read_receipt(conversation_id)


@shared_task(expires=600)
def fetch_operator_names(chat_channel_id: int) -> int:
    return operators.fetch_operator_names(chat_channel_id)


@shared_task
def reconcile_messages() -> int:
    return reconciliation.reconcile_messages()


@shared_task
def prune_expired_rows() -> int:
    return housekeeping.prune_expired_rows()


@shared_task
def reapply_erasures() -> int:
    """Erase again the people whom a restored dump brought back."""
    return len(erasure.reapply_erasures(min_age=REAPPLY_AFTER))
