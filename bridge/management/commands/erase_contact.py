"""Erase all data of a person, selected by a contact's number, a phone or the provider's ID."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from bridge.maintenance import erased_events, erasure, erasure_log, identifier_patterns
from bridge.models import Contact, Erasure
from channels_setup.codecs.phone_numbers import search_keys


class Command(BaseCommand):
    help = "Erase all data of a person in all channels. This cannot be undone. It can be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("contact", type=int, nargs="?", help="The contact's ID, as shown in the admin.")
        parser.add_argument("--phone", help="Instead of the ID: a phone number in any format.")
        parser.add_argument("--external-id", help="Instead of the ID: the provider's ID of the contact.")
        parser.add_argument("--yes", action="store_true", help="Erase. Without it, only show what would be erased.")

    def handle(
        self, *args: Any, contact: int | None, phone: str | None, external_id: str | None, yes: bool, **options: Any
    ) -> None:
        if sum(value is not None for value in (contact, phone, external_id)) != 1:
            raise CommandError("Give one of: the contact's ID, --phone, --external-id.")
        if phone is not None and not search_keys(phone):
            raise CommandError("This is not a phone number.")
        people = _find_people(contact, phone, external_id)
        if not people and phone is None:
            raise CommandError("This contact does not exist.")
        if not yes:
            self._show(people)
            return
        receipts: dict[int, Erasure] = {}
        for one in people:
            if one.pk not in receipts:
                receipts |= {receipt.contact_id: receipt for receipt in _erase(one)}
        for receipt in receipts.values():
            counts = ", ".join(f"{name}: {count}" for name, count in receipt.counts.items())
            self.stdout.write(f"Erased contact {receipt.contact_id} ({counts}). Receipt {receipt.pk}.")
            for copy in receipt.outside:
                self.stdout.write(f"  Stays outside: {_describe(copy)}")
        if phone is not None:
            # Requests of callers for whom there is no contact, or none any more.
            count = erased_events.erase_mentions(identifier_patterns.build_pattern([], phones=[phone]))
            self.stdout.write(f"Other requests received with this phone: {count} erased.")

    def _show(self, people: list[Contact]) -> None:
        shown = {one.pk: one for person in people for one in erasure.find_same_person(person)}
        for one in shown.values():
            counts = ", ".join(f"{name}: {count}" for name, count in erasure.count_data(one).items())
            state = "erased before" if one.erased_at else "known"
            self.stdout.write(f"Would erase contact {one.pk} of {one.api_channel.name}, {state} ({counts}).")
        self.stdout.write("Add --yes to erase." if shown else "No contact has this phone.")


def _erase(contact: Contact) -> list[Erasure]:
    try:
        return erasure.erase_person(contact.pk, by=None, source=Erasure.Source.COMMAND)
    except erasure_log.ErasureLogUnavailable as problem:
        raise CommandError(f"Nothing was erased: the log of erasures cannot be written ({problem}).") from None


def _find_people(contact: int | None, phone: str | None, external_id: str | None) -> list[Contact]:
    if phone is not None:
        return list(Contact.objects.with_phone(search_keys(phone)).order_by("pk"))
    query = Q(pk=contact) if contact is not None else Q(external_id=external_id) | Q(user_id=external_id)
    return list(Contact.objects.filter(query).order_by("pk"))


def _describe(copy: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in copy.items())
