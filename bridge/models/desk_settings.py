"""Personal settings of the desk."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class DeskSettings(models.Model):
    """How one user works at the desk. A user without a row has the defaults (``bridge.desk.settings``)."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    enter_sends = models.BooleanField(
        _("Enter sends the message"),
        default=True,
        db_default=True,
        help_text=_("Shift+Enter starts a new line. If off, Enter starts a new line and Ctrl+Enter sends."),
    )

    single_keys = models.BooleanField(
        _("Single keys run commands"),
        default=True,
        db_default=True,
        help_text=_("For example N for the next chat. Keys with Ctrl work in any case. Press ? to see all of them."),
    )

    class Meta:
        verbose_name = _("desk settings")
        verbose_name_plural = _("desk settings")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id}"
