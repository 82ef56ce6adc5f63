"""Admin lists of dead letters and mismatches, with a preview of resending and with bulk actions.

For admins only. Operators decide in the chat, below the message. ``deliveries`` has the page of one delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _

from bridge import outcomes
from bridge.models import BulkAction, DeadLetter, Delivery, Mismatch
from bridge.outbox import bulk_resend, resend
from bridge.outbox.bulk_resend import DeadLetterFilter
from bridge.outcomes import SuggestedAction
from channels_setup.codecs import values
from channels_setup.models import ApiChannel

from .base import (
    ChoiceFilter,
    ReadOnlyAdmin,
    field_column,
    format_moment,
    parse_id,
    render_chat_link,
    render_link,
    render_pill,
    sees_all,
)

MAX_GROUPS = 12  # largest groups of channel, reason and state
INLINE_SECONDS = 1.5  # a bulk action runs this long in the request; a task does the rest
EXCERPT_LENGTH = 60  # characters of a message in the list


def render_help_link(code: str, channel: ApiChannel) -> SafeString | str:
    """Return a link to the channel's page if the button that resolves this reason is there, else ""."""
    action = outcomes.suggest_action(code, for_admin=True)
    if action not in (SuggestedAction.CHANNEL, SuggestedAction.RESUME):
        return ""
    return render_link(channel, action.label)


class DeadLetterStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    options = {
        "dead": (_("Given up"), lambda rows: rows.filter(state=Delivery.State.DEAD)),
        "unknown": (_("May have been sent"), lambda rows: rows.filter(state=Delivery.State.UNKNOWN)),
        "cancelled": (_("Canceled or discarded"), lambda rows: rows.filter(state=Delivery.State.CANCELLED)),
    }

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("Given up or unknown")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows = super().queryset(request, queryset)
        return rows if self.value() in self.options else rows.filter(state__in=resend.UNRESOLVED_STATES)


class DeadLetterReasonFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        failed = Delivery.objects.filter(state__in=DeadLetter.STATES, alert_route=None).exclude(reason="")
        codes = failed.order_by("reason").values_list("reason", flat=True).distinct()
        return [(code, outcomes.render_sentence(code, for_admin=True)) for code in codes]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


class DeadLetterAgeFilter(ChoiceFilter):
    title = _("age")
    parameter_name = "age"
    options = {
        "day": (_("The last 24 hours"), lambda rows: rows.filter(created_at__gte=timezone.now() - timedelta(days=1))),
        "week": (_("The last 7 days"), lambda rows: rows.filter(created_at__gte=timezone.now() - timedelta(days=7))),
        "older": (_("Older than 7 days"), lambda rows: rows.filter(created_at__lt=timezone.now() - timedelta(days=7))),
    }


