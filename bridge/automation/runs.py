"""One run of the automation: wake snoozed chats, send automatic replies, assign waiting chats."""

from __future__ import annotations

from bridge.conversations import snoozing
from channels_setup.failing_items import FailingItems

from . import assignment, automatic_replies

FAILING = FailingItems("automation")
STEPS = {
    "wake": snoozing.wake_due_chats,
    "reply": automatic_replies.send_due_replies,
    "assign": assignment.assign_waiting_chats,
}


def run_automation() -> int:
    """Do what is due. Return the number of changed chats. Two runs at a time do no harm."""
    changed = 0
    for name, step in STEPS.items():
        with FAILING.isolate(name):
            changed += step()
    return changed
