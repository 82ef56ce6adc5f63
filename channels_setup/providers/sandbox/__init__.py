"""Sandbox: a training phone on a web page."""

from .messenger import provider

__all__ = ["provider"]
