"""Roles in the admin: their names, and the filter of the list of users."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.roles import Role
from config.accounts.models import User

ROLES = {
    Role.OPERATOR: pgettext_lazy("a role", "Operator"),
    Role.SUPERVISOR: pgettext_lazy("a role", "Supervisor"),
    Role.AUDITOR: pgettext_lazy("a role", "Auditor"),
    Role.ADMIN: pgettext_lazy("a role", "Admin"),
}
NO_ROLE = "none"


def held_role(user: User) -> Role | None:
    names = {group.name for group in user.groups.all()}
    return next((role for role in Role if role.label in names), None)


class RoleFilter(admin.SimpleListFilter):
    """Filter of the list of users by role."""

    title = _("role")
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*((role.value, label) for role, label in ROLES.items()), (NO_ROLE, _("No role"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        value = self.value()
        if value == NO_ROLE:
            return queryset.filter(is_superuser=False).exclude(groups__name__in=Role.labels)
        if value not in Role.values:
            return queryset
        has_role = Q(groups__name=Role(value).label)
        return queryset.filter(has_role | Q(is_superuser=True) if value == Role.ADMIN else has_role).distinct()
