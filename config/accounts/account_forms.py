"""django-allauth's forms, where the portal decides differently."""

from __future__ import annotations

from allauth.account.forms import ResetPasswordForm as AllauthResetPasswordForm

from .email_addresses import find_users_by_email
from .single_sign_on import uses_only_single_sign_on


class ResetPasswordForm(AllauthResetPasswordForm):
    """Sends links only to addresses of users. Unconfirmed and former addresses of a user must not set a password.

    People who sign in through an identity provider get none: the provider decides whether they may enter.
    """

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        users = find_users_by_email(email)
        self.users = [user for user in users if user.is_active and not uses_only_single_sign_on(user)]
        return email
