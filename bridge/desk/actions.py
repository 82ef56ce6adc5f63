"""What an operator does in a chat. Every one is a POST; a script gets a short answer, a plain form goes back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from bridge import idempotency, media, relay, replay, tickets, uploads, windows
from bridge.models import Conversation, Delivery, Ticket

from . import access, chats, panels, said, uploading
from .numbers import as_number

FORM_KEY = re.compile(r"[\w-]{8,64}", re.ASCII)
LONGEST_KEPT = 20_000  # characters of a draft; far beyond what may be sent, so that nothing typed is lost


@login_required
@require_POST
def send(request: HttpRequest, pk: int) -> HttpResponse:
    """Hand a reply in. The relay decides; a refusal comes back here and now, with the text."""
    conversation = access.conversation_or_404(request, pk)
    text = text_in(request)
    replies_to = chats.replies_to(request)
    chosen = set(request.POST.getlist("upload"))
    names = [given.name for given in request.FILES.getlist("files")]

    def work() -> relay.HandedIn:
        lines = uploading.taken(request, conversation)
        waiting = uploads.unsent(conversation, author=request.user)
        return relay.hand_in(
            conversation_id=conversation.pk,
            text="\n".join(filter(None, (text, *lines))),
            author=request.user,
            keep_draft=True,
            uploads=[upload for upload in waiting if str(upload.pk) in chosen or names],
            replies_to=replies_to,
        )

    try:
        told = once(request, conversation, text, sorted(chosen), names, replies_to, work=work)
    except uploads.NotTaken as problem:
        told = {"sent": False, "sentence": str(problem)}
    if by_script(request):
        return JsonResponse(told)
    if told["sent"]:
        return back(request, conversation)
    now = windows.database_now()
    context = chats.chat_context(request, conversation, now=now, refusal=told["sentence"], text=text)
    context |= chats.list_context(request, current=conversation.pk, now=now)
    window = windows.of(conversation, now=now)
    context["panel"] = panels.of_text(conversation, text, user=request.user, window=window, was_sent=True)
    return render(request, "bridge/chats.html", context, status=422)


@login_required
@require_POST
def draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep what is in the box, for this operator in this chat."""
    conversation = access.conversation_or_404(request, pk)
    relay.save_draft(conversation.pk, author=request.user, text=text_in(request)[:LONGEST_KEPT])
    return HttpResponse(status=204)


@login_required
@require_POST
def seen(request: HttpRequest, pk: int) -> HttpResponse:
    """The chat is open before somebody's eyes: what just came in is read."""
    chats.mark_seen(access.conversation_or_404(request, pk))
    return HttpResponse(status=204)


@login_required
@require_POST
def assign(request: HttpRequest, pk: int) -> HttpResponse:
    """Give the chat to somebody who may answer it, or to nobody."""
    conversation = access.conversation_or_404(request, pk)
    wanted = request.POST.get("user", "")
    user_id = None
    if wanted:
        person = access.may_answer(conversation, request.user).filter(pk=as_number(wanted) or 0).first()
        if person is None:
            return refused(request, conversation, _("This person does not answer chats of this channel."))
        user_id = person.pk
    tickets.assign(conversation.pk, user_id=user_id, by=request.user.pk)
    return done(request, conversation)


@login_required
@require_POST
def ticket_status(request: HttpRequest, pk: int) -> HttpResponse:
    """Close, solve, reopen… a request of this chat."""
    conversation = access.conversation_or_404(request, pk)
    ticket = Ticket.objects.filter(conversation=conversation, pk=as_number(request.POST.get("ticket")) or 0).first()
    status = as_number(request.POST.get("status"))
    if ticket is None or status not in Ticket.Status.values:
        return refused(request, conversation, _("There is no such request in this chat."))
    try:
        tickets.set_ticket_status(ticket.pk, status=status, by=request.user.pk)
    except ValueError:
        return refused(
            request,
            conversation,
            _("Another request of this chat is already open: an earlier one cannot be reopened beside it."),
        )
    return done(request, conversation)


@login_required
@require_POST
def send_again(request: HttpRequest, pk: int, message_id: int) -> HttpResponse:
    """Queue a message that did not go out, or may not have, once more; the window is looked at again."""
    conversation = access.conversation_or_404(request, pk)
    message = access.message_or_404(conversation, message_id)
    delivery = (
        Delivery.objects.filter(message=message, kind=Delivery.Kind.MESSAGE, state__in=said.RESENDABLE)
        .order_by("-pk")
        .first()
    )
    if delivery is None or not replay.send_again(delivery.pk, by=request.user):
        return refused(request, conversation, _("This message is already on its way."))
    return done(request, conversation)


@login_required
@require_POST
def leave(request: HttpRequest, pk: int, message_id: int) -> HttpResponse:
    """A message that may have been sent is left as it is: nobody is asked again."""
    conversation = access.conversation_or_404(request, pk)
    message = access.message_or_404(conversation, message_id)
    unknown = Delivery.objects.filter(
        message=message, kind=Delivery.Kind.MESSAGE, state=Delivery.State.UNKNOWN
    ).values_list("pk", flat=True)
    if not replay.leave(*unknown, by=request.user):
        return refused(request, conversation, _("It is settled what became of this message."))
    return done(request, conversation)


@login_required
@require_POST
def fetch_file(request: HttpRequest, pk: int, file_id: int) -> HttpResponse:
    """Ask the provider once more for a client's file that did not come."""
    conversation = access.conversation_or_404(request, pk)
    if not media.fetch_again(file_id, conversation_id=conversation.pk):
        return refused(request, conversation, _("This file is being fetched already."))
    return done(request, conversation)


def once(
    request: HttpRequest, conversation: Conversation, *content: Any, work: Callable[[], relay.HandedIn]
) -> dict[str, Any]:
    """Hand in what this form says, once: a double click or a repeated POST under its key gets the first answer.

    The same key with other words is another message: somebody went back in the browser and wrote on.
    """
    key = request.POST.get("key", "")
    posted = json.dumps(content, ensure_ascii=False)
    digest = hashlib.sha256(posted.encode()).hexdigest()[:16]

    def answer() -> idempotency.Answer:
        handed = work()
        return idempotency.Answer(200, {"sent": handed.message is not None, "sentence": handed.decision.sentence})

    answered = idempotency.once(
        owner=f"chat {conversation.pk}/{request.user.pk}",
        key=f"{key} {digest}" if FORM_KEY.fullmatch(key) else "",
        request=posted.encode(),
        work=answer,
    )
    return dict(answered.body)


def text_in(request: HttpRequest) -> str:
    """What was typed. A form posts CRLF for every line's end, and PostgreSQL takes no NUL."""
    return request.POST.get("text", "").replace("\r\n", "\n").replace("\0", "\ufffd")


def by_script(request: HttpRequest) -> bool:
    return "HX-Request" in request.headers


def done(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    return HttpResponse(status=204) if by_script(request) else back(request, conversation)


def refused(request: HttpRequest, conversation: Conversation, sentence: str) -> HttpResponse:
    if by_script(request):
        return JsonResponse({"sentence": sentence}, status=422)
    now = windows.database_now()
    context = chats.chat_context(request, conversation, now=now, refusal=sentence)
    context |= chats.list_context(request, current=conversation.pk, now=now)
    return render(request, "bridge/chats.html", context, status=422)


def back(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    return redirect(chats.address_of(conversation, request))
