"""Acebot: the API channel of the set-up guide."""

from .messenger import provider

__all__ = ["provider"]
