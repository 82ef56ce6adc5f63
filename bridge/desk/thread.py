"""One chat as it is read: messages with ticks, days divided, requests marked where one ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Prefetch, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from bridge import reasons
from bridge.files import INLINE_TYPES
from bridge.models import Attachment, Conversation, Delivery, Draft, HeldReply, Message, Ticket

from . import presentation

PAGE = 50  # messages at a time
REQUESTS = 20  # earlier requests beside the thread
LATE = timedelta(minutes=1)  # a message that came this long after it was written says so

Status = Message.Status
UNSETTLED = (Status.PENDING, Status.SENDING, Status.UNKNOWN, Status.FAILED)
RESENDABLE = (Delivery.State.DEAD, Delivery.State.UNKNOWN, Delivery.State.CANCELLED)
TICK_ICONS = {
    Status.PENDING: "clock",
    Status.SENDING: "clock",
    Status.UNKNOWN: "question",
    Status.SENT: "tick",
    Status.FAILED: "alert",
    Status.DELIVERED: "ticks",
    Status.READ: "ticks",
}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of the thread: a day, a mark between requests, or a message."""

    key: str  # the same line at every drawing
    version: str = ""  # another one: draw it anew
    words: str = ""  # of a day or a mark
    message: MessageView | None = None
    held: HeldView | None = None

    @property
    def is_day(self) -> bool:
        return self.key.startswith("day")


@dataclass(frozen=True, kw_only=True)
class FileView:
    name: str
    href: str
    is_picture: bool


@dataclass(frozen=True, kw_only=True)
class HeldView:
    """A reply that waits for the client to write."""

    reply: HeldReply
    now: datetime

    @property
    def author(self) -> str:
        return presentation.person_name(self.reply.author)

    @property
    def until(self) -> str:
        return presentation.moment_words(self.reply.drop_at, now=self.now)


@dataclass(frozen=True, kw_only=True)
class MessageView:
    message: Message
    held_since: str = ""  # of a text that had been held until the client wrote
    delivery: Delivery | None  # of a message that is not settled
    now: datetime

    @property
    def is_ours(self) -> bool:
        return self.message.direction == Message.Direction.OUTBOUND

    @property
    def is_notice(self) -> bool:
        return self.message.direction == Message.Direction.NOTICE

    @property
    def author(self) -> str:
        return presentation.person_name(self.message.author)

    @property
    def tick_icon(self) -> str:
        return TICK_ICONS.get(Status(self.message.status), "clock")

    @property
    def at(self) -> str:
        return presentation.clock(self.message.created_at)

    @property
    def written_at(self) -> str:
        """When the client wrote it, where it reached us late; the window goes by that time."""
        message = self.message
        at = message.provider_time
        if at is None or message.details.get("odd_clock") or abs(message.created_at - at) < LATE:
            return ""
        return presentation.moment_words(at, now=self.now)

    @property
    def template_name(self) -> str:
        return str((self.message.template or {}).get("name", ""))

    @property
    def trouble(self) -> str:
        """The sentence under a message that is not where it should be."""
        if self.message.status in (Status.FAILED, Status.UNKNOWN):
            return self.message.sentence
        if self.delivery is not None and self.delivery.reason and self.delivery.state == Delivery.State.PENDING:
            return reasons.sentence(self.delivery.reason)
        return ""

    @property
    def waits(self) -> bool:
        return self.message.status not in (Status.FAILED,)

    @property
    def can_be_sent_again(self) -> bool:
        return self.delivery is not None and self.delivery.state in RESENDABLE

    @property
    def files(self) -> list[FileView]:
        return [_file(attachment) for attachment in self.message.attachments.all()]

    @property
    def version(self) -> str:
        message, delivery = self.message, self.delivery
        parts: tuple[object, ...] = (message.status, message.reason, message.created_at.timestamp())
        if delivery is not None:
            parts += (delivery.state, delivery.attempts, delivery.reason)
        return " ".join(map(str, parts))


@dataclass(frozen=True, kw_only=True)
class Page:
    items: list[Item]
    earlier: int | None  # messages before this id are on the page before; None: this is the beginning
    is_newest: bool
    last_id: int


