"""Availability of operators: the status that they chose, and when they were last at the desk."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

AWAY_AFTER_MINUTES = 15


class OperatorAvailability(models.Model):
    """One row per user who has opened the desk. ``bridge.conversations.availability`` decides what it means."""

    class Status(models.TextChoices):
        ONLINE = "online", pgettext_lazy("operator", "Online")
        AWAY = "away", pgettext_lazy("operator", "Away")
        DND = "dnd", pgettext_lazy("operator", "Do not disturb")

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="+", primary_key=True
    )
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.ONLINE, db_default=Status.ONLINE
    )
    until = models.DateTimeField(null=True)  # end of the chosen status; null: until the user changes it
    # Last poll of a page of the portal whose user had touched it within ``away_after_minutes``.
    last_seen_at = models.DateTimeField(null=True)
    # Without input for so long, an open page no longer counts as the user's presence. 0: it always counts.
    away_after_minutes = models.PositiveSmallIntegerField(default=AWAY_AFTER_MINUTES, db_default=AWAY_AFTER_MINUTES)

    class Meta:
        verbose_name = _("availability")
        verbose_name_plural = _("availability")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id} {self.status}"
