"""Tokens of the one-time links that set a password."""

from typing import Any

from django.contrib.auth.tokens import PasswordResetTokenGenerator


class LinkTokenGenerator(PasswordResetTokenGenerator):
    """Django's generator. Ending all sessions of a user, and deactivating the user, also end the links."""

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        return f"{super()._make_hash_value(user, timestamp)}{user.session_epoch}"
