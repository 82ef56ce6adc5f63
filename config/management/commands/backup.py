"""Back up the portal: database, files, erasure log."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentTypeError, BooleanOptionalAction
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connections
from django.utils import timezone

from bridge.maintenance import backup_status
from bridge.maintenance.backup_status import BackupStatus
from config.backup.archives import remove_backup
from config.backup.creation import CreatedBackup, create_backup, stream_backup
from config.backup.manifest import BackupError
from config.backup.progress import Progress, describe_problem, show_bytes
from config.backup.schedule import KeepRules, delete_old_backups, run_daily
from config.backup.verification import verify_backup


def parse_time(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ArgumentTypeError(f"{text} is not a time like 03:00.")
    return text


def parse_count(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text} is not a number of backups.")
    return int(text)


class Command(BaseCommand):
    help = (
        "Back up the database and the files, while the portal runs. The archive contains no secret keys: keep .env "
        "(or secrets.json) apart from it. Restore with `manage.py restore`."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder", nargs="?", help="Folder for the new backup; BACKUP_DIR if omitted. - writes it to stdout."
        )
        parser.add_argument("--as-folder", action="store_true", help="Make a folder instead of a tar archive.")
        parser.add_argument("--without-media", action="store_true", help="Leave out files of clients and operators.")
        parser.add_argument(
            "--verify", action=BooleanOptionalAction, default=True, help="Read the finished backup and compare it."
        )
        for name, period in (("daily", "days"), ("weekly", "weeks"), ("monthly", "months")):
            parser.add_argument(
                f"--keep-{name}",
                type=parse_count,
                default=0,
                metavar="N",
                help=f"Then delete old backups in the folder, but keep the newest of each of the last N {period}.",
            )
        parser.add_argument(
            "--daily-at", type=parse_time, metavar="HH:MM", help="Keep running and back up every day at this time."
        )
        parser.add_argument("--output", choices=["text", "json"], default="text", help="json: one object per line.")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = options["folder"] or settings.BACKUP_DIR
        if options["daily_at"]:
            if folder == "-":
                raise CommandError("--daily-at needs a folder.")
            run_daily(options["daily_at"], Path(folder), lambda: self.try_backup(folder, options))
        try:
            self.back_up(folder, options)
        except (BackupError, OSError, OperationalError) as problem:
            if folder == "-" and isinstance(problem, BrokenPipeError):
                # Nobody reads. Python would complain once more at its end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CommandError(f"No backup was made. {describe_problem(problem)}") from problem

    def try_backup(self, folder: str, options: dict[str, Any]) -> bool:
        """Make a scheduled backup. Return whether it succeeded."""
        try:
            self.back_up(folder, options)
        except Exception as problem:
            now, text = timezone.now(), describe_problem(problem)
            self.stderr.write(f"{now:%Y-%m-%d %H:%M:%S} UTC: no backup was made. {text}")
            return False
        finally:
            connections.close_all()  # a connection that waits for a day may be lost, and would block a restore
        return True

    def back_up(self, folder: str, options: dict[str, Any]) -> None:
        is_stream = folder == "-"
        as_json = options["output"] == "json"
        progress = Progress(sys.stderr if is_stream else sys.stdout, as_json=as_json)
        with_media = not options["without_media"]
        if is_stream:
            if sys.stdout.isatty():
                raise CommandError("The archive would be written to the terminal. Redirect it to a file or program.")
            created = stream_backup(sys.stdout.buffer, with_media=with_media, progress=progress)
        else:
            created = create_backup(
                Path(folder), as_folder=options["as_folder"], with_media=with_media, progress=progress
            )
        self.finish(created, options, progress=progress)

    def verify(self, path: Path, *, progress: Progress) -> int:
        """Read the finished backup and return its size. Delete a damaged one: it would pass for the newest backup."""
        try:
            return verify_backup(path, progress=progress).bytes
        except BackupError as problem:
            remove_backup(path)
            raise BackupError(f"The finished backup was damaged, and is deleted. {problem}") from problem

    def finish(self, created: CreatedBackup, options: dict[str, Any], *, progress: Progress) -> None:
        """Verify and record the backup, delete old ones, and show the result."""
        manifest, path = created.manifest, created.path
        size, verified_at = manifest.database_bytes + manifest.media_bytes, None
        if path is not None and options["verify"]:
            size, verified_at = self.verify(path, progress=progress), timezone.now()
        place = "-" if path is None else str(path)
        status = BackupStatus(
            name=manifest.name, made_at=manifest.made, place=place, bytes=size, verified_at=verified_at
        )
        backup_status.save_created(status)
        if count := manifest.media_deleted_meanwhile:
            progress.say(f"Left out: {count} files that were deleted during the backup.")
        if manifest.media_missing:
            progress.say(
                f"Missing: {len(manifest.media_missing)} files that messages name are not on the disk, for example "
                f"{manifest.media_missing[0]}."
            )
        rules = KeepRules(daily=options["keep_daily"], weekly=options["keep_weekly"], monthly=options["keep_monthly"])
        deleted = [] if rules.is_empty or path is None else delete_old_backups(path.parent, rules)
        for old in deleted:
            progress.say(f"Deleted   {old.name}")
        progress.report(
            backup=manifest.name,
            path=None if path is None else str(path),
            bytes=size,
            verified=verified_at is not None,
            deleted=[old.name for old in deleted],
        )
        if options["output"] == "text":
            progress.say(f"Backup    {manifest.name if path is None else path} ({show_bytes(size)})")
