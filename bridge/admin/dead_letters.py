"""Dead letters: what did not get through, what would come of sending it again now, and the word for many at once.

For admins. An operator decides in the chat, under the message. The page of one delivery is ``deliveries``'s.
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
    column,
    format_moment,
    link_to,
    link_to_chat,
    parse_id,
    render_pill,
    sees_all,
)

MAX_GROUPS = 12  # channel, reason and state together, the most frequent first
INLINE_SECONDS = 1.5  # what can be done in so long is done before the page comes back; the rest by a task
EXCERPT_LENGTH = 60  # characters of a message in the list


def link_to_help(code: str, channel: ApiChannel) -> SafeString | str:
    """The admin's button against a reason, where it is on another page."""
    helps = outcomes.suggest_action(code, for_admin=True)
    if helps not in (SuggestedAction.CHANNEL, SuggestedAction.RESUME):
        return ""
    return link_to(channel, helps.label)


class DeadLetterStateFilter(ChoiceFilter):
    title = _("which")
    parameter_name = "which"
    questions = {
        "dead": (_("Given up"), lambda rows: rows.filter(state=Delivery.State.DEAD)),
        "unknown": (_("May have been sent"), lambda rows: rows.filter(state=Delivery.State.UNKNOWN)),
        "cancelled": (_("Cancelled or put aside"), lambda rows: rows.filter(state=Delivery.State.CANCELLED)),
    }

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("Given up or unknown")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows = super().queryset(request, queryset)
        return rows if self.value() in self.questions else rows.filter(state__in=resend.UNRESOLVED_STATES)


class DeadLetterReasonFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = Delivery.objects.filter(state__in=DeadLetter.STATES).exclude(reason="")
        codes = found.order_by("reason").values_list("reason", flat=True).distinct()
        return [(code, outcomes.render_sentence(code, for_admin=True)) for code in codes]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


class DeadLetterAgeFilter(ChoiceFilter):
    title = _("age")
    parameter_name = "age"
    questions = {
        "day": (_("The last 24 hours"), lambda rows: rows.filter(created_at__gte=timezone.now() - timedelta(days=1))),
        "week": (_("The last 7 days"), lambda rows: rows.filter(created_at__gte=timezone.now() - timedelta(days=7))),
        "older": (_("Older than 7 days"), lambda rows: rows.filter(created_at__lt=timezone.now() - timedelta(days=7))),
    }


