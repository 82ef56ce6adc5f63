"""Every route of the portal, with a path that it matches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.urls import Resolver404, URLPattern, get_resolver, resolve

KIND = "sandbox"
_PART = re.compile(r"<(?:\w+:)?(\w+)>")
_GROUP = re.compile(r"\(\?P<(\w+)>[^)]*\)")


def paths(values: Mapping[str, str] | None = None) -> list[str]:
    """Return a path for each route. `values` maps parameter names to values; the default is 1."""
    chosen = {"kind": KIND, **(values or {})}
    found = dict.fromkeys(_filled(route, chosen) for route in of(get_resolver().url_patterns))
    return [path for path in found if _is_found(path)]


def of(patterns: list[Any], before: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from of(pattern.url_patterns, route)


def _filled(route: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return values.get(match[1], "1")

    text = _PART.sub(value, _GROUP.sub(value, route))
    return "/" + re.sub(r"\\.", "", text.replace("/?", "/")).replace("^", "").replace("$", "").replace("\\Z", "")


def _is_found(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True
