"""What the workers are called for. Each fetches, calls one function, and is done; PostgreSQL holds the truth."""

from __future__ import annotations

from celery import shared_task

from templates_registry import syncing

from . import alerts, doorbell, held, housekeeping, inbox, outbox


@shared_task
def drain_inbox() -> int:
    doorbell.answered(doorbell.INBOUND)
    housekeeping.beat_seldom("inbound")
    return inbox.drain()


@shared_task
def drain_outbox() -> int:
    doorbell.answered(doorbell.OUTBOUND)
    housekeeping.beat_seldom("outbound")
    return outbox.drain()


@shared_task
def expire_windows() -> int:
    return housekeeping.expire_windows()


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
def watch() -> int:
    return alerts.watch()


@shared_task
def prune() -> int:
    return housekeeping.prune()