AGES = {"day": timedelta(days=1), "week": timedelta(days=7), "older": timedelta(days=7)}


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ("number", "created", "text_excerpt", "state_shown", "reason_shown", "resend_preview", "channel")
    list_display_links = None
    list_select_related = ("api_channel", "message", "conversation__contact")
    list_filter = (DeadLetterStateFilter, DeadLetterReasonFilter, DeadLetterAgeFilter, "api_channel")
    list_before_template = "bridge/dead_letters_summary.html"
    search_help_text = _("Delivery, chat or message number, or a full key (webhook-id)")

    channel = field_column("api_channel", _("destination"))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("bridge.view_delivery")) and sees_all(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(state__in=DeadLetter.STATES, alert_route=None).defer("payload")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Compute the previews of all rows on the page together."""
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        for preview in resend.preview_resend(changelist.result_list):
            preview.delivery.preview = preview  # type: ignore[attr-defined]  # for the column ``resend_preview``
        return changelist

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("admin:bridge_delivery_change", object_id)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = _get_filter_parameters(request)
        extra = {
            "groups": _list_groups(),
            "running_actions": BulkAction.objects.filter(finished_at=None).select_related("by")[:5],
            "filter_query": urlencode(query),
            **(extra_context or {}),
        }
        return super().changelist_view(request, extra)

    # --- columns ---

    @admin.display(description=_("number"))
    def number(self, letter: Delivery) -> SafeString:
        url = reverse("admin:bridge_delivery_change", args=[letter.pk])
        return format_html('<a class="to" href="{}">{}</a>', url, letter.pk)

    @admin.display(description=_("created"))
    def created(self, letter: Delivery) -> SafeString:
        return format_html(
            "{}<small class='words'>{}</small>", format_moment(letter.created_at), timesince(letter.created_at)
        )

    @admin.display(description=_("message"))
    def text_excerpt(self, letter: Delivery) -> SafeString:
        message = letter.message if letter.kind == Delivery.Kind.MESSAGE else None
        text = message.text if message else str(letter.get_kind_display())
        cut = text if len(text) <= EXCERPT_LENGTH else f"{text[: EXCERPT_LENGTH - 1]}…"
        return format_html("<span class='words'>{}<br>{}</span>", cut, render_chat_link(letter.conversation))

    @admin.display(description=_("state"))
    def state_shown(self, letter: Delivery) -> SafeString:
        return render_pill(letter.state, letter.get_state_display())

    @admin.display(description=_("reason"))
    def reason_shown(self, letter: Delivery) -> SafeString | str:
        values = letter.message.reason_values if letter.message else None
        sentence = outcomes.render_sentence(letter.reason, values, for_admin=True) or "–"
        return format_html(
            "<span class='words'>{} {}</span>", sentence, render_help_link(letter.reason, letter.api_channel) or ""
        )

    @admin.display(description=_("if resent now"))
    def resend_preview(self, letter: Any) -> SafeString:
        preview: resend.ResendPreview = letter.preview
        css = "good" if not preview.code else "wait" if preview.will_send else "back"
        return format_html("<span class='words preview {}'>{}</span>", css, preview.sentence)

    # --- bulk actions ---

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the bulk actions for the selected rows. Each leads to its preview first."""
        if not self.may_use_buttons(request):
            return {}
        labels = {"resend": _("Resend…"), "discard": _("Discard…")}
        return {action: (_build_list_action(action), action, label) for action, label in labels.items()}

    def get_urls(self) -> list[URLPattern]:
        bulk_action = self.admin_site.admin_view(self.preview_and_start)
        progress = self.admin_site.admin_view(self.show_progress)
        return [
            path("bulk/<slug:action>/", bulk_action, name="bridge_deadletter_bulk"),
            path("bulk-actions/<int:pk>/", progress, name="bridge_deadletter_progress"),
            *super().get_urls(),
        ]

    def preview_and_start(self, request: HttpRequest, action: str) -> HttpResponse:
        """GET: preview a bulk action. POST: start it."""
        if action not in BulkAction.Action.values:
            raise Http404
        if not self.may_use_buttons(request):
            raise PermissionDenied
        chosen = _parse_filter(request)
        if request.method == "POST":
            job = bulk_resend.start_bulk_action(chosen, action=action, by=request.user)
            bulk_resend.run_bulk_actions(seconds=INLINE_SECONDS, only=job.pk)
            return redirect("admin:bridge_deadletter_progress", job.pk)
        preview = bulk_resend.preview_bulk_action(chosen)
        total = (
            preview.checked
            if action == BulkAction.Action.DISCARD
            else preview.count_resent(include_unknown=chosen.include_unknown)
        )
        context = {
            **self.admin_site.each_context(request),
            "title": _("Resend") if action == BulkAction.Action.RESEND else _("Discard"),
            "action": action,
            "chosen": chosen,
            "preview": preview,
            "lines": _list_preview_lines(preview, include_unknown=chosen.include_unknown),
            "total": total,
            "possible_duplicate": preview.counts.get("possible_duplicate", 0),
            "channel": ApiChannel.objects.filter(pk=chosen.api_channel).first() if chosen.api_channel else None,
            "reason": outcomes.render_sentence(chosen.reason, for_admin=True) if chosen.reason else "",
            "since": _parse_stored_time(chosen.since),
            "until": _parse_stored_time(chosen.until),
            "states": [Delivery.State(state).label for state in chosen.states],
            "filter_parameters": _get_filter_parameters(request),
            "back_url": reverse("admin:bridge_deadletter_changelist"),
        }
        return TemplateResponse(request, "bridge/dead_letters_bulk.html", context)

    def show_progress(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the progress of a bulk action."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        job = BulkAction.objects.filter(pk=pk).select_related("by").first()
        if job is None:
            raise Http404
        skipped = [(outcomes.render_sentence(code, for_admin=True), count) for code, count in job.skipped.items()]
        context = {
            **self.admin_site.each_context(request),
            "title": job.get_action_display(),
            "job": job,
            "skipped": skipped,
            "handled": job.done + sum(job.skipped.values()),
            "back_url": reverse("admin:bridge_deadletter_changelist"),
        }
        return TemplateResponse(request, "bridge/dead_letters_progress.html", context)


def _build_list_action(bulk_action: str) -> Callable[..., HttpResponse]:
    def action(model_admin: DeadLetterAdmin, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse:
        ids = ",".join(map(str, rows.order_by("pk").values_list("pk", flat=True)))
        url = reverse("admin:bridge_deadletter_bulk", args=[bulk_action])
        return redirect(f"{url}?{urlencode({'ids': ids})}")

    return action


def _list_groups() -> list[dict[str, Any]]:
    """Return the largest groups of unresolved deliveries by channel, reason and state."""
    rows = (
        Delivery.objects.filter(state__in=resend.UNRESOLVED_STATES, alert_route=None)
        .order_by()
        .values("api_channel", "api_channel__name", "reason", "state")
        .annotate(count=Count("pk"), oldest=Min("created_at"))
        .order_by("-count")[:MAX_GROUPS]
    )
    return [
        {
            "channel": row["api_channel__name"],
            "sentence": outcomes.render_sentence(row["reason"], for_admin=True),
            "state": row["state"],
            "state_label": Delivery.State(row["state"]).label,
            "count": row["count"],
            "oldest": timesince(row["oldest"]),
            "query": urlencode(
                {"api_channel__id__exact": row["api_channel"], "reason": row["reason"], "state": row["state"]}
            ),
        }
        for row in rows
    ]


def _list_preview_lines(preview: bulk_resend.BulkPreview, *, include_unknown: bool) -> list[dict[str, Any]]:
    lines = []
    for code, count in sorted(preview.counts.items(), key=lambda pair: -pair[1]):
        is_delayed = code in resend.DELAYED_CODES
        will_send = not code or is_delayed or (code == "possible_duplicate" and include_unknown)
        lines.append(
            {
                "count": count,
                "sentence": outcomes.render_sentence(code or "would_be_sent"),
                "css": "wait" if is_delayed else "good" if will_send else "back",
                "is_skipped": not will_send,
            }
        )
    return lines


# --- the filter in the URL -------------------------------------------------------------------------------


def _get_filter_parameters(request: HttpRequest) -> dict[str, str]:
    """Return the list's filter parameters, for the page of the bulk action."""
    names = ("state", "reason", "age", "api_channel__id__exact", "ids")
    return {name: request.GET[name] for name in names if request.GET.get(name)}


def _parse_filter(request: HttpRequest) -> DeadLetterFilter:
    query = request.GET
    state, age = query.get("state", ""), query.get("age", "")
    ids = [number for term in query.get("ids", "").split(",") if (number := parse_id(term)) is not None]
    since, until = _parse_local_time(query.get("since", "")), ""
    if not since and age in AGES:
        limit = (timezone.now() - AGES[age]).isoformat()
        since, until = ("", limit) if age == "older" else (limit, "")
    states: tuple[str, ...] = (state,) if state in DeadLetterStateFilter.options else resend.UNRESOLVED_STATES
    return DeadLetterFilter(
        states=DeadLetter.STATES if ids else states,
        api_channel=parse_id(query.get("api_channel__id__exact", "")),
        reason=query.get("reason", ""),
        since=since,
        until=until,
        ids=tuple(ids) if "ids" in query else None,
        include_unknown=bool(query.get("include_unknown")),
    )


def _parse_local_time(text: str) -> str:
    """Return the ISO time of a date-and-time field in the pages' time zone, or "" if it is not valid."""
    at = values.parse_iso_time(text, zone=timezone.get_current_timezone())
    return "" if at is None else at.isoformat()


def _parse_stored_time(text: str) -> Any:
    return parse_datetime(text) if text else None


# --- mismatches ------------------------------------------------------------------------------------------


class MismatchStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "resolved"
    options = {"yes": (_("Resolved"), lambda rows: rows.exclude(settled_at=None))}

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("Unresolved")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in self.options:
            return super().queryset(request, queryset)
        return queryset.filter(settled_at=None)


class MismatchKindFilter(ChoiceFilter):
    title = _("kind")
    parameter_name = "kind"
    options = {
        kind.value: (kind.label, lambda rows, kind=kind: rows.filter(kind=kind))  # type: ignore[misc]  # cannot infer the lambda
        for kind in Mismatch.Kind
    }


@admin.register(Mismatch)
class MismatchAdmin(ReadOnlyAdmin):
    list_display = ("id", "started", "kind_shown", "channel", "chat", "message_shown", "provider_id", "resolved")
    list_select_related = ("api_channel", "conversation__contact", "message")
    list_filter = (MismatchStateFilter, MismatchKindFilter, "api_channel")
    search_fields = ()
    fields = (
        *("started", "kind_shown", "advice", "channel", "chat", "message_shown", "provider_id"),
        *("found", "resolved"),
    )
    readonly_fields = fields

    channel = field_column("api_channel", _("API channel"))
    started = field_column("since", _("since"))
    found = field_column("found_at", _("found"))
    resolved = field_column("settled_at", _("resolved"))
    provider_id = field_column("external_id", _("provider ID"))

    @admin.display(description=_("mismatch"))
    def kind_shown(self, mismatch: Mismatch) -> SafeString:
        css = "sent" if mismatch.settled_at else "unknown"
        return render_pill(css, mismatch.get_kind_display())

    @admin.display(description=_("what to do"))
    def advice(self, mismatch: Mismatch) -> str:
        return str(ADVICE[Mismatch.Kind(mismatch.kind)])

    @admin.display(description=_("chat"))
    def chat(self, mismatch: Mismatch) -> SafeString | str:
        return render_chat_link(mismatch.conversation) if mismatch.conversation else "–"

    @admin.display(description=_("message"))
    def message_shown(self, mismatch: Mismatch) -> SafeString | str:
        return render_link(mismatch.message)


ADVICE = {
    Mismatch.Kind.NOT_SENT: _("Open its delivery to see the response and the time of the next attempt."),
    Mismatch.Kind.NO_DELIVERY: _("The message was saved, but no delivery exists. Ask the operator to write it again."),
    Mismatch.Kind.MARKED_SENT: _("The operator sees it as sent. Check the delivery and resend it if necessary."),
    Mismatch.Kind.UNCONFIRMED: _("Ask the provider whether the message with this provider ID arrived."),
    Mismatch.Kind.STRAY: _("Another program may be sending from this number. Ask the provider about this ID."),
}
