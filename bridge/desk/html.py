"""Fast HTML formatting for elements that a page repeats many times."""

from __future__ import annotations

from functools import cache
from html import escape

from django.templatetags.static import static
from django.utils.safestring import SafeString


def fast_format_html(pattern: str, /, **values: object) -> SafeString:
    """Format like Django's ``format_html``, about five times faster. Values not marked safe are escaped."""
    for key, value in values.items():
        if value.__class__ is not SafeString and value != "":
            values[key] = escape(str(value))
    return SafeString(pattern.format_map(values))


@cache
def render_icon(name: str, css: str = "") -> SafeString:
    """Render a symbol of static/icons.svg in the current text color. Hidden from screen readers.

    Cached: a page has about a hundred icons of forty kinds.
    """
    address = static("icons.svg")
    return fast_format_html(
        '<svg class="icon {css}" aria-hidden="true"><use href="{address}#{name}"></use></svg>',
        css=css,
        address=address,
        name=name,
    )


render_icon.is_constant_tag = True  # type: ignore[attr-defined]  # templates join it with the text around it
