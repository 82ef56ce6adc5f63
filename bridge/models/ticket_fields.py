"""Tags and additional fields of requests."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class TicketTag(models.Model):
    """A tag that has been used. Requests store tag names; this row gives a name its ID for the API."""

    name = models.CharField(pgettext_lazy("thing", "name"), max_length=255, unique=True)

    class Meta:
        verbose_name = _("request tag")
        verbose_name_plural = _("request tags")

    def __str__(self) -> str:
        return self.name


class TicketField(models.Model):
    """An additional field of requests. Programs refer to it by ID (``field_id``)."""

    class Kind(models.IntegerChoices):
        """Numbers of Usedesk's public API."""

        TEXT = 1, _("text")
        CHECKBOX = 3, _("checkbox")

    name = models.CharField(pgettext_lazy("thing", "name"), max_length=255, unique=True)
    kind = models.SmallIntegerField(_("kind"), choices=Kind.choices, default=Kind.TEXT)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("additional field of requests")
        verbose_name_plural = _("additional fields of requests")
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name
