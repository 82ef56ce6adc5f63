"""Roles as Django groups: the table of their permissions, and giving a role to a user.

A user has one role at most, and additional groups. ``ChatChannel.operators`` decides which chats supervisors and
operators see.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import models, transaction
from django.dispatch import Signal

from . import permissions
from .models import ChatChannel


class Role(models.TextChoices):
    """Roles, strongest first. The labels are the groups' names; commands and settings use the values."""

    ADMIN = "admin", "Admin"
    SUPERVISOR = "supervisor", "Supervisor"
    OPERATOR = "operator", "Operator"
    AUDITOR = "auditor", "Auditor"

    @classmethod
    def of_user(cls, user: Any) -> Role | None:
        """Return the user's role, the strongest one if there are several. Superusers count as admins."""
        if user.is_superuser:
            return cls.ADMIN
        names = {group.name for group in user.groups.all()}
        return next((role for role in cls if role.label in names), None)


OPERATOR_PERMISSIONS = (
    permissions.VIEW_CHATS,
    *(f"bridge.view_{model}" for model in ("contact", "delivery", "message", "servicewindow", "ticket")),
)
SUPERVISOR_PERMISSIONS = (
    *OPERATOR_PERMISSIONS,
    permissions.VIEW_REPORTS,
    permissions.ASSIGN_ANY_CHAT,
    permissions.VIEW_FULL_PHONE,
    permissions.IMPORT_CONTACTS,
)
# Role -> permissions, with wildcards. The groups have exactly these after every migration.
ROLE_PERMISSIONS: dict[Role, tuple[str, ...]] = {
    Role.ADMIN: ("channels_setup.*", "templates_registry.*", "bridge.*", "accounts.*", "auth.*", "audit.view_*"),
    Role.SUPERVISOR: SUPERVISOR_PERMISSIONS,
    Role.OPERATOR: OPERATOR_PERMISSIONS,
    # Nothing that shows a client's words, name or phone.
    Role.AUDITOR: (
        permissions.VIEW_CHANNELS,
        permissions.VIEW_CHAT_CHANNELS,
        "channels_setup.view_team",
        permissions.VIEW_TEMPLATES,
        "templates_registry.view_templatetags",
        "bridge.view_ticketfield",
        "bridge.view_contactfield",
        "bridge.view_retentionrule",
        "accounts.view_user",
        "accounts.view_apitoken",
        "accounts.view_serviceaccount",
        "auth.view_group",
        "audit.view_*",
    ),
}
STAFF_ROLES = (Role.ADMIN, Role.AUDITOR)  # may open the admin site; the others need only the desk
CHAT_ROLES = (Role.ADMIN, Role.SUPERVISOR, Role.OPERATOR)  # may be operators of chat channels

# Sent when a user's role changes: ``user``, ``before`` and ``after`` (roles or None), ``loses_permissions``.
role_changed = Signal()


def sync_groups() -> dict[Role, Group]:
    """Create the roles' groups, give them exactly the permissions of ``ROLE_PERMISSIONS``, and return them."""
    by_name = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in Permission.objects.select_related("content_type")
    }
    groups = {role: Group.objects.get_or_create(name=role.label)[0] for role in Role}
    for role, group in groups.items():
        group.permissions.set(
            permission for name, permission in by_name.items() if has_role_permission(role, permission=name)
        )
    return groups


def has_role_permission(role: Role, *, permission: str) -> bool:
    return any(fnmatchcase(permission, pattern) for pattern in ROLE_PERMISSIONS[role])


def assign_role(user: Any, *, role: Role | None, chat_channels: Iterable[ChatChannel] = ()) -> None:
    """Give a user this role instead of any other, and add the user to the operators of these chat channels.

    None takes the role away. Additional groups and permissions stay. An auditor leaves all chat channels and teams.
    """
    with transaction.atomic():
        groups = {Role(group.name.lower()): group for group in Group.objects.filter(name__in=Role.labels)}
        if len(groups) < len(Role):
            groups = sync_groups()
        held = set(user.groups.filter(name__in=Role.labels).values_list("name", flat=True))
        before = next((each for each in Role if each.label in held), None)
        user.is_staff = role in STAFF_ROLES or user.is_superuser
        user.save(update_fields=["is_staff"])
        if role is not None:
            user.groups.add(groups[role])
        user.groups.remove(*(group for other, group in groups.items() if other != role and group.name in held))
        if role == Role.AUDITOR:
            user.chat_channels.clear()
            user.teams.clear()
        else:
            for chat_channel in chat_channels:
                chat_channel.operators.add(user)
        if before != role:
            role_changed.send(
                sender=Role,
                user=user,
                before=before,
                after=role,
                loses_permissions=before is not None and _loses_permissions(groups, before, role),
            )


def _loses_permissions(groups: dict[Role, Group], before: Role, after: Role | None) -> bool:
    if after is None:
        return True
    kept = groups[after].permissions.values("pk")
    return groups[before].permissions.exclude(pk__in=kept).exists()
