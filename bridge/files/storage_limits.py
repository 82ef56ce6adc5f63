"""Room for files: quotas of operators and chats, and a part of the disk that stays free."""

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
    """The disk is too full for this file. Its text is a sentence."""


class QuotaExceeded(Exception):
    """So many files were given in the last 24 hours. Its text is a sentence."""


def get_free_bytes() -> int:
    """Return what is free on the disk of the files for an ordinary user."""
    return shutil.disk_usage(_find_existing_folder(Path(settings.MEDIA_ROOT))).free


def is_disk_low(size: int = 0) -> bool:
    """Return whether the disk would have less than DISK_FLOOR_MB free with `size` more bytes."""
    return get_free_bytes() - size < settings.DISK_FLOOR_MB * MEGABYTE


def check_disk(size: int) -> None:
    """Raise NoRoom where a file of this size would use up what has to stay free."""
    if is_disk_low(size):
        raise DiskAlmostFull(
            _("The portal's disk is almost full, so no files are taken. Tell an admin and try again later.")
        )


def check_quota(conversation: Conversation, size: int, *, author: Any) -> None:
    """Raise QuotaUsedUp where this file would exceed the day's quota of its operator or chat.

    Files that come in at the same moment do not see each other: the excess is at most one file per web thread.
    """
    day = Upload.objects.filter(created_at__gt=service_window.database_now() - DAY)
    if author is not None and _exceeds(day.filter(author=author), size, settings.UPLOAD_OPERATOR_DAY_MB):
        raise QuotaExceeded(
            _("This file exceeds your limit of %(limit)s of attached files in 24 hours. Try again later.")
            % {"limit": filesizeformat(settings.UPLOAD_OPERATOR_DAY_MB * MEGABYTE)}
        )
    if _exceeds(day.filter(conversation=conversation), size, settings.UPLOAD_CHAT_DAY_MB):
        raise QuotaExceeded(
            _("This file exceeds the limit of %(limit)s of attached files in this chat in 24 hours. Try again later.")
            % {"limit": filesizeformat(settings.UPLOAD_CHAT_DAY_MB * MEGABYTE)}
        )


def _exceeds(rows: Any, size: int, megabytes: int) -> bool:
    return bool(megabytes) and (rows.aggregate(all=Sum("size"))["all"] or 0) + size > megabytes * MEGABYTE


def _find_existing_folder(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there: media is made with the first file."""
    while not os.path.isdir(folder) and folder != folder.parent:
        folder = folder.parent
    return folder
