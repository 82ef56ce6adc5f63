"""Retention per API channel: words of old messages, old files and old raw requests are deleted.

A message's row stays with its time, direction, author, status and request, so that reports and statistics do not
change; its words, files, template values and provider IDs are deleted (``Message.expired_at``), and with them the
copies in deliveries, attempts, requests, chat lists and drafts. Each step may be repeated: ``expired_at`` is set last,
so an interrupted batch is found again. Batches are small, and rows that a transaction uses are left for the next run.

Kept although old, because they are still needed:
- messages with an unfinished delivery: they would be sent empty;
- messages that a held reply quotes or depends on, until it is sent or dropped;
- the client's last message while a service window is open: operators answer it;
- messages of an open request in a chat with newer messages: the operator works on that case. An open request in a chat
  where nothing happened for the whole retention does not keep them: otherwise a forgotten request would keep them for
  ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.files.storage import default_storage
from django.db import connection

from bridge import service_window
from bridge.conversations import erased_ids
from bridge.models import Attachment, Message, RetentionKind, Upload
from channels_setup.failing_items import FailingItems

from . import retention_rules
from . import retention_sql as sql

BATCH = 500
FILE_BATCH = 100  # a bucket answers within tens of milliseconds
# Providers repeat webhooks for days. Until then a hash of the deleted message's ID recognizes it.
REPEATED_WITHIN = timedelta(days=30)
EXPIRING = FailingItems("expire")
FILES = FailingItems("expired files")


@dataclass(frozen=True, kw_only=True)
class ChannelCutoff:
    """Rows of this API channel from before the time are deleted."""

    api_channel_id: int
    before: datetime


def apply_retention() -> int:
    """Delete what is older than its channel keeps. Return the number of messages, files and raw requests."""
    return sum(count for kind in EXPIRE for count in iterate_kind(kind))


def iterate_kind(kind: RetentionKind) -> Iterator[int]:
    """Delete what is older than its channel keeps, of one kind. Yield the number of rows of each batch."""
    for cutoff in find_cutoffs(kind):
        with EXPIRING.isolate(f"{kind} of channel {cutoff.api_channel_id}"):
            yield from EXPIRE[kind](cutoff)


def find_cutoffs(kind: RetentionKind) -> list[ChannelCutoff]:
    """Return the cutoff of each channel with a limit."""
    now = service_window.database_now()
    days = retention_rules.get_channel_days(kind)
    return [
        ChannelCutoff(api_channel_id=pk, before=now - timedelta(days=limit)) for pk, limit in days.items() if limit > 0
    ]


def list_message_limits() -> list[int]:
    """Return the limits of messages in days, of all channels that have one."""
    return sorted({days for days in retention_rules.get_channel_days(RetentionKind.MESSAGES).values() if days > 0})


# --- messages --------------------------------------------------------------------------------------------


def expire_messages(cutoff: ChannelCutoff) -> Iterator[int]:
    """Delete the words of the channel's old messages, oldest first, and everything that repeats them."""
    for ids in _iterate_batches(sql.FIND_OLD_MESSAGES, cutoff):
        yield _expire_batch(ids, cutoff)
    yield from _expire_rows_without_message(cutoff)


def _expire_batch(old_ids: list[int], cutoff: ChannelCutoff) -> int:
    values = {"ids": old_ids, "before": cutoff.before}
    ids = [row[0] for row in _fetch(sql.FIND_UNPROTECTED, values)]
    if not ids:
        return 0
    kept = _delete_files(Attachment.objects.filter(message__in=ids), Upload.objects.filter(message__in=ids))
    values["ids"] = ids = [pk for pk in ids if pk not in kept]
    recent = Message.objects.filter(pk__in=ids, created_at__gte=service_window.database_now() - REPEATED_WITHIN)
    provider_ids = recent.exclude(external_id="").values_list("external_id", flat=True)
    erased_ids.remember_expired(cutoff.api_channel_id, list(provider_ids))
    for statement in sql.CLEAR_COPIES:
        _execute(statement, values)
    return _execute(sql.CLEAR_MESSAGES, values)


