"""Re-encrypt all stored secrets with the first of FIELD_KEYS: step two of a key rotation."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import InvalidToken
from django.apps import apps
from django.core.management import BaseCommand, CommandError
from django.db import transaction

from channels_setup import encryption
from channels_setup.models import AlertRoute, ChatChannel, Credential, Secret, WebhookAddress

BATCH = 200
SECOND_FACTOR_FIELDS = ("secret", "seed", "migrated_codes")  # of an Authenticator's data; see MfaAdapter


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
        # Their models belong to an app above this one.
        for name, label in (("bridge.PushKey", "push key"), ("bridge.PushSubscription", "push subscription")):
            owner = apps.get_model(name)
            for pk in owner.objects.values_list("pk", flat=True):
                stuck += self._rotate_secret(owner, pk, label)
                count += 1
        for pk in Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN).values_list("pk", flat=True):
            stuck += self._rotate_second_factor(pk)
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
    def _rotate_secret(self, owner: Any, pk: int, label: str) -> list[str]:
        row = owner.objects.select_for_update().filter(pk=pk).first()
        if row is None or row.secret is None:
            return []
        try:
            row.secret = encryption.re_encrypt(row.secret)
        except InvalidToken:
            return [f"{label} {pk}"]
        row.save(update_fields=["secret"])
        return []

    @transaction.atomic
    def _rotate_second_factor(self, pk: int) -> list[str]:
        row = Authenticator.objects.select_for_update().filter(pk=pk).first()
        if row is None:  # removed meanwhile
            return []
        try:
            row.data |= {name: re_encrypt_data(row.data[name]) for name in SECOND_FACTOR_FIELDS if name in row.data}
        except InvalidToken:
            return [f"second factor {pk}"]
        row.save(update_fields=["data"])
        return []


def encrypted_texts(data: dict[str, Any]) -> list[str]:
    """Return the encrypted texts in the data of a second factor."""
    values = [data[name] for name in SECOND_FACTOR_FIELDS if name in data]
    return [text for value in values for text in (value if isinstance(value, list) else [value])]


def re_encrypt_data(value: str | list[str]) -> str | list[str]:
    if isinstance(value, list):
        return [encryption.re_encrypt(text.encode()).decode() for text in value]
    return encryption.re_encrypt(value.encode()).decode()
