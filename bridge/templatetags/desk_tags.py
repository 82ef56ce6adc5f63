"""Template tags and filters of the desk: icons, thread items, optional URLs, WhatsApp markup."""

from __future__ import annotations

import json
import zlib
from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from bridge.conversations import contact_links
from bridge.conversations.availability import get_current_choice
from bridge.desk import availability, notification_settings
from bridge.desk.command_catalog import build_command_data
from bridge.desk.html import render_icon
from bridge.desk.presentation import contact_hue, contact_number, contact_phone, name_initials, person_name
from bridge.desk.push.subscriptions import push_context
from bridge.desk.thread.bubbles import BubbleRenderer, TemplateRenderer, item_attributes
from bridge.desk.thread.items import ThreadItem
from bridge.desk.urls import url_factory
from bridge.models import Conversation, Ticket
from channels_setup.codecs.whatsapp_markup import render_html

TAG_COLORS = 6  # ``.tag-0`` to ``.tag-5``

register = template.Library()
register.filter("whatsapp", render_html)
register.simple_tag(render_icon, name="icon")
register.simple_tag(item_attributes)
register.simple_tag(build_command_data, name="command_data")


@register.simple_tag(takes_context=True)
def render_message(context: template.RequestContext, item: ThreadItem) -> SafeString:
    """Render a message of the thread."""
    if "bubbles" not in context.render_context:
        conversation = context["conversation"]
        address = reverse("chat", args=[conversation.pk])
        sends_reactions = conversation.api_channel.provider.sends_reactions and not conversation.contact.erased_at
        context.render_context["bubbles"] = BubbleRenderer(
            client=context["name"],
            trail_url=url_factory("message-trail", conversation.pk),
            reply_url=(lambda pk: f"{address}?replies_to={pk}") if context["supports_quotes"] else None,
            react_url=url_factory("message-react", conversation.pk) if sends_reactions else None,
            render_template=_template_renderer(context),
            is_erased=conversation.contact.erased_at is not None,
        )
    html: SafeString = context.render_context["bubbles"].html(item)
    return html


def _template_renderer(context: template.RequestContext) -> TemplateRenderer:
    assert context.template is not None
    engine = context.template.engine

    def render_template(name: str, **extra: Any) -> SafeString:
        with context.push(**extra):
            return engine.get_template(name).render(context)

    return render_template


@register.simple_tag
def quick_reactions() -> list[tuple[str, str]]:
    """Return the reactions that are offered first, each with its name for screen readers."""
    return [
        ("👍", _("Thumbs up")),
        ("❤️", _("Heart")),
        ("😂", _("Tears of joy")),
        ("😮", _("Surprise")),
        ("😢", _("Tear")),
        ("🙏", _("Thanks")),
    ]


@register.simple_tag
def find_moved_contact(conversation: Conversation) -> dict[str, Any] | None:
    """Return the client's current number and chat after a number change; None while this contact is in use."""
    present = contact_links.find_new_contact(conversation)
    if present is None:
        return None
    chats = contact_links.visible_chat_ids(present, like=conversation)
    after = contact_phone(present) or contact_number(present, contact_links.display_id(present))
    return {"after": after, "chat": chats[0] if chats else None}


@register.simple_tag
def url_or_empty(name: str) -> str:
    """Return the URL of a named route, or an empty string if the route does not exist."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


register.filter("person_name", person_name)


register.filter("hue", contact_hue)


@register.filter
def tag_color(word: str) -> int:
    """Return the number of a tag's color: the same for the same word, whatever its case."""
    return zlib.crc32(word.casefold().encode()) % TAG_COLORS


@register.filter(name="initials")
def person_initials(person: Any) -> str:
    """Return the initials for a person's avatar."""
    return name_initials(person if isinstance(person, str) else person_name(person))


@register.filter
def ticket_level(ticket: Ticket) -> str:
    """Return the CSS class of a request: ok (new, open), warning (pending, on hold), or none (closed)."""
    if ticket.status in (Ticket.Status.NEW, Ticket.Status.OPEN):
        return "ok"
    return "warning" if ticket.status in (Ticket.Status.PENDING, Ticket.Status.ON_HOLD) else ""


@register.simple_tag
def palette_pages() -> str:
    """Return the URLs of the pages that the command palette opens, as JSON by command name."""
    pages = {"chats": "chats", "requests": "requests", "windows": "missed-windows", "templates": "templates"}
    pages |= {"contacts": "contacts", "new-chat": "chat-new", "saved-views": "saved-views"}
    pages |= {"settings": "desk-settings", "account": "preferences", "reply-times": "reply-times"}
    return json.dumps({name: url_or_empty(url) for name, url in pages.items()})


@register.simple_tag(takes_context=True)
def own_availability(context: template.RequestContext) -> dict[str, Any]:
    """Return the status of the signed-in user for the account menu."""
    return availability.describe_own(*get_current_choice(context["personal"].availability))


@register.simple_tag(takes_context=True)
def session_mark(context: template.RequestContext) -> str:
    """Return a mark that changes with the session."""
    return notification_settings.session_mark(context["request"])


@register.inclusion_tag("bridge/notification_settings.html", takes_context=True)
def notification_section(context: template.RequestContext) -> dict[str, Any]:
    """Render the notifications' part of the page of desk settings."""
    request = context["request"]
    form = context.get("notification_form") or notification_settings.build_form(request.user)
    return {"form": form, "request": request, "user": request.user, **push_context(request.user)}
