"""Names of the permissions that the code asks for by name, and the SQL conditions for them.

``roles`` says which role has which permission.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required, permission_required
from django.contrib.auth.models import Permission
from django.db.models import Q, QuerySet

VIEW_CHATS = "bridge.view_conversation"  # use the desk; which chats: VIEW_ALL_CHATS and ``ChatChannel.operators``
VIEW_ALL_CHATS = "channels_setup.view_all_chats"
VIEW_REPORTS = "bridge.view_reports"
ASSIGN_ANY_CHAT = "bridge.assign_any_chat"
VIEW_FULL_PHONE = "bridge.view_full_phone"
IMPORT_CONTACTS = "bridge.import_contact"
VIEW_CHANNELS = "channels_setup.view_apichannel"
VIEW_CHAT_CHANNELS = "channels_setup.view_chatchannel"
VIEW_TEMPLATES = "templates_registry.view_template"


def require_chat_access(view: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: redirect anonymous users to the sign-in page, and refuse users who may see no chats (403)."""
    return login_required(permission_required(VIEW_CHATS, raise_exception=True)(view))


def sees_settings_only(user: Any) -> bool:
    """Return whether the user reads channels and templates as settings, without any chats (an auditor)."""
    return not user.has_perm(VIEW_CHATS) and user.has_perm(VIEW_CHANNELS)


def users_with(permission: str) -> QuerySet[Any]:
    """Return the users with this permission, by role, group or themselves. Superusers have every permission."""
    app_label, _dot, codename = permission.partition(".")
    held = Permission.objects.filter(content_type__app_label=app_label, codename=codename)
    users = get_user_model()._default_manager.all()
    by_group = users.model.groups.through.objects.filter(group__permissions__in=held).values("user")
    by_user = users.model.user_permissions.through.objects.filter(permission__in=held).values("user")
    return users.filter(Q(is_superuser=True) | Q(pk__in=by_group) | Q(pk__in=by_user))


def has_permission_condition(permission: str) -> str:
    """Return the SQL condition that the user ``u`` has this permission."""
    app_label, _dot, codename = permission.partition(".")
    return f"""(u.is_superuser OR EXISTS (
    SELECT FROM auth_permission p JOIN django_content_type t ON t.id = p.content_type_id
    WHERE t.app_label = '{app_label}' AND p.codename = '{codename}' AND p.id IN (
        SELECT permission_id FROM accounts_user_user_permissions WHERE user_id = u.id
        UNION ALL
        SELECT held.permission_id FROM accounts_user_groups mine
        JOIN auth_group_permissions held USING (group_id) WHERE mine.user_id = u.id)))"""
