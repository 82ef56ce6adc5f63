"""The built-in helpdesk."""

from .helpdesk import provider

__all__ = ["provider"]
