"""Page behind a one-time link in a helpdesk note: choose a template, fill it in, send it. No sign-in.

Values come by POST, so that they never appear in logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge import service_window
from bridge.conversations import receiving
from bridge.fanout import operator_notes, template_links
from bridge.models import Conversation, TemplateLink
from bridge.relay import reply_submission
from templates_registry.preview import build_preview, values_from_form

from .composer import prefill

SEARCH_ABOVE = 8  # show a search field above this number of templates
MAX_QUERY_LENGTH = 80


@require_http_methods(["GET", "POST"])
@never_cache
def show_template_link(request: HttpRequest, signature: str) -> HttpResponse:
    link = template_links.find_template_link(signature)
    if link is None:
        raise Http404
    if not template_links.count_link_call(link):
        context = {"heading": _("Too many requests"), "sentence": _("Wait a minute and try again.")}
        return _show_message(request, context, status=429)
    if link.used_at is not None:
        return _show_sent(request, link)
    if template_links.is_link_expired(link):
        sentence = _("Send your text from the helpdesk again: the note that comes back has a new link.")
        return _show_message(request, {"heading": _("This link has expired"), "sentence": sentence}, status=410)
    choices = template_links.list_template_choices(link)
    if not choices:
        sentence = _(
            "The templates offered by this link can no longer be sent. Send your text from the helpdesk again."
        )
        return _show_message(request, {"heading": _("There is no template to send"), "sentence": sentence}, status=410)
    key = request.GET.get("choice", "")
    only_choice = choices[0] if len(choices) == 1 and not key else None
    choice = next((row for row in choices if row.key == key), only_choice)
    if choice is None and key and request.method == "POST":
        sentence = _("Nothing was sent. Open the link from the helpdesk again and choose another template.")
        return _show_message(
            request, {"heading": _("This template is no longer available"), "sentence": sentence}, status=410
        )
    if choice is None:
        return _show_choices(request, link, choices, is_gone=bool(key))
    return _show_form(request, link, choice, is_only=len(choices) == 1)


def _show_choices(
    request: HttpRequest, link: TemplateLink, choices: list[template_links.LinkChoice], *, is_gone: bool
) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:MAX_QUERY_LENGTH]
    rows = []
    for choice in choices:
        preview = build_preview(choice.template, choice.values)
        if preview and query.casefold() in f"{choice.template.name} {preview.rendering.text}".casefold():
            rows.append({"key": choice.key, "template": choice.template, "preview": preview})
    context = {
        "link": link,
        "rows": rows,
        "query": query,
        "has_search": len(choices) > SEARCH_ABOVE,
        "is_gone": is_gone,
    }
    return _with_no_index(render(request, "bridge/template_link_list.html", context))


def _show_form(
    request: HttpRequest, link: TemplateLink, choice: template_links.LinkChoice, *, is_only: bool
) -> HttpResponse:
    values, sentence = dict(choice.values), ""
    if request.method == "POST":
        values = values_from_form(request.POST)
        if request.POST.get("go"):
            sentence = _send_once(link, choice, values)
            if not sentence:
                return _show_sent(
                    request, get_object_or_404(TemplateLink.objects.select_related("message"), pk=link.pk)
                )
    else:
        values = prefill.prefill_values(link.conversation, choice.template.definition) | values
    preview = build_preview(choice.template, values)
    if preview is None:
        raise Http404
    context: dict[str, Any] = {
        "link": link,
        "template": choice.template,
        "choice": choice,
        "preview": preview,
        "sentence": sentence,
        "is_only": is_only,
    }
    if "HX-Request" in request.headers:
        return render(request, "templates_registry/templates_page/fill_form_regions.html", context)
    return _with_no_index(render(request, "bridge/template_link.html", context, status=422 if sentence else 200))


@transaction.atomic
def _send_once(link: TemplateLink, choice: template_links.LinkChoice, values: Mapping[str, str]) -> str:
    """Send the template at most once. Return an error sentence, or an empty string.

    Locks the conversation before the link, in the same order as merging and erasure, to avoid deadlocks.
    """
    try:
        conversation: Conversation | None = receiving.lock_conversation(link.conversation_id)
    except Conversation.DoesNotExist:  # made by a merge that was undone meanwhile
        conversation = None
    locked = TemplateLink.objects.select_for_update(of=("self",)).filter(pk=link.pk).first()
    if locked is None:
        raise Http404
    if locked.used_at is not None:
        return ""
    if conversation is None or locked.conversation_id != conversation.pk:
        return _("This chat was just moved by a merge or its undo. Nothing was sent. Try again.")
    result = reply_submission.submit_template_reply(
        conversation_id=conversation.pk,
        template_id=choice.template.pk,
        parameters={key: value for key, value in values.items() if value},
        author=None,
    )
    if result.message is None:
        return result.decision.sentence
    TemplateLink.objects.filter(pk=locked.pk).update(used_at=service_window.database_now(), message=result.message)
    operator_notes.note_sent_as_template(result.message.conversation, result.decision)
    return ""


def _show_sent(request: HttpRequest, link: TemplateLink) -> HttpResponse:
    """Confirm the sending. Shows the text until the link expires."""
    text = link.message.text if link.message and not template_links.is_link_expired(link) else ""
    sentence = _("The template is on its way to the client. This link cannot be used again.")
    return _show_message(request, {"heading": _("Sent"), "sentence": sentence, "text": text, "is_good": True})


def _show_message(request: HttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    return _with_no_index(render(request, "bridge/template_link_message.html", context, status=status))


def _with_no_index(response: HttpResponse) -> HttpResponse:
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response
