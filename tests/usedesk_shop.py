"""A company whose operators answer in Usedesk: the Usedesk simulator, a sandbox phone, and the portal between."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.test import Client
from django.utils import timezone

from bridge.inbox import processing
from bridge.models import CircuitBreaker, Contact, Conversation, Delivery, Message, WebhookEvent
from bridge.outbox import dispatcher
from channels_setup.models import ApiChannel, ChatChannel
from tests.factories import ApiChannelFactory
from tests.simulators.usedesk import CHANNEL, COMPANY, UsedeskSimulator


def outside_channel(simulator: UsedeskSimulator, **options: Any) -> ChatChannel:
    """Create a chat channel with the simulator as its helpdesk, as the form would."""
    chat_channel = ChatChannel(name="Юздеск", kind="usedesk", company_id=COMPANY)
    chat_channel.options = {
        "base_url": simulator.url,
        "channel_id": CHANNEL,
        "app_id": simulator.app_id,
        "calls_per_second": 500,
        "language": "en",
    } | options
    chat_channel.set_secret(simulator.key)
    chat_channel.save()
    return chat_channel


@dataclass
class Shop:
    """The actions of the client and the operators. `settle` runs the workers' tasks until nothing is left."""

    simulator: UsedeskSimulator
    chat_channel: ChatChannel
    channel: ApiChannel
    number: int = field(default=0)

    @classmethod
    def of(cls, simulator: UsedeskSimulator, **options: Any) -> Shop:
        chat_channel = outside_channel(simulator, **options)
        shop = cls(simulator, chat_channel, ApiChannelFactory(watched=chat_channel))
        simulator.poster = lambda body, kind: shop.post(chat_channel.webhook_path, body, kind)
        return shop

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> int:
        return int(Client().generic("POST", path, body, content_type=content_type).status_code)

    def provider_posts(self, event: dict[str, Any]) -> None:
        assert self.post(self.channel.webhook_path, json.dumps(event).encode()) == 200

    def anna_writes(self, text: str, *, who: str = "anna", **more: Any) -> None:
        self.number += 1
        sender = {"id": who, "name": "Анна", "phone": "+79211234567"}
        event = {"type": "message", "id": f"m{self.number}", "from": sender, "text": text} | more
        self.provider_posts(event)

    def time_passes(self, hours: float) -> None:
        event = {"type": "clock", "from": {"id": "anna"}, "hours": hours}
        self.provider_posts(event)
        self.settle()

    def settle(self, *, seconds: float = 60) -> None:
        """Wait until all events are processed, all deliveries sent and the simulator has nothing more to post."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.simulator.pump()
            processing.process_inbox(), dispatcher.send_due_deliveries()
            waiting = WebhookEvent.objects.filter(state="new").exists()
            older = Delivery.objects.filter(
                conversation=OuterRef("conversation"), kind=OuterRef("kind"), pk__lt=OuterRef("pk")
            ).filter(state__in=Delivery.UNFINISHED)
            due = Delivery.objects.filter(state__in=Delivery.UNFINISHED, next_attempt_at__lte=timezone.now())
            due = due.filter(~Exists(older))
            resting = CircuitBreaker.objects.filter(Q(backoff_until__gt=timezone.now()) | Q(is_open=True)).exists()
            if not waiting and self.simulator.is_quiet and (resting or not due.exists()):
                return
            time.sleep(0.02)
        raise AssertionError("it does not come to rest")

    def hurry(self) -> None:
        """Make all waiting retries due now."""
        CircuitBreaker.objects.all().delete()
        Delivery.objects.filter(state__in=Delivery.UNFINISHED).update(next_attempt_at=timezone.now())
        self.settle()

    def begin(self, text: str = "Здравствуйте!") -> int:
        """Let Anna write once, and return the number of the chat in Usedesk."""
        self.anna_writes(text)
        self.settle()
        return next(iter(self.simulator.chats))

    def at_annas(self) -> list[str]:
        """Return the texts on Anna's phone, in the order of the chat."""
        rows = Message.objects.filter(direction="outbound", status__in=["sent", "delivered", "read"])
        return list(rows.order_by("pk").values_list("text", flat=True))

    def conversation(self) -> Conversation:
        return Conversation.objects.get()

    def contact(self) -> Contact:
        return Contact.objects.get()
