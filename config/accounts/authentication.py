"""Authentication of ``/api/v1/`` and ``/metrics`` by API tokens."""

from __future__ import annotations

import logging
from typing import Any

from django.db import DatabaseError
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from channels_setup.models import ChatChannel
from channels_setup.roles import SUPERVISOR_PERMISSIONS
from config.accounts.models import ApiToken, Scope
from config.web import client_address

logger = logging.getLogger(__name__)

METRICS_PATH = "/metrics"


class ApiTokenAuthentication(TokenAuthentication):
    """DRF token authentication (``Authorization: Token …``) with our hashed tokens."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        """Authenticate, and refuse what the token's scope does not include with a sentence (403)."""
        found: tuple[Any, ApiToken] | None = super().authenticate(request)
        if found is not None:
            token = found[1]
            record_use(token, request)
            check_scope(token, is_write=request.method not in SAFE_METHODS, is_metrics=request.path == METRICS_PATH)
        return found

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
        limit_to_channels(token)
        return token.user, token


def record_use(token: ApiToken, request: Request) -> None:
    """Record when and from where the token was used."""
    address = client_address.normalize_address(client_address.address_from_meta(request.META))
    try:
        token.record_use(timezone.now(), last_used_address=address or None)
    except DatabaseError:  # the database accepts no writes now; reading and monitoring must still work
        logger.warning("cannot record the use of an API token")


def check_scope(token: ApiToken, *, is_write: bool, is_metrics: bool) -> None:
    """Raise PermissionDenied with a sentence if the scope does not include the call."""
    if token.scope == Scope.METRICS and not is_metrics:
        raise PermissionDenied(_("This API token opens /metrics only."))
    if token.scope == Scope.READ and is_write:
        raise PermissionDenied(_("This API token may only read."))


def limit_to_channels(token: ApiToken) -> None:
    """Narrow the user of this request to the token's chat channels, if it is limited.

    A limited token without a channel (all were deleted, or the user lost them) opens nothing.
    """
    if token.is_limited_to_channels or token.chat_channel_ids:
        visible = ChatChannel.objects.visible_to(token.user).filter(pk__in=token.chat_channel_ids)
        token.user.limited_to_chat_channels = frozenset(visible.values_list("pk", flat=True))
        token.user.__dict__.pop("_perm_cache", None)
        if token.user.is_superuser:  # as an admin, whose permissions the backend limits
            vars(token.user)["_perm_cache"] = set(SUPERVISOR_PERMISSIONS)
        token.user.is_superuser = token.user.is_staff = False  # on this instance only


def opens_metrics(token: ApiToken) -> bool:
    """Return whether an authenticated token opens /metrics: any of staff, and a service account's for metrics."""
    return bool(token.user.is_staff or (token.scope == Scope.METRICS and token.user.is_service))
