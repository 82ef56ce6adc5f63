"""Erase again the people whom a restored dump brought back."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand

from bridge.maintenance import erasure


class Command(BaseCommand):
    help = "Erase again the people of the erasure log whom a restored database brought back. Run it after a restore."

    def handle(self, *args: Any, **options: Any) -> None:
        receipts = erasure.reapply_erasures()
        for receipt in receipts:
            self.stdout.write(f"Erased contact {receipt.contact_id} again.")
        self.stdout.write(f"{len(receipts)} erased again, by {settings.ERASURE_LOG}.")
