"""Safety of chat forms: each form names its chat and user, and its key makes a submission idempotent."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from bridge import idempotency, service_window
from bridge.models import Conversation, Message
from bridge.relay import reply_submission
from channels_setup.permissions import require_chat_access

from . import presentation, refusals
from .parameters import parse_int

FOR_CHAT, FOR_USER = "for_chat", "for_user"  # hidden fields of every form of a chat
OTHER_CHAT, OTHER_USER, DRAFT_SENT, OLD_PAGE = "other_chat", "other_user", "draft_sent", "old_page"  # reasons of a 409
MAX_TEXT_SHOWN = 10_000  # characters of the posted text that the conflict page shows
FORM_KEY = re.compile(r"[\w-]{8,64}", re.ASCII)

View = Callable[..., HttpResponseBase]


def require_chat_form(view: View) -> View:
    """Guard a view that changes something in a chat.

    Requires a signed-in user and POST. Rejects a form that was made for another user or another chat: a tab may be
    older than the session, and a slow tab may still show the previous chat.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return reject_stale_form(request, chat=kwargs.get("pk")) or view(request, *args, **kwargs)

    return require_chat_access(require_POST(wrapper))


def reject_stale_form(request: HttpRequest, *, chat: int | None = None) -> HttpResponse | None:
    """Return a 409 response if the form belongs to another user, another chat, or an outdated page.

    A chat form without these fields comes from a page that was open during an upgrade.
    """
    values = request.POST if request.method == "POST" else request.GET
    if FOR_USER in values and parse_int(values[FOR_USER]) != request.user.pk:
        return _conflict_response(request, OTHER_USER, other_user_sentence(request))
    if chat is not None and FOR_CHAT in values and parse_int(values[FOR_CHAT]) != chat:
        return _conflict_response(
            request,
            OTHER_CHAT,
            _("This was written in another chat, so nothing was sent. Open that chat and try again."),
        )
    if chat is not None and request.method == "POST" and not (FOR_USER in values and FOR_CHAT in values):
        return _conflict_response(
            request,
            OLD_PAGE,
            _("This page is out of date, so nothing was sent. Copy your text, reload the page, and try again."),
            words=request.POST.get("text") or request.POST.get("note") or "",
        )
    return None


def other_user_sentence(request: HttpRequest) -> str:
    name = presentation.person_name(request.user)
    return _("You are now signed in as %(name)s. Reload the page to continue.") % {"name": name}


def _conflict_response(request: HttpRequest, reason: str, sentence: str, *, words: str = "") -> HttpResponse:
    """Build the 409. ``words``: the posted text, for copying. Never passed for the form of another user."""
    if "HX-Request" in request.headers:
        return JsonResponse({"reason": reason, "sentence": sentence}, status=409)
    context = {"sentence": sentence, "words": words[:MAX_TEXT_SHOWN]}
    return render(request, "bridge/conflict.html", context, status=409)


@require_chat_access
@require_GET
@never_cache
def show_session(request: HttpRequest) -> HttpResponse:
    """Return the signed-in user and a valid CSRF token as JSON, for pages older than the session."""
    return JsonResponse(
        {"user": request.user.pk, "name": presentation.person_name(request.user), "token": get_token(request)}
    )


def submit_once(
    request: HttpRequest,
    conversation: Conversation,
    *content: Any,
    work: Callable[[str], reply_submission.SubmitResult],
) -> dict[str, Any]:
    """Submit a form once. A repeated POST under the same key gets the first answer.

    Scripts post ``once``, the key of the draft: the draft becomes one message from any tab, and different text under
    its key is refused. Plain forms post ``key``: the same key with different text is a new message, because the
    operator went back in the browser and continued to write. Refused text does not use up its key.
    """
    body = json.dumps(content, ensure_ascii=False).encode()
    draft_key = posted_key(request, "once")

    def submit() -> idempotency.StoredResponse:
        if draft_key and is_draft_sent(conversation, draft_key):
            return idempotency.StoredResponse(409, already_sent_result())
        result = work(draft_key)
        if result.message is not None:
            return idempotency.StoredResponse(200, {"sent": True, "sentence": result.decision.sentence})
        is_open = service_window.get_window_state(conversation).is_open
        until = refusals.render_until(refusals.list_ends(result.decision.reason, window_is_open=is_open))
        return idempotency.StoredResponse(422, {"sent": False, "sentence": result.decision.sentence, "until": until})

    owner, key = f"chat {conversation.pk}/", draft_key
    if not key and (plain := posted_key(request, "key")):
        owner, key = f"{owner}{request.user.pk}", f"{plain} {hashlib.sha256(body).hexdigest()[:16]}"
    try:
        response = idempotency.run_once(
            owner=owner, key=key, request=body, work=submit, should_store=lambda response: response.status == 200
        )
    except idempotency.IdempotencyKeyReused:
        return already_sent_result()
    return dict(response.body)


def posted_key(request: HttpRequest, name: str) -> str:
    key = request.POST.get(name, "")
    return key if FORM_KEY.fullmatch(key) else ""


def is_draft_sent(conversation: Conversation, key: str) -> bool:
    """Return whether the draft with this key has become a message."""
    return bool(key) and Message.objects.filter(conversation=conversation, form_key=key).exists()


def already_sent_result() -> dict[str, Any]:
    sentence = _("This draft was sent from another tab.")
    return {"sent": False, "reason": DRAFT_SENT, "sentence": sentence, "until": refusals.End.TEXT.value}
