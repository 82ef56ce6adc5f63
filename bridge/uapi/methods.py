"""Method names of the public API and their views."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse

from .chats import AddMessage, ChangeAssignee, Channels, SendMessage
from .clients import Clients, CreateClient, ReadClient, UpdateClient
from .comments import CreateComment
from .operators import Groups, ManagedByAdmins, ReadUser, Users
from .ticket_lists import ReadTicket, Tags, TicketFields, Tickets
from .tickets import CreateTicket, CreateTicketAsync, UpdateTicket

METHODS: dict[str, Callable[..., HttpResponse]] = {
    "chat/addMessage": AddMessage.as_view(),
    "chat/sendMessage": SendMessage.as_view(),
    "chat/changeAssignee": ChangeAssignee.as_view(),
    "create/comment": CreateComment.as_view(),
    "create/client": CreateClient.as_view(),
    "create/ticket": CreateTicket.as_view(),
    "create/ticket/async": CreateTicketAsync.as_view(),
    "create/user": ManagedByAdmins.as_view(),
    "update/client": UpdateClient.as_view(),
    "update/ticket": UpdateTicket.as_view(),
    "update/user": ManagedByAdmins.as_view(),
    "delete/user": ManagedByAdmins.as_view(),
    "ticket": ReadTicket.as_view(),
    "ticket/fields": TicketFields.as_view(),
    "tickets": Tickets.as_view(),
    "tags": Tags.as_view(),
    "client": ReadClient.as_view(),
    "clients": Clients.as_view(),
    "user": ReadUser.as_view(),
    "users": Users.as_view(),
    "groups": Groups.as_view(),
    "channels": Channels.as_view(),
}
