"""One page of a thread: the newest messages, earlier ones, or those around one message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import groupby
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import prefetch_related_objects
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge.conversations import reactions
from bridge.desk import presentation
from bridge.desk.parameters import parse_int
from bridge.maintenance import retention_rules
from bridge.models import (
    Attachment,
    Conversation,
    ConversationNote,
    Delivery,
    Draft,
    HeldReply,
    Message,
    RetentionKind,
    Ticket,
)
from channels_setup.prepared_queries import PreparedQuery

from . import activity_lines, chat_note_view, grouping
from .items import ThreadBuilder, ThreadItem
from .message_view import UNSETTLED, HeldReplyView, MessageView

PAGE = 50  # messages at a time
MESSAGES_AFTER = 20  # messages shown below the requested one
MAX_REQUESTS = 20  # requests listed in the client pane

# Plain SQL, because Django takes longer to build these queries than PostgreSQL to answer them.
TICKETS_SQL = "SELECT * FROM bridge_ticket WHERE conversation_id = %s ORDER BY id DESC LIMIT %s"
MESSAGES_SQL = """
SELECT * FROM bridge_message WHERE conversation_id = %(chat)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s
"""
TIME_SQL = "SELECT created_at FROM bridge_message WHERE id = %s"
OWN_MESSAGE_SQL = "SELECT id FROM bridge_message WHERE conversation_id = %s AND id = %s"
FIRST_SINCE_SQL = """
SELECT id FROM bridge_message WHERE conversation_id = %s AND created_at >= %s ORDER BY id LIMIT 1
"""
LAST_SQL = "SELECT id FROM bridge_message WHERE conversation_id = %s ORDER BY id DESC LIMIT 1"
FOLLOWING_SQL = "SELECT id FROM bridge_message WHERE conversation_id = %s AND id > %s ORDER BY id OFFSET %s LIMIT 1"
PEOPLE_SQL = "SELECT * FROM accounts_user WHERE id = ANY(%s)"
FILES_SQL = "SELECT * FROM bridge_attachment WHERE message_id = ANY(%s) ORDER BY id"
HELD_SQL = """
SELECT * FROM bridge_heldreply
WHERE conversation_id = %(chat)s AND (state = 'held' OR message_id = ANY(%(ours)s::bigint[])) ORDER BY id
"""

OWN_DRAFT: PreparedQuery[Draft] = PreparedQuery(lambda chat, user: Draft.objects.filter(conversation=chat, user=user))


@dataclass(frozen=True, kw_only=True)
class ThreadPage:
    items: list[ThreadItem]
    earlier: int | None  # ID where the previous page ends; None at the beginning
    later: int | None  # ID after which the next page begins; None if this is the newest one
    is_newest: bool
    at: int | None = None  # the requested message
    newest_reply: int = 0  # the newest outbound message of the page, or its oldest message: replies before it are known


def build_thread_page(
    conversation: Conversation,
    *,
    tickets: Sequence[Ticket],
    before: int | None,
    may_write: bool,
    now: datetime,
    at: int | None = None,
    user: Any = None,
) -> ThreadPage:
    """Build the page of the newest messages, those before an ID, or those around ``at``. Fixed number of queries."""
    if at is not None:
        before = find_end_after(conversation, at, count=MESSAGES_AFTER)
    values = {"chat": conversation.pk, "before": before, "limit": PAGE + 1}
    found = list(Message.objects.raw(MESSAGES_SQL, values))
    # Expired messages are the oldest: the page, and the thread, begin where they end.
    shown = [message for message in found[:PAGE] if message.expired_at is None][::-1]
    has_expired = len(shown) < len(found[:PAGE])
    oldest = shown[0].pk if shown else None
    shown = grouping.drop_repeating_notices(_in_written_order(shown))
    held = _held_replies(conversation, shown)
    _load_relations(shown, held)
    since = min(message.created_at for message in shown) if shown and len(found) > PAGE else None
    until = _find_time(before)
    lines = activity_lines.load_lines(conversation, since=since, before=until, now=now)
    notes = chat_note_view.load_notes(conversation, user=user, since=since, before=until, now=now)
    unfolded = {message.ticket_id for message in shown if message.pk == at}
    builder = ThreadBuilder(tickets=tickets, unfolded=unfolded, now=now)
    items = [_expired_mark(conversation)] if has_expired else []
    views = _build_views(shown, held=held, may_write=may_write, now=now)
    inserted = builder.build_items(views, lines=lines, notes=notes, is_newest=before is None)
    items += grouping.group_messages(inserted)
    if before is None:
        waiting = (reply for reply in held if reply.state == HeldReply.State.HELD)
        items += [ThreadItem(key=f"held-{reply.pk}", held=HeldReplyView(reply=reply, now=now)) for reply in waiting]
    return ThreadPage(
        items=items,
        earlier=oldest if len(found) > PAGE else None,
        later=found[0].pk if found and before is not None else None,
        is_newest=before is None,
        at=at if any(message.pk == at for message in shown) else None,
        newest_reply=max((one.pk for one in shown if one.direction == Message.Direction.OUTBOUND), default=oldest or 0),
    )


def _find_time(message_id: int | None) -> datetime | None:
    """Return when the first message of the next page was stored: lines and notes before it belong to this page."""
    if message_id is None:
        return None
    found: datetime | None = _fetch_value(TIME_SQL, message_id)
    return found


def _expired_mark(conversation: Conversation) -> ThreadItem:
    """Return the line above the oldest message that is left."""
    own = conversation.api_channel.keep_messages_days
    days = retention_rules.get_days(RetentionKind.MESSAGES) if own is None else own
    sentence = ngettext(
        "Messages older than %(count)d day were deleted.", "Messages older than %(count)d days were deleted.", days
    )
    words = sentence % {"count": days} if days else _("Older messages were deleted.")
    return ThreadItem(key="expired", version=words, words=words)


def _in_written_order(messages: Sequence[Message]) -> list[Message]:
    """Sort each run of consecutive inbound messages by time of writing.

    A late message stays below the replies that were sent before it arrived.
    """
    ordered: list[Message] = []
    for _group, run in groupby(messages, key=lambda one: (one.direction, one.ticket_id)):
        rows = list(run)
        is_clients = rows[0].direction == Message.Direction.INBOUND
        ordered += sorted(rows, key=_written_at) if is_clients else rows
    return ordered


def _written_at(message: Message) -> datetime:
    """Return the time of writing by the provider's clock; the time of receipt if that clock is wrong."""
    at = message.provider_time
    return message.created_at if at is None or message.details.get("odd_clock") else min(at, message.created_at)


