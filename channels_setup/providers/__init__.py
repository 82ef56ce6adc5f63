"""Outside services: one package or module per kind, found by its name.

A kind's slug is that name, its database value, its webhook URL and its folder of recorded payloads.
To add a provider, add a package here that defines ``provider``; nothing else names it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from .base import Messenger, Provider
from .base.helpdesk import Helpdesk

CONTRACT = ("base",)  # the contract, not a provider


@cache
def all_providers() -> dict[str, Provider]:
    """Return all providers by kind, in alphabetical order."""
    found: dict[str, Provider] = {}
    for module_info in iter_modules(__path__):
        if module_info.name in CONTRACT:
            continue
        provider: Provider = import_module(f"{__name__}.{module_info.name}").provider
        provider.kind = module_info.name
        found[module_info.name] = provider
    return found


def messengers() -> dict[str, Messenger]:
    """Return the providers that reach the contact."""
    return {kind: provider for kind, provider in all_providers().items() if isinstance(provider, Messenger)}


def helpdesks() -> dict[str, Helpdesk]:
    """Return the providers where operators answer."""
    return {kind: provider for kind, provider in all_providers().items() if isinstance(provider, Helpdesk)}


def default_helpdesk() -> str:
    """Return the kind of the built-in helpdesk, which needs no account anywhere."""
    return next(kind for kind, provider in helpdesks().items() if provider.built_in)
