"""Erase all data of a person, selected by a contact's ID."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from bridge.maintenance import erasure
from bridge.models import Contact


class Command(BaseCommand):
    help = "Erase all data of a person in all channels. This cannot be undone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("contact", type=int, help="The contact's ID, as shown in the admin.")
        parser.add_argument("--yes", action="store_true", help="Erase. Without it, only show who would be erased.")

    def handle(self, *args: Any, contact: int, yes: bool, **options: Any) -> None:
        found = Contact.objects.filter(pk=contact).first()
        if found is None:
            raise CommandError(f"Contact {contact} does not exist.")
        people = [one for one in erasure.find_same_person(found) if not one.erased_at]
        if not people:
            self.stdout.write(f"Contact {contact} is already erased.")
            return
        if not yes:
            for one in people:
                self.stdout.write(f"Would erase contact {one.pk} of {one.api_channel.name}. Add --yes to do so.")
            return
        for receipt in erasure.erase_person(contact, by=None):
            counts = ", ".join(f"{name}: {count}" for name, count in receipt.counts.items())
            self.stdout.write(f"Erased contact {receipt.contact_id} ({counts}).")
