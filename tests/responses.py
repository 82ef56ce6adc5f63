"""Change what our calls get back: every response of the guarded HTTP client passes through a function of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from channels_setup.http_client.transfer import Transfer
from channels_setup.providers.base import ApiRequest, ApiResponse


def change_responses(monkeypatch: pytest.MonkeyPatch, change: Callable[[ApiRequest, ApiResponse], ApiResponse]) -> None:
    """Let ``change`` replace each response, or raise instead. Calls that ``change`` makes itself are left alone."""
    honest, thread = Transfer.read_result, threading.local()

    def read_result(self: Transfer, handle: Any, error: int) -> ApiResponse:
        response = honest(self, handle, error)
        if getattr(thread, "is_changing", False):
            return response
        thread.is_changing = True
        try:
            return change(self.request, response)
        finally:
            thread.is_changing = False

    monkeypatch.setattr(Transfer, "read_result", read_result)
