"""Routes, forms and parameters, collected from the portal's resolver and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from django.urls import URLPattern, get_resolver
from django.urls.resolvers import RoutePattern

MOST_PAGES = 300
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>(?:[^()\\]|\\.|\([^()]*\))*\)")
ASKED = re.compile(r"""(?:GET|POST|asked|shown|values|query_params)\.?(?:get|getlist)?[(\[]\s*["']([\w.-]+)["']""")


@dataclass(frozen=True)
class Route:
    """A route of the resolver, with names in braces, and the query parameters that its view's module reads."""

    text: str
    names: tuple[str, ...]
    asked: tuple[str, ...]


@dataclass
class Form:
    """A form of a page, with the fields that a browser would send."""

    role: str
    path: str
    query: str
    method: str
    fields: list[tuple[str, str]]
    is_multipart: bool = False
    files: list[str] = field(default_factory=list)


def routes() -> list[Route]:
    return [route for route in _routes(get_resolver().url_patterns, "/") if not route.text.startswith("/static/")]


def _routes(patterns: Any, before: str) -> Iterator[Route]:
    for pattern in patterns:
        text = before + _plain(pattern.pattern)
        if isinstance(pattern, URLPattern):
            names = tuple(re.findall(r"\{(\w+)\}", text))
            yield Route(text, names, _asked_by(pattern.callback))
        else:
            yield from _routes(pattern.url_patterns, text)


def _plain(pattern: Any) -> str:
    """Return a route pattern of either kind in the form ``chats/{pk}/``."""
    text = PARAMETER.sub(lambda found: "{" + (found[1] or found[2]) + "}", str(pattern))
    return (
        text
        if isinstance(pattern, RoutePattern)
        else re.sub(r"[\^$]|/\?|\\[ZA]", "", text).replace("\\", "").replace("(?|.*)", "x")
    )


def _asked_by(callback: Any) -> tuple[str, ...]:
    import inspect
    import sys

    view = inspect.unwrap(getattr(callback, "view_class", None) or getattr(callback, "cls", None) or callback)
    module = sys.modules.get(getattr(view, "__module__", ""), None)
    try:
        return tuple(sorted(set(ASKED.findall(inspect.getsource(module))))) if module else ()
    except (OSError, TypeError):
        return ()


class _Reader(HTMLParser):
    """Parser that collects links and forms."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[dict[str, Any]] = []
        self.loose: list[tuple[str, str]] = []
        self.select: str = ""
        self.textarea: str = ""
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        for name in ("href", "hx-get", "hx-post", "data-url"):
            if given.get(name):
                self.links.append(given[name])
        if tag == "form":
            self.forms.append(
                {
                    "action": given.get("action", ""),
                    "method": given.get("method", "get").upper(),
                    "fields": [],
                    "files": [],
                    "multipart": "multipart" in given.get("enctype", ""),
                }
            )
        elif not self.forms:
            return
        elif tag in ("input", "button") and given.get("name"):
            if given.get("type") == "file":
                self.forms[-1]["files"].append(given["name"])
            elif (
                given.get("type") not in ("checkbox", "radio")
                or "checked" in given
                or given["name"] == "_selected_action"
            ):
                self.forms[-1]["fields"].append((given["name"], given.get("value", "on")))
        elif tag == "select":
            self.select = given.get("name", "")
        elif tag == "option" and self.select:
            names = [name for name, _value in self.forms[-1]["fields"]]
            if "selected" in given or self.select not in names:
                self.forms[-1]["fields"] = [pair for pair in self.forms[-1]["fields"] if pair[0] != self.select]
                self.forms[-1]["fields"].append((self.select, given.get("value", "")))
        elif tag == "textarea":
            self.textarea, self.text = given.get("name", ""), ""

    def handle_data(self, data: str) -> None:
        if self.textarea:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = ""
        elif tag == "textarea" and self.textarea:
            self.forms[-1]["fields"].append((self.textarea, self.text))
            self.textarea = ""


@dataclass
class Site:
    forms: list[Form]
    pages: list[tuple[str, str, tuple[str, ...]]]  # role, path, names of parameters in links to it


def walk(get: Any, role: str, roots: list[str], begin: list[str]) -> Site:
    """Open the pages that the roots link to, then the given paths: one page of each kind, two of chats."""
    opened: set[tuple[str, tuple[str, ...]]] = set()
    shapes: dict[tuple[str, tuple[str, ...]], int] = {}
    names_of: dict[str, set[str]] = {}
    found, waiting = Site([], []), [*roots, *begin]
    while waiting and len(opened) < MOST_PAGES:
        parts = urlsplit(waiting.pop(0))
        names = tuple(sorted({name for name, _value in parse_qsl(parts.query, keep_blank_values=True)}))
        names_of.setdefault(parts.path, set()).update(names)
        shape = re.sub(r"\d+", "N", parts.path), names if len(names) < 2 else ()
        if (
            (parts.path, names) in opened
            or shapes.get(shape, 0) >= 1
            or parts.path.startswith(("/static/", "/logout", "/api/", "/uapi/", "/webhooks/"))
        ):
            continue
        opened.add((parts.path, names))
        shapes[shape] = shapes.get(shape, 0) + 1
        answer = get(role, parts.path, parts.query)
        here = parts.path + ("?" + parts.query if parts.query else "")
        if answer.status in (301, 302):
            waiting.insert(0, urljoin(here, answer.headers.get("location", "")))
        if answer.status != 200 or "html" not in answer.headers.get("content-type", ""):
            continue
        reader = _Reader()
        reader.feed(answer.body.decode())
        links = [
            urljoin(here, link) for link in reader.links if not link.startswith(("#", "javascript:", "mailto:", "tel:"))
        ]
        waiting[:0] = [link for link in links if not urlsplit(link).netloc]
        for form in reader.forms:
            if form["fields"] or form["files"]:
                made = _form(role, parts, form)
                found.forms.append(made)
                if made.method == "GET":
                    names_of.setdefault(made.path, set()).update(name for name, _value in made.fields)
    found.pages = [(role, path, tuple(sorted(names))) for path, names in names_of.items() if names]
    found.forms = list(
        {(form.path, form.method, tuple(name for name, _ in form.fields)): form for form in found.forms}.values()
    )
    return found


def _form(role: str, parts: Any, form: dict[str, Any]) -> Form:
    action = urlsplit(urljoin(parts.path + ("?" + parts.query if parts.query else ""), form["action"] or parts.path))
    return Form(
        role, action.path, action.query or parts.query, form["method"], form["fields"], form["multipart"], form["files"]
    )