def find_message_id(conversation: Conversation, value: str) -> int | None:
    """Return the message ID for a URL value.

    ``12``: the message. ``r12``: the first message of request № 12. ``d2026-11-20``: the first message since that day,
    or the last one before it. ``n12``: the message above note 12.
    """
    rows = Message.objects.filter(conversation=conversation)
    if value.startswith("d"):
        return _find_message_of_day(conversation, value[1:])
    if value.startswith("n") and parse_int(value[1:]) is not None:  # the message above a note
        note = ConversationNote.objects.filter(conversation=conversation, pk=int(value[1:])).first()
        rows = rows.filter(created_at__lte=note.created_at) if note else rows.none()
        return rows.order_by("-pk").values_list("pk", flat=True).first()
    number = value.removeprefix("r")
    if parse_int(number) is None:
        return None
    if number == value:
        return int(number) if _fetch_value(OWN_MESSAGE_SQL, conversation.pk, int(number)) else None
    return rows.filter(ticket=int(number)).order_by("pk").values_list("pk", flat=True).first()


def _find_message_of_day(conversation: Conversation, text: str) -> int | None:
    try:
        day = timezone.make_aware(datetime.combine(date.fromisoformat(text), time.min))
    except (ValueError, OverflowError):
        return None
    found: int | None = _fetch_value(FIRST_SINCE_SQL, conversation.pk, day) or _fetch_value(LAST_SQL, conversation.pk)
    return found


