"""Clients' files that the provider stores: downloaded by a worker, verified, stored here.

The provider's download address lives a few minutes and the file a few days, so each attempt asks for a new address, and
attempts continue for hours. Rows are claimed like deliveries: a failure that arrives after its lease changes nothing.
Calls are made outside any transaction by a few threads. Operators see a placeholder, or the failure and a button to try
again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from typing import IO

from django.conf import settings
from django.core.files import File
from django.db import DatabaseError, transaction
from django.db.models import F

from bridge import outcomes, service_window, wakeups
from bridge.metrics import catalog, recording
from bridge.models import Attachment
from channels_setup import http_client
from channels_setup.codecs.bodies import BadBody
from channels_setup.providers.base import ACCEPTED, PERMANENT, Account, Messenger

from . import image_sizes, storage_limits

logger = logging.getLogger(__name__)

MAX_CONCURRENT_DOWNLOADS = 4  # calls of one run
RUN_SECONDS = 8.0  # a run stops claiming after this; a running call may take FILE_SECONDS more
FILE_SECONDS = 35.0  # for one file
DOWNLOAD_LEASE = timedelta(seconds=120)
RETRY_DELAYS = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200)  # seconds after each failed attempt
NO_SPACE_SECONDS = 60  # between checks for disk space
MAX_EXPIRED_ADDRESSES = 4  # expired download addresses in a row
MAX_BYTES_IN_MEMORY = 1024 * 1024  # larger files go to a temporary file


class DownloadFailed(Exception):
    """An attempt failed. `is_permanent`: another attempt cannot succeed."""

    def __init__(self, reason: str, *, is_permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_permanent = is_permanent


@dataclass(frozen=True, kw_only=True)
class DownloadedFile:
    """A downloaded file with verified content. The caller closes ``content``."""

    content: IO[bytes]
    size: int
    mime: str
    image_size: image_sizes.ImageSize | None = None


def download_due_files() -> int:
    """Download until nothing is due or the time is over. Return how many files were stored."""
    until, stored_count = time.monotonic() + RUN_SECONDS, 0
    with ThreadPoolExecutor(max_workers=MAX_CONCURRENT_DOWNLOADS, thread_name_prefix="media") as pool:
        while time.monotonic() < until and (claimed := _claim_attachments()):
            for row, result in [
                (row, pool.submit(_try_download, row, account)) for row, account in _pair_with_accounts(claimed)
            ]:
                stored_count += _save_result_safely(row, result.result())
    return stored_count


def _pair_with_accounts(claimed: Sequence[Attachment]) -> Iterator[tuple[Attachment, Account]]:
    """Pair each file with its channel's account. Unreadable credentials must not block other channels' downloads."""
    for row in claimed:
        try:
            account = row.message.api_channel.account()
        except DatabaseError:
            raise
        except Exception:
            logger.exception("settings not read", extra={"channel": row.message.api_channel_id})
            _save_result(row, DownloadFailed("internal_error"))
        else:
            yield row, account


@transaction.atomic
def _claim_attachments() -> Sequence[Attachment]:
    now = service_window.database_now()
    waiting = Attachment.objects.filter(state=Attachment.State.WAITING, due_at__lte=now)
    # Claimed more often than retries are allowed: every attempt crashed its worker.
    worn_out = waiting.filter(tries__gt=len(RETRY_DELAYS))
    worn_out.update(state=Attachment.State.FAILED, error="internal_error", due_at=None)
    due = waiting.order_by("due_at")
    rows = list(
        due.select_for_update(of=("self",), skip_locked=True).select_related("message__api_channel")[
            :MAX_CONCURRENT_DOWNLOADS
        ]
    )
    # Attempted without a result: a worker crashed over it or over one in the same batch. Download it alone, so that
    # it uses up only its own attempts.
    poison = [row for row in rows if row.tries and not row.error]
    rows = poison[:1] or rows
    for row in rows:
        row.due_at = now + DOWNLOAD_LEASE  # the lease's end also identifies the claim
    claimed = Attachment.objects.filter(pk__in=[row.pk for row in rows])
    claimed.update(due_at=now + DOWNLOAD_LEASE, tries=F("tries") + 1, error="")
    return rows


# --- one attempt: in a thread, without the database --------------------------------------------------------


def _try_download(row: Attachment, account: Account) -> DownloadedFile | DownloadFailed:
    try:
        return _download_file(row, account, row.message.api_channel.provider)
    except DownloadFailed as problem:
        return problem
    except http_client.ForbiddenAddress:
        return DownloadFailed("forbidden")
    except http_client.ConnectionFailed as problem:
        return DownloadFailed(problem.reason)
    except http_client.NoResponse:
        return DownloadFailed("destination_error")
    except Exception:
        logger.exception("file not fetched", extra={"attachment": row.pk})
        return DownloadFailed("internal_error")


def _download_file(row: Attachment, account: Account, provider: Messenger) -> DownloadedFile:
    if storage_limits.is_disk_low(row.size or 0):
        raise DownloadFailed("no_disk_space")
    answer = http_client.send(provider.build_file_location_request(row.external_id, account))
    outcome = provider.judge_response(answer)
    if answer.status == 404 or outcome.verdict == PERMANENT:
        raise DownloadFailed("file_gone", is_permanent=True)
    if outcome.verdict != ACCEPTED:
        raise DownloadFailed(outcome.reason, is_permanent=False)
    try:
        location = provider.read_file_location(answer, account)
        request = provider.build_file_download_request(location, account)
    except BadBody:
        raise DownloadFailed("file_host_not_allowed") from None
    limit = settings.CLIENT_FILE_LIMIT_MB * 1024 * 1024
    if (location.size or 0) > limit:
        raise DownloadFailed("file_too_large", is_permanent=True)
    content: IO[bytes] = SpooledTemporaryFile(max_size=MAX_BYTES_IN_MEMORY)  # noqa: SIM115  # closed after storing
    try:
        response = http_client.send(request, max_bytes=limit + 1, into=content, seconds=FILE_SECONDS)
    except OSError:  # the temporary file could not be written
        content.close()
        raise DownloadFailed("no_disk_space") from None
    if response.status != 200:
        content.close()
        if response.status == 404:  # the address expired; several in a row mean that the file is gone
            raise DownloadFailed("file_gone", is_permanent=row.tries >= MAX_EXPIRED_ADDRESSES)
        raise DownloadFailed("unauthorized" if response.status in (401, 403) else "destination_error")
    size = content.tell()
    if size > limit:
        content.close()
        raise DownloadFailed("file_too_large", is_permanent=True)
    if not response.is_complete:
        content.close()
        raise DownloadFailed("file_corrupted")
    _verify_content(content, size, announced=location.size, digests={location.sha256, row.sha256} - {""})
    return DownloadedFile(
        content=content,
        size=size,
        mime=row.mime or location.mime,
        image_size=image_sizes.read_image_size(content),
    )


def _verify_content(content: IO[bytes], size: int, *, announced: int | None, digests: set[str]) -> None:
    content.seek(0)
    digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]  # any binary file will do
    content.seek(0)
    if not size or (announced is not None and size != announced) or (digests and digest not in digests):
        content.close()
        raise DownloadFailed("file_corrupted")


# --- result ------------------------------------------------------------------------------------


def _save_result_safely(row: Attachment, result: DownloadedFile | DownloadFailed) -> bool:
    """Save one result. A file that cannot be stored fails alone and does not end the run."""
    try:
        return _save_result(row, result)
    except DatabaseError:
        raise
    except Exception:
        logger.exception("file not stored", extra={"attachment": row.pk})
        return _save_result(row, DownloadFailed("internal_error"))


def _save_result(row: Attachment, result: DownloadedFile | DownloadFailed) -> bool:
    if isinstance(result, DownloadedFile):
        _store_file(row, result)
        recording.count_file_download(row.message.api_channel_id, catalog.STORED)
        return True
    tries = row.tries + 1
    channel = row.message.api_channel
    if result.reason == "no_disk_space":  # not an attempt: download soon after there is space again
        soon = service_window.database_now() + timedelta(seconds=NO_SPACE_SECONDS)
        outcome = catalog.NO_DISK_SPACE
        changed: dict[str, object] = {"error": result.reason, "due_at": soon, "tries": row.tries}
    elif result.is_permanent or tries > len(RETRY_DELAYS):
        outcome = catalog.FAILED
        changed = {"state": Attachment.State.FAILED, "error": result.reason, "due_at": None}
    else:
        wait = timedelta(seconds=RETRY_DELAYS[tries - 1])
        outcome = catalog.RETRIED
        changed = {"error": result.reason, "due_at": service_window.database_now() + wait}
    recording.count_file_download(channel.pk, outcome)
    rows = Attachment.objects.filter(pk=row.pk, state=Attachment.State.WAITING, due_at=row.due_at)
    if rows.update(**changed) and outcomes.get_effects(result.reason).credentials_rejected:
        channel.record_failure(result.reason)
    return False


def _store_file(row: Attachment, fetched: DownloadedFile) -> None:
    with fetched.content as content:
        row.file.save(row.name or "file", File(content), save=False)
    width, height = fetched.image_size or (None, None)
    stored = Attachment.objects.filter(pk=row.pk, state=Attachment.State.WAITING).update(
        file=row.file.name,
        size=fetched.size,
        width=width,
        height=height,
        mime=fetched.mime[:100],
        state=Attachment.State.AVAILABLE,
        error="",
        due_at=None,
    )
    if not stored:  # another worker stored its copy first
        row.file.delete(save=False)


def retry_download(attachment_id: int, *, conversation_id: int) -> bool:
    """Download a failed file again at an operator's request. Return whether it was queued."""
    changed = Attachment.objects.filter(
        pk=attachment_id, message__conversation=conversation_id, state=Attachment.State.FAILED
    ).update(state=Attachment.State.WAITING, tries=0, due_at=service_window.database_now(), error="")
    if changed:
        wakeups.notify_after_commit(wakeups.FILES)
    return bool(changed)
