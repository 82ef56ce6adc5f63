"""WhatsApp Cloud API: Meta, or a provider with the same API (360dialog, Gupshup)."""

from .messenger import provider

__all__ = ["provider"]
