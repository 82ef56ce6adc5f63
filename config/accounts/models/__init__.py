"""Users, their API tokens, and the cache that web processes share."""

from .api_tokens import ApiToken, Scope, visible_prefix
from .shared_cache import SharedCacheEntry
from .users import User, time_zone_names

__all__ = ["ApiToken", "Scope", "SharedCacheEntry", "User", "time_zone_names", "visible_prefix"]