def page(conversation: Conversation, *, tickets: Sequence[Ticket], before: int | None, now: datetime) -> Page:
    """The newest messages, or those before an id; a fixed number of queries."""
    rows = Message.objects.filter(conversation=conversation).order_by("-pk")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    rows = rows.select_related("author").prefetch_related(
        Prefetch("attachments", queryset=Attachment.objects.order_by("pk"))
    )
    found = list(rows[: PAGE + 1])
    shown = found[:PAGE][::-1]
    held = _held(conversation, shown)
    items = list(_items(_views(shown, held=held, now=now), tickets=tickets, is_newest=before is None, now=now))
    if before is None:
        waiting = (reply for reply in held if reply.state == HeldReply.State.HELD)
        items += [Item(key=f"held-{reply.pk}", held=HeldView(reply=reply, now=now)) for reply in waiting]
    return Page(
        items=items,
        earlier=shown[0].pk if len(found) > PAGE else None,
        is_newest=before is None,
        last_id=shown[-1].pk if shown else 0,
    )


def requests_of(conversation: Conversation) -> list[Ticket]:
    """The chat's requests, the newest first."""
    return list(Ticket.objects.filter(conversation=conversation).order_by("-pk")[:REQUESTS])


def live_among(tickets: Sequence[Ticket]) -> Ticket | None:
    return next((ticket for ticket in tickets if ticket.status not in Ticket.ENDED), None)


def draft_of(conversation: Conversation, user: Any) -> Draft | None:
    return Draft.objects.filter(conversation=conversation, user=user).first()


def _held(conversation: Conversation, shown: Sequence[Message]) -> list[HeldReply]:
    """Those that wait, and those that became one of these messages."""
    ours = [message.pk for message in shown if message.direction == Message.Direction.OUTBOUND]
    rows = HeldReply.objects.filter(Q(state=HeldReply.State.HELD) | Q(message__in=ours), conversation=conversation)
    return list(rows.select_related("author").order_by("pk"))


def _views(messages: Sequence[Message], *, held: Sequence[HeldReply], now: datetime) -> list[MessageView]:
    unsettled = [message.pk for message in messages if message.status in UNSETTLED]
    deliveries = Delivery.objects.filter(message__in=unsettled, kind=Delivery.Kind.MESSAGE).order_by("pk")
    by_message = {delivery.message_id: delivery for delivery in deliveries} if unsettled else {}
    since = {reply.message_id: presentation.moment_words(reply.created_at, now=now) for reply in held}
    return [
        MessageView(
            message=message,
            delivery=by_message.get(message.pk),
            held_since=since.get(message.pk, ""),
            now=now,
        )
        for message in messages
    ]


def _items(
    views: Iterable[MessageView], *, tickets: Sequence[Ticket], is_newest: bool, now: datetime
) -> Iterator[Item]:
    by_id = {ticket.pk: ticket for ticket in tickets}
    day = None
    current: int | None = None
    for view in views:
        message = view.message
        is_next = message.ticket_id is not None and message.ticket_id != current
        if is_next and current is not None:
            yield from _ended(by_id.get(current), now=now)
        local = timezone.localtime(message.created_at).date()
        if local != day:
            day = local
            words = presentation.day_words(message.created_at, now=now)
            yield Item(key=f"day-{local.isoformat()}", version=words, words=words)
        if is_next:
            if current is not None:
                begun = _("Request № %(number)d") % {"number": message.ticket_id}
                yield Item(key=f"begun-{message.ticket_id}", words=begun)
            current = message.ticket_id
        yield Item(key=f"m{message.pk}", version=view.version, message=view)
    if is_newest and current is not None:
        yield from _ended(by_id.get(current), now=now)


def _ended(ticket: Ticket | None, *, now: datetime) -> Iterator[Item]:
    """The mark where a request was closed, solved…; nothing while it lives."""
    if ticket is None or (ticket.status not in Ticket.ENDED and ticket.status != Ticket.Status.SOLVED):
        return
    words = _("Request № %(number)d: %(status)s") % {
        "number": ticket.pk,
        "status": ticket.get_status_display(),
    }
    if ticket.closed_at:
        words += f" · {presentation.moment_words(ticket.closed_at, now=now)}"
    yield Item(key=f"ended-{ticket.pk}", version=f"{ticket.status} {ticket.closed_at}", words=words)


def _file(attachment: Attachment) -> FileView:
    """A stored file is ours to show; a foreign address is only ever a link, and only a web one."""
    name = attachment.name or attachment.url.rsplit("/", 1)[-1][:80] or _("file")
    if attachment.file:
        return FileView(name=name, href=f"/files/{attachment.pk}/", is_picture=attachment.mime in INLINE_TYPES)
    is_web = attachment.url.lower().startswith(("https://", "http://"))
    return FileView(name=name, href=attachment.url if is_web else "", is_picture=False)
