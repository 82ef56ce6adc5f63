"""The two roles as Django groups: Admin configures the portal, Operator answers chats.

The groups hold the permissions. ``ChatChannel.operators`` decides which chats an operator sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import models
from django.db.models import Q

from .models import ChatChannel

ADMIN_APPS = ("channels_setup", "templates_registry", "bridge", "accounts", "auth", "audit")
OPERATOR_VIEWS = ("contact", "conversation", "delivery", "message", "servicewindow", "ticket")


class Role(models.TextChoices):
    """Roles. The labels are the groups' names; ``manage.py user add --role`` accepts the values."""

    ADMIN = "admin", "Admin"
    OPERATOR = "operator", "Operator"

    @classmethod
    def of_user(cls, user: Any) -> Role:
        """Return the role of a signed-in user. Superusers count as admins."""
        return cls.ADMIN if user.is_staff or user.is_superuser else cls.OPERATOR


def ensure_groups() -> dict[Role, Group]:
    """Create both groups with their permissions and return them. Can be repeated; extra permissions stay."""
    groups = {role: Group.objects.get_or_create(name=role.label)[0] for role in Role}
    groups[Role.ADMIN].permissions.add(*Permission.objects.filter(content_type__app_label__in=ADMIN_APPS))
    views = Q(codename__in=[f"view_{model}" for model in OPERATOR_VIEWS], content_type__app_label="bridge")
    groups[Role.OPERATOR].permissions.add(*Permission.objects.filter(views))
    return groups


def assign_role(user: Any, *, role: Role, chat_channels: Iterable[ChatChannel] = ()) -> None:
    """Put a user into a role's group and add the user to the operators of these chat channels.

    Only admins are staff: operators need only the desk, so the admin site stays closed to them.
    """
    groups = {Role(group.name.lower()): group for group in Group.objects.filter(name__in=Role.labels)}
    if len(groups) < len(Role):
        groups = ensure_groups()
    user.is_staff = role == Role.ADMIN
    user.save(update_fields=["is_staff"])
    user.groups.remove(*(group for other, group in groups.items() if other != role))
    user.groups.add(groups[role])
    for chat_channel in chat_channels:
        chat_channel.operators.add(user)
