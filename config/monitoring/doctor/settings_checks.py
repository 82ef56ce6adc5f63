"""Checks of the settings, the data folder and the disk. They need no server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core import checks

from bridge.files import storage_limits
from bridge.maintenance import backup_status
from config.environment_check import find_unknown_names

from .findings import Finding, error, note, warning

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def check_names() -> Iterator[Finding]:
    for sentence in find_unknown_names(os.environ):
        yield warning("settings.unknown_name", sentence, "Correct or remove the variable.")


def check_mode() -> Iterator[Finding]:
    if settings.DEBUG and settings.IS_HTTPS:
        yield error("settings.debug", "DEBUG shows source code and settings to everybody.", "Set DEBUG=no.")
    elif settings.DEBUG:
        yield note("settings.debug", "DEBUG is on.", "Set DEBUG=no before others can reach the portal.")


def check_public_url() -> Iterator[Finding]:
    if settings.PUBLIC_HOST in LOCAL_HOSTS:
        problem = f"PUBLIC_URL is {settings.PUBLIC_URL}: providers cannot reach it."
        yield note("settings.public_url", problem, "Set PUBLIC_URL to the address that providers use.")
    elif not settings.IS_HTTPS:
        problem = "PUBLIC_URL is plain http: passwords and messages can be read on the way."
        yield error("settings.public_url", problem, "Put a proxy with a certificate in front, and set https://….")
    elif not settings.BEHIND_PROXY:
        problem = "PUBLIC_URL is https, but BEHIND_PROXY is off: every page redirects to itself."
        yield error("settings.proxy", problem, "Set BEHIND_PROXY=yes if a proxy sets X-Forwarded-Proto.")
    if settings.IS_HTTPS and not settings.SECURE_HSTS_SECONDS:
        yield note("settings.hsts", "HSTS is off.", "Set HSTS_SECONDS if the host will always have https.")


def check_email() -> Iterator[Finding]:
    if not settings.EMAIL_HOST:
        problem = "There is no email server: admins hand over links for passwords themselves."
        yield note("settings.email", problem, "Set EMAIL_URL and EMAIL_FROM.")


def check_django() -> Iterator[Finding]:
    """Yield the errors and warnings of `manage.py check`; `--deploy` where the portal is in production."""
    for message in checks.run_checks(include_deployment_checks=settings.IS_HTTPS and not settings.DEBUG):
        if message.is_silenced() or message.level < checks.WARNING:
            continue
        make = error if message.level >= checks.ERROR else warning
        yield make(f"check.{message.id}", str(message.msg), str(message.hint or ""))


def check_data_folder() -> Iterator[Finding]:
    folder = Path(settings.DATA_DIR)
    for path in (folder, Path(settings.MEDIA_ROOT), Path(settings.ERASURE_LOG).parent):
        existing = next(each for each in (path, *path.parents) if each.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            yield error("files.not_writable", f"This user cannot write to {existing}.", "Give it to the portal's user.")
    if folder.exists() and folder.stat().st_mode & 0o066:
        problem = f"Other users of this machine can read {folder}."
        yield warning("files.permissions", problem, f"Run: chmod 700 {folder}")


def check_disk() -> Iterator[Finding]:
    free = storage_limits.get_free_bytes() // storage_limits.MEGABYTE
    if storage_limits.is_disk_low():
        problem = f"{free} MB are free, less than MIN_FREE_DISK_MB: no files are accepted."
        yield error("disk.low", problem, "Free space, or move DATA_DIR to a larger disk.")


def check_backup() -> Iterator[Finding]:
    status = backup_status.read_status()
    if status is None:
        problem = "No backup was ever made with this data folder."
        make = warning if settings.IS_HTTPS else note
        yield make("backup.none", problem, "Run `manage.py backup` daily: docs/backup.md")
        return
    hours = int(status.age.total_seconds() // 3600)
    if status.is_too_old():
        yield error("backup.old", f"The newest backup is {hours} hours old.", "Run `manage.py backup`, and its timer.")
    if status.verified_at is None:
        yield note("backup.unverified", "The newest backup was not verified.", "Run `manage.py verify_backup`.")
