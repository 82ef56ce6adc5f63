"""Admin lists of chats, requests, windows, messages and contacts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from bridge import ticket_properties, wakeups
from bridge.channel_health import circuit_breaker
from bridge.helpdesk import chat_channel_admin as helpdesk_page
from bridge.merging import rules as merge_rules
from bridge.models import Attachment, Contact, Conversation, Delivery, HeldReply, Message, ServiceWindow, Ticket
from channels_setup.admin import channel_page
from channels_setup.admin.channels import ApiChannelAdmin
from channels_setup.codecs.whatsapp_markup import render_html
from channels_setup.models import ApiChannel

from . import channel_stats
from .base import (
    ChoiceFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    column,
    link_to,
    link_to_chat,
    render_pill,
    search_by_id,
    search_by_phone,
    search_by_text,
    self_link,
)
from .dead_letters import DeadLetterAdmin  # noqa: F401  # registered by being imported
from .deliveries import render_raw

admin.site.unregister(ApiChannel)

__all__ = ["helpdesk_page"]  # registers the chat channel's page


def retry_now(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    count = circuit_breaker.retry_waiting_now(channel.pk)
    if not count:
        messages.info(request, gettext("No deliveries are waiting for a retry."))
        return
    admin.log_change(request, channel, gettext("Immediate retry requested."))
    wakeups.notify_after_commit(wakeups.OUTBOUND)
    messages.success(request, gettext("Waiting deliveries are being retried in order. This page shows the results."))


@admin.register(ApiChannel)
class ApiChannelStatsAdmin(ApiChannelAdmin):
    """The lower floor's page, with what the bridge has seen of the channel."""

    evidence_template = "bridge/channel_evidence.html"
    deeds: ClassVar = channel_page.CHANNEL_ACTIONS | {"try-now": retry_now}

    def evidence(self, channel: ApiChannel) -> dict[str, Any]:
        undelivered = reverse("admin:bridge_deadletter_changelist")
        return {
            **super().evidence(channel),
            "evidence": channel_stats.collect_channel_stats(channel),
            "undelivered_url": f"{undelivered}?api_channel__id__exact={channel.pk}",
        }


@admin.register(Contact)
class ContactAdmin(ReadOnlyAdmin):
    list_display = ("id", "called", "phone", "external_id", "channel", "since")
    list_display_links = ("id", "called")
    list_select_related = ("api_channel",)
    list_filter = ("api_channel",)
    searches = (
        search_by_id(),
        search_by_text("phone"),
        search_by_text("external_id"),
        search_by_text("user_id"),
        search_by_phone(),
    )
    search_help_text = _("Full phone number, provider ID or contact number")
    fields = readonly_fields = (
        *("called", "name_source", "phone", "email", "external_id", "user_id", "username", "caller_id"),
        *("channel", "since", "moved_to", "merged_into", "elsewhere"),
    )

    called = column("shown_name", pgettext_lazy("person", "name"))
    channel = column("api_channel", _("API channel"))
    since = column("created_at", _("first seen"))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not request.user.has_perm(merge_rules.MERGE_PERMISSION):
            return {}
        return {"merge_two": (type(self).merge_two, "merge_two", gettext("Merge the two selected contacts…"))}

    def merge_two(self, request: HttpRequest, rows: QuerySet[Contact]) -> HttpResponse | None:
        """On to the preview in the desk."""
        chosen = list(rows.order_by("pk")[:3])
        chat = Conversation.objects.filter(contact=chosen[0]).order_by("pk").first() if len(chosen) == 2 else None
        if chat is None:
            sentence = gettext("Select two contacts that have a chat.")
            self.message_user(request, sentence, messages.ERROR)
            return None
        return redirect(f"{reverse('chat-client-merge', args=[chat.pk])}?with={chosen[1].pk}")

    def visible_to(self, rows: QuerySet[Contact], user: Any) -> QuerySet[Contact]:
        return rows.filter(pk__in=Conversation.objects.all().visible_to(user).values("contact"))

    @admin.display(description=_("chats"))
    def elsewhere(self, contact: Contact) -> SafeString:
        return format_html_join(", ", "{}", ((link_to_chat(chat),) for chat in contact.conversations.all()[:20]))


def search_by_contact(term: str) -> Q:
    """The term is a client's whole phone or provider's id. Asked for beforehand: an OR over a join has no index."""
    known = Contact.objects.filter(
        search_by_text("phone")(term) | search_by_text("external_id")(term) | search_by_phone()(term)
    )
    return Q(contact__in=list(known.order_by().values_list("pk", flat=True)[:100]))


class WindowInline(ReadOnlyInline):
    model = ServiceWindow
    fields = readonly_fields = ("opened", "expires", "state", "replied")
    ordering = ("-expires_at",)

    opened = column("opened_at", pgettext_lazy("window", "opened"))
    expires = column("expires_at", _("expires"))
    replied = column("first_reply_at", _("first reply"))


