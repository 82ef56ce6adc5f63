"""Data of the hand-over sheet for the provider's staff, with examples from the real codec."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from .codecs import chat_events
from .models import ApiChannel, ChatChannel, Handover
from .providers.base import ApiRequest, DeliveryRequest

EXAMPLE_CHAT, EXAMPLE_MESSAGE, EXAMPLE_CLIENT, EXAMPLE_TICKET = 700100, 900001, 41000001, 3500001
EXAMPLE_TIME = datetime(2026, 11, 20, 9, 14, 5, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class HandoverSheet:
    """Contents of a hand-over page.

    ``secret_key`` is empty if the key was changed after the page was opened: this reader must not see the new one.
    """

    channel: ApiChannel
    chat_channels: list[ChatChannel]
    secret_key: str
    add_message_url: str
    event: str  # the example event, indented for reading
    sent: str  # the same event as sent: headers and body, byte for byte
    template: str
    status: str  # example status; empty if the provider has its own format for statuses
    call: str  # example body of an addMessage call
    curl: str
    answer: str
    verify: str


def build_sheet(handover: Handover) -> HandoverSheet:
    """Collect the contents of a hand-over page."""
    channel = handover.api_channel
    chat_channels = list(channel.watched.order_by("id"))
    first = chat_channels[0] if chat_channels else ChatChannel(pk=0, company_id=settings.COMPANY_ID)
    event = example_event(channel, first)
    url = settings.PUBLIC_URL + reverse("uapi-chat/addMessage")
    status = channel.provider.status_example
    return HandoverSheet(
        channel=channel,
        chat_channels=chat_channels,
        secret_key=_secret_key(handover),
        add_message_url=url,
        event=_json(event),
        sent=_request_text(example_request(channel, event)),
        template=_json({"template": {"name": "order_ready", "language": "ru", "parameters": ["Анна", "1024"]}}),
        status=_json(dict(status)) if status else "",
        call=_json(_example_call(first)),
        curl=_curl(url, first),
        answer=_json(_example_answer(first)),
        verify=VERIFY_EXAMPLE,
    )


def _secret_key(handover: Handover) -> str:
    secret = handover.api_channel.current_secret()
    if secret is None or (handover.opened_at and secret.created_at > handover.opened_at):
        return ""
    return secret.reveal()


def example_event(channel: ApiChannel, chat_channel: ChatChannel) -> dict[str, Any]:
    """Return an example event: an operator's reply, as it is sent to the Redirect URL."""
    text = "Здравствуйте, Анна! Заказ готов: 12 & 14 ноября с 10 до 20."
    event = chat_events.build_chat_event(
        app_id=str(channel.app_id),
        chat_id=EXAMPLE_CHAT,
        sender="user",
        text=text,
        client=chat_events.build_client(
            id=EXAMPLE_CLIENT, name="Анна", email="", phone="79210000000", external_id="79210000000"
        ),
        ticket=chat_events.build_ticket(
            id=EXAMPLE_TICKET,
            status_id=chat_events.OPEN,
            subject="Где мой заказ?",
            client_id=EXAMPLE_CLIENT,
            assignee_id=None,
            updated_at=EXAMPLE_TIME,
            published_at=EXAMPLE_TIME,
            channel_id=chat_channel.pk,
            email="",
            company_id=chat_channel.company_id,
            message="Где мой заказ?" if channel.first_message_in_ticket else text,
        ),
        state=None,
        message_id=EXAMPLE_MESSAGE,
        platform="whatsapp",
    )
    return chat_events.add_routing_flags(event, delivery=True, copy=False)


def example_request(channel: ApiChannel, event: dict[str, Any]) -> ApiRequest:
    """Return the signed request of an example event: a test case for the receiver's developer."""
    outgoing = DeliveryRequest(key="msg_0000000000000000000000000000example", attempt=1, at=EXAMPLE_TIME, event=event)
    return channel.provider.build_event_request(outgoing, channel.account())


def _request_text(request: ApiRequest) -> str:
    head = [f"{request.method} {request.url or '…'}", *(f"{name}: {text}" for name, text in request.headers.items())]
    return "\n".join([*head, "", request.body.decode()])


def _example_call(chat_channel: ChatChannel) -> dict[str, Any]:
    return {
        "api_token": "…",
        "company_id": chat_channel.company_id,
        "channel_id": chat_channel.pk,
        "message": {
            "id": "wamid.HBgLNzkyMTAwMDAwMDA",
            "timestamp": int(EXAMPLE_TIME.timestamp()),
            "text": "Где мой заказ?",
            "from": {"client_id": "79210000000", "phone": "79210000000", "name": "Анна"},
        },
    }


def _example_answer(chat_channel: ChatChannel) -> dict[str, Any]:
    return {
        "chat_id": EXAMPLE_CHAT,
        "company_id": chat_channel.company_id,
        "ticket_id": None,
        "channel_id": chat_channel.pk,
        "client_id": EXAMPLE_CLIENT,
        "message_id": EXAMPLE_MESSAGE,
    }


def _curl(url: str, chat_channel: ChatChannel) -> str:
    return "\n".join(
        [
            f"curl {url} \\",
            '  --data-urlencode "api_token=$SECRET_KEY" \\',
            f"  -d channel_id={chat_channel.pk} \\",
            "  -d 'message[from][client_id]=79210000000' \\",
            "  -d 'message[from][name]=Anna' \\",
            "  --data-urlencode 'message[text]=Test from the provider'",
        ]
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


VERIFY_EXAMPLE = """\
import base64, hashlib, hmac, time

def is_genuine(headers, body: bytes, secret_key: str) -> bool:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(secret_key.encode(), signed, hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(digest).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    given = headers["webhook-signature"].split()
    return fresh and any(hmac.compare_digest(wanted, one) for one in given)
"""
