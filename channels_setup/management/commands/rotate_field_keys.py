"""Re-encrypt all stored secrets with the first of FIELD_KEYS: step two of a key rotation."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management import BaseCommand, CommandError
from django.db import transaction

from channels_setup import encryption
from channels_setup.models import AlertRoute, ChatChannel, Credential, Secret, WebhookAddress

BATCH = 200


class Command(BaseCommand):
    help = "Encrypt every stored secret with the first of FIELD_KEYS. On success, the other keys can be removed."

    def handle(self, *args: Any, **options: Any) -> None:
        count, stuck = 0, []
        for model in (Secret, Credential, WebhookAddress):
            last = 0
            while batch := list(model.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]):
                stuck += self._rotate(model, batch)
                count, last = count + len(batch), batch[-1]
        for owner, label in ((ChatChannel, "helpdesk of chat channel"), (AlertRoute, "alert route")):
            for pk in owner.objects.exclude(secret=None).values_list("pk", flat=True):
                stuck += self._rotate_secret(owner, pk, label)
                count += 1
        if stuck:
            numbers = ", ".join(stuck)
            raise CommandError(
                f"None of FIELD_KEYS decrypts these secrets: {numbers}. Restore the key that encrypted them."
            )
        self.stdout.write(f"{count} secrets are encrypted with the first of FIELD_KEYS; the other keys can be removed.")

    @transaction.atomic
    def _rotate(self, model: type[Secret] | type[Credential] | type[WebhookAddress], batch: list[int]) -> list[str]:
        stuck = []
        for secret in model.objects.select_for_update().filter(pk__in=batch).order_by("pk"):
            try:
                secret.token = encryption.re_encrypt(secret.token)
            except InvalidToken:
                stuck.append(str(secret.pk) if model is Secret else f"{secret.pk} ({model._meta.verbose_name})")
            else:
                secret.save(update_fields=["token"])
        return stuck

    @transaction.atomic
    def _rotate_secret(self, owner: type[ChatChannel] | type[AlertRoute], pk: int, label: str) -> list[str]:
        row = owner.objects.select_for_update().get(pk=pk)
        if row.secret is None:
            return []
        try:
            row.secret = encryption.re_encrypt(row.secret)
        except InvalidToken:
            return [f"{label} {pk}"]
        row.save(update_fields=["secret"])
        return []
