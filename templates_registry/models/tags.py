"""Template tags assigned to operators."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _


class TemplateTags(models.Model):
    """Tags that limit an operator's templates. An empty list means all templates of their channels."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="template_tags")
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)

    class Meta:
        verbose_name = _("operator's template tags")
        verbose_name_plural = _("operators' template tags")

    def __str__(self) -> str:
        return ", ".join(self.tags)
