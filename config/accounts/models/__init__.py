"""Users, service accounts, their API tokens, and the cache that web processes share."""

from .api_tokens import ApiToken, Scope, visible_prefix
from .service_accounts import ServiceAccount
from .shared_cache import SharedCacheEntry
from .users import User, UserKind

__all__ = [
    "ApiToken",
    "Scope",
    "ServiceAccount",
    "SharedCacheEntry",
    "User",
    "UserKind",
    "visible_prefix",
]
