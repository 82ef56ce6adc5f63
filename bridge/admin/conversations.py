"""Admin lists of chats, requests and windows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext, pgettext_lazy

from bridge import ticket_properties
from bridge.models import Conversation, ServiceWindow, Ticket

from . import channel_stats
from .base import (
    ChoiceFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    field_column,
    link_column,
    render_chat_link,
    render_pill,
    search_by_id,
)
from .contacts import search_by_contact


class WindowInline(ReadOnlyInline):
    model = ServiceWindow
    fields = readonly_fields = ("opened", "expires", "state", "replied")
    ordering = ("-expires_at",)

    opened = field_column("opened_at", pgettext_lazy("window", "opened"))
    expires = field_column("expires_at", _("expires"))
    replied = field_column("first_reply_at", _("first reply"))


class TicketInline(ReadOnlyInline):
    model = Ticket
    fields = readonly_fields = ("number", "subject", "status", "assignee", "opened", "answered", "closed")
    ordering = ("-id",)

    number = link_column(_("number"))
    opened = field_column("opened_at", _("opened"))
    answered = field_column("first_answer_at", _("first answer"))
    closed = field_column("closed_at", _("closed"))


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ("id", "client", "api_channel_shown", "chat_channel_shown", "window", "last_text_shown", "last_at")
    list_display_links = ("id", "client")
    list_select_related = ("contact", "api_channel", "chat_channel")
    list_filter = ("chat_channel", "api_channel")
    ordering = ("-last_message_at", "-id")
    searches = (search_by_id("contact_id"), search_by_contact)
    search_help_text = _("Chat number, or the client's full phone number or provider ID")
    chat_channel_path = "chat_channel"
    fields = (
        "client",
        "api_channel_shown",
        "chat_channel_shown",
        "assignee",
        "created",
        "last_at",
        "unread",
        "list_links",
    )
    readonly_fields = fields
    inlines = (TicketInline, WindowInline)

    client = field_column("contact", _("client"))
    api_channel_shown = field_column("api_channel", _("API channel"))
    chat_channel_shown = field_column("chat_channel", _("chat channel"))
    last_text_shown = field_column("last_text", _("last message text"))
    last_at = field_column("last_message_at", _("last message"))
    created = field_column("created_at", _("created"))

    def get_queryset(self, request: Any) -> QuerySet[Conversation]:
        latest = ServiceWindow.objects.filter(conversation=OuterRef("pk")).order_by("-expires_at")
        rows: QuerySet[Conversation] = super().get_queryset(request)
        return rows.annotate(window_until=Subquery(latest.values("expires_at")[:1]))

    @admin.display(description=_("service window"))
    def window(self, conversation: Any) -> SafeString | str:
        if not conversation.api_channel.provider.service_window or conversation.window_until is None:
            return "–"
        if conversation.window_until <= timezone.now():
            return render_pill("closed", pgettext("window", "closed"))
        until = f"{timezone.localtime(conversation.window_until):%d.%m %H:%M}"
        return render_pill("open", _("until %(time)s") % {"time": until})

    @admin.display(description=_("more"))
    def list_links(self, conversation: Conversation) -> SafeString:
        lists = (("bridge_message", _("Messages")), ("bridge_delivery", _("Deliveries")))
        return format_html_join(
            " · ",
            '<a class="to" href="{}?conversation__id__exact={}">{}</a>',
            ((reverse(f"admin:{name}_changelist"), conversation.pk, label) for name, label in lists),
        )


class OpenTicketFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "open"
    options = {"yes": (_("Open requests only"), lambda rows: rows.exclude(status__in=Ticket.ENDED))}


@admin.register(Ticket)
class TicketAdmin(ReadOnlyAdmin):
    list_display = ("id", "subject", "status", "chat", "assignee", "opened", "answered", "closed")
    list_display_links = ("id", "subject")
    list_select_related = ("conversation__contact", "assignee")
    list_filter = (OpenTicketFilter,)
    ordering = ("-opened_at", "-id")
    searches = (search_by_id("conversation_id"),)
    search_help_text = _("Request or chat number")
    chat_channel_path = "conversation__chat_channel"
    fields = readonly_fields = (
        *("chat", "status", "subject", "assignee", "priority", "type", "tags", "additional_id", "additional_fields"),
        *("opened", "answered", "closed", "changed"),
    )

    opened = field_column("opened_at", _("opened"))
    answered = field_column("first_answer_at", _("first answer"))
    closed = field_column("closed_at", _("closed"))
    changed = field_column("updated_at", _("changed"))

    @admin.display(description=_("chat"))
    def chat(self, ticket: Ticket) -> SafeString:
        return render_chat_link(ticket.conversation)

    @admin.display(description=_("additional fields"))
    def additional_fields(self, ticket: Ticket) -> str:
        fields = ticket_properties.load_custom_fields([ticket])[ticket.pk]
        return "; ".join(f"{field['name']}: {field['value']}" for field in fields) or "–"


class ServiceWindowFilter(ChoiceFilter):
    title = _("service window")
    parameter_name = "window"
    options = {
        "open": (_("Open, closing soonest first"), lambda rows: rows.filter(state="open").order_by("expires_at")),
        "missed": (
            _("Missed in the last 7 days"),
            lambda rows: rows.filter(
                # The ID limits the query to the last days' rows.
                pk__gte=channel_stats.find_first_id_since(
                    ServiceWindow, "opened_at", timezone.now() - timedelta(days=8)
                ),
                expires_at__gte=timezone.now() - timedelta(days=7),
                state="closed",
                first_reply_at=None,
            ),
        ),
    }


@admin.register(ServiceWindow)
class ServiceWindowAdmin(ReadOnlyAdmin):
    list_display = ("id", "chat", "opened", "expires", "state_shown", "replied")
    list_select_related = ("conversation__contact",)
    list_filter = (ServiceWindowFilter,)
    searches = (search_by_id("conversation_id"),)
    search_help_text = _("Chat number")
    chat_channel_path = "conversation__chat_channel"
    fields = readonly_fields = ("chat", "opened", "expires", "state_shown", "replied", "reminded")

    opened = field_column("opened_at", pgettext_lazy("window", "opened"))
    expires = field_column("expires_at", _("expires"))
    replied = field_column("first_reply_at", _("first reply"))
    reminded = field_column("reminded_at", _("closing reminder"))

    @admin.display(description=_("chat"))
    def chat(self, window: ServiceWindow) -> SafeString:
        return render_chat_link(window.conversation)

    @admin.display(description=_("state"))
    def state_shown(self, window: ServiceWindow) -> SafeString:
        if window.state == ServiceWindow.State.CLOSED and window.first_reply_at is None:
            return render_pill("failed", _("missed"))
        return render_pill(window.state, window.get_state_display())
