"""Saved views of the desk."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import Team


class SavedView(models.Model):
    """A named set of filters of the chat list or of the requests table. It holds filters, never rows.

    With ``owner``, only they see it. Without, it is shared: with the members of ``team``, or with everyone at the desk.
    """

    class Page(models.TextChoices):
        CHATS = "chats", _("Chats")
        REQUESTS = "requests", _("Requests")

    page = models.CharField(max_length=10, choices=Page.choices)
    name = models.CharField(pgettext_lazy("thing", "name"), max_length=60)
    filters = models.JSONField(default=dict)  # parameters of the query string
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("owner"), null=True, on_delete=models.CASCADE, related_name="+"
    )
    team = models.ForeignKey(Team, verbose_name=_("team"), null=True, on_delete=models.CASCADE, related_name="+")
    position = models.IntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")
        constraints = [
            models.CheckConstraint(condition=Q(owner=None) | Q(team=None), name="saved_view_of_a_person_or_shared"),
            models.UniqueConstraint(
                fields=["page", "owner", "name"], condition=Q(owner__isnull=False), name="one_saved_view_per_owner_name"
            ),
            models.UniqueConstraint(
                fields=["page", "team", "name"], condition=Q(team__isnull=False), name="one_saved_view_per_team_name"
            ),
            models.UniqueConstraint(
                fields=["page", "name"], condition=Q(owner=None, team=None), name="one_saved_view_per_shared_name"
            ),
        ]

    def __str__(self) -> str:
        return f"№ {self.pk}"
