"""Admin pages of people and their API tokens. Importing the modules registers them."""

from . import api_tokens, people, service_accounts

__all__ = ["api_tokens", "people", "service_accounts"]
