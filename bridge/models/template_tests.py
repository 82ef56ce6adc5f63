"""Test messages of templates."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from .messages import Message


class TemplateTest(models.Model):
    """One test message. It does not store the number, so that erasing the person removes all of it."""

    template = models.ForeignKey("templates_registry.Template", on_delete=models.CASCADE, related_name="+")
    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    sent_at = models.DateTimeField(_("sent"), auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = _("test message")
        verbose_name_plural = _("test messages")

    def __str__(self) -> str:
        return f"{self.pk}"