def _expire_rows_without_message(cutoff: ChannelCutoff) -> Iterator[int]:
    """Delete old words that belong to a chat, but to none of its messages: notes, drafts, finished held replies.

    They are not counted.
    """
    for ids in _iterate_batches(sql.FIND_OLD_DELIVERIES, cutoff):
        _execute(sql.CLEAR_DELIVERIES, {"ids": ids})
        yield 0
    values = {"channel": cutoff.api_channel_id, "before": cutoff.before, "limit": BATCH}
    for statement in sql.CLEAR_OLD_ROWS:
        while _execute(statement, values):
            yield 0


# --- files -----------------------------------------------------------------------------------------------


def expire_files(cutoff: ChannelCutoff) -> Iterator[int]:
    """Delete the channel's old files from disk. Their names stay with the message."""
    for ids in _iterate_old_files(cutoff):
        count = 0
        rows = Attachment.objects.filter(pk__in=ids)
        for path in rows.exclude(file="").values_list("file", flat=True):
            with FILES.isolate(path):
                default_storage.delete(path)  # before the row, which is needed to try again
                count += rows.filter(file=path).update(**_EXPIRED_FILE)
        without_file = rows.filter(file="").exclude(state=Attachment.State.EXPIRED)
        yield count + without_file.update(**_EXPIRED_FILE)
    for ids in _iterate_batches(sql.FIND_OLD_UPLOADS, cutoff):
        _delete_files(Attachment.objects.none(), Upload.objects.filter(pk__in=ids))
        yield 0


def _iterate_old_files(cutoff: ChannelCutoff) -> Iterator[list[int]]:
    """Yield IDs of old files, oldest first. A list may be empty: its page had only old files of other channels."""
    values = {"channel": cutoff.api_channel_id, "before": cutoff.before, "limit": FILE_BATCH, "last": 0}
    while rows := _fetch(sql.FIND_OLD_FILES, values):
        if not any(is_old for _pk, is_old, _is_due in rows):
            return
        yield [pk for pk, _is_old, is_due in rows if is_due]
        values["last"] = rows[-1][0]


_EXPIRED_FILE: dict[str, Any] = {"file": "", "url": "", "external_id": "", "state": Attachment.State.EXPIRED}


def _delete_files(*querysets: Any) -> set[int]:
    """Delete files from disk, and then their rows: after a crash in between, the next run finds the rows again.

    Return the IDs of messages whose files could not be deleted.
    """
    failed = set()
    for rows in querysets:
        for row in rows:
            failed.add(row.message_id)
            with FILES.isolate(row.file.name):
                if row.file:
                    default_storage.delete(row.file.name)
                row.delete()
                failed.discard(row.message_id)
    return failed


# --- raw requests ----------------------------------------------------------------------------------------


def delete_raw_requests(cutoff: ChannelCutoff) -> Iterator[int]:
    """Delete the channel's old raw requests. Unprocessed ones stay."""
    for ids in _iterate_batches(sql.FIND_OLD_EVENTS, cutoff):
        yield _execute(sql.DELETE_EVENTS, {"ids": ids})


EXPIRE: dict[RetentionKind, Callable[[ChannelCutoff], Iterator[int]]] = {
    RetentionKind.FILES: expire_files,
    RetentionKind.MESSAGES: expire_messages,
    RetentionKind.EVENTS: delete_raw_requests,
}

# --- batches ---------------------------------------------------------------------------------------------


def _iterate_batches(statement: str, cutoff: ChannelCutoff) -> Iterator[list[int]]:
    """Yield IDs of old rows, oldest first. Rows that stay are not read again in this run."""
    values = {"channel": cutoff.api_channel_id, "before": cutoff.before, "limit": BATCH}
    position: tuple[datetime | None, int] = (None, 0)
    while True:
        rows = _fetch(statement, {**values, "since": position[0], "last": position[1]})
        if not rows:
            return
        position = (rows[-1][1], rows[-1][0])
        yield [row[0] for row in rows]


def _fetch(statement: str, values: dict[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _execute(statement: str, values: dict[str, Any]) -> int:
    """Run a statement on its own, so that no row stays locked for longer. Return the number of rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
