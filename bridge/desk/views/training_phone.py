"""Training phone: a page that simulates the client, for users who may see the channel's chats.

Messages are stored as if the provider had posted them to the channel's webhook. The webhook address is an admin secret
and not on this page. Only training providers have a phone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from bridge import service_window
from bridge.conversations import reactions
from bridge.desk import presentation
from bridge.desk.parameters import parse_int
from bridge.desk.thread import extras
from bridge.intake import webhooks
from bridge.models import Attachment, Contact, Conversation, Message
from channels_setup import permissions
from channels_setup.codecs.whatsapp_markup import render_html
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.permissions import require_chat_access

MAX_MESSAGES = 80
VISIBLE_STATUSES = (Message.Status.SENT, Message.Status.DELIVERED, Message.Status.READ)


@require_GET
@never_cache
@require_chat_access
def show_phone(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the page. Its script loads and posts everything."""
    channel = _get_channel_or_404(request, pk)
    context = {
        "channel": channel,
        "units": presentation.countdown_texts(),
        "words": {
            "names": [_("Anna Sokolova"), _("Igor Panin"), _("Maria Guseva"), _("Oleg Lapin")],
            "new_client": _("Client %(number)s"),
            "today": _("today"),
            "not_posted": _("Couldn’t reach the server. The message was not sent. Try again."),
            "file": _("file"),
            "react": _("React with 👍"),
            "may_write": _("The operator can write freely for"),
            "only_template": _("The window is closed: the operator may only send an approved template."),
            "not_open": _("Write a message to open the window for 24 hours."),
            "no_limit": _("This provider has no 24-hour window."),
        },
    }
    return render(request, "bridge/training_phone.html", context)


@require_GET
@never_cache
def list_phone_messages(request: HttpRequest, pk: int) -> HttpResponse:
    """Return the messages on the phone of the client ``from``: inbound ones, and outbound ones that were sent.

    ``after``: only messages with a greater ID. The page does not use it, because a delayed message may arrive after
    newer ones.
    """
    channel = _get_channel_or_404(request, pk)
    sender = request.GET.get("from", "")[:190].replace("\0", "")
    client = Contact.objects.filter(api_channel=channel, external_id=sender).first() if sender else None
    conversation = (
        Conversation.objects.filter(contact=client.owner_id)
        .visible_to(request.user)
        .select_related("api_channel", "contact")
        .order_by("-last_message_at")
        .first()
        if client
        else None
    )
    now = service_window.database_now()
    answer: dict[str, Any] = {"now": int(now.timestamp() * 1000), "messages": [], "window": {"state": "none"}}
    if client is not None and conversation is not None:
        merged_id = client.pk if client.merged_into_id else None  # for a merged client, only messages of this number
        window = service_window.get_merged_window_state(conversation, merged_id, now=now)
        answer["window"] = {
            "state": window.state,
            "expires_at": window.expires_at.isoformat() if window.expires_at else None,
        }
        answer["messages"] = _phone_messages(conversation, merged_id=merged_id, after=_posted_after(request), now=now)
    return JsonResponse(answer)


@require_POST
@never_cache
def post_phone_event(request: HttpRequest, pk: int) -> HttpResponse:
    """Store an event of the simulated client like a webhook of the provider."""
    return webhooks.receive_from_training_phone(request, _get_channel_or_404(request, pk))


def _get_channel_or_404(request: HttpRequest, pk: int) -> ApiChannel:
    """Return the channel if the user may see its chats. Raise PermissionDenied without a session, Http404 otherwise."""
    if not request.user.is_authenticated:
        raise PermissionDenied
    rows = ApiChannel.objects.filter(pk=pk)
    if not request.user.has_perm(permissions.VIEW_ALL_CHATS):
        rows = rows.filter(watched__in=ChatChannel.objects.all().visible_to(request.user))
    channel = rows.first()
    if channel is None or not channel.provider.has_training_phone:
        raise Http404
    return channel


def _posted_after(request: HttpRequest) -> int:
    return parse_int(request.GET.get("after")) or 0


def _phone_messages(
    conversation: Conversation, *, merged_id: int | None, after: int, now: datetime
) -> list[dict[str, Any]]:
    rows = (
        Message.objects.filter(conversation=conversation, merged_contact=merged_id, pk__gt=after)
        .exclude(direction=Message.Direction.NOTICE)
        .exclude(direction=Message.Direction.OUTBOUND, status__in=set(Message.Status) - set(VISIBLE_STATUSES))
        .select_related("quoted__author")
        .prefetch_related("attachments")
        .order_by("-pk")
    )
    return [_message_json(row, now=now) for row in list(rows[:MAX_MESSAGES])[::-1]]


def _message_json(message: Message, *, now: datetime) -> dict[str, Any]:
    quoted = extras.build_quote(message.quoted)
    return {
        "id": message.pk,
        "external_id": message.external_id,
        "mine": message.direction == Message.Direction.INBOUND,
        "kind": message.kind,
        "text": message.text,
        "html": render_html(message.text),
        "quoted": quoted.words if quoted else "",
        "status": message.status,
        "day": presentation.format_day(message.written_at, now=now),
        "time": presentation.format_clock(message.written_at),
        "files": [_file_json(attachment) for attachment in message.attachments.all()],
        "reactions": _list_reactions(message),
    }


def _list_reactions(message: Message) -> list[dict[str, Any]]:
    """Return the reactions on the phone: the client's, and ours once it is sent."""
    own = reactions.OurReaction.of_message(message)
    ours = own.before if own is not None and own.state == reactions.PENDING else reactions.get_our_emoji(message)
    rows = message.reactions if isinstance(message.reactions, list) else []
    found = [{"emoji": row["emoji"], "mine": True} for row in rows if row.get("by") == "client"]
    return [*found, {"emoji": ours, "mine": False}] if ours else found


def _file_json(attachment: Attachment) -> dict[str, str]:
    return {"name": attachment.name or attachment.url[-80:], "url": attachment.url}
