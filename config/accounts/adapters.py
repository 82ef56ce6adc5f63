"""How django-allauth fits this portal: no self-registration, encrypted secrets, our client address."""

from __future__ import annotations

import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from channels_setup import encryption
from config.web import client_address

from . import one_time_links
from .emails import log_failure, use_preferences
from .models import User
from .single_sign_on import refuse_user, uses_only_single_sign_on

logger = logging.getLogger(__name__)

QUIET_MESSAGES = {"account/messages/logged_in.txt", "account/messages/logged_out.txt"}


class AccountAdapter(DefaultAccountAdapter):
    """Accounts are created by admins only. Emails are sent only where an email server is configured."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address.address_from_request(request) or "0.0.0.0"  # e.g. a Unix socket

    def login(self, request: HttpRequest, user: Any) -> None:
        user.backend = "config.accounts.permissions.SingleQueryBackend"  # django-axes' backend loads no users
        super().login(request, user)

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse | None:
        """Refuse passkeys of people whose identity provider decides whether they may enter."""
        if "sociallogin" not in (kwargs.get("signal_kwargs") or {}) and uses_only_single_sign_on(user):
            clear_login(request)
            sentence = _("Sign in with single sign-on: your provider decides about your access.")
            return refuse_user(request, user, sentence)
        response: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return response

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Refuse an address that an admin has given to another user meanwhile."""
        others = User.objects.filter(email__iexact=email_address.email).exclude(pk=email_address.user_id)
        if others.exists():
            message = _("Another user has the address %(email)s.") % {"email": email_address.email}
            messages.error(request, message)
            return False
        return bool(super().confirm_email(request, email_address))

    # --- emails ---

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send an email in the language and time zone of its user, if there is an email server."""
        if settings.EMAIL_HOST:
            with use_preferences(context.get("user"), self.request):
                super().send_mail(template_prefix, email, {**context, "portal_url": settings.PUBLIC_URL})

    def send_notification_mail(
        self, template_prefix: str, user: Any, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Send a notice about a change that is already saved, so a failure is logged, not raised."""
        with log_failure(template_prefix):
            super().send_notification_mail(template_prefix, user, {**(context or {}), "user": user}, email)

    def send_password_reset_mail(self, user: Any, email: str, context: dict[str, Any]) -> None:
        """Send the link to the user's address, not to the entered one, which may only look like it.

        The page is the same if that fails: it must not tell which addresses exist.
        """
        with log_failure("password reset"):
            super().send_password_reset_mail(user, user.email, context)

    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:
        try:
            super().send_confirmation_mail(request, emailconfirmation, signup)
        except OSError:
            logger.warning("cannot send an email: confirmation", exc_info=True)
            messages.error(request, _("The email server did not accept the email. Try again later."))

    def get_reset_password_from_key_url(self, key: str) -> str:
        uid, _dash, token = key.partition("-")
        return one_time_links.build_link(uid, token)

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """Build the link from ``PUBLIC_URL``, not from the request's host, which a stranger may have chosen."""
        return str(settings.PUBLIC_URL) + reverse("account_confirm_email", args=[emailconfirmation.key])

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        message_context: dict[str, Any] | None = None,
        extra_tags: str = "",
        message: str | None = None,
    ) -> None:
        """Skip the messages on sign-in and sign-out: the page that follows shows the fact."""
        if message_template not in QUIET_MESSAGES and level != messages.DEBUG:
            super().add_message(request, level, message_template, message_context, extra_tags, message)


class MfaAdapter(DefaultMFAAdapter):
    """Second factors, with their secrets encrypted like all others of the portal."""

    def encrypt(self, text: str) -> str:
        return encryption.encrypt(text).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return encryption.decrypt(encrypted_text.encode())

    def _get_site_name(self) -> str:
        return "Okno"
