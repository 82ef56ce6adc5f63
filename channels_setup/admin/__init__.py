"""Admin pages of channels. Importing the module registers them."""

from . import channels

__all__ = ["channels"]
