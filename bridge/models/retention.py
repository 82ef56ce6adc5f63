"""Rules for how long data is kept, and the daily record of how much space it takes."""

from __future__ import annotations

from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models.api_channels import MAX_RETENTION_DAYS


class RetentionKind(models.TextChoices):
    """What a rule is about; see ``maintenance.retention_rules``."""

    MESSAGES = "messages", _("Messages")
    FILES = "files", _("Files")
    EVENTS = "events", _("Raw requests")
    DELIVERIES = "deliveries", _("Deliveries")
    ATTEMPTS = "attempts", _("Attempts")
    RECORDS = "records", _("Working records")
    SIGN_INS = "sign_ins", _("Sign-in log")
    AUDIT = "audit", _("Audit records")


class RetentionRule(models.Model):
    """Days that the portal keeps rows of one kind, set in the admin. Without a row, the default applies."""

    kind = models.CharField(_("kind"), max_length=20, choices=RetentionKind, unique=True)
    days = models.PositiveIntegerField(_("days"), validators=[MaxValueValidator(MAX_RETENTION_DAYS)])

    class Meta:
        verbose_name = pgettext_lazy("of data", "retention rule")
        verbose_name_plural = _("retention rules")
        default_permissions = ("change", "view")

    def __str__(self) -> str:
        return self.get_kind_display()


class StorageSnapshot(models.Model):
    """Size of the portal's data on one day. The growth of the data is the difference of two days."""

    day = models.DateField(_("day"), unique=True)
    bytes_by_group = models.JSONField(default=dict)  # ``storage_usage.GROUPS`` and files
    messages = models.BigIntegerField(default=0)  # estimate of the planner

    class Meta:
        verbose_name = _("storage snapshot")
        verbose_name_plural = _("storage snapshots")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.day}"
