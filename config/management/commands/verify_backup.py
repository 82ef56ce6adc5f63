"""Verify a backup without restoring it. Needs no servers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from bridge.maintenance import backup_status
from config.backup.manifest import BackupError, find_key_differences
from config.backup.progress import Progress, describe_problem
from config.backup.verification import verify_backup


class Command(BaseCommand):
    help = "Verify that a backup is complete and undamaged. Works without the portal's servers."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", help="Archive or folder. - reads an archive from stdin.")
        parser.add_argument("--output", choices=["text", "json"], default="text", help="json: one object per line.")

    def handle(self, *args: Any, **options: Any) -> None:
        progress = Progress(sys.stdout, as_json=options["output"] == "json")
        source = sys.stdin.buffer if options["backup"] == "-" else Path(options["backup"])
        try:
            verified = verify_backup(source, progress=progress)
        except (BackupError, OSError) as problem:
            raise CommandError(f"Do not rely on this backup. {describe_problem(problem)}") from problem
        manifest = verified.manifest
        differences = find_key_differences(manifest.keys)
        if not differences and not verified.is_signed:
            raise CommandError("Do not rely on this backup. It was changed after it was made: its signature is wrong.")
        backup_status.save_verified(manifest.name)
        progress.say(
            f"Made      {manifest.made:%d %b %Y %H:%M} UTC by version {manifest.portal_version} of "
            f"{manifest.public_url}, PostgreSQL {manifest.server_version // 10_000}"
        )
        progress.say(
            f"Contains  {manifest.rows:,} rows in {len(manifest.tables)} tables, {manifest.media_files:,} files"
        )
        if differences:
            progress.say(f"Keys      {' '.join(differences)} A restore needs them.")
        else:
            progress.say("Keys      the keys of this portal open it")
        progress.report(
            backup=manifest.name,
            made_at=manifest.made_at,
            bytes=verified.bytes,
            rows=manifest.rows,
            files=manifest.media_files,
            key_differences=differences,
        )
