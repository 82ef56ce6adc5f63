"""Export and import of users and groups as JSON, to move them to another installation.

The file holds names, preferences, roles, groups, permissions and chat channels, and on request the password hashes.
It never holds API tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.hashers import identify_hasher
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import transaction

from channels_setup.models import ChatChannel
from channels_setup.provisioning import AmbiguousName, find_by_number_or_name, lookup_names
from channels_setup.roles import Role, assign_role, sync_groups

from .models import User

FORMAT_VERSION = 1
TEXT_FIELDS = ("email", "first_name", "last_name", "display_name", "language", "time_zone", "signature")
FLAG_FIELDS = ("is_active", "is_superuser")


class InvalidUserFile(ValueError):
    """The file cannot be imported. The message is a sentence for the user."""


@dataclass(kw_only=True)
class ImportReport:
    """Counts of an import, and sentences about parts that were left out."""

    added: int = 0
    updated: int = 0
    warnings: list[str] = field(default_factory=list)


def export_users(*, include_password_hashes: bool) -> dict[str, Any]:
    """Return all users and groups in the format that ``import_users`` reads."""
    channel_names = lookup_names(ChatChannel.objects.all())
    users = (
        User.objects.people()
        .order_by("pk")
        .prefetch_related("groups", "user_permissions__content_type", "chat_channels")
    )
    groups = Group.objects.order_by("name").prefetch_related("permissions__content_type")
    return {
        "version": FORMAT_VERSION,
        "groups": [{"name": group.name, "permissions": _permission_names(group.permissions.all())} for group in groups],
        "users": [_export_user(user, channel_names, include_password_hash=include_password_hashes) for user in users],
    }


@transaction.atomic
def import_users(data: Any) -> ImportReport:
    """Create or update the users of an export. A second import of the same file changes nothing.

    Users that the file does not mention stay. Without a password hash an existing password stays, and a new user cannot
    sign in until an admin sets a password. Raises InvalidUserFile and then saves nothing.
    """
    if not isinstance(data, dict) or data.get("version") != FORMAT_VERSION:
        raise InvalidUserFile(f"This is not a file of `manage.py user export`, format version {FORMAT_VERSION}.")
    report = ImportReport()
    try:
        _import_groups(data["groups"], report)
        for row in data["users"]:
            _import_user(row, report)
    except (KeyError, TypeError, AttributeError) as problem:
        raise InvalidUserFile(f"The file is incomplete or damaged: {problem}.") from problem
    return report


def _export_user(user: User, channel_names: Mapping[int, str], *, include_password_hash: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"username": user.username}
    row |= {name: getattr(user, name) for name in (*TEXT_FIELDS, *FLAG_FIELDS)}
    row |= {
        "role": role.value if (role := Role.of_user(user)) else None,
        "groups": sorted(group.name for group in user.groups.all() if group.name not in Role.labels),
        "permissions": _permission_names(user.user_permissions.all()),
        "chat_channels": [channel_names[channel.pk] for channel in user.chat_channels.all()],
    }
    return row | {"password_hash": user.password} if include_password_hash else row


def _permission_names(permissions: Iterable[Permission]) -> list[str]:
    return sorted(f"{permission.content_type.app_label}.{permission.codename}" for permission in permissions)


def _import_groups(rows: list[dict[str, Any]], report: ImportReport) -> None:
    sync_groups()
    for row in rows:
        if row["name"] in Role.labels:
            continue  # the permissions of roles are those of this version
        group, _created = Group.objects.get_or_create(name=row["name"])
        group.permissions.add(*_find_permissions(row["permissions"], report))


def _import_user(row: dict[str, Any], report: ImportReport) -> None:
    user = User.objects.filter(username=row["username"]).first() or User(username=row["username"])
    if user.is_service:
        raise InvalidUserFile(f"“{user.username}” is a service account here. Rename one of them.")
    is_new = user.pk is None
    for name in (*TEXT_FIELDS, *FLAG_FIELDS):
        if not isinstance(row[name], str if name in TEXT_FIELDS else bool):
            raise TypeError(f"“{name}” of user “{user.username}” has the wrong type")
        setattr(user, name, row[name])
    _set_password_hash(user, row.get("password_hash"))
    try:
        user.full_clean()
        role = Role(row["role"]) if row["role"] is not None else None
    except (ValidationError, ValueError) as problem:
        sentences = problem.messages if isinstance(problem, ValidationError) else [str(problem)]
        raise InvalidUserFile(f"User “{row['username']}”: {' '.join(sentences)}") from problem
    user.save()
    additional = [Group.objects.get_or_create(name=name)[0] for name in row["groups"] if name not in Role.labels]
    user.groups.set([*user.groups.filter(name__in=Role.labels), *additional])  # `assign_role` changes the role
    user.user_permissions.set(_find_permissions(row["permissions"], report))
    assign_role(user, role=role)
    if role != Role.AUDITOR:
        user.chat_channels.set(_find_chat_channels(row["chat_channels"], user.username, report))
    report.added += is_new
    report.updated += not is_new


def _set_password_hash(user: User, password_hash: str | None) -> None:
    if password_hash is None:
        if not user.password:
            user.set_unusable_password()
        return
    if not password_hash.startswith("!"):  # Django's mark of an unusable password
        try:
            identify_hasher(password_hash)
        except ValueError as problem:
            raise InvalidUserFile(f"User “{user.username}”: the password hash has an unknown format.") from problem
    user.password = password_hash


def _find_permissions(names: list[str], report: ImportReport) -> list[Permission]:
    """Return the permissions with these names, such as ``bridge.erase_contact``. Unknown ones become warnings."""
    found = []
    for name in names:
        app_label, _dot, codename = name.partition(".")
        permission = Permission.objects.filter(content_type__app_label=app_label, codename=codename).first()
        if permission is None:
            report.warnings.append(f"There is no permission “{name}” in this version.")
        else:
            found.append(permission)
    return found


def _find_chat_channels(names: list[str], username: str, report: ImportReport) -> list[ChatChannel]:
    found = []
    for name in names:
        try:
            channel = find_by_number_or_name(ChatChannel.objects.all(), name)
        except AmbiguousName as problem:
            raise InvalidUserFile(f"User “{username}”: {problem}") from problem
        if channel is None:
            report.warnings.append(f"User “{username}”: there is no chat channel “{name}”. Create it and import again.")
        else:
            found.append(channel)
    return found
