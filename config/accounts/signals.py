"""Handlers of sign-in, second factors and deactivation, connected once."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import password_changed, password_reset
from allauth.account.signals import user_logged_in as allauth_logged_in
from allauth.mfa.signals import authenticator_removed
from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_save

from channels_setup.roles import role_changed

from . import audit_signals, email_addresses, second_factor, sessions, sign_in, single_sign_on


def connect_signals() -> None:
    audit_signals.connect_signals()
    user_logged_in.connect(sign_in.mark_signed_in, dispatch_uid="mark_signed_in")
    allauth_logged_in.connect(single_sign_on.assign_role_from_groups, dispatch_uid="assign_role_from_groups")
    authenticator_removed.connect(second_factor.forget_second_factor, dispatch_uid="forget_second_factor")
    post_save.connect(
        email_addresses.sync_saved_user, sender=settings.AUTH_USER_MODEL, dispatch_uid="sync_email_address"
    )
    for signal in (password_changed, password_reset):
        signal.connect(email_addresses.cancel_change, dispatch_uid="cancel_email_change")
    role_changed.connect(end_sessions_after_downgrade, dispatch_uid="end_sessions_after_downgrade")
    post_save.connect(end_sessions_of_inactive, sender=settings.AUTH_USER_MODEL, dispatch_uid="end_sessions")


def end_sessions_of_inactive(*, instance: Any, **_kwargs: Any) -> None:
    """End the sessions of a deactivated user, so that reactivating does not restore them."""
    if not instance.is_active and instance.pk:
        sessions.end_sessions(instance)


def end_sessions_after_downgrade(*, user: Any, loses_permissions: bool, **_kwargs: Any) -> None:
    """End the sessions of a user whose new role has fewer permissions: open pages show more than they may see."""
    if loses_permissions:
        sessions.end_sessions(user)
