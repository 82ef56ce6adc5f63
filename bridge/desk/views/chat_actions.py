"""What an operator does in a chat. Every one is a POST; a script gets a short answer, a plain form goes back."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.conversations import tickets
from bridge.desk import access, forms
from bridge.desk.composer import panels
from bridge.desk.parameters import as_number
from bridge.desk.thread import message_view
from bridge.files import inbound_downloads, uploads
from bridge.models import Conversation, Delivery, Ticket
from bridge.outbox import resend
from bridge.relay import submission

from . import chats, file_uploads

LONGEST_KEPT = 20_000  # characters of a draft; far beyond what may be sent, so that nothing typed is lost


@forms.writes
def send(request: HttpRequest, pk: int) -> HttpResponse:
    """Hand a reply in. The relay decides; a refusal comes back here and now, with the text."""
    conversation = access.conversation_or_404(request, pk)
    text = text_in(request)
    replies_to = chats.replies_to(request)
    chosen = set(request.POST.getlist("upload"))
    names = [given.name for given in request.FILES.getlist("files")]

    def work(form_key: str) -> submission.SubmitResult:
        waiting = uploads.list_unsent_uploads(conversation, author=request.user)
        if not chosen <= {str(upload.pk) for upload in waiting}:
            raise uploads.UploadRefused(_("A file of this reply is no longer here. Attach it again, then send."))
        lines = file_uploads.taken(request, conversation)
        if names:
            waiting = uploads.list_unsent_uploads(conversation, author=request.user)
        return submission.submit_reply(
            conversation_id=conversation.pk,
            text="\n".join(filter(None, (text, *lines))),
            author=request.user,
            keep_draft=True,
            uploads=[upload for upload in waiting if str(upload.pk) in chosen or names],
            replies_to=replies_to,
            form_key=form_key,
        )

    try:
        told = forms.once(request, conversation, text, sorted(chosen), names, replies_to, work=work)
    except uploads.UploadRefused as problem:
        told = {"sent": False, "sentence": str(problem)}
    if by_script(request):
        return JsonResponse(told)
    if told["sent"]:
        return back(request, conversation)
    now = service_window.database_now()
    context = chats.chat_context(request, conversation, now=now, refusal=told["sentence"], text=text)
    context |= chats.list_context(request, current=conversation.pk, now=now)
    window = service_window.get_window_state(conversation, now=now)
    context["panel"] = panels.of_text(conversation, text, user=request.user, window=window, was_sent=True)
    return render(request, "bridge/chats.html", context, status=422)


@forms.writes
def draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep what is in the box, for this operator in this chat. 409 where the draft has been sent meanwhile."""
    conversation = access.conversation_or_404(request, pk)
    key = forms.key_in(request, "once")
    if forms.was_sent(conversation, key):
        return JsonResponse(forms.already_sent(), status=409)
    submission.save_draft(
        conversation.pk,
        author=request.user,
        text=text_in(request)[:LONGEST_KEPT],
        key=key,
        written_at=_written_at(request),
    )
    return HttpResponse(status=204)


def _written_at(request: HttpRequest) -> datetime | None:
    """When the browser saw the last keystroke, by the database's clock; never in the future."""
    said = as_number(request.POST.get("written_at"))
    now = service_window.database_now()
    return min(now, datetime.fromtimestamp(said / 1000, UTC)) if said and said < 10**14 else None


@forms.writes
def seen(request: HttpRequest, pk: int) -> HttpResponse:
    """The chat is open before somebody's eyes: what just came in is read."""
    chats.mark_seen(access.conversation_or_404(request, pk))
    return HttpResponse(status=204)


@forms.writes
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
    tickets.assign_chat(conversation.pk, user_id=user_id, by=request.user.pk)
    return done(request, conversation)


@forms.writes
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


@forms.writes
def send_again(request: HttpRequest, pk: int, message_id: int) -> HttpResponse:
    """Queue a message that did not go out, or may not have, once more; the window is looked at again."""
    conversation = access.conversation_or_404(request, pk)
    message = access.message_or_404(conversation, message_id)
    delivery = (
        Delivery.objects.filter(message=message, kind=Delivery.Kind.MESSAGE, state__in=message_view.RESENDABLE)
        .order_by("-pk")
        .first()
    )
    if delivery is None or not resend.resend_deliveries(delivery.pk, by=request.user):
        return refused(request, conversation, _("This message is already on its way."))
    return done(request, conversation)


@forms.writes
def leave(request: HttpRequest, pk: int, message_id: int) -> HttpResponse:
    """A message that may have been sent is left as it is: nobody is asked again."""
    conversation = access.conversation_or_404(request, pk)
    message = access.message_or_404(conversation, message_id)
    unknown = Delivery.objects.filter(
        message=message, kind=Delivery.Kind.MESSAGE, state=Delivery.State.UNKNOWN
    ).values_list("pk", flat=True)
    if not resend.accept_unknown_deliveries(*unknown, by=request.user):
        return refused(request, conversation, _("It is settled what became of this message."))
    return done(request, conversation)


@forms.writes
def fetch_file(request: HttpRequest, pk: int, file_id: int) -> HttpResponse:
    """Ask the provider once more for a client's file that did not come."""
    conversation = access.conversation_or_404(request, pk)
    if not inbound_downloads.retry_download(file_id, conversation_id=conversation.pk):
        return refused(request, conversation, _("This file is being fetched already."))
    return done(request, conversation)


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
    now = service_window.database_now()
    context = chats.chat_context(request, conversation, now=now, refusal=sentence)
    context |= chats.list_context(request, current=conversation.pk, now=now)
    return render(request, "bridge/chats.html", context, status=422)


def back(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    return redirect(chats.address_of(conversation, request))
