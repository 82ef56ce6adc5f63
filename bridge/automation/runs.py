"""One run of the automation: wake snoozed chats, send automatic replies, assign waiting chats."""

from __future__ import annotations

from bridge.conversations import snoozing
from channels_setup.failing_items import FailingItems

STEPS = FailingItems("automation")


def run_automation() -> int:
    """Do what is due. Return the number of changed chats. Two runs at a time do no harm."""
    changed = 0
    for name, step in (("wake", snoozing.wake_due_chats),):
        with STEPS.isolate(name):
            changed += step()
    return changed
