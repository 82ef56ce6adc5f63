"""Read-only methods about requests in the public API: ``ticket``, ``tickets``, ``tags``, ``ticket/fields``."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import OuterRef, Prefetch, Q, QuerySet, Subquery
from django.utils.translation import gettext as _

from bridge import ticket_properties
from bridge.conversations.tickets import get_group_id
from bridge.fanout import subscribers
from bridge.models import Attachment, Conversation, Message, Ticket, TicketField, TicketTag, search
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.chat_events import format_time

from .base_call import UapiCall
from .comments import get_ticket
from .errors import NOT_FOUND, UapiError
from .parameters import define_parameters, is_given, read_choice, read_text
from .reading import ReadOnlyView, filter_by_time, get_page, read_ids
from .ticket_properties import parse_embedded_json, read_tags

# Values of ``sort`` → fields to order by. The ID breaks ties, so that pages stay stable.
SORT_FIELDS = {
    "id": "pk",
    "status_id": "status",
    "client_id": "conversation__contact",
    "assignee_id": "assignee",
    "group": "assigned_to_group",
    "last_updated_at": "updated_at",
    "published_at": "opened_at",
}
UNASSIGNED = ("unassigned", "unassinged")  # the misspelling comes from a public client library
MAX_SEARCHED_MESSAGES = 5_000  # most messages that a search considers
EMPTY, NOT_EMPTY = "empty", "not_empty"


class ReadTicket(ReadOnlyView):
    """``ticket``: return one request with its comments, tags and fields."""

    parameters = define_parameters("ticket_id", "accessible_for_agent_id", no_effect="properties")

    def answer(self, call: UapiCall) -> dict[str, Any]:
        ticket = get_ticket(call)
        agent = _get_agent(call)
        if agent is not None and not Conversation.objects.filter(pk=ticket.conversation_id).visible_to(agent).exists():
            sentence = _("Operator %(id)s does not exist or does not have access.")
            raise UapiError(NOT_FOUND, sentence % {"id": agent.pk})
        files = Prefetch("attachments", queryset=Attachment.objects.order_by("pk"))
        rows = Message.objects.filter(ticket=ticket).order_by("pk").prefetch_related(files)
        contact = ticket.conversation.contact
        comments = [
            subscribers.build_comment(message, ticket, is_first=not place)
            | {
                "client_name": contact.name if message.direction == Message.Direction.INBOUND else None,
                "cc": [],
                "bcc": [],
                "files": [
                    {"name": file.name, "file": subscribers.build_file_link(file)} for file in message.attachments.all()
                ],
            }
            for place, message in enumerate(rows)
        ]
        fields = ticket_properties.load_custom_fields([ticket])[ticket.pk]
        return {
            "ticket": _serialize_ticket(ticket) | ({"rights": "write"} if agent else {}),
            "comments": comments,
            "tags": ticket.tags,
            "custom_fields": [{**field, "ticket_id": ticket.pk} for field in fields],
            "changes": [],
            "history": [],
        }


class Tickets(ReadOnlyView):
    """``tickets``: list requests by channel, status, assignee, properties, text and time, 100 per page."""

    parameters = define_parameters(
        *("fchannel", "fassigned", "fgroup", "fstatus", "ftype", "fpriority", "accessible_for_agent_id", "offset"),
        *("tag", "created_after", "created_before", "updated_after", "updated_before", "query", "client_id"),
        *("fields", "sort", "order"),
        no_effect="properties",
    )

    def answer(self, call: UapiCall) -> list[dict[str, Any]]:
        rows = Ticket.objects.filter(conversation__chat_channel__in=call.api_channel.watched.all())
        for name, column in (
            ("fchannel", "conversation__chat_channel__in"),
            ("fstatus", "status__in"),
            ("client_id", "conversation__contact__in"),
        ):
            if ids := read_ids(call.values.get(name), name):
                rows = rows.filter(**{column: ids})
        for name, column, choices in (
            ("ftype", "type__in", Ticket.Type.values),
            ("fpriority", "priority__in", Ticket.Priority.values),
        ):
            if words := _split_words(call.values.get(name), name):
                rows = rows.filter(**{column: [read_choice(word, name, choices) for word in words]})
        rows = _filter_by_assignee(call, rows)
        for tag in read_tags(call.values.get("tag"), "tag"):
            rows = rows.filter(tags__contains=[tag])
        rows = _filter_by_fields(call, rows)
        agent = _get_agent(call)
        if agent is not None:
            rows = rows.filter(conversation__in=Conversation.objects.all().visible_to(agent))
        if query := values.as_text(call.values.get("query")).strip():
            rows = rows.filter(Q(subject__icontains=query) | Q(pk__in=_search_messages(query)))
        rows = filter_by_time(call, rows, "opened_at", "created")
        rows = filter_by_time(call, rows, "updated_at", "updated")
        last = Message.objects.filter(ticket=OuterRef("pk")).order_by("-pk").values("text")[:1]
        rows = rows.annotate(last_text=Subquery(last)).select_related("conversation__contact")
        found = get_page(call, _sort_rows(call, rows))
        fields = ticket_properties.load_custom_fields(found)
        return [_serialize_row(ticket, fields[ticket.pk]) | ({"rights": "write"} if agent else {}) for ticket in found]


class Tags(ReadOnlyView):
    """``tags``: list the tags of visible requests with the number of requests for each."""

    parameters = define_parameters("offset", "query")

    def answer(self, call: UapiCall) -> list[dict[str, Any]]:
        watched = call.api_channel.watched.all()
        rows = Ticket.objects.filter(conversation__chat_channel__in=watched).exclude(tags=[])
        counts = Counter(tag for tags in rows.values_list("tags", flat=True).iterator() for tag in tags)
        found = TicketTag.objects.filter(name__in=list(counts)).order_by("pk")
        if query := values.as_text(call.values.get("query")).strip():
            found = found.filter(name__icontains=query)
        companies = list(watched.order_by("pk").values_list("company_id", flat=True)[:1])
        return [
            {
                "ticket_tag_id": tag.pk,
                "tag_company_id": companies[0] if companies else None,
                "name": tag.name,
                "ticket_count": counts[tag.name],
            }
            for tag in get_page(call, found)
        ]


class TicketFields(ReadOnlyView):
    """``ticket/fields``: list the additional fields that an admin has defined."""

    def answer(self, call: UapiCall) -> list[dict[str, Any]]:
        companies = list(call.api_channel.watched.order_by("pk").values_list("company_id", flat=True)[:1])
        return [
            {
                "custom_field": {
                    "id": field.pk,
                    "company_id": companies[0] if companies else None,
                    "ticket_field_type_id": field.kind,
                    "name": field.name,
                    "value": None,
                    "required": 0,
                    "active": 1,
                    "hidden": 0,
                    "api": 1,
                    "deleted": 0,
                    "created_at": format_time(field.created_at),
                    "updated_at": None,
                },
                "field_options": [],
            }
            for field in TicketField.objects.all()
        ]


def _search_messages(query: str) -> QuerySet[Any, Any]:
    """Return the IDs of requests with a message that contains these words."""
    search_query = search.build_message_query(query)
    if search_query is None:
        return Message.objects.none().values("ticket")
    messages = Message.objects.alias(words=search.build_message_vector()).filter(
        words=search_query, ticket__isnull=False
    )
    return messages.values("ticket")[:MAX_SEARCHED_MESSAGES]


# --- filters ---------------------------------------------------------------------------------------------


def _split_words(value: Any, name: str) -> list[str]:
    items = value if isinstance(value, list) else read_text(value, name).split(",")
    return [text for item in items if (text := read_text(item, name)) and is_given(text)]


def _get_agent(call: UapiCall) -> Any:
    """Return the operator of ``accessible_for_agent_id``, whose access limits the result. Raises UapiError."""
    user_id = values.parse_id(call.values.get("accessible_for_agent_id"), "accessible_for_agent_id")
    if user_id is None:
        return None
    user = get_user_model().objects.people().filter(pk=user_id, is_active=True).first()
    if user is None or not call.api_channel.watched.visible_to(user).exists():  # reveals no other operators
        raise UapiError(NOT_FOUND, _("Operator %(id)s does not exist or does not have access.") % {"id": user_id})
    return user


def _filter_by_assignee(call: UapiCall, rows: QuerySet[Ticket]) -> QuerySet[Ticket]:
    """Filter by ``fassigned``, in all documented formats, and by ``fgroup``."""
    value = parse_embedded_json(call.values.get("fassigned"))
    if isinstance(value, str):
        value = value.split(",")
    items = [item for item in (value if isinstance(value, list) else [value]) if is_given(item)]
    if items:
        condition = Q()
        for item in items:
            condition |= _assignee_condition(item)
        rows = rows.filter(condition)
    if groups := read_ids(call.values.get("fgroup"), "fgroup"):
        rows = rows.filter(assigned_to_group=True, conversation__chat_channel__in=groups)
    return rows


def _assignee_condition(item: Any) -> Q:
    if not isinstance(item, dict):
        text = values.as_text(item).strip()
        group, is_pair, agent = text.partition("_")
        item = {"group_id": group, "assignee_id": agent} if is_pair else {"assignee_id": text}
    condition = Q()
    for name in ("assignee_id", "group_id"):
        value = item.get(name)
        if not is_given(value):
            continue
        is_nobody = isinstance(value, str) and value.strip().lower() in UNASSIGNED
        if name == "assignee_id":
            condition &= Q(assignee=None) if is_nobody else Q(assignee=values.parse_id(value, name))
        elif is_nobody:
            condition &= Q(assigned_to_group=False)
        else:
            condition &= Q(assigned_to_group=True, conversation__chat_channel=values.parse_id(value, name))
    if not condition:
        raise BadBody(_("“fassigned” must be an operator, a group or “unassigned”."))
    return condition


def _filter_by_fields(call: UapiCall, rows: QuerySet[Ticket]) -> QuerySet[Ticket]:
    """Filter by ``fields``, a list of {id, value}. The values "empty" and "not_empty" test for presence."""
    conditions = parse_embedded_json(call.values.get("fields"))
    if not is_given(conditions):
        return rows
    for item in conditions if isinstance(conditions, list) else [conditions]:
        if not isinstance(item, dict) or not is_given(item.get("id")):
            raise BadBody(_("“fields” must be a list of objects with “id” and “value”."))
        number = values.parse_id(item["id"], "fields.id")
        value = read_text(item.get("value"), "fields.value")
        has_one = Q(custom_fields__has_key=str(number))
        if value in ("", EMPTY):
            rows = rows.exclude(has_one)
        else:
            rows = rows.filter(has_one if value == NOT_EMPTY else Q(custom_fields__contains={str(number): value}))
    return rows


def _sort_rows(call: UapiCall, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Order by ``sort`` and ``order``; by default the newest first."""
    sort = read_choice(call.values.get("sort"), "sort", list(SORT_FIELDS)) or "id"
    order = read_choice(call.values.get("order"), "order", ["asc", "desc"]) or "desc"
    sign = "-" if order == "desc" else ""
    return rows.order_by(f"{sign}{SORT_FIELDS[sort]}", f"{sign}pk")


