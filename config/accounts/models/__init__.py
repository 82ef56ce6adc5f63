"""Users and their API tokens."""

from .api_tokens import ApiToken, visible_prefix
from .users import User, time_zone_names

__all__ = ["ApiToken", "User", "time_zone_names", "visible_prefix"]
