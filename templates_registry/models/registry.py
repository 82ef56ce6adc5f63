"""The registry of one API channel: its version and its synchronization."""

from __future__ import annotations

from django.db import models
from django.db.models import F
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ApiChannel
from channels_setup.models.redacted_fields import RedactedTextField


class Registry(models.Model):
    """State of one API channel's templates. ``version`` grows with every change to them.

    Each process caches an index of the texts and compares this number before every use, so that a change takes
    effect everywhere at once.
    """

    api_channel = models.OneToOneField(ApiChannel, primary_key=True, on_delete=models.CASCADE, related_name="registry")
    version = models.BigIntegerField(default=1)
    synced_at = models.DateTimeField(_("last synchronized"), null=True)
    next_sync_at = models.DateTimeField(_("next synchronization"), null=True)
    # Our own sentences are stored untranslated.
    sync_error = RedactedTextField(_("last synchronization error"), blank=True)

    class Meta:
        verbose_name = _("registry")
        verbose_name_plural = _("registries")

    def __str__(self) -> str:
        return f"{self.api_channel}"

    @property
    def sync_error_text(self) -> str:
        """Return the error in the reader's language if it is one of our sentences, else the provider's words."""
        return gettext(self.sync_error) if self.sync_error else ""

    @classmethod
    def bump_version(cls, api_channel_id: int) -> None:
        """Increment the version. Call in the transaction of the change."""
        registry, is_new = cls.objects.get_or_create(api_channel_id=api_channel_id)
        if not is_new:
            cls.objects.filter(pk=registry.pk).update(version=F("version") + 1)
