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
    """DRF token authentication (``Authorization: Token …``) with our hashed tokens."""

    def authenticate_credentials(self, key: str) -> tuple[Any, ApiToken]:
        """Return the user and the token, or raise AuthenticationFailed with a sentence."""
        token, now = ApiToken.objects.all().by_token(key), timezone.now()
        if token is None:
            raise AuthenticationFailed(_("Unknown API token."))
        if not token.user.is_active:
            raise AuthenticationFailed(_("The user of this API token is deactivated."))
        if token.revoked_at is not None:
            raise AuthenticationFailed(_("This API token was revoked."))
        if token.is_expired(now):
            raise AuthenticationFailed(_("This API token has expired."))
        try:
            token.record_use(now)
        except DatabaseError:  # the database accepts no writes now; reading and monitoring must still work
            logger.warning("cannot record the use of an API token")
        return token.user, token


def revoke_tokens_of_inactive(*, instance: Any, **_kwargs: Any) -> None:
    """Signal handler: revoke the tokens of a deactivated user. Reactivating the user does not restore them."""
    if not instance.is_active and instance.pk:
        ApiToken.objects.filter(user_id=instance.pk).revoke()
