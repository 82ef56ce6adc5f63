"""Admin pages of the registry. Importing the module registers them."""

from . import templates

__all__ = ["templates"]
