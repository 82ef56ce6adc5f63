"""Sending again with judgement: what would happen now, before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from channels_setup.models import ChannelState

from . import reasons, recognising, windows
from .models import Breaker, Delivery

TROUBLE = (Delivery.State.DEAD, Delivery.State.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What sending a delivery again would come to now. ``code`` is of the catalogue, empty where it would go out."""

    delivery: Delivery
    code: str = ""
    name: str = ""  # of the template, where the sentence needs it

    @property
    def goes_out(self) -> bool:
        return self.code in ("", "channel_paused", "breaker_open")

    @property
    def sentence(self) -> str:
        return reasons.sentence(self.code or "would_go_out", {"name": self.name})


def forecast(deliveries: Sequence[Delivery]) -> list[Forecast]:
    """One judgement each, by the same questions that the outbox asks; four queries however many they are.

    The deliveries come with ``message`` and ``api_channel`` selected.
    """
    texts = {delivery.conversation_id for delivery in deliveries if delivery.free_text}
    shut = windows.shut_among(texts, now=windows.database_now()) if texts else set()
    templates = {
        delivery.pk: delivery.message.template
        for delivery in deliveries
        if delivery.kind == Delivery.Kind.MESSAGE and delivery.message and delivery.message.template
    }
    asleep = recognising.not_sendable(templates.values())
    down = set(
        Breaker.objects.filter(
            api_channel__in={delivery.api_channel_id for delivery in deliveries}, is_open=True
        ).values_list("pk", flat=True)
    )
    found = []
    for delivery in deliveries:
        template = templates.get(delivery.pk) or {}
        code = ""
        if delivery.free_text and delivery.conversation_id in shut:
            code = "window_shut_since"
        elif template.get("id") in asleep:
            code = "template_not_sendable"
        elif delivery.state == Delivery.State.UNKNOWN:
            code = "may_be_second"
        elif delivery.api_channel.state == ChannelState.PAUSED:
            code = "channel_paused"
        elif delivery.api_channel_id in down:
            code = "breaker_open"
        found.append(Forecast(delivery=delivery, code=code, name=template.get("name", "")))
    return found
