"""Storage limits: quotas per operator and chat, and disk space that stays free."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.models import Conversation, Upload

MEGABYTE = 1024 * 1024
DAY = timedelta(hours=24)


class DiskAlmostFull(OSError):
    """The disk is too full for this file. Its text is a sentence for the user."""


class QuotaExceeded(Exception):
    """The quota of the last 24 hours is used up. Its text is a sentence for the user."""


def get_free_bytes() -> int:
    """Return the bytes available to an ordinary user on the disk of the files."""
    return shutil.disk_usage(_find_existing_folder(Path(settings.MEDIA_ROOT))).free


def is_disk_low(size: int = 0) -> bool:
    """Return whether the disk would have less than MIN_FREE_DISK_MB free with `size` more bytes."""
    return get_free_bytes() - size < settings.MIN_FREE_DISK_MB * MEGABYTE


def check_disk(size: int) -> None:
    """Raise DiskAlmostFull if a file of this size would use space that must stay free."""
    if is_disk_low(size):
        raise DiskAlmostFull(
            _("The portal's disk is almost full, so files cannot be stored. Contact an admin and try again later.")
        )


def check_quota(conversation: Conversation, size: int, *, author: Any) -> None:
    """Raise QuotaExceeded if this file would exceed the daily quota of its operator or chat.

    Concurrent uploads do not see each other: the excess is at most one file per web thread.
    """
    day = Upload.objects.filter(created_at__gt=service_window.database_now() - DAY)
    if author is not None and _exceeds(day.filter(author=author), size, settings.UPLOAD_LIMIT_PER_OPERATOR_DAY_MB):
        raise QuotaExceeded(
            _("This file exceeds your limit of %(limit)s of attached files in 24 hours. Try again later.")
            % {"limit": filesizeformat(settings.UPLOAD_LIMIT_PER_OPERATOR_DAY_MB * MEGABYTE)}
        )
    if _exceeds(day.filter(conversation=conversation), size, settings.UPLOAD_LIMIT_PER_CHAT_DAY_MB):
        raise QuotaExceeded(
            _("This file exceeds the limit of %(limit)s of attached files in this chat in 24 hours. Try again later.")
            % {"limit": filesizeformat(settings.UPLOAD_LIMIT_PER_CHAT_DAY_MB * MEGABYTE)}
        )


def _exceeds(rows: Any, size: int, megabytes: int) -> bool:
    return bool(megabytes) and (rows.aggregate(all=Sum("size"))["all"] or 0) + size > megabytes * MEGABYTE


def _find_existing_folder(folder: Path) -> Path:
    """Return the folder, or its nearest existing parent: the media folder is created with the first file."""
    while not os.path.isdir(folder) and folder != folder.parent:
        folder = folder.parent
    return folder
