"""Deliveries of each message and event: to the contact, and to the API channels that track it.

A conversation belongs to one API channel, which gets the operator's *messages*. Every API channel that watches the chat
channel gets *events* of the kinds that it tracks, as the helpdesk's public documentation describes them.
`chat_events.marked` marks which is which. Channels whose receivers would deliver a copy to the client get operators'
replies only on request. The content is stored when the delivery is created, so every attempt carries the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from bridge import ticket_properties
from bridge.files.attachment_files import build_signed_link
from bridge.models import Attachment, Contact, Conversation, Delivery, Message, Ticket
from bridge.row_inserts import build_row
from channels_setup.codecs import chat_events
from channels_setup.codecs.html_text import text_to_html
from channels_setup.models import ApiChannel

PLATFORM = "whatsapp"

FindWatchers = Callable[[Iterable[int]], dict[int, list[ApiChannel]]]  # `find_watchers`, or a cache of it


@dataclass(frozen=True, kw_only=True)
class MessageContext:
    """A message with what its events need. `state`: None, "new" or "reopened".

    `stamp`: `last_updated_at` of its events; see `advance_event_stamp`.
    """

    message: Message
    conversation: Conversation
    ticket: Ticket
    state: str | None = None
    new_ticket: bool = False
    stamp: datetime | None = None
    files: Sequence[str] = ()
    attachments: Sequence[Attachment] = ()  # an operator's files, sent as files

    @property
    def contact(self) -> Contact:
        """The contact whose IDs are used: a merged contact, or the conversation's own."""
        return self.message.merged_contact or self.conversation.contact

    @property
    def links(self) -> list[str]:
        """Links to all files of the message."""
        return [*self.files, *(build_file_link(attachment) for attachment in self.attachments)]

    @property
    def kinds(self) -> set[str]:
        """The event kinds that one event of this message covers."""
        kinds = {"message"}
        if self.state == "new":
            kinds.add("new_chat")
        if self.state == "reopened":
            kinds.add("resumed")
        return kinds


def advance_event_stamp(conversation: Conversation, *, now: datetime) -> datetime:
    """Return `last_updated_at` for a chat's next event: now, but at least one second after the previous event.

    Receivers treat events with equal content and stamp as duplicates, and the stamp has whole seconds. The caller holds
    the chat's lock and saves `event_stamp`.
    """
    stamp = now.replace(microsecond=0)
    if conversation.event_stamp is not None:
        stamp = max(stamp, conversation.event_stamp + timedelta(seconds=1))
    conversation.event_stamp = stamp
    return stamp


def find_watchers(chat_channel_ids: Iterable[int]) -> dict[int, list[ApiChannel]]:
    """Return chat channel ID → the API channels that watch it. Archived ones get nothing."""
    watchers: dict[int, list[ApiChannel]] = {}
    links = ApiChannel.watched.through.objects.filter(
        chatchannel__in=set(chat_channel_ids), apichannel__archived_at=None
    ).select_related("apichannel")
    for link in links.order_by("apichannel"):
        watchers.setdefault(link.chatchannel_id, []).append(link.apichannel)
    return watchers


def build_deliveries(items: Sequence[MessageContext], *, find_watchers: FindWatchers = find_watchers) -> list[Delivery]:
    """Build unsaved deliveries for these messages, in order: to the contact and to all watchers."""
    watchers = find_watchers(item.conversation.chat_channel_id for item in items)
    deliveries: list[Delivery] = []
    for item in items:
        for channel in _add_owner(watchers.get(item.conversation.chat_channel_id, []), item):
            deliveries.extend(_build_for_channel(item, channel))
    return deliveries


def _add_owner(watchers: list[ApiChannel], item: MessageContext) -> list[ApiChannel]:
    """Add the conversation's own API channel, which gets its messages even if it no longer watches the chat channel."""
    owner = item.conversation.api_channel
    return watchers if any(channel.pk == owner.pk for channel in watchers) else [owner, *watchers]


