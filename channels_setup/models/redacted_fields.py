"""Model fields for text from providers, helpdesks and receivers, redacted whenever it is saved."""

from __future__ import annotations

from typing import Any

from django.db import models

from . import known_secrets


class _RedactedField:
    """Mixin of redacted fields. Migrations see the plain field, because the column is the same."""

    plain: type[models.Field[Any, Any]]

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()  # type: ignore[misc]  # a Field's
        return name, f"django.db.models.{self.plain.__name__}", args, kwargs


class RedactedTextField(_RedactedField, models.TextField):
    plain = models.TextField

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save(known_secrets.redact(value) if isinstance(value, str) else value, connection)


class RedactedCharField(_RedactedField, models.CharField):
    plain = models.CharField

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if isinstance(value, str):
            value = known_secrets.redact(value)[: max(self.max_length or 0, len(value))]
        return super().get_db_prep_save(value, connection)


class RedactedJSONField(_RedactedField, models.JSONField):
    plain = models.JSONField
    by_name = True

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if isinstance(value, dict | list | str):
            value = known_secrets.redact_tree(value, by_name=self.by_name)
        return super().get_db_prep_save(value, connection)


class KeyRedactedJSONField(RedactedJSONField):
    """JSON that mixes text of providers with that of clients and operators: only known secrets are masked."""

    by_name = False
