"""Admin lists of deliveries, webhook events, stray statuses and heartbeats."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from bridge import outcomes, wakeups
from bridge.inbox import processing
from bridge.models import (
    Attempt,
    DeadLetter,
    Delivery,
    DeliveryDecision,
    Heartbeat,
    StrayStatus,
    WebhookEvent,
)
from bridge.outbox import resend
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ACCEPTED, PAUSE, PERMANENT, RETRY, UNKNOWN

from .base import (
    ChoiceFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    field_column,
    format_moment,
    render_chat_link,
    render_link,
    render_pill,
    search_by_id,
    search_by_text,
    sees_all,
)

MAX_BODY_SHOWN = 100_000  # characters of a body
MAX_ROWS_PER_ACTION = 1_000


def render_raw(text: str) -> SafeString:
    """Render text from outside unchanged, escaped and truncated. Lone surrogates are shown as escape sequences."""
    cut = text if len(text) <= MAX_BODY_SHOWN else f"{text[:MAX_BODY_SHOWN]}\n…"
    cut = cut.encode("utf-8", "backslashreplace").decode()
    return format_html('<pre class="raw">{}</pre>', cut or "–")


def format_body(body: bytes) -> str:
    """Return a body as text: JSON indented, bytes that are not UTF-8 as escape sequences."""
    text = body[: MAX_BODY_SHOWN * 4].decode("utf-8", "backslashreplace")
    if len(body) > MAX_BODY_SHOWN * 4:
        return text
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


# --- outbound --------------------------------------------------------------------------------------------


class DeliveryStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    options = {
        "trouble": (_("Given up or unknown"), lambda rows: rows.filter(state__in=resend.UNRESOLVED_STATES)),
        "unfinished": (_("Waiting or being sent"), lambda rows: rows.filter(state__in=Delivery.UNFINISHED)),
    }


# Labels of ``AttemptResult.verdict``.
VERDICTS = {
    ACCEPTED: _("accepted"),
    RETRY: _("not accepted, will be retried"),
    PERMANENT: _("refused"),
    PAUSE: _("refused, channel paused"),
    UNKNOWN: _("outcome unknown"),
}


class AttemptInline(ReadOnlyInline):
    model = Attempt
    fields = readonly_fields = (
        "number",
        "started",
        "duration_ms",
        "http_status",
        "verdict_shown",
        "reason_shown",
        "answer",
    )

    started = field_column("started_at", _("started"))

    @admin.display(description=_("verdict"))
    def verdict_shown(self, attempt: Attempt) -> Any:
        return VERDICTS.get(attempt.verdict, attempt.verdict)

    @admin.display(description=_("reason"))
    def reason_shown(self, attempt: Attempt) -> str:
        return outcomes.render_sentence(attempt.reason, for_admin=True) if attempt.reason else "–"


class DecisionInline(ReadOnlyInline):
    """Users' decisions about the delivery, with the number of attempts before each."""

    model = DeliveryDecision
    fields = readonly_fields = ("decided", "action", "user", "state_before", "attempts")

    decided = field_column("at", _("when"))
    user = field_column("by", _("by"))

    @admin.display(description=_("before"))
    def state_before(self, decision: DeliveryDecision) -> SafeString:
        reason = outcomes.render_sentence(decision.previous_reason, for_admin=True)
        return format_html("{} {}", render_pill(decision.previous_state, decision.get_previous_state_display()), reason)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "created",
        "kind",
        "api_channel",
        "state_shown",
        "attempts",
        "reason_shown",
        "next_attempt",
        "chat",
    )
    list_display_links = ("id", "created")
    list_select_related = ("api_channel", "message", "conversation__contact")
    list_filter = (DeliveryStateFilter, "api_channel")
    searches = (search_by_id("conversation_id", "message_id"), lambda term: Q(key=term))
    search_help_text = _("Delivery, chat or message number, or a full key (webhook-id)")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "message_shown", "kind", "event_kinds", "api_channel", "state_shown", "reason_shown"),
        *("resend_preview", "attempts", "next_attempt", "key", "created", "finished", "content"),
    )
    readonly_fields = fields
    inlines = (AttemptInline, DecisionInline)
    buttons = {"resend": (_("Resend"), "resend_selected"), "discard": (_("Discard"), "discard_selected")}

    created = field_column("created_at", _("created"))
    finished = field_column("finished_at", _("finished"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(alert_route=None)  # those are on the page of their route

    @admin.display(description=_("event"))
    def event_kinds(self, delivery: Delivery) -> str:
        """Return the labels of the event kinds, as on the channel's page."""
        if delivery.kind != Delivery.Kind.EVENT:
            return "–"
        kinds = [kind for kind in delivery.track.split(",") if kind in ApiChannel.EVENT_KINDS]
        return ", ".join(str(label_for_field(f"track_{kind}", ApiChannel)) for kind in kinds)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields. Only admins see the content: it contains the app ID, which receivers accept as proof."""
        return self.fields if sees_all(request.user) else [name for name in self.fields if name != "content"]

    def is_button_available(self, name: str, row: Any) -> bool:
        return row.state in (resend.UNRESOLVED_STATES if name == "discard" else DeadLetter.STATES)

    def resend_selected(self, request: HttpRequest, rows: QuerySet[Delivery]) -> tuple[int, str]:
        failed = rows.filter(state__in=DeadLetter.STATES).order_by("pk")
        count = resend.resend_deliveries(*failed.values_list("pk", flat=True)[:MAX_ROWS_PER_ACTION], by=request.user)
        if not count:
            return messages.WARNING, gettext("Only failed, canceled or unknown deliveries can be resent.")
        sentence = ngettext("%d delivery is queued again.", "%d deliveries are queued again.", count)
        return messages.SUCCESS, sentence % count

    def discard_selected(self, request: HttpRequest, rows: QuerySet[Delivery]) -> tuple[int, str]:
        failed = rows.filter(state__in=resend.UNRESOLVED_STATES).order_by("pk")
        count = resend.discard_deliveries(*failed.values_list("pk", flat=True)[:MAX_ROWS_PER_ACTION], by=request.user)
        if not count:
            return messages.WARNING, gettext("Only failed or unknown deliveries can be discarded.")
        return messages.SUCCESS, ngettext("%d delivery discarded.", "%d deliveries discarded.", count) % count

    @admin.display(description=_("if resent now"))
    def resend_preview(self, delivery: Delivery) -> str:
        return resend.preview_resend([delivery])[0].sentence if delivery.state in DeadLetter.STATES else "–"

    @admin.display(description=_("state"))
    def state_shown(self, delivery: Delivery) -> SafeString:
        return render_pill(delivery.state, delivery.get_state_display())

    @admin.display(description=_("reason"))
    def reason_shown(self, delivery: Delivery) -> str:
        return (
            outcomes.render_sentence(
                delivery.reason, delivery.message.reason_values if delivery.message else None, for_admin=True
            )
            or "–"
        )

    @admin.display(description=_("next attempt"))
    def next_attempt(self, delivery: Delivery) -> Any:
        return format_moment(delivery.next_attempt_at) if delivery.state in Delivery.UNFINISHED else "–"

    @admin.display(description=_("chat"))
    def chat(self, delivery: Delivery) -> SafeString:
        return render_chat_link(delivery.conversation)

    @admin.display(description=_("message"))
    def message_shown(self, delivery: Delivery) -> SafeString | str:
        return render_link(delivery.message)

    @admin.display(description=_("content"))
    def content(self, delivery: Delivery) -> SafeString:
        return render_raw(json.dumps(delivery.payload, ensure_ascii=False, indent=2))


# --- inbound ---------------------------------------------------------------------------------------------


class WebhookEventFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    options = {
        "failed": (_("Failed"), lambda rows: rows.filter(state=WebhookEvent.State.FAILED)),
        "unrouted": (_("Not routed"), lambda rows: rows.filter(state=WebhookEvent.State.UNROUTED)),
        "new": (_("Waiting"), lambda rows: rows.filter(state=WebhookEvent.State.NEW)),
        "groups": (_("From WhatsApp groups"), lambda rows: rows.filter(note=WebhookEvent.Note.GROUP)),
    }


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    list_display = ("id", "received", "channel", "endpoint", "state_shown", "attempts", "error_excerpt")
    list_display_links = ("id", "received")
    list_select_related = ("api_channel", "chat_channel")
    list_filter = (WebhookEventFilter, "api_channel", "chat_channel")
    search_help_text = _("Event number")
    fields = (
        *("channel", "endpoint", "received", "state_shown", "note_shown", "error", "attempts", "processed"),
        *("source_event", "request_line", "headers_shown", "body_shown", "traceback_shown"),
    )
    readonly_fields = fields
    buttons = {
        "reprocess": (_("Process again"), "reprocess_selected"),
        "dismiss": (_("Mark as resolved"), "dismiss_selected"),
    }

    received = field_column("received_at", _("received"))
    processed = field_column("processed_at", _("processed"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEvent]:
        # Bodies may have megabytes each, and the list does not show them.
        return super().get_queryset(request).defer("body", "traceback", "headers", "query_string")

    @admin.display(description=_("channel"))
    def channel(self, event: WebhookEvent) -> Any:
        """Return the API channel of a provider's webhook, or the chat channel of an external helpdesk's."""
        return event.api_channel or event.chat_channel

    def is_button_available(self, name: str, row: Any) -> bool:
        return row.state in WebhookEvent.STUCK and (name == "dismiss" or row.endpoint == "webhook")

    def reprocess_selected(self, request: HttpRequest, rows: QuerySet[WebhookEvent]) -> tuple[int, str]:
        # API calls were answered at once. Only the caller can repeat them.
        failed = rows.filter(endpoint="webhook", state__in=WebhookEvent.STUCK).order_by("pk")
        count = processing.reprocess_events(list(failed.values_list("pk", flat=True)[:MAX_ROWS_PER_ACTION]))
        if not count:
            return messages.WARNING, gettext(
                "Only failed or unrouted events of a provider's webhook can be processed again. Only the caller can "
                "repeat an API call."
            )
        wakeups.notify_after_commit(wakeups.INBOUND)
        return messages.SUCCESS, ngettext("%d event is queued again.", "%d events are queued again.", count) % count

    def dismiss_selected(self, request: HttpRequest, rows: QuerySet[WebhookEvent]) -> tuple[int, str]:
        failed = rows.filter(state__in=WebhookEvent.STUCK).order_by("pk")
        count = processing.dismiss_events(list(failed.values_list("pk", flat=True)[:MAX_ROWS_PER_ACTION]))
        if not count:
            return messages.WARNING, gettext("Only failed or unrouted events can be marked as resolved.")
        sentence = ngettext("%d event is marked as resolved.", "%d events are marked as resolved.", count)
        return messages.SUCCESS, sentence % count

    @admin.display(description=_("state"))
    def state_shown(self, event: WebhookEvent) -> SafeString:
        return render_pill(event.state, event.get_state_display())

    @admin.display(description=_("note"))
    def note_shown(self, event: WebhookEvent) -> str:
        return event.get_note_display() or "–"

    @admin.display(description=_("received in"))
    def source_event(self, event: WebhookEvent) -> SafeString | str:
        """Return a link to the event that contained these items, while it exists."""
        source = WebhookEvent.objects.filter(pk=event.routed_from).first() if event.routed_from else None
        return render_link(source)

    @admin.display(description=_("error"))
    def error_excerpt(self, event: WebhookEvent) -> str:
        return event.error if len(event.error) <= 120 else f"{event.error[:119]}…"

    @admin.display(description=_("request"))
    def request_line(self, event: WebhookEvent) -> SafeString:
        query = f"?{event.query_string}" if event.query_string else ""
        return format_html("<code>{} {}</code>", event.method, f"{event.endpoint}{query}"[:2000])

    @admin.display(description=_("headers"))
    def headers_shown(self, event: WebhookEvent) -> SafeString:
        return render_raw("\n".join(f"{name}: {text}" for name, text in event.headers.items()))

    @admin.display(description=_("body"))
    def body_shown(self, event: WebhookEvent) -> SafeString:
        return render_raw(format_body(bytes(event.body)))

    @admin.display(description=_("traceback"))
    def traceback_shown(self, event: WebhookEvent) -> SafeString | str:
        return render_raw(event.traceback) if event.traceback else "–"


@admin.register(StrayStatus)
class StrayStatusAdmin(ReadOnlyAdmin):
    list_display = ("id", "received", "channel", "provider_id", "status_shown", "code_shown", "title_shown")
    list_select_related = ("api_channel",)
    searches = (search_by_id(), search_by_text("external_id"))
    search_help_text = _("Full provider message ID")
    fields = readonly_fields = ("received", "channel", "provider_id", "status_shown", "code_shown", "title_shown")

    received = field_column("received_at", _("received"))
    channel = field_column("api_channel", _("API channel"))
    provider_id = field_column("external_id", _("provider ID"))
    status_shown = field_column("get_status_display", _("status"))
    code_shown = field_column("code", _("code"))
    title_shown = field_column("title", _("provider's description"))


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """Read-only list of the components' heartbeats."""

    list_display = ("component", "last_at", "age")
    ordering = ("name",)
    search_fields = ()
    fields = readonly_fields = ("component", "last_at", "age")

    component = field_column("name", _("component"))
    last_at = field_column("at", _("last heartbeat"))

    @admin.display(description=_("seconds ago"))
    def age(self, heartbeat: Heartbeat) -> int:
        return round((timezone.now() - heartbeat.at).total_seconds())