class TicketInline(ReadOnlyInline):
    model = Ticket
    fields = readonly_fields = ("number", "subject", "status", "assignee", "opened", "answered", "closed")
    ordering = ("-id",)

    number = self_link(_("number"))
    opened = column("opened_at", _("opened"))
    answered = column("first_answer_at", _("first answer"))
    closed = column("closed_at", _("closed"))


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ("id", "who", "channel", "lands_in", "window", "words", "last_at")
    list_display_links = ("id", "who")
    list_select_related = ("contact", "api_channel", "chat_channel")
    list_filter = ("chat_channel", "api_channel")
    ordering = ("-last_message_at", "-id")
    searches = (search_by_id("contact_id"), search_by_contact)
    search_help_text = _("Chat number, or the client's full phone number or provider ID")
    chat_channel_path = "chat_channel"
    fields = ("who", "channel", "lands_in", "assignee", "since", "last_at", "unread", "elsewhere")
    readonly_fields = fields
    inlines = (TicketInline, WindowInline)

    who = column("contact", _("client"))
    channel = column("api_channel", _("API channel"))
    lands_in = column("chat_channel", _("chat channel"))
    words = column("last_text", _("last message text"))
    last_at = column("last_message_at", _("last message"))
    since = column("created_at", _("created"))

    def get_queryset(self, request: Any) -> QuerySet[Conversation]:
        latest = ServiceWindow.objects.filter(conversation=OuterRef("pk")).order_by("-expires_at")
        return super().get_queryset(request).annotate(window_until=Subquery(latest.values("expires_at")[:1]))

    @admin.display(description=_("service window"))
    def window(self, conversation: Any) -> SafeString | str:
        if not conversation.api_channel.provider.service_window or conversation.window_until is None:
            return "–"
        if conversation.window_until <= timezone.now():
            return render_pill("closed", pgettext("window", "closed"))
        until = f"{timezone.localtime(conversation.window_until):%d.%m %H:%M}"
        return render_pill("open", _("until %(time)s") % {"time": until})

    @admin.display(description=_("more"))
    def elsewhere(self, conversation: Conversation) -> SafeString:
        lists = (("bridge_message", _("Messages")), ("bridge_delivery", _("Deliveries")))
        return format_html_join(
            " · ",
            '<a class="to" href="{}?conversation__id__exact={}">{}</a>',
            ((reverse(f"admin:{name}_changelist"), conversation.pk, label) for name, label in lists),
        )


class OpenTicketFilter(ChoiceFilter):
    title = _("which")
    parameter_name = "live"
    questions = {"yes": (_("Open requests only"), lambda rows: rows.exclude(status__in=Ticket.ENDED))}


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

    opened = column("opened_at", _("opened"))
    answered = column("first_answer_at", _("first answer"))
    closed = column("closed_at", _("closed"))
    changed = column("updated_at", _("changed"))

    @admin.display(description=_("chat"))
    def chat(self, ticket: Ticket) -> SafeString:
        return link_to_chat(ticket.conversation)

    @admin.display(description=_("additional fields"))
    def additional_fields(self, ticket: Ticket) -> str:
        fields = ticket_properties.load_custom_fields([ticket])[ticket.pk]
        return "; ".join(f"{field['name']}: {field['value']}" for field in fields) or "–"


