"""What was said and sent, to look at; and the two buttons that set things going again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from channels_setup.admin import ApiChannelAdmin
from channels_setup.models import ApiChannel

from . import doorbell, evidence, inbox, outbox, reasons, relay
from .admin_lists import ChoiceFilter, HistoryAdmin, HistoryInline, by_id, by_text, link_to, pill
from .models import (
    Attachment,
    Attempt,
    Contact,
    Conversation,
    Delivery,
    Heartbeat,
    Message,
    ServiceWindow,
    StrayStatus,
    Ticket,
    WebhookEvent,
)

SHOWN_BODY = 100_000  # characters of a raw body that a page shows

admin.site.unregister(ApiChannel)


@admin.register(ApiChannel)
class ApiChannelWithEvidence(ApiChannelAdmin):
    """The lower floor's page, with what the bridge has seen of the channel."""

    evidence_template = "bridge/channel_evidence.html"

    def evidence(self, channel: ApiChannel) -> dict[str, Any]:
        undelivered = reverse("admin:bridge_delivery_changelist")
        return {
            **super().evidence(channel),
            "evidence": evidence.of(channel),
            "undelivered_url": f"{undelivered}?state=trouble&api_channel__id__exact={channel.pk}",
        }


# --- conversations ---------------------------------------------------------------------------------------


@admin.register(Contact)
class ContactAdmin(HistoryAdmin):
    list_display = ("id", "name", "phone", "external_id", "api_channel", "created_at")
    list_display_links = ("id", "name")
    list_select_related = ("api_channel",)
    list_filter = ("api_channel",)
    searches = (by_id(), by_text("phone"), by_text("external_id"))
    search_help_text = _("A whole phone, provider's id or number")

    def seen_by(self, rows: QuerySet[Contact], user: Any) -> QuerySet[Contact]:
        return rows.filter(pk__in=Conversation.objects.all().seen_by(user).values("contact"))


class WindowInline(HistoryInline):
    model = ServiceWindow
    fields = ("opened_at", "expires_at", "state", "first_reply_at")
    ordering = ("-expires_at",)


class TicketInline(HistoryInline):
    model = Ticket
    fields = ("subject", "status", "assignee", "opened_at", "first_answer_at", "closed_at")
    ordering = ("-id",)


