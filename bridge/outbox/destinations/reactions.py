"""Operators' reactions to contacts' messages, through the API channel of their conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bridge.conversations import reactions
from bridge.models import Delivery
from bridge.outbox.attempts import AttemptResult

from .api_channels import ApiChannelPolicy
from .messages import MessagePolicy


class ReactionPolicy(MessagePolicy):
    """Reactions follow the rules of messages: window, current address, rate limits of the number and the contact.

    They have a line of their own in each conversation, so a reaction never waits for a message, nor a message for it.
    """

    kinds = (Delivery.Kind.REACTION,)
    retry_delays: ClassVar[tuple[int, ...]] = (5, 15, 60, 180, 600)  # a reaction hours later says nothing

    def can_repeat_unknown(self, delivery: Delivery) -> bool:
        """Return True: the same reaction twice is one reaction."""
        return True

    def settle_accepted(self, attempts: Sequence[AttemptResult]) -> None:
        """Mark accepted reactions as sent and reset the failures of their channels."""
        ApiChannelPolicy.settle_accepted(self, attempts)
        reactions.confirm_reactions(item.claimed.delivery for item in attempts)
        for channel in {item.claimed.delivery.api_channel for item in attempts}:
            if channel.last_error:
                channel.record_success(with_answer=False)
                self.settings.forget(channel.pk)
