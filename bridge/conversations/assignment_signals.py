"""Signal handlers that release assignments when users lose access."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models.signals import m2m_changed, post_save, pre_delete

from channels_setup.models import ChatChannel, Team

from . import assignments

ACCESS_FIELDS = {"is_active", "is_superuser"}


def connect_signals() -> None:
    user = get_user_model()
    post_save.connect(on_user_saved, sender=user, dispatch_uid="assignments.user_saved")
    pre_delete.connect(on_user_deleted, sender=user, dispatch_uid="assignments.user_deleted")
    pre_delete.connect(on_group_deleted, sender=Group, dispatch_uid="assignments.group_deleted")
    for relation in (
        ChatChannel.operators.through,
        Team.chat_channels.through,
        user.groups.through,
        user.user_permissions.through,
        Group.permissions.through,
    ):
        m2m_changed.connect(on_links_changed, sender=relation, dispatch_uid=f"assignments.{relation.__name__}")


def on_user_saved(created: bool, update_fields: Iterable[str] | None, raw: bool = False, **_: Any) -> None:
    if not created and not raw and (update_fields is None or ACCESS_FIELDS & set(update_fields)):
        assignments.schedule_release()


def on_user_deleted(instance: Any, **_: Any) -> None:
    """Release the user's chats before the foreign keys are set to NULL."""
    assignments.release_user_assignments(instance)


def on_group_deleted(**_: Any) -> None:
    assignments.schedule_release()


def on_links_changed(action: str, **_: Any) -> None:
    if action in ("post_remove", "post_clear"):
        assignments.schedule_release()
