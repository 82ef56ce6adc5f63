"""What went over the wire, to look at; and the two buttons that set things going again."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from bridge import outcomes, wakeups
from bridge.channel_health import alerts
from bridge.inbox import processing
from bridge.models import (
    Alert,
    Attempt,
    DeadLetter,
    Delivery,
    DeliveryDecision,
    Heartbeat,
    Mismatch,
    StrayStatus,
    WebhookEvent,
)
from bridge.outbox import resend
from bridge.outcomes import SuggestedAction
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ACCEPTED, PAUSE, PERMANENT, RETRY, UNKNOWN

from . import channel_stats
from .base import (
    ChoiceFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    column,
    format_moment,
    link_to,
    link_to_chat,
    render_pill,
    search_by_id,
    search_by_text,
    sees_all,
)

MAX_BODY_SHOWN = 100_000  # characters of a raw body that a page shows
MAX_ROWS_PER_ACTION = 1_000  # rows that one press of a button sets going


def render_raw(text: str) -> SafeString:
    """Foreign text, escaped, as it is; half characters (lone surrogates) by their code."""
    cut = text if len(text) <= MAX_BODY_SHOWN else f"{text[:MAX_BODY_SHOWN]}\n…"
    cut = cut.encode("utf-8", "backslashreplace").decode()
    return format_html('<pre class="raw">{}</pre>', cut or "–")


def format_body(body: bytes) -> str:
    """A raw body for human eyes: JSON indented, other text as it is, what is no text marked."""
    text = body[: MAX_BODY_SHOWN * 4].decode("utf-8", "backslashreplace")
    if len(body) > MAX_BODY_SHOWN * 4:
        return text
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


# --- out -------------------------------------------------------------------------------------------------


class DeliveryStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    questions = {
        "trouble": (_("Given up or unknown"), lambda rows: rows.filter(state__in=channel_stats.TROUBLE_STATES)),
        "unfinished": (_("Waiting or being sent"), lambda rows: rows.filter(state__in=Delivery.UNFINISHED)),
    }


# What a provider's class made of the answer, in words.
VERDICTS = {
    ACCEPTED: _("accepted"),
    RETRY: _("not accepted, will be retried"),
    PERMANENT: _("refused"),
    PAUSE: _("refused, channel paused"),
    UNKNOWN: _("outcome unknown"),
}


class AttemptInline(ReadOnlyInline):
    model = Attempt
    fields = readonly_fields = ("number", "began", "duration_ms", "http_status", "outcome", "why", "answer")

    began = column("started_at", _("started"))

    @admin.display(description=_("verdict"))
    def outcome(self, attempt: Attempt) -> Any:
        return VERDICTS.get(attempt.verdict, attempt.verdict)

    @admin.display(description=_("why"))
    def why(self, attempt: Attempt) -> str:
        return outcomes.render_sentence(attempt.reason, for_admin=True) if attempt.reason else "–"


class RulingInline(ReadOnlyInline):
    """The delivery's lives: who sent it again or put it aside, and how many tries had been made by then."""

    model = DeliveryDecision
    fields = readonly_fields = ("when", "what", "who", "was", "attempts")

    when = column("at", _("when"))
    who = column("by", _("by"))

    @admin.display(description=_("before"))
    def was(self, decision: DeliveryDecision) -> SafeString:
        why = outcomes.render_sentence(decision.previous_reason, for_admin=True)
        return format_html("{} {}", render_pill(decision.previous_state, decision.get_previous_state_display()), why)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("id", "since", "kind", "api_channel", "state_shown", "attempts", "why", "due", "chat")
    list_display_links = ("id", "since")
    list_select_related = ("api_channel", "message", "conversation__contact")
    list_filter = (DeliveryStateFilter, "api_channel")
    searches = (search_by_id("conversation_id", "message_id"), lambda term: Q(key=term))
    search_help_text = _("Delivery, chat or message number, or a full key (webhook-id)")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "message_shown", "kind", "tracked", "api_channel", "state_shown", "why", "would", "attempts"),
        *("due", "key", "since", "finished", "content"),
    )
    readonly_fields = fields
    inlines = (AttemptInline, RulingInline)
    buttons = {"send-again": (_("Send again"), "send_again"), "discard": (_("Put aside"), "discard")}

    since = column("created_at", _("created"))
    finished = column("finished_at", _("finished"))

    @admin.display(description=_("event"))
    def tracked(self, delivery: Delivery) -> str:
        """The tracked kinds by their names on the channel's page."""
        if delivery.kind != Delivery.Kind.EVENT:
            return "–"
        kinds = [kind for kind in delivery.track.split(",") if kind in ApiChannel.EVENT_KINDS]
        return ", ".join(str(label_for_field(f"track_{kind}", ApiChannel)) for kind in kinds)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The content holds the app ID, which receivers take for a proof: admins only."""
        return self.fields if sees_all(request.user) else [name for name in self.fields if name != "content"]

    def makes_sense(self, what: str, row: Any) -> bool:
        return row.state in (resend.UNRESOLVED_STATES if what == "discard" else DeadLetter.STATES)

    def send_again(self, request: HttpRequest, rows: QuerySet[Delivery]) -> tuple[int, str]:
        stuck = rows.filter(state__in=(*channel_stats.TROUBLE_STATES, Delivery.State.CANCELLED)).order_by("pk")
        count = resend.resend_deliveries(*stuck.values_list("pk", flat=True)[:MAX_ROWS_PER_ACTION], by=request.user)
        if not count:
            return messages.WARNING, gettext("Only failed, canceled or unknown deliveries can be resent.")
        sentence = ngettext("%d delivery is queued again.", "%d deliveries are queued again.", count)
        return messages.SUCCESS, sentence % count

    def discard(self, request: HttpRequest, rows: QuerySet[Delivery]) -> tuple[int, str]:
        stuck = rows.filter(state__in=resend.UNRESOLVED_STATES).order_by("pk")
        count = resend.discard_deliveries(*stuck.values_list("pk", flat=True)[:MAX_ROWS_PER_ACTION], by=request.user)
        if not count:
            return messages.WARNING, gettext("Only failed or unknown deliveries can be discarded.")
        return messages.SUCCESS, ngettext("%d delivery discarded.", "%d deliveries discarded.", count) % count

    @admin.display(description=_("if resent now"))
    def would(self, delivery: Delivery) -> str:
        return resend.preview_resend([delivery])[0].sentence if delivery.state in DeadLetter.STATES else "–"

    @admin.display(description=_("state"))
    def state_shown(self, delivery: Delivery) -> SafeString:
        return render_pill(delivery.state, delivery.get_state_display())

    @admin.display(description=_("why"))
    def why(self, delivery: Delivery) -> str:
        return (
            outcomes.render_sentence(
                delivery.reason, delivery.message.reason_values if delivery.message else None, for_admin=True
            )
            or "–"
        )

    @admin.display(description=_("next attempt"))
    def due(self, delivery: Delivery) -> Any:
        return format_moment(delivery.next_attempt_at) if delivery.state in Delivery.UNFINISHED else "–"

    @admin.display(description=_("chat"))
    def chat(self, delivery: Delivery) -> SafeString:
        return link_to_chat(delivery.conversation)

    @admin.display(description=_("message"))
    def message_shown(self, delivery: Delivery) -> SafeString | str:
        return link_to(delivery.message)

    @admin.display(description=_("content"))
    def content(self, delivery: Delivery) -> SafeString:
        return render_raw(json.dumps(delivery.payload, ensure_ascii=False, indent=2))


# --- in --------------------------------------------------------------------------------------------------


class WebhookEventFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    questions = {
        "failed": (_("Failed"), lambda rows: rows.filter(state=WebhookEvent.State.FAILED)),
        "unrouted": (_("Not routed"), lambda rows: rows.filter(state=WebhookEvent.State.UNROUTED)),
        "new": (_("Waiting"), lambda rows: rows.filter(state=WebhookEvent.State.NEW)),
        "groups": (_("From WhatsApp groups"), lambda rows: rows.filter(note=WebhookEvent.Note.GROUP)),
    }


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    list_display = ("id", "received", "channel", "endpoint", "state_shown", "attempts", "error_cut")
    list_display_links = ("id", "received")
    list_select_related = ("api_channel", "chat_channel")
    list_filter = (WebhookEventFilter, "api_channel", "chat_channel")
    search_help_text = _("Event number")
    fields = (
        *("channel", "endpoint", "received", "state_shown", "note_shown", "error", "attempts", "processed"),
        *("came_in", "request_line", "header_lines", "body_shown", "trace"),
    )
    readonly_fields = fields
    buttons = {
        "process-again": (_("Process again"), "process_again"),
        "leave": (_("Mark as resolved"), "leave"),
    }

    received = column("received_at", _("received"))
    processed = column("processed_at", _("processed"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEvent]:
        # Bodies may have megabytes each: a list does without.
        return super().get_queryset(request).defer("body", "traceback", "headers", "query_string")

    @admin.display(description=_("channel"))
    def channel(self, event: WebhookEvent) -> Any:
        """Whose webhook it is: a provider's, or an outside helpdesk's."""
        return event.api_channel or event.chat_channel

    def makes_sense(self, what: str, row: Any) -> bool:
        return row.state in WebhookEvent.STUCK and (what == "leave" or row.endpoint == "webhook")

    def process_again(self, request: HttpRequest, rows: QuerySet[WebhookEvent]) -> tuple[int, str]:
        # A call of the API was answered there and then; only its caller can repeat it.
        failed = rows.filter(endpoint="webhook", state__in=WebhookEvent.STUCK).order_by("pk")
        count = processing.reprocess_events(list(failed.values_list("pk", flat=True)[:MAX_ROWS_PER_ACTION]))
        if not count:
            return messages.WARNING, gettext(
                "Only failed or unrouted events of a provider's webhook can be processed again; API calls are for "
                "their callers."
            )
        wakeups.notify_after_commit(wakeups.INBOUND)
        return messages.SUCCESS, ngettext("%d event is queued again.", "%d events are queued again.", count) % count

    def leave(self, request: HttpRequest, rows: QuerySet[WebhookEvent]) -> tuple[int, str]:
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
    def came_in(self, event: WebhookEvent) -> SafeString | str:
        """The event whose items these are, while it is kept."""
        whole = WebhookEvent.objects.filter(pk=event.routed_from).first() if event.routed_from else None
        return link_to(whole) if whole else "–"

    @admin.display(description=_("error"))
    def error_cut(self, event: WebhookEvent) -> str:
        return event.error if len(event.error) <= 120 else f"{event.error[:119]}…"

    @admin.display(description=_("request"))
    def request_line(self, event: WebhookEvent) -> SafeString:
        query = f"?{event.query_string}" if event.query_string else ""
        return format_html("<code>{} {}</code>", event.method, f"{event.endpoint}{query}"[:2000])

    @admin.display(description=_("headers"))
    def header_lines(self, event: WebhookEvent) -> SafeString:
        return render_raw("\n".join(f"{name}: {text}" for name, text in event.headers.items()))

    @admin.display(description=_("body"))
    def body_shown(self, event: WebhookEvent) -> SafeString:
        return render_raw(format_body(bytes(event.body)))

    @admin.display(description=_("traceback"))
    def trace(self, event: WebhookEvent) -> SafeString | str:
        return render_raw(event.traceback) if event.traceback else "–"


@admin.register(StrayStatus)
class StrayStatusAdmin(ReadOnlyAdmin):
    list_display = ("id", "received", "channel", "wire_id", "word", "provider_code", "provider_title")
    list_select_related = ("api_channel",)
    searches = (search_by_id(), search_by_text("external_id"))
    search_help_text = _("Full provider message ID")
    fields = readonly_fields = ("received", "channel", "wire_id", "word", "provider_code", "provider_title")

    received = column("received_at", _("received"))
    channel = column("api_channel", _("API channel"))
    wire_id = column("external_id", _("provider's id"))
    word = column("get_status_display", _("status"))
    provider_code = column("code", _("code"))
    provider_title = column("title", _("provider's description"))


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("id", "since", "words", "resolved")
    list_select_related = ("api_channel",)
    search_fields = ()
    fields = readonly_fields = ("since", "words", "api_channel", "what_helps", "delivery_shown", "resolved")

    since = column("raised_at", _("since"))
    resolved = column("settled_at", _("resolved"))

    @admin.display(description=_("alert"))
    def words(self, alert: Alert) -> str:
        return alerts.describe_alert(alert)

    @admin.display(description=_("what to do"))
    def what_helps(self, alert: Alert) -> SafeString | str:
        helps = outcomes.suggest_action(str(alert.details.get("why_code", "")), for_admin=True)
        if helps == SuggestedAction.RESEND and alert.delivery:
            return link_to(alert.delivery, helps.label)
        if alert.kind in (Alert.Kind.MISMATCH, Alert.Kind.UNCONFIRMED):
            address = reverse("admin:bridge_mismatch_changelist")
            return format_html(
                '<a class="to" href="{}?api_channel__id__exact={}">{}</a>',
                address,
                alert.api_channel_id,
                Mismatch._meta.verbose_name_plural,
            )
        if alert.kind in (Alert.Kind.UNROUTED, Alert.Kind.GROUPS):
            return format_html(
                '<a class="to" href="{}">{}</a>', alerts.build_events_url(alert), WebhookEvent._meta.verbose_name_plural
            )
        return link_to(alert.api_channel, (helps if helps == SuggestedAction.RESUME else SuggestedAction.CHANNEL).label)

    @admin.display(description=_("delivery"))
    def delivery_shown(self, alert: Alert) -> SafeString | str:
        return link_to(alert.delivery)


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """Not a history, but nothing to edit either."""

    list_display = ("part", "seen", "age")
    ordering = ("name",)
    search_fields = ()
    fields = readonly_fields = ("part", "seen", "age")

    part = column("name", _("part"))
    seen = column("at", _("last heartbeat"))

    @admin.display(description=_("seconds ago"))
    def age(self, heartbeat: Heartbeat) -> int:
        return round((timezone.now() - heartbeat.at).total_seconds())
