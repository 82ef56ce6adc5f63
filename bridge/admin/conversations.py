"""Admin lists of chats, requests, windows, messages and contacts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from bridge import ticket_properties, wakeups
from bridge.channel_health import circuit_breaker
from bridge.files import storage_limits
from bridge.helpdesk import chat_channel_admin as helpdesk_page
from bridge.maintenance import person_export
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
    field_column,
    link_column,
    render_chat_link,
    render_link,
    render_pill,
    search_by_id,
    search_by_phone,
    search_by_text,
    sees_all,
)
from .dead_letters import DeadLetterAdmin  # noqa: F401  # registered by being imported
from .deliveries import render_raw
from .retention_warnings import retention_warnings

admin.site.unregister(ApiChannel)

__all__ = ["helpdesk_page"]  # importing it registers the chat channel's page


def retry_deliveries_now(admin: ApiChannelAdmin, request: HttpRequest, channel: ApiChannel) -> None:
    """Channel action: retry waiting deliveries now."""
    count = circuit_breaker.retry_waiting_now(channel.pk)
    if not count:
        messages.info(request, gettext("No deliveries are waiting for a retry."))
        return
    admin.log_change(request, channel, gettext("Immediate retry requested."))
    wakeups.notify_after_commit(wakeups.OUTBOUND)
    messages.success(request, gettext("Waiting deliveries are being retried in order. This page shows the results."))


@admin.register(ApiChannel)
class ApiChannelStatsAdmin(ApiChannelAdmin):
    """Admin of API channels with the channel's activity and statistics."""

    activity_template = "bridge/channel_activity.html"
    page_actions: ClassVar = channel_page.CHANNEL_ACTIONS | {"try-now": retry_deliveries_now}

    def warn(self, request: HttpRequest, channel: ApiChannel) -> None:
        super().warn(request, channel)
        for sentence in retention_warnings(channel):
            messages.warning(request, sentence)

    def activity_context(self, request: HttpRequest, channel: ApiChannel) -> dict[str, Any]:
        if not sees_all(request.user):  # errors of events may quote clients
            return super().activity_context(request, channel) | {"activity_template": ""}
        dead_letters_url = reverse("admin:bridge_deadletter_changelist")
        return {
            **super().activity_context(request, channel),
            "stats": channel_stats.collect_channel_stats(channel),
            "undelivered_url": f"{dead_letters_url}?api_channel__id__exact={channel.pk}",
        }