def _build_for_channel(item: MessageContext, channel: ApiChannel) -> Iterable[Delivery]:
    message = item.message
    is_outbound = message.direction == Message.Direction.OUTBOUND
    may_see = not is_outbound or _may_see_replies(channel, item.conversation)
    if is_outbound and channel.pk == item.conversation.api_channel_id:
        yield build_row(
            Delivery,
            kind=Delivery.Kind.MESSAGE,
            free_text=message.kind != Message.Kind.TEMPLATE and channel.provider.service_window,
            payload={
                "event": _mark_event(_build_chat_event(item, channel), item.conversation, channel, delivery=True),
                "text": message.text,
                "template": _build_template_extension(message),
                "components": (message.template or {}).get("components", []),
                "contact": build_contact_object(item.contact),
                "quoted_id": message.quoted.external_id if message.quoted else "",
                "files": [_build_file_object(attachment) for attachment in item.attachments],
            },
            **_common_fields(item, channel, "message"),
        )
    elif channel.redirect_url and may_see and (kinds := item.kinds & set(channel.tracked)):
        yield build_row(
            Delivery,
            kind=Delivery.Kind.EVENT,
            payload={"event": _mark_event(_build_chat_event(item, channel), item.conversation, channel)},
            **_common_fields(item, channel, ",".join(sorted(kinds))),
        )
    if channel.redirect_url and item.new_ticket and channel.track_new_ticket:
        yield build_row(
            Delivery,
            kind=Delivery.Kind.EVENT,
            payload={"event": _build_new_ticket_event(item.ticket, item.conversation, channel, stamp=item.stamp)},
            **_common_fields(item, channel, "new_ticket"),
        )
    if channel.redirect_url and channel.track_comment and may_see:
        comment = build_comment(message, item.ticket, is_first=item.new_ticket, files=item.links)
        yield build_row(
            Delivery,
            kind=Delivery.Kind.EVENT,
            payload={
                "event": _build_comment_event(comment, item.ticket, item.conversation, channel, about=item.contact)
            },
            **_common_fields(item, channel, "comment"),
        )


def build_contact_object(contact: Contact) -> dict[str, Any]:
    """Return the addressee of a message, as a delivery stores it."""
    return {
        "id": contact.pk,
        "external_id": contact.external_id,
        "phone": contact.phone,
        "user_id": contact.user_id,
    }


def _may_see_replies(channel: ApiChannel, conversation: Conversation) -> bool:
    """Return whether a watcher gets operators' replies. One that would deliver copies gets them only on request."""
    is_owner = channel.pk == conversation.api_channel_id
    return is_owner or channel.copy_replies or not channel.provider.delivers_copies


def _mark_event(
    event: dict[str, Any], conversation: Conversation, channel: ApiChannel, *, delivery: bool = False
) -> dict[str, Any]:
    return chat_events.add_routing_flags(event, delivery=delivery, copy=channel.pk != conversation.api_channel_id)


def build_comment(message: Message, ticket: Ticket, *, is_first: bool, files: Sequence[str] = ()) -> dict[str, Any]:
    """Build the comment object of a message or note, for events and the public API."""
    is_client = message.direction == Message.Direction.INBOUND
    is_note = message.direction == Message.Direction.NOTICE
    sender = "client" if is_client else message.details.get("from") or "user"
    return chat_events.build_comment(
        id=message.pk,
        html=text_to_html(message.text or message.sentence),
        sender=sender,
        type=message.details.get("type") or "private" if is_note else "public",
        user_id=message.author_id,
        client_id=ticket.conversation.contact_id if sender == "client" else None,
        ticket_id=ticket.pk,
        is_first=is_first,
        delivered=message.status in (Message.Status.DELIVERED, Message.Status.READ),
        read=message.status == Message.Status.READ,
        published_at=message.created_at,
        files=files,
    )


def build_comment_deliveries(message: Message, ticket: Ticket) -> list[Delivery]:
    """Build unsaved "new comment" deliveries of an operators' note, for every channel that tracks comments."""
    is_first = not Message.objects.filter(ticket=ticket, pk__lt=message.pk).exists()
    links = [build_file_link(file) for file in message.attachments.order_by("pk")]
    comment = build_comment(message, ticket, is_first=is_first, files=links)
    conversation = ticket.conversation
    return [
        Delivery(
            kind=Delivery.Kind.EVENT,
            conversation=conversation,
            message=message,
            api_channel=channel,
            track="comment",
            payload={"event": _build_comment_event(comment, ticket, conversation, channel)},
        )
        for channel in find_watchers([conversation.chat_channel_id]).get(conversation.chat_channel_id, [])
        if channel.redirect_url and channel.track_comment and _may_see_replies(channel, conversation)
    ]


def _build_comment_event(
    comment: dict[str, Any],
    ticket: Ticket,
    conversation: Conversation,
    channel: ApiChannel,
    *,
    about: Contact | None = None,
) -> dict[str, Any]:
    event = chat_events.build_comment_event(
        app_id=str(channel.app_id),
        comment=comment,
        client=_build_client_object(conversation, about=about),
        assignee_id=ticket.assignee_id,
        custom_fields=ticket_properties.load_custom_fields([ticket])[ticket.pk],
    )
    return _mark_event(event, conversation, channel)


def _build_new_ticket_event(
    ticket: Ticket, conversation: Conversation, channel: ApiChannel, *, stamp: datetime | None = None
) -> dict[str, Any]:
    event = chat_events.build_ticket_event(
        app_id=str(channel.app_id),
        ticket=_build_ticket_object(ticket, conversation, stamp=None if channel.exact_updated_at else stamp),
        client=_build_client_object(conversation),
        custom_fields=ticket_properties.load_custom_fields([ticket])[ticket.pk],
    )
    return _mark_event(event, conversation, channel)


def _build_file_object(attachment: Attachment) -> dict[str, str]:
    """Describe a file by its link, and by its storage path for providers that need an upload."""
    described = {"url": build_file_link(attachment), "name": attachment.name, "mime": attachment.mime}
    return described | ({"stored": str(attachment.file.name), "sha256": attachment.sha256} if attachment.file else {})


