"""Erasure of a person from uploaded files of contacts. The rows of other people, and all results, stay."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bridge.models import Contact, ContactImport
from channels_setup.codecs.phone_numbers import phone_key

SHORTEST = 6  # digits of a cell that may be a phone number


def lock_imports() -> None:
    """Lock imports before contacts, as an import does with itself."""
    list(ContactImport.objects.select_for_update(no_key=True).order_by("pk").values_list("pk"))


def erase_from_imports(contact: Contact, identifiers: Collection[str]) -> None:
    """Empty the rows that name the person, and forget that an import created the contact.

    All imports: the name of a file stays as long as its result.
    """
    # Numbers and addresses. A user name may be the name of somebody else.
    words = {
        text.casefold() for text in identifiers if "@" in text or sum(sign.isdecimal() for sign in text) >= SHORTEST
    }
    person = _Person(
        keys={contact.phone_key, contact.address_key} - {""},
        words=words,
        name=contact.name.casefold() if len(contact.name.split()) > 1 else "",
    )
    for row in ContactImport.objects.all():
        if person.is_named(row.titles):  # a file without titles, whose first row was taken for them
            row.titles = [""] * len(row.titles)
        # An empty row keeps its place, and is refused: it has no phone number.
        row.rows = [[] if person.is_named(cells) else cells for cells in row.rows]
        row.refused = [
            [number, sentence, cells]
            for number, sentence, cells in row.refused
            if not (person.is_named(cells) or person.has_name(cells))
        ]
        row.created.pop(str(contact.pk), None)
        row.listed = [pk for pk in row.listed if pk != contact.pk]
        if "seen" in row.counts:
            row.counts["seen"] = {key: number for key, number in row.counts["seen"].items() if key not in person.keys}
        if any(word in row.file_name.casefold() for word in words):
            row.file_name = ""
        row.save(update_fields=["titles", "rows", "refused", "created", "listed", "counts", "file_name"])


class _Person:
    """What identifies a person in the cells of a table."""

    def __init__(self, *, keys: Collection[str], words: Collection[str], name: str) -> None:
        self.keys, self.words, self.name = set(keys), set(words), name
        self.endings = {key[-SHORTEST:] for key in keys}

    def is_named(self, cells: Sequence[str]) -> bool:
        """Return whether a cell is one of the person's numbers, addresses or IDs."""
        return any(cell.strip().casefold() in self.words or self._is_phone(cell) for cell in cells)

    def has_name(self, cells: Sequence[str]) -> bool:
        """Return whether a cell is the whole name. Of rows without a readable number only: others share the name."""
        return bool(self.name) and any(cell.strip().casefold() == self.name for cell in cells)

    def _is_phone(self, cell: str) -> bool:
        digits = "".join(sign for sign in cell if sign.isdecimal())
        return digits[-SHORTEST:] in self.endings and phone_key(cell) in self.keys
