"""Calls that are not over in time are cut off, wherever they hang: in the head, in the body, in a chunk that drips.

One thread for all calls of the process, begun with the first: a timer for each would cost as much as half the call.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

LOOK_SECONDS = 0.25  # so often the thread looks; a call is cut as much earlier at most

_lock = threading.Lock()
_under_way: dict[int, tuple[float, dict[str, Any]]] = {}
_thread: threading.Thread | None = None


def watch(state: dict[str, Any], *, seconds: float) -> None:
    """Cut ``state["handle"]`` (a socket) within ``seconds`` and set ``state["cut"]``, unless it is let go before."""
    global _thread
    with _lock:
        _under_way[id(state)] = time.monotonic() + seconds - LOOK_SECONDS, state
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_run, name="deadlines", daemon=True)
            _thread.start()


def let_go(state: dict[str, Any]) -> None:
    with _lock:
        _under_way.pop(id(state), None)


def _run() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        with _lock:
            late = [state for until, state in _under_way.values() if until <= now]
            for state in late:
                del _under_way[id(state)]
        for state in late:
            _cut(state)


def _cut(state: dict[str, Any]) -> None:
    state["cut"] = True
    handle = state["handle"]
    if handle is not None:
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)


def _begin_anew() -> None:
    """A forked process has none of its parent's threads, and must not wait for a lock that one of them held."""
    global _lock, _thread
    _lock, _thread = threading.Lock(), None
    _under_way.clear()


os.register_at_fork(after_in_child=_begin_anew)
