"""Actions of an operator in a chat, all by POST. Scripts get a short response, plain forms a redirect."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from bridge import service_window
from bridge.conversations import assignment_rules, chat_notes, tickets
from bridge.desk import access, forms, presentation, refusals
from bridge.desk.composer import panels
from bridge.desk.parameters import parse_int
from bridge.desk.thread import message_view
from bridge.files import inbound_downloads, uploads
from bridge.models import Conversation, Delivery, Message, Ticket
from bridge.outbox import resend
from bridge.relay import colleague_replies, reply_submission

from . import chats, file_uploads

MAX_DRAFT_LENGTH = 20_000  # characters of a draft; well above the message limit, so that no typed text is lost


@forms.require_chat_form
def send_reply(request: HttpRequest, pk: int) -> HttpResponse:
    """Submit a reply. Show a refusal at once and keep the text."""
    conversation = access.get_conversation_or_404(request, pk)
    text = posted_text(request)
    replies_to = chats.posted_quote_id(request)
    chosen = set(request.POST.getlist("upload"))
    names = [file.name for file in request.FILES.getlist("files")]

    def work(form_key: str) -> reply_submission.SubmitResult:
        waiting = uploads.list_unsent_uploads(conversation, author=request.user)
        if not chosen <= {str(upload.pk) for upload in waiting}:
            raise uploads.UploadRefused(_("A file of this reply is no longer available. Attach it again, then send."))
        lines = file_uploads.store_form_files(request, conversation)
        if names:
            waiting = uploads.list_unsent_uploads(conversation, author=request.user)
        with transaction.atomic():
            colleague_replies.check_no_reply_since(
                conversation.pk, author=request.user, seen=parse_int(request.POST.get("seen"))
            )
            sent = reply_submission.submit_reply(
                conversation_id=conversation.pk,
                text="\n".join(filter(None, (text, *lines))),
                author=request.user,
                keep_draft=True,
                uploads=[upload for upload in waiting if str(upload.pk) in chosen or names],
                replies_to=replies_to,
                form_key=form_key,
            )
            if sent.message is not None:
                colleague_replies.take_unassigned_chat(conversation.pk, author=request.user)
        return sent

    try:
        result = forms.submit_once(request, conversation, text, sorted(chosen), names, replies_to, work=work)
    except uploads.UploadRefused as problem:
        result = {"sent": False, "sentence": str(problem), "until": refusals.End.FILES.value}
    except colleague_replies.AnsweredMeanwhile as problem:
        result = describe_colleague_reply(request, problem.reply)
    if is_script_request(request):
        return JsonResponse(result)
    if result["sent"]:
        return redirect_to_chat(request, conversation)
    now = service_window.database_now()
    context = chats.build_chat_context(request, conversation, now=now, refusal=result["sentence"], text=text)
    context["refusal_until"] = result.get("until", context["refusal_until"])
    context |= chats.build_list_context(request, current=conversation.pk, now=now)
    window = service_window.get_window_state(conversation, now=now)
    context["panel"] = panels.recognize_text(conversation, text, user=request.user, window=window, was_sent=True)
    return render(request, "bridge/chats.html", context, status=422)


def describe_colleague_reply(request: HttpRequest, reply: Message) -> dict[str, Any]:
    """Return the response for a reply that crossed a colleague's. Scripts show the colleague's words themselves."""
    title = _("%(name)s answered meanwhile") % {"name": presentation.person_name(reply.author)}
    words = reply.localized_text or _("a file")
    sentence = "" if is_script_request(request) else f"{title}: “{words}”"
    result: dict[str, Any] = {"sent": False, "reason": "answered_meanwhile", "sentence": sentence}
    return result | {"title": title, "words": words, "message": reply.pk}


@forms.require_chat_form
def save_draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Save the operator's draft in this chat. Return 409 if the draft has been sent meanwhile."""
    conversation = access.get_conversation_or_404(request, pk)
    key = forms.posted_key(request, "once")
    if forms.is_draft_sent(conversation, key):
        return JsonResponse(forms.already_sent_result(), status=409)
    reply_submission.save_draft(
        conversation.pk,
        author=request.user,
        text=posted_text(request)[:MAX_DRAFT_LENGTH],
        key=key,
        written_at=_posted_time(request),
    )
    return HttpResponse(status=204)


def _posted_time(request: HttpRequest) -> datetime | None:
    """Return the posted time of the last keystroke, capped at the database's current time."""
    milliseconds = parse_int(request.POST.get("written_at"))
    now = service_window.database_now()
    if not milliseconds or milliseconds >= 10**14:
        return None
    return min(now, datetime.fromtimestamp(milliseconds / 1000, UTC))


@forms.require_chat_form
def mark_chat_seen(request: HttpRequest, pk: int) -> HttpResponse:
    """Mark the chat as seen by an operator."""
    chats.mark_seen(access.get_conversation_or_404(request, pk, allow_erased=True), user=request.user)
    return HttpResponse(status=204)


