"""Deletion of stored files together with their rows: scheduled in the transaction, carried out after the commit.

A crash after the commit leaves the schedule, and pruning carries it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.core.files.storage import default_storage
from django.db import transaction

from bridge.models import FileDeletion
from channels_setup.failing_items import FailingItems

BATCH = 100  # a bucket answers within tens of milliseconds
FAILING = FailingItems("files to delete")


def schedule_file_deletions(paths: Collection[str]) -> None:
    """Delete these files after the commit of the running transaction, and again later if that fails."""
    names = sorted({path for path in paths if path})
    if not names:
        return
    rows = [FileDeletion(path=path) for path in names]
    FileDeletion.objects.bulk_create(rows, ignore_conflicts=True, batch_size=BATCH)
    transaction.on_commit(lambda: delete_files(names), robust=True)


def delete_files(paths: Collection[str]) -> int:
    """Delete scheduled files, each on its own. Return how many were deleted."""
    deleted = []
    for path in paths:
        with FAILING.isolate(path):
            default_storage.delete(path)  # a file that is already gone is no error
            deleted.append(path)
    FileDeletion.objects.filter(path__in=deleted).delete()
    return len(deleted)


def delete_scheduled_files() -> Iterator[int]:
    """Delete the files that were scheduled and not deleted. Yield how many in each batch."""
    waiting = FileDeletion.objects.order_by("pk")
    while paths := list(waiting.exclude(path__in=FAILING.items_in_backoff()).values_list("path", flat=True)[:BATCH]):
        if not (deleted := delete_files(paths)):
            break
        yield deleted
