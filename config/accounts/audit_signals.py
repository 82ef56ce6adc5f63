"""Sign-ins, sign-outs, passwords and second factors in the audit record."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account
from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from axes.signals import user_locked_out
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed

from config.audit import record
from config.audit.models import Action

USER = "accounts.user"
HIDDEN = "•••"  # a name that belongs to nobody may be a password in the wrong field


def connect_signals() -> None:
    user_logged_in.connect(record_sign_in, dispatch_uid="audit_sign_in")
    user_logged_out.connect(record_sign_out, dispatch_uid="audit_sign_out")
    user_login_failed.connect(record_failed_sign_in, dispatch_uid="audit_failed_sign_in")
    user_locked_out.connect(record_lock, dispatch_uid="audit_lock")
    for signal in (account.password_changed, account.password_set):
        signal.connect(record_password_change, dispatch_uid="audit_password_change")
    account.password_reset.connect(record_password_reset, dispatch_uid="audit_password_reset")
    mfa.authenticator_added.connect(record_added_factor, dispatch_uid="audit_added_factor")
    mfa.authenticator_reset.connect(record_added_factor, dispatch_uid="audit_added_factor")
    mfa.authenticator_removed.connect(record_removed_factor, dispatch_uid="audit_removed_factor")
    mfa.authentication_failed.connect(record_failed_factor, dispatch_uid="audit_failed_factor")
    mfa.authenticator_used.connect(record_recovery_code, dispatch_uid="audit_recovery_code")


def record_about(action: str, user: Any, **details: Any) -> None:
    record.record_action(action, USER, user.pk, label=user.get_username(), details=details)


def record_sign_in(*, request: Any, user: Any, **_kwargs: Any) -> None:
    records = get_authentication_records(request, user) if request is not None else []
    record_about(Action.SIGNED_IN, user, methods=[str(one.get("type") or one.get("method")) for one in records])


def record_sign_out(*, user: Any, **_kwargs: Any) -> None:
    if user is not None and user.is_authenticated:
        record_about(Action.SIGNED_OUT, user)


def record_failed_sign_in(*, credentials: dict[str, Any], **_kwargs: Any) -> None:
    _record_attempt(Action.SIGN_IN_FAILED, credentials.get("username"))


def record_lock(*, username: str | None = None, **_kwargs: Any) -> None:
    _record_attempt(Action.LOCKED_OUT, username)


def _record_attempt(action: str, username: Any) -> None:
    name = str(username or "").replace("\0", "")
    users = get_user_model()._default_manager
    pk = users.filter(username=name).values_list("pk", flat=True).first() if 0 < len(name) <= 150 else None
    record.record_action(action, USER, pk, label=name if pk else HIDDEN if name else "")


def record_password_change(*, user: Any, **_kwargs: Any) -> None:
    record_about(Action.PASSWORD_CHANGED, user)


def record_password_reset(*, user: Any, **_kwargs: Any) -> None:
    record_about(Action.PASSWORD_RESET, user)


def record_added_factor(*, user: Any, authenticator: Any, **_kwargs: Any) -> None:
    record_about(Action.SECOND_FACTOR_ADDED, user, type=authenticator.type)


def record_removed_factor(*, user: Any, authenticator: Any, **_kwargs: Any) -> None:
    record_about(Action.SECOND_FACTOR_REMOVED, user, type=authenticator.type)


def record_failed_factor(*, user: Any, authenticator: Any, **_kwargs: Any) -> None:
    record_about(Action.SECOND_FACTOR_FAILED, user, type=authenticator.type)


def record_recovery_code(*, user: Any, authenticator: Any, **_kwargs: Any) -> None:
    if authenticator.type == Authenticator.Type.RECOVERY_CODES:
        record_about(Action.RECOVERY_CODE_USED, user)
