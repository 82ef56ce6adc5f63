"""Users and their API tokens."""

from .api_tokens import ApiToken, prefix_of
from .users import User

__all__ = ["ApiToken", "User", "prefix_of"]
