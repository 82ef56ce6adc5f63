"""Authentication of ``/api/v1/`` and ``/metrics`` by API tokens."""

from __future__ import annotations

import logging
from typing import Any

from django.db import DatabaseError
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from config.accounts.models import ApiToken

logger = logging.getLogger(__name__)


class ApiTokenAuthentication(TokenAuthentication):
    """``Authorization: Token …``. Reads the header as DRF does; the tokens are our own, hashed ones."""

    def authenticate_credentials(self, key: str) -> tuple[Any, ApiToken]:
        """Return the user and the token. Raise AuthenticationFailed with a sentence otherwise."""
        token, now = ApiToken.objects.all().by_token(key), timezone.now()
        if token is None:
            raise AuthenticationFailed(_("This API token is not known."))
        if not token.user.is_active:
            raise AuthenticationFailed(_("The user of this API token is switched off."))
        if token.revoked_at is not None:
            raise AuthenticationFailed(_("This API token was revoked."))
        if token.is_expired(now):
            raise AuthenticationFailed(_("This API token has expired."))
        try:
            token.record_use(now)
        except DatabaseError:  # it takes no writes just now: reading, and the figures of monitoring, go on
            logger.warning("use of an API token not noted")
        return token.user, token


def revoke_tokens_of_inactive(*, instance: Any, **_kwargs: Any) -> None:
    """Signal handler: end the tokens of a user who is switched off. Switching on again brings none back."""
    if not instance.is_active and instance.pk:
        ApiToken.objects.filter(user_id=instance.pk).revoke()
