"""Addresses that a page has many of."""

from __future__ import annotations

from collections.abc import Callable

from django.urls import reverse


def url_factory(name: str, *before: int) -> Callable[[int], str]:
    """Addresses that differ in their last number alone: Django is asked for one of them, which takes its time."""
    head, _zero, tail = reverse(name, args=[*before, 0]).rpartition("0")
    return lambda number: f"{head}{number}{tail}"
