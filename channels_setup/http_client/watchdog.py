"""Deadlines for whole calls: a watchdog thread cuts calls that take too long, wherever they hang.

One thread watches all calls of the process; it starts with the first call. A timer for each call would cost half as
much as the call.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

POLL_SECONDS = 0.25  # interval of the checks; a call may be cut this much before its deadline

_lock = threading.Lock()
_watched: dict[int, tuple[float, dict[str, Any]]] = {}  # id of the state -> deadline, state
_thread: threading.Thread | None = None


def start_deadline(state: dict[str, Any], *, seconds: float) -> None:
    """Cut ``state["handle"]`` (a socket) within ``seconds`` and set ``state["cut"]``, unless canceled before."""
    global _thread
    with _lock:
        _watched[id(state)] = time.monotonic() + seconds - POLL_SECONDS, state
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_watch, name="deadlines", daemon=True)
            _thread.start()


def cancel_deadline(state: dict[str, Any]) -> None:
    with _lock:
        _watched.pop(id(state), None)


def _watch() -> None:
    while True:
        time.sleep(POLL_SECONDS)
        now = time.monotonic()
        with _lock:
            late = [state for until, state in _watched.values() if until <= now]
            for state in late:
                del _watched[id(state)]
        for state in late:
            _cut_off(state)


def _cut_off(state: dict[str, Any]) -> None:
    state["cut"] = True
    handle = state["handle"]
    if handle is not None:
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)


def _reset_after_fork() -> None:
    """Start without a thread and with a free lock: threads of the parent do not exist in a forked process."""
    global _lock, _thread
    _lock, _thread = threading.Lock(), None
    _watched.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
