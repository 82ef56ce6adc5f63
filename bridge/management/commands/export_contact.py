"""Export all data of a person, selected by a contact's ID, into a ZIP archive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import translation

from bridge.files import storage_limits
from bridge.maintenance import person_export
from bridge.models import Contact


class Command(BaseCommand):
    help = "Export all data of a person in all channels into a ZIP archive. Delete the archive after handing it over."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("contact", type=int, help="The contact's ID, as shown in the admin.")
        parser.add_argument("--to", type=Path, default=Path(), help="Folder or file name. Default: this folder.")

    def handle(self, *args: Any, contact: int, to: Path, **options: Any) -> None:
        found = Contact.objects.filter(pk=contact).first()
        if found is None:
            raise CommandError(f"Contact {contact} does not exist.")
        try:
            with translation.override(settings.LANGUAGE_CODE):  # the archive is for the person
                export = person_export.build_export(found)
        except person_export.PersonErased:
            raise CommandError(f"Contact {contact} has been erased. There is nothing to export.") from None
        except (storage_limits.DiskAlmostFull, person_export.FilesUnavailable) as problem:
            raise CommandError(str(problem)) from None
        target = to / export.name if to.is_dir() else to
        try:
            # Only the owner may read the archive, and an existing file is never overwritten.
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as problem:
            export.file.close()
            raise CommandError(f"Cannot write {target}: {problem.strerror}.") from None
        with export.file, open(descriptor, "wb") as file:
            shutil.copyfileobj(export.file, file)
        contacts = ", ".join(map(str, export.contacts))
        self.stdout.write(f"Exported {export.messages} messages of contact {contacts} to {target}.")
