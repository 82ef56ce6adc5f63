"""Operators' reactions to contacts' messages, through the API channel of their conversation."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import ClassVar

from bridge.conversations import reactions
from bridge.models import Delivery
from bridge.outbox import settling
from bridge.outbox.attempts import AttemptResult, ClaimedDelivery

from .api_channels import ApiChannelPolicy
from .messages import MessagePolicy


class ReactionPolicy(MessagePolicy):
    """Reactions follow the rules of messages: window, current address, rate limits of the number and the contact.

    They have a line of their own for each message, so a reaction never waits for a message or for a reaction to another
    message, nor a message for it.
    One that a newer reaction to the same message has replaced is not attempted again.
    """

    kinds = (Delivery.Kind.REACTION,)
    retry_delays: ClassVar[tuple[int, ...]] = (5, 15, 60, 180, 600)  # a reaction hours later says nothing

    def admit(self, claimed: Sequence[ClaimedDelivery], token: uuid.UUID) -> list[ClaimedDelivery]:
        """Cancel replaced reactions, also interrupted ones: the newer one follows at once. Then check like messages."""
        replaced = reactions.find_replaced(item.delivery for item in claimed)
        for pk in sorted(replaced):
            settling.cancel_delivery(pk, token=token, reason=reactions.REPLACED)
        return super().admit([item for item in claimed if item.delivery.pk not in replaced], token)

    def compute_retry_delay(self, attempt: AttemptResult) -> float | None:
        """Return no delay if the reaction was replaced during the call, unless the newer one has to wait as long."""
        seconds, outcome = super().compute_retry_delay(attempt), attempt.outcome
        if seconds is None or outcome.whole_channel or outcome.contact_backoff_base is not None:
            return seconds
        return 0.0 if reactions.find_replaced([attempt.claimed.delivery]) else seconds

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