AGES = {"day": timedelta(days=1), "week": timedelta(days=7), "older": timedelta(days=7)}


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ("number", "made", "said", "state_shown", "why", "would", "channel")
    list_display_links = None
    list_select_related = ("api_channel", "message", "conversation__contact")
    list_filter = (DeadLetterStateFilter, DeadLetterReasonFilter, DeadLetterAgeFilter, "api_channel")
    list_before_template = "bridge/dead_top.html"
    search_help_text = _("Delivery, chat or message number, or a full key (webhook-id)")

    channel = column("api_channel", _("destination"))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("bridge.view_delivery")) and sees_all(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(state__in=DeadLetter.STATES).defer("payload")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The page's forecasts are made together."""
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        for judged in resend.preview_resend(changelist.result_list):
            judged.delivery.judged = judged  # type: ignore[attr-defined]  # carried to the column ``would``
        return changelist

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("admin:bridge_delivery_change", object_id)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = _filter_parameters(request)
        extra = {
            "groups": _group_rows(),
            "at_work": BulkAction.objects.filter(finished_at=None).select_related("by")[:5],
            "many_query": urlencode(query),
            **(extra_context or {}),
        }
        return super().changelist_view(request, extra)

    # --- columns ---

    @admin.display(description=_("number"))
    def number(self, letter: Delivery) -> SafeString:
        address = reverse("admin:bridge_delivery_change", args=[letter.pk])
        return format_html('<a class="to" href="{}">{}</a>', address, letter.pk)

    @admin.display(description=_("created"))
    def made(self, letter: Delivery) -> SafeString:
        return format_html(
            "{}<small class='words'>{}</small>", format_moment(letter.created_at), timesince(letter.created_at)
        )

    @admin.display(description=_("message"))
    def said(self, letter: Delivery) -> SafeString:
        message = letter.message if letter.kind == Delivery.Kind.MESSAGE else None
        text = message.text if message else str(letter.get_kind_display())
        cut = text if len(text) <= EXCERPT_LENGTH else f"{text[: EXCERPT_LENGTH - 1]}…"
        return format_html("<span class='words'>{}<br>{}</span>", cut, link_to_chat(letter.conversation))

    @admin.display(description=_("state"))
    def state_shown(self, letter: Delivery) -> SafeString:
        return render_pill(letter.state, letter.get_state_display())

    @admin.display(description=_("why"))
    def why(self, letter: Delivery) -> SafeString | str:
        values = letter.message.reason_values if letter.message else None
        sentence = outcomes.render_sentence(letter.reason, values, for_admin=True) or "–"
        return format_html(
            "<span class='words'>{} {}</span>", sentence, link_to_help(letter.reason, letter.api_channel) or ""
        )

    @admin.display(description=_("if resent now"))
    def would(self, letter: Any) -> SafeString:
        judged: resend.ResendPreview = letter.judged
        css = "good" if not judged.code else "wait" if judged.goes_out else "back"
        return format_html("<span class='words forecast {}'>{}</span>", css, judged.sentence)

    # --- many ---

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """On what was ticked: first the forecast of all, then the word."""
        if not self.may_press(request):
            return {}
        labels = {"resend": _("Send again…"), "discard": _("Put aside…")}
        return {what: (_bulk_action(what), what, label) for what, label in labels.items()}

    def get_urls(self) -> list[URLPattern]:
        many = self.admin_site.admin_view(self.many)
        progress = self.admin_site.admin_view(self.progress)
        return [
            path("many/<slug:what>/", many, name="bridge_deadletter_many"),
            path("bulk-actions/<int:pk>/", progress, name="bridge_deadletter_progress"),
            *super().get_urls(),
        ]

    def many(self, request: HttpRequest, what: str) -> HttpResponse:
        """A GET counts what the word would come to now; the POST says it."""
        if what not in BulkAction.What.values:
            raise Http404
        if not self.may_press(request):
            raise PermissionDenied
        chosen = _selection_from(request)
        if request.method == "POST":
            job = bulk_resend.start_bulk_action(chosen, what=what, by=request.user)
            bulk_resend.run_bulk_actions(seconds=INLINE_SECONDS, only=job.pk)
            return redirect("admin:bridge_deadletter_progress", job.pk)
        foreseen = bulk_resend.preview_bulk_action(chosen)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Send again") if what == BulkAction.What.RESEND else _("Put aside"),
            "what": what,
            "chosen": chosen,
            "foreseen": foreseen,
            "lines": _preview_lines(foreseen, unknown_too=chosen.unknown_too),
            "goes": foreseen.looked_at
            if what == BulkAction.What.DISCARD
            else foreseen.goes(unknown_too=chosen.unknown_too),
            "possible_duplicate": foreseen.counts.get("possible_duplicate", 0),
            "channel": ApiChannel.objects.filter(pk=chosen.api_channel).first() if chosen.api_channel else None,
            "reason": outcomes.render_sentence(chosen.reason, for_admin=True) if chosen.reason else "",
            "since": _parse_stored_time(chosen.since),
            "until": _parse_stored_time(chosen.until),
            "states": [Delivery.State(state).label for state in chosen.states],
            "kept": _filter_parameters(request),
            "back": reverse("admin:bridge_deadletter_changelist"),
        }
        return TemplateResponse(request, "bridge/dead_many.html", context)

    def progress(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        job = BulkAction.objects.filter(pk=pk).select_related("by").first()
        if job is None:
            raise Http404
        skipped = [(outcomes.render_sentence(code, for_admin=True), count) for code, count in job.skipped.items()]
        context = {
            **self.admin_site.each_context(request),
            "title": job.get_what_display(),
            "job": job,
            "skipped": skipped,
            "had": job.done + sum(job.skipped.values()),
            "back": reverse("admin:bridge_deadletter_changelist"),
        }
        return TemplateResponse(request, "bridge/dead_progress.html", context)


def _bulk_action(what: str) -> Callable[..., HttpResponse]:
    def action(model_admin: DeadLetterAdmin, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse:
        ids = ",".join(map(str, rows.order_by("pk").values_list("pk", flat=True)))
        address = reverse("admin:bridge_deadletter_many", args=[what])
        return redirect(f"{address}?{urlencode({'ids': ids})}")

    return action


def _group_rows() -> list[dict[str, Any]]:
    """What is in trouble, by channel, reason and state, with the oldest of each."""
    rows = (
        Delivery.objects.filter(state__in=resend.UNRESOLVED_STATES)
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
            "state_words": Delivery.State(row["state"]).label,
            "count": row["count"],
            "oldest": timesince(row["oldest"]),
            "query": urlencode(
                {"api_channel__id__exact": row["api_channel"], "reason": row["reason"], "which": row["state"]}
            ),
        }
        for row in rows
    ]


def _preview_lines(foreseen: bulk_resend.BulkPreview, *, unknown_too: bool) -> list[dict[str, Any]]:
    lines = []
    for code, count in sorted(foreseen.counts.items(), key=lambda pair: -pair[1]):
        waits = code in resend.DELAYED_CODES
        goes = not code or waits or (code == "possible_duplicate" and unknown_too)
        lines.append(
            {
                "count": count,
                "sentence": outcomes.render_sentence(code or "would_be_sent"),
                "css": "wait" if waits else "good" if goes else "back",
                "stays": not goes,
            }
        )
    return lines


# --- what is meant, in an address ------------------------------------------------------------------------


def _filter_parameters(request: HttpRequest) -> dict[str, str]:
    """The filter of the list, as the page for many carries it on."""
    names = ("which", "reason", "age", "api_channel__id__exact", "ids")
    return {name: request.GET[name] for name in names if request.GET.get(name)}


def _selection_from(request: HttpRequest) -> DeadLetterFilter:
    asked = request.GET
    which, age = asked.get("which", ""), asked.get("age", "")
    ids = [number for term in asked.get("ids", "").split(",") if (number := parse_id(term)) is not None]
    since, until = _parse_local_time(asked.get("since", "")), ""
    if not since and age in AGES:
        edge = (timezone.now() - AGES[age]).isoformat()
        since, until = ("", edge) if age == "older" else (edge, "")
    states: tuple[str, ...] = (which,) if which in DeadLetterStateFilter.questions else resend.UNRESOLVED_STATES
    return DeadLetterFilter(
        states=DeadLetter.STATES if ids else states,
        api_channel=parse_id(asked.get("api_channel__id__exact", "")),
        reason=asked.get("reason", ""),
        since=since,
        until=until,
        ids=tuple(ids) if "ids" in asked else None,
        unknown_too=bool(asked.get("unknown_too")),
    )


def _parse_local_time(text: str) -> str:
    """Return the time in a date-and-time field, which is in the zone of the pages, as UTC; empty where it is none."""
    at = values.parse_iso_time(text, zone=timezone.get_current_timezone())
    return "" if at is None else at.isoformat()


def _parse_stored_time(text: str) -> Any:
    return parse_datetime(text) if text else None


# --- where the two sides disagree ------------------------------------------------------------------------


class MismatchStateFilter(ChoiceFilter):
    title = _("which")
    parameter_name = "resolved"
    questions = {"yes": (_("Resolved"), lambda rows: rows.exclude(settled_at=None))}

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("Unresolved")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in self.questions:
            return super().queryset(request, queryset)
        return queryset.filter(settled_at=None)


class MismatchKindFilter(ChoiceFilter):
    title = _("kind")
    parameter_name = "kind"
    questions = {
        kind.value: (kind.label, lambda rows, kind=kind: rows.filter(kind=kind))  # type: ignore[misc]  # its default
        for kind in Mismatch.Kind
    }


@admin.register(Mismatch)
class MismatchAdmin(ReadOnlyAdmin):
    list_display = ("id", "began", "words", "channel", "chat", "message_shown", "wire_id", "resolved")
    list_select_related = ("api_channel", "conversation__contact", "message")
    list_filter = (MismatchStateFilter, MismatchKindFilter, "api_channel")
    search_fields = ()
    fields = ("began", "words", "what_helps", "channel", "chat", "message_shown", "wire_id", "found", "resolved")
    readonly_fields = fields

    channel = column("api_channel", _("API channel"))
    began = column("since", _("since"))
    found = column("found_at", _("found"))
    resolved = column("settled_at", _("resolved"))
    wire_id = column("external_id", _("provider's id"))

    @admin.display(description=_("mismatch"))
    def words(self, mismatch: Mismatch) -> SafeString:
        css = "sent" if mismatch.settled_at else "unknown"
        return render_pill(css, mismatch.get_kind_display())

    @admin.display(description=_("what to do"))
    def what_helps(self, mismatch: Mismatch) -> str:
        return str(ADVICE[Mismatch.Kind(mismatch.kind)])

    @admin.display(description=_("chat"))
    def chat(self, mismatch: Mismatch) -> SafeString | str:
        return link_to_chat(mismatch.conversation) if mismatch.conversation else "–"

    @admin.display(description=_("message"))
    def message_shown(self, mismatch: Mismatch) -> SafeString | str:
        return link_to(mismatch.message)


ADVICE = {
    Mismatch.Kind.NOT_SENT: _("Open its delivery to see the response and the time of the next attempt."),
    Mismatch.Kind.NO_DELIVERY: _("The message was saved, but no delivery exists. Ask the operator to write it again."),
    Mismatch.Kind.MARKED_SENT: _("The operator sees it as sent. Check the delivery and resend it if necessary."),
    Mismatch.Kind.UNCONFIRMED: _("Ask the provider whether the message with this provider ID arrived."),
    Mismatch.Kind.STRAY: _("Another program may be sending from this number. Ask the provider about this ID."),
}
