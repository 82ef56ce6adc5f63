"""Encrypted keys: ours that authenticate the provider, and the provider's that authenticate us."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from channels_setup import encryption

if TYPE_CHECKING:
    from .api_channels import ApiChannel


USE_RECORDED_EVERY = timedelta(minutes=1)


class EncryptedKey(models.Model):
    """Base of encrypted keys with an expiry."""

    token = models.BinaryField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def reveal(self) -> str:
        return encryption.decrypt(self.token)

    def is_valid(self, now: datetime) -> bool:
        return self.expires_at is None or self.expires_at > now


class UsageTracked(models.Model):
    """Base of credentials that record their last use."""

    last_used_at = models.DateTimeField(_("last use"), null=True, editable=False)

    class Meta:
        abstract = True

    def record_use(self, now: datetime, **facts: Any) -> None:
        """Record the time of use, at most once a minute. Does not wait for concurrent requests that do the same.

        ``facts``: values of further columns, written together with the time.
        """
        if self.last_used_at is not None and now - self.last_used_at < USE_RECORDED_EVERY:
            return
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_RECORDED_EVERY)
        rows = type(self)._default_manager
        with transaction.atomic():
            free = rows.filter(stale, pk=self.pk).select_for_update(skip_locked=True, no_key=True)
            rows.filter(pk__in=free.values("pk")).update(last_used_at=now, **facts)
        self.last_used_at = now


class Secret(EncryptedKey):
    """Secret key of an API channel. Encrypted, found by its hash; two are valid during a rotation."""

    api_channel = models.ForeignKey("ApiChannel", on_delete=models.CASCADE, related_name="secrets")
    digest = models.BinaryField(editable=False, unique=True)
    tail = models.CharField(max_length=4, editable=False)  # the last four digits, to tell keys apart
    shown_at = models.DateTimeField(null=True)  # when the key was shown in full after its creation

    class Meta:
        verbose_name = _("secret key")
        verbose_name_plural = _("secret keys")
        constraints = [
            models.UniqueConstraint(fields=["api_channel"], condition=Q(expires_at=None), name="one_current_secret")
        ]

    def __str__(self) -> str:
        return f"…{self.tail}"

    @classmethod
    def create_for(cls, api_channel: ApiChannel) -> Secret:
        value = encryption.new_secret_key()
        return cls.objects.create(
            api_channel=api_channel,
            token=encryption.encrypt(value),
            digest=encryption.fingerprint(value),
            tail=value[-4:],
        )


class Credential(EncryptedKey):
    """Secret account setting of a provider, by its name in ``provider.settings``. Encrypted."""

    api_channel = models.ForeignKey("ApiChannel", on_delete=models.CASCADE, related_name="credentials")
    name = models.CharField(max_length=60)
    tail = models.CharField(max_length=4, blank=True, editable=False)

    class Meta:
        verbose_name = _("provider's key")
        verbose_name_plural = _("providers' keys")
        constraints = [
            models.UniqueConstraint(
                fields=["api_channel", "name"], condition=Q(expires_at=None), name="one_current_credential"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} …{self.tail}"
