"""How django-allauth fits this portal: no self-registration, encrypted secrets, our client address."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest

from channels_setup import encryption
from config.web import client_address

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

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        if settings.EMAIL_HOST:
            super().send_mail(template_prefix, email, context)

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