def _common_fields(item: MessageContext, channel: ApiChannel, track: str) -> dict[str, Any]:
    return {
        "conversation": item.conversation,
        "message": item.message,
        "api_channel": channel,
        "track": track,
    }


def queue_ticket_change(
    ticket: Ticket, *, changes: list[dict[str, Any]], user_id: int | None, change_id: int
) -> list[Delivery]:
    """Save "request changed" deliveries for every channel that tracks changes."""
    conversation = ticket.conversation
    channels = [
        channel
        for channel in find_watchers([conversation.chat_channel_id]).get(conversation.chat_channel_id, [])
        if channel.redirect_url and channel.track_change
    ]
    if not channels:
        return []
    event = chat_events.build_change_event(
        app_id="",
        change_id=change_id,
        ticket_id=ticket.pk,
        user_id=user_id,
        changes=changes,
        status=ticket.status,
        changed_at=ticket.updated_at,
        company_id=conversation.chat_channel.company_id,
        client=_build_client_object(conversation),
        assignee_id=ticket.assignee_id,
        custom_fields=ticket_properties.load_custom_fields([ticket])[ticket.pk],
    )
    deliveries = [
        Delivery(
            kind=Delivery.Kind.EVENT,
            conversation=conversation,
            api_channel=channel,
            track="change",
            payload={"event": _mark_event(event | {"secret": str(channel.app_id)}, conversation, channel)},
        )
        for channel in channels
    ]
    return Delivery.objects.bulk_create(deliveries)


def build_new_ticket_deliveries(ticket: Ticket) -> list[Delivery]:
    """Build unsaved "new request" deliveries for a request that no message opened."""
    conversation = ticket.conversation
    return [
        Delivery(
            kind=Delivery.Kind.EVENT,
            conversation=conversation,
            api_channel=channel,
            track="new_ticket",
            payload={"event": _build_new_ticket_event(ticket, conversation, channel)},
        )
        for channel in find_watchers([conversation.chat_channel_id]).get(conversation.chat_channel_id, [])
        if channel.redirect_url and channel.track_new_ticket
    ]


def _build_chat_event(item: MessageContext, channel: ApiChannel) -> dict[str, Any]:
    message, conversation = item.message, item.conversation
    return chat_events.build_chat_event(
        app_id=str(channel.app_id),
        chat_id=conversation.pk,
        sender="user" if message.direction == Message.Direction.OUTBOUND else "client",
        text=message.text,
        client=_build_client_object(conversation, about=item.contact),
        ticket=_build_message_ticket_object(item, channel),
        state=item.state,
        files=item.links,
        message_id=message.pk,
        template=_build_template_extension(message),
        platform=PLATFORM,
    )


def _build_template_extension(message: Message) -> dict[str, Any] | None:
    """Return the template of a message in the form of our event extension `template`."""
    return {key: message.template[key] for key in ("name", "language", "parameters")} if message.template else None


def _build_client_object(conversation: Conversation, *, about: Contact | None = None) -> dict[str, Any]:
    """Build one client for all merged contacts. `about`: the contact whose numbers are used."""
    contact = conversation.contact
    about = about or contact
    return chat_events.build_client(
        id=contact.pk,
        name=contact.shown_name,
        email=contact.email,
        phone=about.phone,
        external_id=about.external_id,
        caller_id=about.caller_id,
    )


def _build_message_ticket_object(item: MessageContext, channel: ApiChannel) -> dict[str, Any]:
    """Build the request of a chat event, with this message's text and files unless the channel wants the first ones."""
    stamp = None if channel.exact_updated_at else item.stamp
    ticket = _build_ticket_object(item.ticket, item.conversation, stamp=stamp)
    return ticket if channel.first_message_in_ticket else ticket | {"message": item.message.text, "files": item.links}


def _build_ticket_object(
    ticket: Ticket, conversation: Conversation, *, stamp: datetime | None = None
) -> dict[str, Any]:
    return chat_events.build_ticket(
        id=ticket.pk,
        status_id=ticket.status,
        subject=ticket.subject,
        client_id=conversation.contact_id,
        assignee_id=ticket.assignee_id,
        updated_at=stamp or ticket.updated_at,
        published_at=ticket.opened_at,
        channel_id=conversation.chat_channel_id,
        email=conversation.contact.email,
        company_id=conversation.chat_channel.company_id,
        message=ticket.first_text,
        files=[],
        group=conversation.chat_channel_id if ticket.assigned_to_group else None,
        additional_id=ticket.additional_id,
        priority=ticket.priority,
        type=ticket.type,
        tags=ticket.tags,
    )


def build_file_link(attachment: Attachment) -> str:
    """Return the public link of a file: its own, or a signed one of ours."""
    return attachment.url or settings.PUBLIC_URL.rstrip("/") + build_signed_link(attachment)
