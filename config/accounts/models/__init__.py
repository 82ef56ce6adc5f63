"""Users and their API tokens."""

from .api_tokens import ApiToken, Scope, visible_prefix
from .users import User, time_zone_names

__all__ = ["ApiToken", "Scope", "User", "time_zone_names", "visible_prefix"]
