"""Template panel of the composer: recognition, picker, fields, sending, holding a text.

Values and texts come by POST, so that they never appear in logs. Scripts get the panel as a fragment, plain forms the
whole page.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import service_window
from bridge.desk import access, forms
from bridge.desk.composer import panels
from bridge.desk.parameters import parse_int
from bridge.models import Conversation
from bridge.relay import colleague_replies, held_replies, reply_submission
from channels_setup.permissions import require_chat_access
from templates_registry import selection
from templates_registry.models import Template
from templates_registry.preview import values_from_form

from . import chat_actions, chats


@forms.require_chat_form
def recognize(request: HttpRequest, pk: int) -> HttpResponse:
    """Match the text in the composer with the templates. Return the panel, or 204 without a result."""
    conversation = access.get_conversation_or_404(request, pk)
    window = service_window.get_window_state(conversation, now=service_window.database_now())
    was_sent = request.POST.get("sent") == "1"
    text = chat_actions.posted_text(request)
    found = panels.recognize_text(conversation, text, user=request.user, window=window, was_sent=was_sent)
    if found is None:
        return HttpResponse(status=204)
    return _panel_response(request, conversation, found)


@require_chat_access
@require_GET
@never_cache
def show_template_picker(request: HttpRequest, pk: int) -> HttpResponse:
    """List the templates that can be sent in this chat, favorites and recently used ones first."""
    conversation = access.get_conversation_or_404(request, pk)
    query = request.GET.get("find", "").replace("\0", "").strip()[: selection.MAX_QUERY_LENGTH]
    found = panels.build_picker(request, conversation, query=query, is_hold=request.GET.get("hold") == "1")
    return _panel_response(request, conversation, found)


@forms.require_chat_form
def show_template_panel(request: HttpRequest, pk: int, template_id: int) -> HttpResponse:
    """Show a template with its fields and preview. ``open``: just chosen, so prefill known values."""
    conversation = access.get_conversation_or_404(request, pk)
    template = _get_template_or_404(request, conversation, template_id)
    values = values_from_form(request.POST) | panels.parse_choice(request.POST.get("choice", ""))
    if request.POST.get("open"):
        values = panels.initial_values(conversation, template, values)
    default_kind = panels.RECOGNIZED if request.POST.get("choice") else request.POST.get("open", "")
    kind = request.POST.get("kind", default_kind)
    kind = kind if kind in (panels.RECOGNIZED, panels.HOLD) else panels.PICKED
    return _panel_response(
        request, conversation, panels.build_template_panel(conversation, template, values, kind=kind)
    )


@forms.require_chat_form
def send_template(request: HttpRequest, pk: int, template_id: int) -> HttpResponse:
    """Send the template with the posted values. Other text in the composer is kept as a draft."""
    conversation = access.get_conversation_or_404(request, pk)
    template = _get_template_or_404(request, conversation, template_id)
    values, replies_to = _posted_values(request, template), chats.posted_quote_id(request)

    def work(form_key: str) -> reply_submission.SubmitResult:
        with transaction.atomic():
            _check_colleagues(request, conversation)
            sent = reply_submission.submit_template_reply(
                conversation_id=conversation.pk,
                template_id=template.pk,
                parameters=values,
                author=request.user,
                replies_to=replies_to,
                form_key=form_key,
            )
            if sent.message is not None:
                colleague_replies.take_unassigned_chat(conversation.pk, author=request.user)
        return sent

    try:
        result = forms.submit_once(request, conversation, "template", template.pk, values, replies_to, work=work)
    except colleague_replies.AnsweredMeanwhile as problem:
        result = chat_actions.describe_colleague_reply(request, problem.reply)
    text = chat_actions.posted_text(request)
    if (
        not forms.posted_key(request, "once")
        and result["sent"]
        and request.POST.get("kind") != panels.RECOGNIZED
        and text.strip()
    ):
        reply_submission.save_draft(conversation.pk, author=request.user, text=text[: chat_actions.MAX_DRAFT_LENGTH])
    return _submission_response(request, conversation, template, result)


@forms.require_chat_form
def hold_text(request: HttpRequest, pk: int, template_id: int) -> HttpResponse:
    """Send the template now, and hold the text until the client writes."""
    conversation = access.get_conversation_or_404(request, pk)
    template = _get_template_or_404(request, conversation, template_id)
    text, values = chat_actions.posted_text(request), _posted_values(request, template)
    replies_to = chats.posted_quote_id(request)

    def work(form_key: str) -> reply_submission.SubmitResult:
        with transaction.atomic():
            _check_colleagues(request, conversation)
            sent = held_replies.hold_reply(
                conversation_id=conversation.pk,
                text=text,
                author=request.user,
                template_id=template.pk,
                parameters=values,
                replies_to=replies_to,
                form_key=form_key,
            )[1]
            if sent.message is not None:
                colleague_replies.take_unassigned_chat(conversation.pk, author=request.user)
        return sent

    try:
        result = forms.submit_once(request, conversation, "hold", text, template.pk, values, replies_to, work=work)
    except colleague_replies.AnsweredMeanwhile as problem:
        result = chat_actions.describe_colleague_reply(request, problem.reply)
    return _submission_response(request, conversation, template, result)


@forms.require_chat_form
def unhold_reply(request: HttpRequest, pk: int, held_id: int) -> HttpResponse:
    """Cancel a held reply and turn its text back into a draft."""
    conversation = access.get_conversation_or_404(request, pk)
    if not held_replies.cancel_held_reply(held_id, visible_chats=[conversation.pk]):
        return chat_actions.refusal_response(
            request, conversation, _("This text is no longer held: it has been sent or dropped.")
        )
    return chat_actions.success_response(request, conversation)


def _check_colleagues(request: HttpRequest, conversation: Conversation) -> None:
    """Raise AnsweredMeanwhile if a colleague has replied since the newest reply that the page showed."""
    colleague_replies.check_no_reply_since(
        conversation.pk, author=request.user, seen=parse_int(request.POST.get("seen"))
    )


def _posted_values(request: HttpRequest, template: Template) -> dict[str, str]:
    """Return the posted values by variable key, without empty and unknown ones."""
    keys = {variable.key for variable in template.definition.variables}
    return {key: value for key, value in values_from_form(request.POST).items() if key in keys and value}


def _get_template_or_404(request: HttpRequest, conversation: Conversation, template_id: int) -> Template:
    template = (
        Template.objects.all()
        .visible_to(request.user)
        .filter(pk=template_id, api_channel=conversation.api_channel)
        .select_related("api_channel")
        .first()
    )
    if template is None:
        raise Http404
    return template


def _submission_response(
    request: HttpRequest, conversation: Conversation, template: Template, result: dict[str, Any]
) -> HttpResponse:
    if chat_actions.is_script_request(request):
        return JsonResponse(result)
    if result["sent"]:
        return chat_actions.redirect_to_chat(request, conversation)
    kind = request.POST.get("kind", panels.PICKED)
    found = panels.build_template_panel(conversation, template, values_from_form(request.POST), kind=kind)
    return _chat_page(request, conversation, found, refusal=result["sentence"])


def _panel_response(request: HttpRequest, conversation: Conversation, found: panels.TemplatePanel) -> HttpResponse:
    if chat_actions.is_script_request(request):
        return render(request, "bridge/template_panel.html", {"panel": found, "conversation": conversation})
    return _chat_page(request, conversation, found)


def _chat_page(
    request: HttpRequest, conversation: Conversation, found: panels.TemplatePanel, *, refusal: str = ""
) -> HttpResponse:
    now = service_window.database_now()
    text = found.text or (chat_actions.posted_text(request) if request.method == "POST" else None)
    context = chats.build_chat_context(request, conversation, now=now, refusal=refusal, text=text)
    context |= chats.build_list_context(request, current=conversation.pk, now=now)
    return render(request, "bridge/chats.html", context | {"panel": found}, status=422 if refusal else 200)