# --- responses -------------------------------------------------------------------------------------------


def _serialize_common(ticket: Ticket) -> dict[str, Any]:
    conversation = ticket.conversation
    return {
        "id": ticket.pk,
        "status_id": ticket.status,
        "subject": ticket.subject,
        "priority": ticket.priority,
        "type": ticket.type,
        "client_id": conversation.contact_id,
        "client_name": conversation.contact.name,
        "assignee_id": ticket.assignee_id,
        "group": get_group_id(ticket),
        "channel_id": conversation.chat_channel_id,
        "last_updated_at": format_time(ticket.updated_at),
        "additional_id": ticket.additional_id or None,
    }


def _serialize_ticket(ticket: Ticket) -> dict[str, Any]:
    return _serialize_common(ticket) | {
        "chat_id": ticket.conversation_id,
        "email": ticket.conversation.contact.email or None,
        "published_at": format_time(ticket.opened_at),
        "company_id": ticket.conversation.chat_channel.company_id,
    }


def _serialize_row(ticket: Any, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return _serialize_common(ticket) | {
        "status": ticket.status,
        "created_at": format_time(ticket.opened_at),
        "channel_email": None,
        "ticket_fields": fields,
        "tags": [{"name": tag} for tag in ticket.tags],
        "last_comment": ticket.last_text or "",
        "remind_at": None,
    }
