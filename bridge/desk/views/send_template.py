"""Send a template from its page to a chat of its channel: choose the chat, check, send."""

from __future__ import annotations

import secrets
from functools import reduce
from operator import or_
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge import service_window
from bridge.conversations import merge_lookup
from bridge.desk import access, forms, presentation
from bridge.desk.chat_list import search as chat_search
from bridge.desk.composer import panels
from bridge.desk.parameters import parse_int
from bridge.models import Conversation
from bridge.relay import colleague_replies, reply_submission, template_decisions
from channels_setup.permissions import require_chat_access
from templates_registry.models import Template
from templates_registry.preview import FIELD_PREFIX, build_preview, values_from_form

MAX_CHATS = 12


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def send_template_to_chat(request: HttpRequest, pk: int) -> HttpResponse:
    """Handle the three steps: ``find``, ``chat``, ``go``. All use POST to keep values out of logs."""
    template = (
        Template.objects.all().visible_to(request.user).sendable().filter(pk=pk).select_related("api_channel").first()
    )
    if template is None or not template.api_channel.provider.sends_templates:
        raise Http404
    if refusal := forms.reject_stale_form(request):
        return refusal
    values = values_from_form(request.POST)
    chat_id = parse_int(request.POST.get("chat"))
    if chat_id is None:
        return _choose_chat(request, template, values)
    conversation = access.get_conversation_or_404(request, chat_id)
    if conversation.api_channel_id != template.api_channel_id:
        raise Http404
    sentence = ""
    if request.POST.get("go"):

        def work(form_key: str) -> reply_submission.SubmitResult:
            with transaction.atomic():
                sent = reply_submission.submit_template_reply(
                    conversation_id=conversation.pk,
                    template_id=template.pk,
                    parameters={key: value for key, value in values.items() if value},
                    author=request.user,
                    form_key=form_key,
                )
                if sent.message is not None:
                    colleague_replies.take_unassigned_chat(conversation.pk, author=request.user)
            return sent

        result = forms.submit_once(request, conversation, "template", template.pk, values, work=work)
        if result["sent"]:
            return redirect(reverse("chat", args=[conversation.pk]))
        sentence = result["sentence"]
    elif request.POST.get("open"):
        values = panels.initial_values(conversation, template, values)
    return _confirm_sending(request, template, conversation, values, sentence=sentence)


def _choose_chat(request: HttpRequest, template: Template, values: dict[str, str]) -> HttpResponse:
    query = request.POST.get("find", "").replace("\0", "").strip()[:80]
    now = service_window.database_now()
    rows = _channel_chats(request, template)
    if query:
        matches = chat_search.find_contacts(query, api_channels=[template.api_channel_id])
        channels = access.visible_channel_ids(request)
        owners = (chat_search.chat_owners(merge_lookup.filter_visible_people(found, channels)) for found in matches)
        rows = rows.filter(reduce(or_, (Q(contact__in=people) for people in owners)))
    context = {
        "section": "templates",
        "template": template,
        "kept_values": {FIELD_PREFIX + key: value for key, value in values.items()},
        "query": query,
        "rows": [
            _chat_choice(conversation, now=now) for conversation in rows.order_by("-last_message_at", "-pk")[:MAX_CHATS]
        ],
    }
    page = "bridge/template_chat_rows.html" if "HX-Request" in request.headers else "bridge/template_choose_chat.html"
    return render(request, page, context)


def _channel_chats(request: HttpRequest, template: Template) -> QuerySet[Conversation]:
    rows = access.visible_conversations(request).filter(api_channel=template.api_channel)
    return rows.select_related("contact", "api_channel", "chat_channel")


def _chat_choice(conversation: Conversation, *, now: Any) -> dict[str, Any]:
    return {
        "conversation": conversation,
        "name": presentation.contact_name(conversation.contact),
        "phone": presentation.contact_phone(conversation.contact),
        "at": presentation.format_short_moment(conversation.last_written_at or conversation.last_message_at, now=now),
    }


def _explain_opt_out(template: Template, conversation: Conversation) -> str:
    refusal = template_decisions.refuse_opted_out(conversation, template.pk, category=template.category)
    return refusal.sentence if refusal else ""


def _confirm_sending(
    request: HttpRequest, template: Template, conversation: Conversation, values: dict[str, str], *, sentence: str
) -> HttpResponse:
    context = {
        "section": "templates",
        "template": template,
        "preview": build_preview(template, values),
        "recipient": _chat_choice(conversation, now=service_window.database_now()),
        "sentence": sentence or _explain_opt_out(template, conversation),
        "sending_key": secrets.token_urlsafe(12),
    }
    if "HX-Request" in request.headers:
        return render(request, "templates_registry/templates_page/fill_form_regions.html", context)
    return render(request, "bridge/template_send.html", context, status=422 if sentence else 200)
