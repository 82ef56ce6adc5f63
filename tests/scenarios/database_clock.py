"""Control of the database's clock, which all time rules use."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from bridge import service_window
from bridge.conversations import batch_lookup


def set_database_clock(monkeypatch: pytest.MonkeyPatch, read: Callable[[], datetime]) -> None:
    look_up = batch_lookup.look_up

    def look_up_at(*args: Any) -> batch_lookup.BatchLookup:
        return replace(look_up(*args), now=read())

    monkeypatch.setattr(service_window, "database_now", read)
    monkeypatch.setattr(batch_lookup, "look_up", look_up_at)
