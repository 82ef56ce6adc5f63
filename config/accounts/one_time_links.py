"""One-time links by which a person sets a password: invitations and resets, by email or handed over by an admin."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.forms import default_token_generator
from allauth.account.utils import url_str_to_user_pk, user_pk_to_url_str
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from config.audit import record
from config.audit.models import Action


def password_link(user: Any) -> str:
    """Return a link that sets the user's password once, within ``PASSWORD_RESET_TIMEOUT`` seconds.

    Signed, not stored. A changed password, email or a sign-in invalidates it.
    """
    if user.is_service:
        raise ValueError("A service account has no password.")
    return build_link(user_pk_to_url_str(user), default_token_generator.make_token(user))


def build_link(uid: str, token: str) -> str:
    """Build the link of a token, also for a reset that its user requested by email. The audit records each."""
    record.record_action(Action.LINK_CREATED, "accounts.user", url_str_to_user_pk(uid))
    path = reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token})
    return str(settings.PUBLIC_URL) + path


def can_email(user: Any) -> bool:
    return bool(settings.EMAIL_HOST and user.email)


def email_link(request: HttpRequest, user: Any, *, link: str) -> None:
    """Email the link. Raises ``OSError`` (``smtplib.SMTPException``) if the server does not accept the email."""
    template = "account/email/password_reset_key" if user.last_login else "account/email/invitation"
    context = {"user": user, "username": user.get_username(), "password_reset_url": link, "request": request}
    get_adapter(request).send_mail(template, user.email, context)
