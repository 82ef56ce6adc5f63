"""Erase a person by the contact's number."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from bridge.maintenance import erasure
from bridge.models import Contact


class Command(BaseCommand):
    help = "Erase a person: all that is known of them, wherever. There is no way back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("contact", type=int, help="The contact's number, as the admin shows it.")
        parser.add_argument("--yes", action="store_true", help="Really erase; without it, say who it would be.")

    def handle(self, *args: Any, contact: int, yes: bool, **options: Any) -> None:
        found = Contact.objects.filter(pk=contact).first()
        if found is None:
            raise CommandError(f"There is no contact № {contact}.")
        people = [one for one in erasure.find_same_person(found) if not one.erased_at]
        if not people:
            self.stdout.write(f"contact № {contact} is erased already")
            return
        if not yes:
            for one in people:
                self.stdout.write(f"would erase contact № {one.pk} of {one.api_channel.name}; add --yes")
            return
        for receipt in erasure.erase_person(contact, by=None):
            counts = ", ".join(f"{name}: {count}" for name, count in receipt.counts.items())
            self.stdout.write(f"erased contact № {receipt.contact_id} ({counts})")
