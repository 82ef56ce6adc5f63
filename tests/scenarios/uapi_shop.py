"""A shop that calls the public API: its channels, its operator and one client's request."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from bridge.models import Ticket, TicketField
from bridge.uapi.methods import METHODS
from bridge.uapi.parameters import MethodParameters
from channels_setup.models import ApiChannel, ChatChannel
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris
from tests.uapi_calls import call


class UapiShop:
    """One API channel with its key, one chat channel, an operator, and Anna's live request."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.chat_channel: ChatChannel = ChatChannelFactory()
        self.channel: ApiChannel = ApiChannelFactory(
            kind="acebot", redirect_url="http://127.0.0.1:9/hook", watched=self.chat_channel, secret=True
        )
        self.key = self.channel.current_secret().reveal()
        self.operator = boris(self.chat_channel)
        self.order = TicketField.objects.create(name="Номер заказа")
        self.paid = TicketField.objects.create(name="Оплачен", kind=TicketField.Kind.CHECKBOX)
        sender = {"client_id": "79211234567", "name": "Анна"}
        response = self(
            "chat/addMessage", channel_id=self.chat_channel.pk, message={"text": "Где заказ?", "from": sender}
        )
        self.client_id, self.chat_id = response["client_id"], response["chat_id"]
        self.ticket_id = Ticket.objects.get().pk

    def __call__(self, method: str, *, encoding: str = "json", **body: Any) -> Any:
        return call(self.client, method, {"api_token": self.key, **body}, encoding)

    def ticket(self, ticket_id: int) -> Any:
        ticket = self("ticket", ticket_id=ticket_id)
        [listed] = [row for row in self("tickets") if row["id"] == ticket_id]
        return ticket, listed


@pytest.fixture
def shop(client: Client) -> UapiShop:
    return UapiShop(client)


def parameters_of(method: str) -> MethodParameters:
    found: MethodParameters = METHODS[method].view_class.parameters  # type: ignore[attr-defined]
    return found