@admin.register(Conversation)
class ConversationAdmin(HistoryAdmin):
    list_display = ("id", "who", "api_channel", "chat_channel", "window", "last_text", "last_message_at")
    list_display_links = ("id", "who")
    list_select_related = ("contact", "api_channel", "chat_channel")
    list_filter = ("chat_channel", "api_channel")
    ordering = ("-last_message_at", "-id")
    searches = (by_id("contact_id"), by_text("phone", prefix="contact__"), by_text("external_id", prefix="contact__"))
    search_help_text = _("A chat's number, or a client's whole phone or provider's id")
    chat_channel_path = "chat_channel"
    fields = ("who", "api_channel", "chat_channel", "assignee", "created_at", "last_message_at", "unread", "elsewhere")
    readonly_fields = ("who", "elsewhere")
    inlines = (TicketInline, WindowInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        latest = ServiceWindow.objects.filter(conversation=OuterRef("pk")).order_by("-expires_at")
        return super().get_queryset(request).annotate(window_until=Subquery(latest.values("expires_at")[:1]))

    @admin.display(description=_("client"))
    def who(self, conversation: Conversation) -> str:
        return str(conversation.contact)

    @admin.display(description=_("service window"))
    def window(self, conversation: Any) -> SafeString | str:
        if not conversation.api_channel.provider.service_window or conversation.window_until is None:
            return "–"
        if conversation.window_until <= timezone.now():
            return pill("shut", _("shut"))
        return pill(
            "open", _("until %(time)s") % {"time": f"{timezone.localtime(conversation.window_until):%d.%m %H:%M}"}
        )

    @admin.display(description=_("more"))
    def elsewhere(self, conversation: Conversation) -> SafeString:
        lists = (("bridge_message", _("Messages")), ("bridge_delivery", _("Deliveries")))
        return format_html_join(
            " · ",
            '<a class="to" href="{}?conversation__id__exact={}">{}</a>',
            ((reverse(f"admin:{name}_changelist"), conversation.pk, label) for name, label in lists),
        )


class LiveFilter(ChoiceFilter):
    title = _("which")
    parameter_name = "live"
    questions = {"yes": (_("Only live requests"), lambda rows: rows.exclude(status__in=Ticket.ENDED))}


@admin.register(Ticket)
class TicketAdmin(HistoryAdmin):
    list_display = ("id", "subject", "status", "chat", "assignee", "opened_at", "first_answer_at", "closed_at")
    list_display_links = ("id", "subject")
    list_select_related = ("conversation__contact", "assignee")
    list_filter = (LiveFilter,)
    ordering = ("-opened_at", "-id")
    searches = (by_id("conversation_id"),)
    search_help_text = _("A request's or a chat's number")
    chat_channel_path = "conversation__chat_channel"
    fields = ("chat", "status", "subject", "assignee", "opened_at", "first_answer_at", "closed_at", "updated_at")
    readonly_fields = ("chat",)

    @admin.display(description=_("chat"))
    def chat(self, ticket: Ticket) -> SafeString | str:
        return link_to(ticket.conversation, f"{ticket.conversation_id} · {ticket.conversation.contact}")


class WindowFilter(ChoiceFilter):
    title = _("which")
    parameter_name = "window"
    questions = {
        "open": (_("Open now, the next to shut first"), lambda rows: rows.filter(state="open").order_by("expires_at")),
        "missed": (
            _("Missed in the last 7 days"),
            lambda rows: rows.filter(
                # The id keeps the question to the last days' rows; see ``evidence.first_id_since``.
                pk__gte=evidence.first_id_since(ServiceWindow, "opened_at", timezone.now() - timedelta(days=8)),
                expires_at__gte=timezone.now() - timedelta(days=7),
                state="shut",
                first_reply_at=None,
            ),
        ),
    }


@admin.register(ServiceWindow)
class ServiceWindowAdmin(HistoryAdmin):
    list_display = ("id", "chat", "opened_at", "expires_at", "state_shown", "first_reply_at")
    list_select_related = ("conversation__contact",)
    list_filter = (WindowFilter,)
    searches = (by_id("conversation_id"),)
    search_help_text = _("A chat's number")
    chat_channel_path = "conversation__chat_channel"
    fields = ("chat", "opened_at", "expires_at", "state", "first_reply_at", "warned_at")
    readonly_fields = ("chat",)

    @admin.display(description=_("chat"))
    def chat(self, window: ServiceWindow) -> SafeString | str:
        return link_to(window.conversation, f"{window.conversation_id} · {window.conversation.contact}")

    @admin.display(description=_("state"))
    def state_shown(self, window: ServiceWindow) -> SafeString:
        if window.state == ServiceWindow.State.SHUT and window.first_reply_at is None:
            return pill("failed", _("missed"))
        return pill(window.state, window.get_state_display())


class UnsettledFilter(ChoiceFilter):
    title = _("which")
    parameter_name = "which"
    questions = {
        "failed": (_("Not delivered"), lambda rows: rows.filter(status="failed")),
        "waiting": (_("Not out yet"), lambda rows: rows.filter(status__in=["pending", "sending"])),
        "unknown": (_("May have been sent"), lambda rows: rows.filter(status="unknown")),
    }


class AttachmentInline(HistoryInline):
    model = Attachment
    fields = ("name", "mime", "size", "url")
    show_change_link = False


class DeliveryInline(HistoryInline):
    model = Delivery
    fields = ("kind", "api_channel", "state", "attempts", "reason", "created_at", "finished_at")
    ordering = ("id",)


@admin.register(Message)
class MessageAdmin(HistoryAdmin):
    list_display = ("id", "created_at", "direction", "said", "status_shown", "api_channel", "chat")
    list_display_links = ("id", "created_at")
    list_select_related = ("api_channel", "conversation__contact")
    list_filter = (UnsettledFilter, "api_channel")
    searches = (by_id("conversation_id"), by_text("external_id"))
    search_help_text = _("A message's or a chat's number, or the provider's whole id")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "direction", "kind", "text", "template", "status_shown", "status_at", "why"),
        *("author", "api_channel", "ticket", "external_id", "provider_time", "created_at", "details"),
    )
    readonly_fields = ("chat", "status_shown", "why")
    inlines = (AttachmentInline, DeliveryInline)

    @admin.display(description=_("text"))
    def said(self, message: Message) -> str:
        text = message.text or message.sentence
        return text if len(text) <= 80 else f"{text[:79]}…"

    @admin.display(description=_("status"))
    def status_shown(self, message: Message) -> SafeString:
        return pill(message.status, message.get_status_display())

    @admin.display(description=_("why"))
    def why(self, message: Message) -> str:
        return message.sentence or "–"

    @admin.display(description=_("chat"))
    def chat(self, message: Message) -> SafeString | str:
        return link_to(message.conversation, f"{message.conversation_id} · {message.conversation.contact}")


