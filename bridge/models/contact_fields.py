"""Additional fields of clients, which admins define."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class ContactField(models.Model):
    """An additional field of clients. Contacts store its values by its ID in ``card["fields"]``."""

    class Kind(models.TextChoices):
        TEXT = "text", _("text")
        CHOICE = "choice", _("one of several values")
        CHECKBOX = "checkbox", _("checkbox")

    name = models.CharField(pgettext_lazy("thing", "name"), max_length=60, unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.TEXT)
    choices = models.TextField(_("values"), blank=True, help_text=_("One per line, for a field of this kind."))
    position = models.PositiveSmallIntegerField(
        _("position"), default=0, help_text=_("Fields with a lower number come first.")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("additional field of clients")
        verbose_name_plural = _("additional fields of clients")
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def options(self) -> list[str]:
        return [line for text in self.choices.splitlines() if (line := " ".join(text.split()))]
