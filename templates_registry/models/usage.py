"""An operator's favorite and recently used templates."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from .templates import Template


class TemplateUse(models.Model):
    """An operator's favorite flag and last use of one template."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="uses")
    is_favorite = models.BooleanField(default=False)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("use of a template")
        verbose_name_plural = _("uses of templates")
        constraints = [models.UniqueConstraint(fields=["user", "template"], name="one_use_per_operator")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.template_id}"
