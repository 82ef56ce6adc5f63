"""Teams of operators, for assignment and reports. Membership gives no access to chats."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from .chat_channels import ChatChannel


class TeamQuerySet(models.QuerySet["Team"]):
    def visible_to(self, user: Any) -> TeamQuerySet:
        """Return the teams of the chat channels that the user may see."""
        channels = ChatChannel.objects.all().visible_to(user)
        return self.filter(pk__in=Team.chat_channels.through.objects.filter(chatchannel__in=channels).values("team"))


class Team(models.Model):
    """A group of users to whom chats of some chat channels can be assigned.

    A member sees only the chats of channels that they are an operator of (``ChatChannelQuerySet.visible_to``).
    """

    name = models.CharField(_("name"), max_length=100)
    chat_channels = models.ManyToManyField(
        ChatChannel,
        verbose_name=_("chat channels"),
        related_name="teams",
        help_text=_("Chats of these channels can be assigned to the team."),
    )
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        verbose_name=_("members"),
        blank=True,
        related_name="teams",
        help_text=_("Members see only the chats of channels that they are an operator of."),
    )

    objects = TeamQuerySet.as_manager()

    class Meta:
        verbose_name = _("team")
        verbose_name_plural = _("teams")
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                Lower("name"), name="unique_team_name", violation_error_message=_("Another team has this name.")
            )
        ]

    def __str__(self) -> str:
        return self.name
