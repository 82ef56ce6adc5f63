"""Authentication backend: permissions of people in one query, those of service accounts without one."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.db import connection

from channels_setup import roles
from channels_setup.prepared_queries import PreparedQuery
from channels_setup.prepared_statements import execute_read

OPERATOR_PERMISSIONS = set(roles.OPERATOR_PERMISSIONS)  # of service accounts
PERMISSIONS_SQL = """
SELECT t.app_label || '.' || p.codename FROM auth_permission p JOIN django_content_type t ON t.id = p.content_type_id
WHERE p.id IN (SELECT permission_id FROM accounts_user_user_permissions WHERE user_id = %(user)s
               UNION ALL
               SELECT of_group.permission_id FROM accounts_user_groups mine
               JOIN auth_group_permissions of_group USING (group_id) WHERE mine.user_id = %(user)s)
"""


USER: PreparedQuery[Any] = PreparedQuery(lambda pk: get_user_model().objects.filter(pk=pk))


class SingleQueryBackend(ModelBackend):
    """Django's backend with one query instead of two, because every page of the desk needs the permissions.

    A service account has an operator's permissions in its chat channels. It cannot sign in, and a session of it, made
    in whatever way, counts as signed out.
    """

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and not getattr(user, "is_service", False)

    def get_user(self, user_id: Any) -> Any:
        """Return the user of a session, as Django does, with a prepared query."""
        user = USER.first(int(user_id))
        return user if user is not None and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        if obj is not None or user_obj.is_anonymous or user_obj.is_superuser or not user_obj.is_active:
            return set(super().get_all_permissions(user_obj, obj))
        if getattr(user_obj, "is_service", False):
            return OPERATOR_PERMISSIONS
        if not hasattr(user_obj, "_perm_cache"):  # Django's own cache attribute, for this request
            with connection.cursor() as cursor:
                execute_read(cursor, PERMISSIONS_SQL, {"user": user_obj.pk})
                user_obj._perm_cache = {permission for (permission,) in cursor.fetchall()}
        permissions: set[str] = user_obj._perm_cache
        if getattr(user_obj, "limited_to_chat_channels", None) is not None:  # by an API token
            return permissions.intersection(roles.SUPERVISOR_PERMISSIONS)
        return permissions
