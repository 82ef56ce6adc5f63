"""What the pages for people need in their HTML: icons, doors that may not be there, text as WhatsApp shows it."""

from __future__ import annotations

from functools import cache
from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from bridge.desk.presentation import WindowView, initials, person_name
from bridge.desk.texts import around, whatsapp_html
from bridge.models import Ticket

register = template.Library()
register.filter("whatsapp", whatsapp_html)
register.filter("around", around)


@register.simple_tag
@cache
def icon(name: str, css: str = "") -> SafeString:
    """A symbol of static/icons.svg, in the colour of the text around it; the words beside it carry the meaning.

    Kept: a page has a hundred of them, of forty kinds, all written in our own pages.
    """
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>', css, static("icons.svg"), name
    )


@register.simple_tag
def ring(window: WindowView, letters: str) -> SafeString:
    """A window's ring round somebody's letters. In Python and not as an included page: a list has forty of them."""
    counts = ""
    if window.state == "open" and window.expires_at:
        counts = format_html(' data-expires-at="{}" data-shows="ring"', window.expires_at.isoformat())
    return format_html(
        '<span class="ring {}"{}><svg viewBox="0 0 40 40" aria-hidden="true"><circle cx="20" cy="20" r="18"/>'
        '<circle class="left" cx="20" cy="20" r="18" pathLength="100" stroke-dasharray="{} 100"/></svg>'
        '<i aria-hidden="true">{}</i></span>',
        window.level,
        counts,
        window.percent,
        letters,
    )


@register.simple_tag
def door(name: str) -> str:
    """The address of a page by its URL name; empty where that page is not part of this portal."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


register.filter("person_name", person_name)


@register.filter(name="initials")
def initials_of(person: Any) -> str:
    """The letters in somebody's round picture."""
    return initials(person if isinstance(person, str) else person_name(person))


@register.filter
def level(ticket: Ticket) -> str:
    """A request's colour: green where somebody is at work, amber where it waits, grey where it is over."""
    if ticket.status in (Ticket.Status.NEW, Ticket.Status.OPEN):
        return "calm"
    return "soon" if ticket.status in (Ticket.Status.PENDING, Ticket.Status.ON_HOLD) else ""