def _fetch_value(statement: str, *values: Any) -> Any:
    """Return the only value of a statement, or None without a row."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
    return row[0] if row else None


def find_end_after(conversation: Conversation, after: int, *, count: int) -> int | None:
    """Return the end ID of the page with ``count`` messages that follow this one; None for the newest page."""
    found: int | None = _fetch_value(FOLLOWING_SQL, conversation.pk, after, count)
    return found


def list_requests(conversation: Conversation) -> list[Ticket]:
    """List the chat's requests, newest first."""
    return list(Ticket.objects.raw(TICKETS_SQL, [conversation.pk, MAX_REQUESTS]))


def find_live_ticket(tickets: Sequence[Ticket]) -> Ticket | None:
    return next((ticket for ticket in tickets if ticket.status not in Ticket.ENDED), None)


def find_draft(conversation: Conversation, user: Any) -> Draft | None:
    """Return the user's draft. Ignores a copy that a slow tab saved after the draft was sent."""
    draft = OWN_DRAFT.first(conversation.pk, user.pk)
    if draft and draft.key and Message.objects.filter(conversation=conversation, form_key=draft.key).exists():
        return None
    return draft


def _held_replies(conversation: Conversation, shown: Sequence[Message]) -> list[HeldReply]:
    """List pending held replies, and those that became one of the messages."""
    ours = [message.pk for message in shown if message.direction == Message.Direction.OUTBOUND]
    return list(HeldReply.objects.raw(HELD_SQL, {"chat": conversation.pk, "ours": ours}))


def _load_relations(shown: Sequence[Message], held: Sequence[HeldReply]) -> None:
    """Load what the messages refer to. Reads the authors of all with one query, because pages have the same ones."""
    if any(message.quoted_id for message in shown):
        prefetch_related_objects(shown, "quoted")
    if any(message.merged_contact_id for message in shown):
        prefetch_related_objects(shown, "merged_contact")
    written: list[Message | HeldReply] = [*shown, *held]
    written += [message.quoted for message in shown if message.quoted_id and message.quoted]
    ids = {one.author_id for one in written if one.author_id}
    people = {user.pk: user for user in get_user_model().objects.raw(PEOPLE_SQL, [list(ids)])} if ids else {}
    for one in written:
        if one.author_id in people:
            one.author = people[one.author_id]


def _build_views(
    messages: Sequence[Message], *, held: Sequence[HeldReply], may_write: bool, now: datetime
) -> list[MessageView]:
    unsettled = [message.pk for message in messages if message.status in UNSETTLED]
    deliveries = Delivery.objects.filter(message__in=unsettled, kind=Delivery.Kind.MESSAGE).order_by("pk")
    by_message = {delivery.message_id: delivery for delivery in deliveries} if unsettled else {}
    files: dict[int, list[Attachment]] = defaultdict(list)
    for attachment in Attachment.objects.raw(FILES_SQL, [[message.pk for message in messages]]):
        files[attachment.message_id].append(attachment)
    since = {reply.message_id: presentation.format_moment(reply.created_at, now=now) for reply in held}
    inbound = (message.created_at for message in messages if message.direction == Message.Direction.INBOUND)
    last_inbound_at = max(inbound, default=None)
    reactors = _find_reactors(messages)
    return [
        MessageView(
            message=message,
            attachments=files[message.pk],
            delivery=by_message.get(message.pk),
            held_since=since.get(message.pk, ""),
            may_write=may_write,
            now=now,
            last_inbound_at=last_inbound_at,
            reactor=reactors.get(message.pk, ""),
        )
        for message in messages
    ]


def _find_reactors(messages: Sequence[Message]) -> dict[int, str]:
    """Return the names of the operators who reacted in the desk, by message ID."""
    own = {message.pk: found for message in messages if (found := reactions.OurReaction.of_message(message))}
    ids = {reaction.author_id for reaction in own.values() if reaction.author_id}
    people = get_user_model().objects.in_bulk(ids) if ids else {}
    return {
        pk: presentation.person_name(people[reaction.author_id])
        for pk, reaction in own.items()
        if reaction.author_id in people
    }
