"""What the pages for people need in their HTML: icons, doors that may not be there, text as WhatsApp shows it."""

from __future__ import annotations

from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from bridge.desk.presentation import initials, person_name
from bridge.desk.texts import around, whatsapp_html
from bridge.models import Ticket

register = template.Library()
register.filter("whatsapp", whatsapp_html)
register.filter("around", around)


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """A symbol of static/icons.svg, in the colour of the text around it; the words beside it carry the meaning."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>', css, static("icons.svg"), name
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
