"""The kinds of destination, in the order in which a run claims for them."""

from __future__ import annotations

from bridge.outbox.policies import DestinationPolicy

from .alert_messages import AlertEmailPolicy, AlertPolicy
from .events import EventPolicy
from .helpdesks import HelpdeskPolicy
from .messages import MessagePolicy
from .reactions import ReactionPolicy

POLICIES: tuple[type[DestinationPolicy], ...] = (
    MessagePolicy,
    ReactionPolicy,
    HelpdeskPolicy,
    EventPolicy,
    AlertPolicy,
    AlertEmailPolicy,
)