class ServiceWindowFilter(ChoiceFilter):
    title = _("which")
    parameter_name = "window"
    questions = {
        "open": (_("Open, closing soonest first"), lambda rows: rows.filter(state="open").order_by("expires_at")),
        "missed": (
            _("Missed in the last 7 days"),
            lambda rows: rows.filter(
                # The id keeps the question to the last days' rows; see ``channel_stats.first_id_since``.
                pk__gte=channel_stats.first_id_since(ServiceWindow, "opened_at", timezone.now() - timedelta(days=8)),
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
    fields = readonly_fields = ("chat", "opened", "expires", "state_shown", "replied", "warned")

    opened = column("opened_at", pgettext_lazy("window", "opened"))
    expires = column("expires_at", _("expires"))
    replied = column("first_reply_at", _("first reply"))
    warned = column("reminded_at", _("warned"))

    @admin.display(description=_("chat"))
    def chat(self, window: ServiceWindow) -> SafeString:
        return link_to_chat(window.conversation)

    @admin.display(description=_("state"))
    def state_shown(self, window: ServiceWindow) -> SafeString:
        if window.state == ServiceWindow.State.CLOSED and window.first_reply_at is None:
            return render_pill("failed", _("missed"))
        return render_pill(window.state, window.get_state_display())


class MessageStatusFilter(ChoiceFilter):
    title = _("which")
    parameter_name = "which"
    questions = {
        "failed": (_("Not delivered"), lambda rows: rows.filter(status="failed")),
        "waiting": (_("Not sent yet"), lambda rows: rows.filter(status__in=["pending", "sending"])),
        "unknown": (_("May have been sent"), lambda rows: rows.filter(status="unknown")),
    }


class AttachmentInline(ReadOnlyInline):
    model = Attachment
    ordering = ("id",)
    fields = readonly_fields = ("called", "type", "bytes", "address")

    called = column("name", _("name"))
    type = column("mime", _("type"))
    bytes = column("size", _("bytes"))
    address = column("url", _("address"))


class DeliveryInline(ReadOnlyInline):
    model = Delivery
    fields = readonly_fields = ("number", "kind", "api_channel", "state", "attempts", "since", "finished")
    ordering = ("id",)

    number = self_link(_("number"))
    since = column("created_at", _("created"))
    finished = column("finished_at", _("finished"))


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display = ("id", "stored", "direction", "said", "status_shown", "channel", "chat")
    list_display_links = ("id", "stored")
    list_select_related = ("api_channel", "conversation__contact")
    list_filter = (MessageStatusFilter, "api_channel")
    searches = (search_by_id("conversation_id"), search_by_text("external_id"))
    search_help_text = _("Message or chat number, or the full provider ID")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "direction", "kind", "words_shown", "template_shown", "status_shown", "changed", "why"),
        *("writer", "channel", "request_shown", "external_id", "clock", "stored"),
    )
    readonly_fields = fields
    inlines = (AttachmentInline, DeliveryInline)

    stored = column("created_at", _("stored"))
    clock = column("provider_time", _("provider's time"))
    changed = column("status_at", _("status since"))
    channel = column("api_channel", _("API channel"))
    writer = column("author", _("author"))
    request_shown = column("ticket", _("request"))

    @admin.display(description=_("template"))
    def template_shown(self, message: Message) -> SafeString | str:
        return render_raw(json.dumps(message.template, ensure_ascii=False, indent=2)) if message.template else "–"

    @admin.display(description=_("text"))
    def said(self, message: Message) -> str:
        text = message.localized_text or message.sentence
        return text if len(text) <= 80 else f"{text[:79]}…"

    @admin.display(description=_("text"))
    def words_shown(self, message: Message) -> SafeString | str:
        """As the desk shows it."""
        return (
            format_html('<div class="text" dir="auto">{}</div>', render_html(message.localized_text))
            if message.localized_text
            else "–"
        )

    @admin.display(description=_("status"))
    def status_shown(self, message: Message) -> SafeString:
        return render_pill(message.status, message.get_status_display())

    @admin.display(description=_("why"))
    def why(self, message: Message) -> str:
        return message.sentence or "–"

    @admin.display(description=_("chat"))
    def chat(self, message: Message) -> SafeString:
        return link_to_chat(message.conversation)


class HeldReplyStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    questions = {
        "held": (_("Waiting"), lambda rows: rows.filter(state=HeldReply.State.HELD)),
        "released": (_("Sent"), lambda rows: rows.filter(state=HeldReply.State.RELEASED)),
        "dropped": (_("Dropped"), lambda rows: rows.filter(state=HeldReply.State.DROPPED)),
    }


@admin.register(HeldReply)
class HeldReplyAdmin(ReadOnlyAdmin):
    list_display = ("id", "since", "said", "state_shown", "until", "writer", "chat")
    list_display_links = ("id", "since")
    list_select_related = ("author", "conversation__contact")
    list_filter = (HeldReplyStateFilter,)
    searches = (search_by_id("conversation_id"),)
    search_help_text = _("Held reply or chat number")
    chat_channel_path = "conversation__chat_channel"
    fields = ("chat", "writer", "text", "state_shown", "since", "until", "finished", "went_out", "became")
    readonly_fields = fields

    since = column("created_at", _("held since"))
    until = column("drop_at", _("drop deadline"))
    finished = column("finished_at", _("finished"))
    writer = column("author", _("author"))

    @admin.display(description=_("text"))
    def said(self, reply: HeldReply) -> str:
        return reply.text if len(reply.text) <= 80 else f"{reply.text[:79]}…"

    @admin.display(description=_("state"))
    def state_shown(self, reply: HeldReply) -> SafeString:
        return render_pill(reply.state, reply.get_state_display())

    @admin.display(description=_("chat"))
    def chat(self, reply: HeldReply) -> SafeString:
        return link_to_chat(reply.conversation)

    @admin.display(description=_("template sent"))
    def went_out(self, reply: HeldReply) -> SafeString | str:
        return link_to(reply.opening_template)

    @admin.display(description=_("resulting message"))
    def became(self, reply: HeldReply) -> SafeString | str:
        return link_to(reply.message)
