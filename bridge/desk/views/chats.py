"""Chats page: the chat list, one thread with its client pane, and the poll that updates them."""

from __future__ import annotations

import secrets
from datetime import datetime
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from bridge import outcomes, phone_visibility, service_window
from bridge.conversations import assignment_rules, availability, chat_notes, closing_reminders, unread_marks
from bridge.desk import access, forms, macro_menu, presentation, refusals, saved_views, snooze_menu, teams
from bridge.desk.bulk import changes
from bridge.desk.chat_list import listing
from bridge.desk.chat_list.answered_today import count_answered_today
from bridge.desk.client import pane
from bridge.desk.composer import panels
from bridge.desk.live import closing_warnings, notifications, polling, presence, versions
from bridge.desk.parameters import parse_int
from bridge.desk.thread import delivery_trail, extras, messages
from bridge.files import uploads
from bridge.models import ChatPin, Conversation, OptOut, SavedView, Ticket
from bridge.relay import reply_submission
from channels_setup import permissions
from channels_setup.models import ApiChannel
from channels_setup.permissions import require_chat_access
from channels_setup.prepared_queries import PreparedQuery
from channels_setup.providers import messengers

from . import list_filters

PREFETCH_HEADER = "Okno-Prefetch"  # the script asks ahead for a chat that may be opened next
OWN_PIN: PreparedQuery[ChatPin] = PreparedQuery(lambda user, chat: ChatPin.objects.filter(user=user, conversation=chat))
MAX_PHONES = 4  # training phones offered when no chat is open


@require_chat_access
@require_GET
@never_cache
@vary_on_headers("HX-Request")
def show_chats(request: HttpRequest) -> HttpResponse:
    """Show the desk without an open chat."""
    context = build_list_context(request, current=None)
    if request.headers.get("HX-Target") == "list":
        return render(request, "bridge/chat_list.html", context)
    return render(request, "bridge/chats.html", context | {"phones": _training_phones(request)})


