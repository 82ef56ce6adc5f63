"""Admin pages of channels and teams. Importing the modules registers them."""

from . import channels, teams

__all__ = ["channels", "teams"]
