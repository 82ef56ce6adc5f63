"""Lists of users, and their invitation, password and deactivation, for `manage.py user`."""

from __future__ import annotations

import secrets
from typing import Any

from allauth.core.context import request_context
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import CommandError
from django.db import transaction
from django.http import HttpRequest
from django.utils import translation

from channels_setup.roles import Role
from config.accounts import one_time_links, sessions
from config.accounts.models import User


def user_rows(*, role: str | None, is_active: bool | None) -> list[dict[str, Any]]:
    """Return the people of the portal, with their role and their last sign-in."""
    users = User.objects.people().prefetch_related("groups", "chat_channels").order_by("username")
    if is_active is not None:
        users = users.filter(is_active=is_active)
    rows = [
        {
            "user_id": user.pk,
            "name": user.get_username(),
            "full_name": user.get_full_name(),
            "email": user.email,
            "role": Role.of_user(user),
            "state": "active" if user.is_active else "disabled",
            "has_password": user.has_usable_password(),
            "last_sign_in": user.last_login.isoformat(timespec="seconds") if user.last_login else None,
            "chat_channels": [channel.name for channel in user.chat_channels.all()],
        }
        for user in users
    ]
    return [row for row in rows if role is None or row["role"] == role]


def row_text(row: dict[str, Any]) -> str:
    channels = ", ".join(row["chat_channels"]) or "no chat channels"
    return (
        f"{row['user_id']:<6} {row['name']} “{row['full_name'] or row['name']}” {row['role'] or 'no role'} "
        f"{row['state']} last_sign_in={row['last_sign_in'] or 'never'} {channels}"
    )


def find_person(name: str) -> User:
    user: User | None = User.objects.people().filter(username=name).first()
    if user is None:
        raise CommandError(f"There is no user “{name}”. See: manage.py user list")
    return user


@transaction.atomic
def change_password(user: User, password: str) -> str:
    """Set the password, generate one if it is empty, end all sessions, and return the password."""
    password = password or secrets.token_urlsafe(12)
    try:
        validate_password(password, user)
    except ValidationError as problem:
        raise CommandError(" ".join(problem.messages)) from problem
    user.set_password(password)
    user.save(update_fields=["password"])
    sessions.end_sessions(user)
    return password


@transaction.atomic
def disable(user: User) -> str:
    """Deactivate a user, whose sessions end. The last administrator stays."""
    if not user.is_active:
        return f"The user “{user.username}” is already disabled."
    others = User.objects.people().filter(is_active=True).exclude(pk=user.pk).prefetch_related("groups")
    if Role.of_user(user) == Role.ADMIN and not any(Role.of_user(other) == Role.ADMIN for other in others):
        raise CommandError(f"“{user.username}” is the only administrator. Add another one first.")
    user.is_active = False
    user.save(update_fields=["is_active"])
    return f"The user “{user.username}” is disabled and signed out everywhere. Chats and messages stay."


def enable(user: User) -> str:
    if user.is_active:
        return f"The user “{user.username}” is already active."
    user.is_active = True
    user.save(update_fields=["is_active"])
    return f"The user “{user.username}” is enabled and can sign in again. Tokens stay revoked."


def send_invitation(user: User) -> str:
    """Email a one-time link by which the user sets a password, or return the link if that is not possible."""
    link = one_time_links.password_link(user)
    if not one_time_links.can_email(user):
        return link
    request = HttpRequest()
    request.META["HTTP_HOST"] = settings.PUBLIC_HOST
    request.user = AnonymousUser()
    try:
        # allauth renders emails for the request of the context. A command may speak another language than the user.
        with request_context(request), translation.override(settings.LANGUAGE_CODE):
            one_time_links.email_link(request, user, link=link)
    except OSError as error:
        raise CommandError(
            f"The user was created, but the email server did not accept the email ({error}). "
            f"Hand a link over: manage.py user link {user.username}"
        ) from error
    return f"The invitation was sent to {user.email}."
