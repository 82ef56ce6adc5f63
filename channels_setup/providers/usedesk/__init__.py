"""Usedesk as the helpdesk."""

from .helpdesk import provider

__all__ = ["provider"]
