"""State of a chat as its row showed it. A form posts it, so that chats that changed since are left as they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.models import Conversation


@dataclass(frozen=True, kw_only=True)
class ShownState:
    """What the user saw of a chat. None: not known, so not compared."""

    last_message: int | None = None  # microseconds
    assignee: int | None = None  # 0: nobody


def build_state(chat: Any) -> str:
    """Return the state of a conversation or of the data of its row."""
    return f"{_microseconds(chat.last_message_at)}~{chat.assignee_id or 0}"


def read_state(text: str) -> ShownState:
    """Parse the state of a row. An invalid one is not compared."""
    parts = text.split("~")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        return ShownState()
    return ShownState(last_message=int(parts[0]), assignee=int(parts[1]))


def has_client_written(chat: Conversation, shown: ShownState) -> bool:
    """Return whether the chat has a message of the client that the user has not seen."""
    is_newer = shown.last_message is not None and _microseconds(chat.last_message_at) > shown.last_message
    return is_newer and chat.last_direction == "inbound"


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