@forms.require_chat_form
def assign_chat(request: HttpRequest, pk: int) -> HttpResponse:
    """Assign the chat to an eligible user or team, or unassign it from both. A user keeps the chat's team."""
    conversation = access.get_conversation_or_404(request, pk)
    if team := request.POST.get("team", ""):
        return _assign_to_team(request, conversation, parse_int(team) or 0)
    value = request.POST.get("user", "")
    user_id, team_id = None, None
    if value:
        person = access.assignable_users(conversation, request.user).filter(pk=parse_int(value) or 0).first()
        if person is None:
            return refusal_response(request, conversation, _("This person is not an operator of this channel."))
        user_id, team_id = person.pk, tickets.UNCHANGED
    return _assign(request, conversation, user_id=user_id, team_id=team_id)


def _assign(
    request: HttpRequest, conversation: Conversation, *, user_id: int | None, team_id: int | None
) -> HttpResponse:
    words = request.POST.get("note", "").strip()
    try:
        with transaction.atomic():
            assignment_rules.assign_chat(request.user, conversation.pk, user_id=user_id, team_id=team_id)
            if words:
                people = list(access.mentionable_users(conversation))
                handle = chat_notes.build_handles(people).get(user_id or 0) if user_id != request.user.pk else None
                words = f"@{handle} {words}" if handle and f"@{handle}" not in words else words
                chat_notes.add_note(conversation.pk, words, author=request.user, people=people)
    except (assignment_rules.AssignmentRefused, chat_notes.NoteRefused) as problem:
        return refusal_response(request, conversation, str(problem))
    return success_response(request, conversation)


def _assign_to_team(request: HttpRequest, conversation: Conversation, team_id: int) -> HttpResponse:
    if not access.assignable_teams(conversation).filter(pk=team_id).exists():
        return refusal_response(request, conversation, _("This team does not serve this channel."))
    return _assign(request, conversation, user_id=None, team_id=team_id)


@forms.require_chat_form
def change_ticket_status(request: HttpRequest, pk: int) -> HttpResponse:
    """Change the status of a request of this chat."""
    conversation = access.get_conversation_or_404(request, pk)
    ticket = Ticket.objects.filter(conversation=conversation, pk=parse_int(request.POST.get("ticket")) or 0).first()
    status = parse_int(request.POST.get("status"))
    if ticket is None or status not in Ticket.Status.values:
        return refusal_response(request, conversation, _("This chat has no such request."))
    try:
        tickets.set_ticket_status(ticket.pk, status=status, by=request.user.pk)
    except ValueError:
        return refusal_response(
            request,
            conversation,
            _("Another request in this chat is already open. Close it before you reopen an earlier one."),
        )
    return success_response(request, conversation)


@forms.require_chat_form
def resend_message(request: HttpRequest, pk: int, message_id: int) -> HttpResponse:
    """Resend a failed message or one with an unknown outcome. The window is checked again."""
    conversation = access.get_conversation_or_404(request, pk)
    message = access.get_message_or_404(conversation, message_id)
    delivery = (
        Delivery.objects.filter(message=message, kind=Delivery.Kind.MESSAGE, state__in=message_view.RESENDABLE)
        .order_by("-pk")
        .first()
    )
    if delivery is None or not resend.resend_deliveries(delivery.pk, by=request.user):
        return refusal_response(request, conversation, _("This message is already on its way."))
    return success_response(request, conversation)


@forms.require_chat_form
def accept_unknown_outcome(request: HttpRequest, pk: int, message_id: int) -> HttpResponse:
    """Accept the unknown outcome of a message: do not resend it and stop asking."""
    conversation = access.get_conversation_or_404(request, pk)
    message = access.get_message_or_404(conversation, message_id)
    unknown = Delivery.objects.filter(
        message=message, kind=Delivery.Kind.MESSAGE, state=Delivery.State.UNKNOWN
    ).values_list("pk", flat=True)
    if not resend.accept_unknown_deliveries(*unknown, by=request.user):
        return refusal_response(request, conversation, _("This message has already been resolved."))
    return success_response(request, conversation)


@forms.require_chat_form
def refetch_file(request: HttpRequest, pk: int, file_id: int) -> HttpResponse:
    """Retry the download of a client's file from the provider."""
    conversation = access.get_conversation_or_404(request, pk)
    if not inbound_downloads.retry_download(file_id, conversation_id=conversation.pk):
        return refusal_response(request, conversation, _("This file is already being downloaded."))
    return success_response(request, conversation)


def posted_text(request: HttpRequest) -> str:
    """Return the posted text with LF line ends (forms post CRLF) and without NUL (PostgreSQL rejects it)."""
    return request.POST.get("text", "").replace("\r\n", "\n").replace("\0", "\ufffd")


def is_script_request(request: HttpRequest) -> bool:
    return "HX-Request" in request.headers


def success_response(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    return HttpResponse(status=204) if is_script_request(request) else redirect_to_chat(request, conversation)


def refusal_response(
    request: HttpRequest, conversation: Conversation, sentence: str, *, code: str = ""
) -> HttpResponse:
    """Say why an action was refused. ``code``: of ``outcomes``, if there is one: it decides what ends the refusal."""
    if is_script_request(request):
        until = refusals.render_until(refusals.list_ends(code))
        return JsonResponse({"sentence": sentence, "until": until}, status=422)
    now = service_window.database_now()
    context = chats.build_chat_context(request, conversation, now=now, refusal=sentence)
    context["refusal_until"] = refusals.render_until(refusals.list_ends(code))
    context |= chats.build_list_context(request, current=conversation.pk, now=now)
    return render(request, "bridge/chats.html", context, status=422)


def redirect_to_chat(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    return redirect(chats.chat_url(conversation, request))