@admin.register(Contact)
class ContactAdmin(ReadOnlyAdmin):
    list_display = ("id", "name_shown", "phone", "external_id", "channel", "first_seen")
    list_display_links = ("id", "name_shown")
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
        *("name_shown", "name_source", "phone", "email", "external_id", "user_id", "username", "caller_id"),
        *("channel", "first_seen", "moved_to", "merged_into", "chat_links"),
    )

    name_shown = field_column("shown_name", pgettext_lazy("person", "name"))
    channel = field_column("api_channel", _("API channel"))
    first_seen = field_column("created_at", _("first seen"))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not request.user.has_perm(merge_rules.MERGE_PERMISSION):
            return {}
        return {
            "merge_selected": (type(self).merge_selected, "merge_selected", gettext("Merge the two selected contacts…"))
        }

    def merge_selected(self, request: HttpRequest, rows: QuerySet[Contact]) -> HttpResponse | None:
        """List action: redirect to the merge preview in the desk."""
        contacts = list(rows.order_by("pk")[:3])
        chat = Conversation.objects.filter(contact=contacts[0]).order_by("pk").first() if len(contacts) == 2 else None
        if chat is None:
            sentence = gettext("Select two contacts. Each must have a chat.")
            self.message_user(request, sentence, messages.ERROR)
            return None
        return redirect(f"{reverse('chat-client-merge', args=[chat.pk])}?with={contacts[1].pk}")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_person)
        return [path("<int:pk>/export/", view, name="bridge_contact_export"), *super().get_urls()]

    def _list_buttons(self, request: HttpRequest, row: Any) -> Iterator[dict[str, Any]]:
        yield from super()._list_buttons(request, row)
        if request.user.has_perm(person_export.EXPORT_PERMISSION) and row.erased_at is None:
            yield {"label": gettext("Export client data"), "url": reverse("admin:bridge_contact_export", args=[row.pk])}

    def export_person(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Button on a contact's page: download all data of the person."""
        contact = self.get_object(request, str(pk))
        if contact is None:
            raise Http404
        if not request.user.has_perm(person_export.EXPORT_PERMISSION):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            return person_export.build_download(contact, user=request.user)
        except person_export.PersonErased:
            self.message_user(request, gettext("This person has been erased."), messages.ERROR)
        except storage_limits.DiskAlmostFull as problem:
            self.message_user(request, str(problem), messages.ERROR)
        return redirect(reverse("admin:bridge_contact_change", args=[pk]))

    def visible_to(self, rows: QuerySet[Contact], user: Any) -> QuerySet[Contact]:
        return rows.filter(pk__in=Conversation.objects.all().visible_to(user).values("contact"))

    @admin.display(description=_("chats"))
    def chat_links(self, contact: Contact) -> SafeString:
        return format_html_join(", ", "{}", ((render_chat_link(chat),) for chat in contact.conversations.all()[:20]))


def search_by_contact(term: str) -> Q:
    """Search by a client's whole phone number or provider ID.

    The contacts are looked up first, because an OR across a join cannot use an index.
    """
    contacts = Contact.objects.filter(
        search_by_text("phone")(term) | search_by_text("external_id")(term) | search_by_phone()(term)
    )
    return Q(contact__in=list(contacts.order_by().values_list("pk", flat=True)[:100]))


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


class MessageStatusFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "status"
    options = {
        "failed": (_("Not delivered"), lambda rows: rows.filter(status="failed")),
        "waiting": (_("Not sent yet"), lambda rows: rows.filter(status__in=["pending", "sending"])),
        "unknown": (_("May have been sent"), lambda rows: rows.filter(status="unknown")),
    }


class AttachmentInline(ReadOnlyInline):
    model = Attachment
    ordering = ("id",)
    fields = readonly_fields = ("name_shown", "type", "bytes", "address")

    name_shown = field_column("name", _("name"))
    type = field_column("mime", _("type"))
    bytes = field_column("size", _("bytes"))
    address = field_column("url", _("address"))


class DeliveryInline(ReadOnlyInline):
    model = Delivery
    fields = readonly_fields = ("number", "kind", "api_channel", "state", "attempts", "created", "finished")
    ordering = ("id",)

    number = link_column(_("number"))
    created = field_column("created_at", _("created"))
    finished = field_column("finished_at", _("finished"))


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display = ("id", "stored", "direction", "text_excerpt", "status_shown", "channel", "chat")
    list_display_links = ("id", "stored")
    list_select_related = ("api_channel", "conversation__contact")
    list_filter = (MessageStatusFilter, "api_channel")
    searches = (search_by_id("conversation_id"), search_by_text("external_id"))
    search_help_text = _("Message or chat number, or the full provider ID")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "direction", "kind", "text_shown", "template_shown", "status_shown", "status_since", "reason_shown"),
        *("writer", "channel", "request_shown", "external_id", "sent_at", "stored"),
    )
    readonly_fields = fields
    inlines = (AttachmentInline, DeliveryInline)

    stored = field_column("created_at", _("stored"))
    sent_at = field_column("provider_time", _("provider's time"))
    status_since = field_column("status_at", _("status since"))
    channel = field_column("api_channel", _("API channel"))
    writer = field_column("author", _("author"))
    request_shown = field_column("ticket", _("request"))

    @admin.display(description=_("template"))
    def template_shown(self, message: Message) -> SafeString | str:
        return render_raw(json.dumps(message.template, ensure_ascii=False, indent=2)) if message.template else "–"

    @admin.display(description=_("text"))
    def text_excerpt(self, message: Message) -> str:
        text = message.localized_text or message.sentence
        return text if len(text) <= 80 else f"{text[:79]}…"

    @admin.display(description=_("text"))
    def text_shown(self, message: Message) -> SafeString | str:
        """Return the text formatted as in the desk."""
        return (
            format_html('<div class="text" dir="auto">{}</div>', render_html(message.localized_text))
            if message.localized_text
            else "–"
        )

    @admin.display(description=_("status"))
    def status_shown(self, message: Message) -> SafeString:
        return render_pill(message.status, message.get_status_display())

    @admin.display(description=_("reason"))
    def reason_shown(self, message: Message) -> str:
        return message.sentence or "–"

    @admin.display(description=_("chat"))
    def chat(self, message: Message) -> SafeString:
        return render_chat_link(message.conversation)


class HeldReplyStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    options = {
        "held": (_("Waiting"), lambda rows: rows.filter(state=HeldReply.State.HELD)),
        "released": (_("Sent"), lambda rows: rows.filter(state=HeldReply.State.RELEASED)),
        "dropped": (_("Dropped"), lambda rows: rows.filter(state=HeldReply.State.DROPPED)),
    }


@admin.register(HeldReply)
class HeldReplyAdmin(ReadOnlyAdmin):
    list_display = ("id", "held_since", "text_excerpt", "state_shown", "drop_deadline", "writer", "chat")
    list_display_links = ("id", "held_since")
    list_select_related = ("author", "conversation__contact")
    list_filter = (HeldReplyStateFilter,)
    searches = (search_by_id("conversation_id"),)
    search_help_text = _("Held reply or chat number")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "writer", "text", "state_shown", "held_since", "drop_deadline", "finished"),
        *("template_link", "message_link"),
    )
    readonly_fields = fields

    held_since = field_column("created_at", _("held since"))
    drop_deadline = field_column("drop_at", _("drop deadline"))
    finished = field_column("finished_at", _("finished"))
    writer = field_column("author", _("author"))

    @admin.display(description=_("text"))
    def text_excerpt(self, reply: HeldReply) -> str:
        return reply.text if len(reply.text) <= 80 else f"{reply.text[:79]}…"

    @admin.display(description=_("state"))
    def state_shown(self, reply: HeldReply) -> SafeString:
        return render_pill(reply.state, reply.get_state_display())

    @admin.display(description=_("chat"))
    def chat(self, reply: HeldReply) -> SafeString:
        return render_chat_link(reply.conversation)

    @admin.display(description=_("template sent"))
    def template_link(self, reply: HeldReply) -> SafeString | str:
        return render_link(reply.opening_template)

    @admin.display(description=_("resulting message"))
    def message_link(self, reply: HeldReply) -> SafeString | str:
        return render_link(reply.message)