# --- on the wire -----------------------------------------------------------------------------------------


class DeliveryFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    questions = {
        "trouble": (_("Given up or unknown"), lambda rows: rows.filter(state__in=evidence.TROUBLED)),
        "unfinished": (_("Waiting or being sent"), lambda rows: rows.filter(state__in=Delivery.UNFINISHED)),
    }


class AttemptInline(HistoryInline):
    model = Attempt
    fields = ("number", "started_at", "duration_ms", "http_status", "verdict", "why", "answer")
    readonly_fields = ("why",)
    show_change_link = False

    @admin.display(description=_("why"))
    def why(self, attempt: Attempt) -> str:
        return reasons.sentence(attempt.reason) if attempt.reason else "–"


@admin.register(Delivery)
class DeliveryAdmin(HistoryAdmin):
    list_display = ("id", "created_at", "kind", "api_channel", "state_shown", "attempts", "why", "due", "chat")
    list_display_links = ("id", "created_at")
    list_select_related = ("api_channel", "conversation__contact")
    list_filter = (DeliveryFilter, "api_channel")
    searches = (by_id("conversation_id", "message_id"), lambda term: Q(key=term))
    search_help_text = _("The number of a delivery, chat or message, or a whole key (webhook-id)")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "message", "kind", "track", "api_channel", "state_shown", "why", "attempts", "due"),
        *("key", "free_text", "created_at", "finished_at", "content"),
    )
    readonly_fields = ("chat", "state_shown", "why", "due", "key", "content")
    inlines = (AttemptInline,)
    buttons = {"send-again": (_("Send again"), "send_again")}

    def makes_sense(self, what: str, row: Any) -> bool:
        return row.state in (*evidence.TROUBLED, Delivery.State.CANCELLED)

    def send_again(self, request: HttpRequest, rows: QuerySet[Delivery]) -> tuple[int, str]:
        count = sum(relay.send_again(pk) for pk in rows.order_by("pk").values_list("pk", flat=True))
        if not count:
            return messages.WARNING, str(_("Only what was given up, cancelled or is unknown can be sent again."))
        return messages.SUCCESS, ngettext(
            "%d delivery is in line again.", "%d deliveries are in line again.", count
        ) % count

    @admin.display(description=_("state"))
    def state_shown(self, delivery: Delivery) -> SafeString:
        return pill(delivery.state, delivery.get_state_display())

    @admin.display(description=_("why"))
    def why(self, delivery: Delivery) -> str:
        return outbox.sentence(delivery) or "–"

    @admin.display(description=_("next attempt"))
    def due(self, delivery: Delivery) -> Any:
        return delivery.next_attempt_at if delivery.state in Delivery.UNFINISHED else "–"

    @admin.display(description=_("chat"))
    def chat(self, delivery: Delivery) -> SafeString | str:
        return link_to(delivery.conversation, f"{delivery.conversation_id} · {delivery.conversation.contact}")

    @admin.display(description=_("content"))
    def content(self, delivery: Delivery) -> SafeString:
        return raw(json.dumps(delivery.payload, ensure_ascii=False, indent=2))


class EventFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    questions = {
        "failed": (_("Failed"), lambda rows: rows.filter(state=WebhookEvent.State.FAILED)),
        "new": (_("Waiting"), lambda rows: rows.filter(state=WebhookEvent.State.NEW)),
    }


@admin.register(WebhookEvent)
class WebhookEventAdmin(HistoryAdmin):
    list_display = ("id", "received_at", "api_channel", "endpoint", "state_shown", "attempts", "error_cut")
    list_display_links = ("id", "received_at")
    list_select_related = ("api_channel",)
    list_filter = (EventFilter, "api_channel")
    search_help_text = _("An event's number")
    fields = (
        *("api_channel", "endpoint", "received_at", "state_shown", "error", "attempts", "processed_at"),
        *("request_line", "header_lines", "body_shown", "trace"),
    )
    readonly_fields = ("state_shown", "request_line", "header_lines", "body_shown", "trace")
    buttons = {"process-again": (_("Process again"), "process_again")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEvent]:
        # Bodies may have megabytes each: a list does without.
        return super().get_queryset(request).defer("body", "traceback", "headers", "query_string")

    def makes_sense(self, what: str, row: Any) -> bool:
        return row.state == WebhookEvent.State.FAILED and row.endpoint == "webhook"

    def process_again(self, request: HttpRequest, rows: QuerySet[WebhookEvent]) -> tuple[int, str]:
        # A call of the API was answered there and then; only its caller can repeat it.
        ids = list(rows.filter(endpoint="webhook").values_list("pk", flat=True))
        count = inbox.reprocess(ids)
        if not count:
            return messages.WARNING, str(
                _("Only failed events of a provider's webhook can be processed again. API calls are for their callers.")
            )
        doorbell.ring(doorbell.INBOUND)
        return messages.SUCCESS, ngettext("%d event is in line again.", "%d events are in line again.", count) % count

    @admin.display(description=_("state"))
    def state_shown(self, event: WebhookEvent) -> SafeString:
        return pill(event.state, event.get_state_display())

    @admin.display(description=_("error"))
    def error_cut(self, event: WebhookEvent) -> str:
        return event.error if len(event.error) <= 120 else f"{event.error[:119]}…"

    @admin.display(description=_("request"))
    def request_line(self, event: WebhookEvent) -> SafeString:
        query = f"?{event.query_string}" if event.query_string else ""
        return format_html("<code>{} {}</code>", event.method, f"{event.endpoint}{query}"[:2000])

    @admin.display(description=_("headers"))
    def header_lines(self, event: WebhookEvent) -> SafeString:
        return raw("\n".join(f"{name}: {text}" for name, text in event.headers.items()))

    @admin.display(description=_("body"))
    def body_shown(self, event: WebhookEvent) -> SafeString:
        return raw(readable(bytes(event.body)))

    @admin.display(description=_("traceback"))
    def trace(self, event: WebhookEvent) -> SafeString | str:
        return raw(event.traceback) if event.traceback else "–"


@admin.register(StrayStatus)
class StrayStatusAdmin(HistoryAdmin):
    list_display = ("id", "api_channel", "external_id", "status", "code", "title", "received_at")
    list_select_related = ("api_channel",)
    searches = (by_id(), by_text("external_id"))
    search_help_text = _("The provider's whole id of a message")


@admin.register(Heartbeat)
class HeartbeatAdmin(HistoryAdmin):
    list_display = ("name", "at", "age")
    ordering = ("name",)
    search_fields = ()

    @admin.display(description=_("seconds ago"))
    def age(self, heartbeat: Heartbeat) -> int:
        return round((timezone.now() - heartbeat.at).total_seconds())


def raw(text: str) -> SafeString:
    """Foreign text, escaped, as it is."""
    cut = text if len(text) <= SHOWN_BODY else f"{text[:SHOWN_BODY]}\n…"
    return format_html('<pre class="raw">{}</pre>', cut or "–")


def readable(body: bytes) -> str:
    """A raw body for human eyes: JSON indented, other text as it is, what is no text marked."""
    text = body[: SHOWN_BODY * 4].decode("utf-8", "backslashreplace")
    if len(body) > SHOWN_BODY * 4:
        return text
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text
