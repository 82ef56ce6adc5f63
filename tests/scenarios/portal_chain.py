"""Two portals in one process: portal B uses portal A as its Usedesk. A sandbox phone is the client of B."""

import time
from typing import Any

import requests
from django.utils import timezone

from bridge.inbox import processing
from bridge.models import CircuitBreaker, Conversation, Delivery, Message, WebhookEvent
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup.models import ChatChannel
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris


class Chain:
    """Anna's phone at portal B; Boris's desk at portal A."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.desk = ChatChannelFactory(name="A: встроенные чаты")
        self.outside = ChatChannel(name="B: портал A вместо Юздеска", kind="usedesk", company_id=self.desk.company_id)
        self.outside.save()
        self.a = ApiChannelFactory(
            kind="acebot",
            redirect_url=address + self.outside.webhook_path,
            watched=self.desk,
            secret=True,
            track_change=True,
        )
        self.outside.options = {
            "base_url": f"{address}/uapi/",
            "channel_id": self.desk.pk,
            "app_id": str(self.a.app_id),
            "calls_per_second": 500,
            "language": "en",
        }
        self.outside.set_secret(self.a.current_secret().reveal())
        self.outside.save()
        self.b = ApiChannelFactory(watched=self.outside)
        self.operator = boris(self.desk)
        self.number = 0

    def anna_writes(self, text: str, *, who: str = "anna") -> None:
        self.number += 1
        # A look-up finds a client by phone, so each has one of their own.
        phone = f"+7921{1234567 + int(who.partition('-')[2] or 0)}"
        sender = {"id": who, "name": "Анна", "phone": phone}
        event = {"type": "message", "id": f"m{self.number}", "from": sender, "text": text}
        assert requests.post(self.address + self.b.webhook_path, json=event, timeout=20).status_code == 200

    def boris_answers(self, text: str) -> Any:
        return reply_submission.submit_reply(conversation_id=self.at_a().pk, text=text, author=self.operator)

    def at_a(self) -> Conversation:
        return Conversation.objects.get(chat_channel=self.desk)

    def at_b(self) -> Conversation:
        return Conversation.objects.get(chat_channel=self.outside)

    def seen(self, chat: Conversation, direction: str) -> list[str]:
        rows = Message.objects.filter(conversation=chat, direction=direction)
        if direction == "outbound":
            rows = rows.filter(status__in=["sent", "delivered", "read"])
        return list(rows.order_by("pk").values_list("text", flat=True))

    def settle(self, *, seconds: float = 240) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            processing.process_inbox(), dispatcher.send_due_deliveries()
            # Make waiting retries due now: the retry schedules have their own tests.
            CircuitBreaker.objects.all().delete()
            unfinished = Delivery.objects.filter(state__in=Delivery.UNFINISHED)
            if not unfinished.exists() and not WebhookEvent.objects.filter(state="new").exists():
                return
            unfinished.filter(state="pending").update(next_attempt_at=timezone.now())
        raise AssertionError("it does not come to rest")
