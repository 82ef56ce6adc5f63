"""Users and their API tokens."""

from .api_tokens import ApiToken, visible_prefix
from .users import User

__all__ = ["ApiToken", "User", "visible_prefix"]
