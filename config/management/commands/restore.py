"""Restore a backup into an empty portal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from config.backup.manifest import BackupError
from config.backup.progress import Progress, describe_problem
from config.backup.restoration import RestoreOptions, RestoreResult, restore_backup


class Command(BaseCommand):
    help = (
        "Restore a backup into an empty database and an empty media storage. Checks everything before it writes. "
        "Stop the portal first."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", help="Archive or folder made by `manage.py backup`.")
        parser.add_argument(
            "--portal-was-stopped",
            action="store_true",
            help="The portal was stopped before the backup and has not run since, as for a move to another machine: "
            "waiting messages are sent. Without it they may have been sent since, so they are not sent again unseen.",
        )
        parser.add_argument(
            "--erasure-log", type=Path, metavar="FILE", help="The newest copy of the erasure log (ERASURE_LOG)."
        )
        parser.add_argument(
            "--without-erasure-log",
            action="store_true",
            help="Restore without the newest erasure log: people erased after the backup come back.",
        )
        parser.add_argument(
            "--with-other-keys",
            action="store_true",
            help="Restore although SECRET_KEY or FIELD_KEYS are lost: the channels' secret keys stay unreadable.",
        )
        parser.add_argument("--output", choices=["text", "json"], default="text", help="json: one object per line.")

    def handle(self, *args: Any, **options: Any) -> None:
        progress = Progress(sys.stdout, as_json=options["output"] == "json")
        chosen = RestoreOptions(
            portal_was_stopped=options["portal_was_stopped"],
            with_other_keys=options["with_other_keys"],
            erasure_log=options["erasure_log"],
            without_erasure_log=options["without_erasure_log"],
        )
        try:
            result = restore_backup(Path(options["backup"]), chosen, progress=progress)
        except (BackupError, OSError, OperationalError) as problem:
            raise CommandError(describe_problem(problem)) from problem
        self.show(result, chosen, progress=progress)

    def show(self, result: RestoreResult, chosen: RestoreOptions, *, progress: Progress) -> None:
        manifest = result.manifest
        progress.say(f"Restored  {manifest.name} of {manifest.made:%d %b %Y %H:%M} UTC")
        progress.say(f"Erased    {result.erased_again} again, by the erasure log")
        if manifest.media_left_out:
            progress.say("Files     are not in this backup: restore them from their own")
        if result.key_differences:
            progress.say(f"Keys      {' '.join(result.key_differences)} Enter the channels' secret keys again.")
        if not chosen.portal_was_stopped:
            progress.say("Messages  that waited to be sent at the backup may have been sent since: see docs/backup.md")
        progress.say("Next      start the portal, and revoke again what was revoked since: users, tokens, channel keys")
        progress.report(
            restored=manifest.name, rows=manifest.rows, files=manifest.media_files, erased=result.erased_again
        )