@require_chat_access
@require_GET
@never_cache
@vary_on_headers("HX-Request")
def show_chat(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the desk with one chat. A full page marks the chat as seen.

    A fragment does not, because another click may replace it: the script posts ``seen`` once it is shown. A chat whose
    look goes on record is not prefetched, so that the audit record has only chats that were opened.
    """
    if PREFETCH_HEADER in request.headers and not access.may_prefetch(request, pk):
        return HttpResponse(status=204)
    conversation = access.get_conversation_or_404(request, pk)
    is_part = request.headers.get("HX-Target") == "chat"
    new_messages = conversation.unread
    if not is_part:
        mark_seen(conversation, user=request.user)
    now = service_window.database_now()
    context = build_chat_context(request, conversation, now=now) | {"new_messages": new_messages}
    if is_part:
        return render(request, "bridge/chat.html", context | _list_query(request) | {"is_part": True})
    return render(request, "bridge/chats.html", context | build_list_context(request, current=pk, now=now))


@require_chat_access
@require_GET
@never_cache
def poll_updates(request: HttpRequest) -> HttpResponse:
    """Return what changed since the versions in the query string, or 204 (see ``versions``)."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    now = service_window.database_now()
    answer: dict[str, Any] = {}
    channels = access.visible_channel_ids(request)
    list_version = versions.list_version(channels, user_id=request.user.pk or 0)
    current = parse_int(request.GET.get("chat"))
    if not polling.has_poll_token(request):
        answer["poll_token"] = polling.issue_poll_token(request, channels)
    if (last_warning := parse_int(request.GET.get("last_warning"))) is not None:
        reminders = closing_reminders.find_pending_reminders(request.user, channels, after=last_warning)
        if reminders.last > last_warning:
            answer["warnings"] = closing_warnings.warnings_json(reminders, user=request.user, now=now)
    if "counters" in request.GET:  # a page without the list
        if request.GET["counters"] != list_version:
            answer["poll_token"] = polling.issue_poll_token(request, channels)
            answer["counters"] = _build_counters(listing.load_list_summary(channels, user=request.user))
    elif request.GET.get("list") != list_version or "warnings" in answer:  # the list marks chats with a reminder
        answer["poll_token"] = polling.issue_poll_token(request, channels)
        context = build_list_context(request, current=current, now=now)
        answer["list"] = {
            "version": context["list_version"],
            "rows": render_to_string("bridge/chat_rows.html", context, request),
            "tabs": render_to_string("bridge/chat_tabs.html", context, request),
        }
        answer["counters"] = _build_counters(context["summary"])
    if "seen" in request.GET:
        availability.record_seen(request.user.pk or 0)
    if (known := request.GET.get("notified")) is not None:
        found = notifications.build_notifications(request.user, channels, known, now=now)
        answer |= {"notifications": found} if found else {}
    if current is not None:
        conversation = access.get_conversation_or_404(request, current)
        if conversation.unread and conversation.unread_marked_at is None:
            # Repeated at every poll until the page marks the chat as seen.
            answer["unread"] = conversation.unread
        others = presence.record_heartbeat(
            conversation.pk, user=request.user, writes="writes" in request.GET, is_here="away" not in request.GET
        )
        if request.GET.get("others", "") != others.version:
            answer["others"] = others.as_json
        version = versions.thread_version(conversation.pk)
        if request.GET.get("thread") != version:
            context = build_chat_context(request, conversation, now=now, version=version, only_newest=True)
            answer["thread"] = {
                "version": version,
                "draft": context["draft"].text if context["draft"] else "",
                "draft_key": context["sending_key"],
                "draft_at": context["draft"].written_ms if context["draft"] else 0,
                "refusal": context["refusal"],
                "refusal_until": context["refusal_until"],
                "ended": context["ended_refusals"],
                "earlier": context["earlier"],
                **{
                    part: render_to_string(f"bridge/{part}.html", context, request)
                    for part in ("messages", "chat_header", "composer_notices", "composer_time", "client")
                },
            }
    if not answer:
        return HttpResponse(status=204)
    return JsonResponse(answer | {"now": int(now.timestamp() * 1000)})


def _build_counters(summary: listing.ListSummary) -> dict[str, Any]:
    """Build the part of an update that every page shows. A page without the list sends the version back."""
    return {
        "version": summary.version,
        "waiting": summary.counts[listing.WAITING],
        "last_warning": summary.last_warning,
    }


@require_chat_access
@require_GET
@never_cache
def show_delivery_trail(request: HttpRequest, pk: int, message_id: int) -> HttpResponse:
    """Show the delivery trail of a message, as a fragment of the thread or as a page."""
    conversation = access.get_conversation_or_404(request, pk)
    message = access.get_message_or_404(conversation, message_id)
    context = {
        "trail": delivery_trail.build_trail(message, now=service_window.database_now()),
        "conversation": conversation,
        "message": message,
    }
    page = "bridge/delivery_trail.html" if request.headers.get("HX-Request") else "bridge/delivery_trail_page.html"
    return render(request, page, context)


def mark_seen(conversation: Conversation, *, user: Any) -> None:
    chat_notes.mark_mentions_seen([conversation.pk], user)
    if conversation.unread:
        unread_marks.mark_read({conversation.pk: None})
        conversation.unread = 0


def build_list_context(request: HttpRequest, *, current: int | None, now: datetime | None = None) -> dict[str, Any]:
    """Build the template context of the chat list."""
    params = listing.ChatListParams.from_request(request, current=current)
    visible = access.visible_channels(request)
    channels = [channel.pk for channel in visible]
    # Read before the rows, so that a change in between causes another update instead of being missed.
    summary = listing.load_list_summary(channels, user=request.user)
    now = now or summary.now
    # A poll does not show the filters.
    filter_fields: Any = SimpleLazyObject(partial(list_filters.build_chat_fields, request.user, params, visible))
    page = listing.build_list_page(params, channels=channels, user=request.user, now=now)
    return {
        "params": params,
        "page": page,
        "summary": summary,
        "counts": summary.counts,
        "tabs": [
            {
                "key": key,
                "title": title,
                "count": summary.counts.get(key, 0),
                "address": listing.list_query_string(params.non_default | {"tab": key}),
            }
            for key, title in listing.TABS.items()
        ],
        "max_counted": listing.MAX_COUNTED,
        "bulk_part": changes.PART,
        "snooze_choices": snooze_menu.list_choices(),
        # Counted for an empty list only.
        "answered_today": partial(count_answered_today, channels, now=now) if params.tab == listing.WAITING else 0,
        "filter_chips": partial(
            list_filters.build_chips,
            params,
            filter_fields,
            names=listing.FILTERS,
            channels=visible,
            is_used_tag=lambda tag: bool(page.groups) or list_filters.is_used_tag(tag),
        ),
        "periods": list_filters.period_options,
        "views_menu": SimpleLazyObject(
            partial(saved_views.build_menu, request.user, SavedView.Page.CHATS, params, chat=current)
        ),
        "filter_fields": filter_fields,
        "list_version": summary.version,
        "last_warning": summary.last_warning,
        "poll_token": polling.issue_poll_token(request, channels),
        **_list_query(request),
        "section": "chats",
        **_clock_context(now),
    }


def build_chat_context(
    request: HttpRequest,
    conversation: Conversation,
    *,
    now: datetime,
    version: str | None = None,
    only_newest: bool = False,
    refusal: str = "",
    text: str | None = None,
) -> dict[str, Any]:
    """Build the template context of one chat. ``refusal`` and ``text``: a refused reply, to show again."""
    # Read first, so that a change in between causes another update instead of being missed.
    version = version or versions.thread_version(conversation.pk)
    tickets = messages.list_requests(conversation)
    live = messages.find_live_ticket(tickets)
    draft = messages.find_draft(conversation, request.user)
    state = service_window.get_window_state(conversation, now=now)
    window = presentation.window_view(state, now=now)
    may_hand_on = assignment_rules.may_hand_on(request.user, current=conversation.assignee_id)
    before, at = None, None
    if not only_newest:
        before = parse_int(request.GET.get("before"))
        if after := parse_int(request.GET.get("after")):
            before = messages.find_end_after(conversation, after, count=messages.PAGE)
        at = messages.find_message_id(conversation, request.GET["at"]) if "at" in request.GET else None
    page = messages.build_thread_page(
        conversation, tickets=tickets, before=before, at=at, may_write=state.is_open, now=now, user=request.user
    )
    client = pane.build_client_context(request, conversation, now=now)
    files = uploads.list_unsent_uploads(conversation, author=request.user)
    quote = reply_submission.get_quotable_message(conversation, posted_quote_id(request))
    consent = client["consent"]
    ended = refusals.find_ended(
        window_is_open=state.is_open,
        is_opted_out=consent is not None and consent.opt_out != OptOut.NONE,
        has_files=bool(files),
        has_quote=quote is not None,
    )
    code = ""
    if not refusal and draft is not None and draft.reason and not refusals.has_ended(draft.reason, ended):
        code, sentence = draft.reason, outcomes.render_sentence(draft.reason, draft.details)
        refusal = phone_visibility.visible_text(sentence, conversation.api_channel_id)
    return {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "phone": presentation.contact_phone(conversation.contact),
        "first_seen": presentation.format_day(conversation.contact.created_at, now=now),
        "window": window,
        "until": presentation.format_moment(window.expires_at, now=now) if window.expires_at else "",
        "tickets": tickets,
        "live_ticket": live,
        "ticket": live or (tickets[0] if tickets else None),
        "ticket_actions": (actions := ticket_actions(live or (tickets[0] if tickets else None))),
        "ticket_action_words": _short_words(actions[0][0]) if actions else "",
        "thread": page,
        "earlier": f"{reverse('chat', args=[conversation.pk])}?before={page.earlier}" if page.earlier else "",
        "later": f"{reverse('chat', args=[conversation.pk])}?after={page.later}" if page.later else "",
        "thread_version": version,
        "newest_reply": page.newest_reply,
        "writes_note": request.GET.get("mode") == "note",
        "note_key": secrets.token_urlsafe(12),
        "assignee_name": presentation.assignee_name(conversation.assignee, conversation),
        "people": [person for person in list_assignees(conversation, request.user) if may_hand_on or person["is_me"]],
        "teams": teams.list_teams([conversation.chat_channel_id]) if may_hand_on else [],
        "may_hand_on": may_hand_on,
        "is_pinned": bool(OWN_PIN(request.user.pk or 0, conversation.pk)),
        "macros": macro_menu.list_choices(conversation, user=request.user),
        "snooze": snooze_menu.build_menu(conversation, window=state, now=now),
        "draft": draft,
        "max_text_length": reply_submission.MAX_TEXT_LENGTH,
        "text": text if text is not None else (draft.text if draft else ""),
        "refusal": refusal,
        "refusal_until": refusals.render_until(refusals.list_ends(code)),
        "ended_refusals": sorted(ended & refusals.LIVE_ENDS),
        "sends_templates": conversation.api_channel.provider.sends_templates,
        "can_recognize": panels.can_recognize(conversation, state),
        "suggestions": panels.suggest_templates(request, conversation, state),
        "sending_key": draft.form_key if draft else secrets.token_urlsafe(12),
        "supports_quotes": conversation.api_channel.provider.supports_quotes,
        "quote": extras.build_quote(quote),
        **client,
        "uploads": files,
        "max_upload_bytes": uploads.max_bytes(),
        "upload_too_large": uploads.too_large_sentence("{name}"),
        "accepted_types": ",".join(f".{extension}" for extension in uploads.FILE_TYPES),
        **_clock_context(now),
    }


def posted_quote_id(request: HttpRequest) -> int | None:
    """Return the ID of the message that the reply quotes, from the form or the query string; None without a quote.

    An invalid number returns 0, which matches no message.
    """
    value = request.POST.get("replies_to") or request.GET.get("replies_to")
    return (parse_int(value) or 0) if value else None


def list_assignees(conversation: Conversation, user: Any) -> list[dict[str, Any]]:
    """List the users that the chat can be assigned to, the current user first."""
    found = sorted(access.list_assignable_users(conversation, user), key=lambda person: person.pk != user.pk)
    statuses = availability.find_statuses(person.pk for person in found)
    return [
        {
            "pk": person.pk,
            "name": presentation.person_name(person),
            "status": statuses[person.pk].value,
            "status_label": statuses[person.pk].label,
            "is_me": person.pk == user.pk,
            "is_assignee": person.pk == conversation.assignee_id,
        }
        for person in found
    ]


def ticket_actions(ticket: Ticket | None) -> list[tuple[int, str]]:
    """List the status changes of a request as (status, button text)."""
    if ticket is None:
        return []
    Status = Ticket.Status
    if ticket.status in Ticket.ENDED:
        return [(Status.OPEN, _("Reopen the request"))]
    actions = [
        (Status.CLOSED, _("Close the request")),
        (Status.SOLVED, _("Mark as solved")),
        (Status.PENDING, _("Wait for the client")),
        (Status.ON_HOLD, _("Put on hold")),
        (Status.SPAM, _("Spam")),
    ]
    if ticket.status not in (Status.NEW, Status.OPEN):
        actions.insert(0, (Status.OPEN, _("Reopen the request")))
    return [action for action in actions if action[0] != ticket.status]


def _short_words(status: int) -> str:
    """Return the text of the header's button where the full one has no room. Its accessible name stays the full one."""
    return pgettext("request", "Close") if status == Ticket.Status.CLOSED else pgettext("request", "Reopen")


def _training_phones(request: HttpRequest) -> list[ApiChannel]:
    """List training phones for users who may set up channels."""
    kinds = [kind for kind, provider in messengers().items() if provider.has_training_phone]
    if not request.user.has_perm(permissions.VIEW_ALL_CHATS):
        return []
    return list(ApiChannel.objects.unarchived().filter(kind__in=kinds).order_by("pk")[:MAX_PHONES])


def _list_query(request: HttpRequest) -> dict[str, str]:
    """Return the list's filter as a query string, which every link of the desk keeps."""
    return {"list_query": listing.list_query_string(listing.ChatListParams.from_request(request).non_default)}


def _clock_context(now: datetime) -> dict[str, Any]:
    """Return the database time and texts for countdown.js."""
    return {"now": now, "now_ms": int(now.timestamp() * 1000), "units": presentation.countdown_texts()}


def chat_url(conversation: Conversation, request: HttpRequest) -> str:
    """Return the chat's URL with the current list filter."""
    return reverse("chat", args=[conversation.pk]) + _list_query(request)["list_query"]
