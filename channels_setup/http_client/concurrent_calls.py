"""Many calls at once in one thread, by libcurl's socket interface."""

from __future__ import annotations

import ipaddress
import os
import selectors
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import IO, Any

import pycurl

from channels_setup.providers.base import ApiRequest, ApiResponse

from .errors import ConnectionFailed, ForbiddenAddress
from .resolving import resolve_checked, resolver_threads
from .transfer import FIXED_OPTIONS, MAX_RESPONSE_BYTES, Transfer

DEADLINE_SECONDS = 20.0  # for the whole exchange
KEPT_CONNECTIONS = 256
MAX_KEPT_NAMES = 1_000
READY = {
    selectors.EVENT_READ: pycurl.CSELECT_IN,
    selectors.EVENT_WRITE: pycurl.CSELECT_OUT,
    selectors.EVENT_READ | selectors.EVENT_WRITE: pycurl.CSELECT_IN | pycurl.CSELECT_OUT,
}
WATCHED = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}

Result = ApiResponse | Exception

_per_thread = threading.local()


class ConcurrentCalls:
    """Calls that run at once, for one thread. Each has a tag, by which the caller knows its result.

    ``keep_names_seconds``: how long a resolved and checked name is used again. A call connects to the checked address,
    so a name that changes meanwhile gains nothing.
    """

    def __init__(self, *, keep_names_seconds: float = 0.0) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, KEPT_CONNECTIONS)
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_NOTHING)
        self._selector = selectors.DefaultSelector()
        self._timer: float | None = None  # time.monotonic() at which libcurl wants to be called
        self._running: dict[pycurl.Curl, tuple[Any, Transfer]] = {}
        self._idle_handles: list[pycurl.Curl] = []
        self._resolving: dict[Future[list[str]], tuple[Any, Transfer]] = {}
        self._finished: list[tuple[Any, Result]] = []
        self._keep_names_seconds = keep_names_seconds
        self._names: dict[tuple[str, str, int], tuple[float, list[str]]] = {}
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def __len__(self) -> int:
        """Return how many calls have no collected result yet."""
        return len(self._running) + len(self._resolving) + len(self._finished)

    def start(
        self,
        tag: Any,
        request: ApiRequest,
        *,
        max_bytes: int = MAX_RESPONSE_BYTES,
        seconds: float | None = None,
        into: IO[bytes] | None = None,
    ) -> None:
        """Start a call. Its result is an ApiResponse, ForbiddenAddress, ConnectionFailed or NoResponse."""
        try:
            transfer = Transfer(request, seconds=seconds or DEADLINE_SECONDS, max_bytes=max_bytes, into=into)
            resolved = self._resolve_at_once(transfer)
        except Exception as problem:
            self._finish_unsent(tag, problem)
            return
        if resolved is not None:
            self._begin(tag, transfer, resolved)
            return
        future = resolver_threads().submit(resolve_checked, transfer.parts, transfer.port)
        self._resolving[future] = tag, transfer
        future.add_done_callback(lambda _future: self.wake())

    def wait(self, seconds: float) -> list[tuple[Any, Result]]:
        """Return the results of calls that have ended; wait up to ``seconds`` for the first one, or for ``wake``."""
        until = time.monotonic() + seconds
        while True:
            self._begin_resolved()
            if self._finished:
                finished, self._finished = self._finished, []
                return finished
            pause = min(until, self._timer or until, *(each.deadline for _tag, each in self._resolving.values()))
            ready = self._selector.select(max(pause - time.monotonic(), 0))
            is_woken = self._handle_events(ready)
            if not self._finished and not self._resolving and (is_woken or time.monotonic() >= until):
                return []
            if not self._finished and time.monotonic() >= until:
                return []

    def wake(self) -> None:
        """End a wait of this object's thread. May be called by other threads."""
        with suppress(BlockingIOError, OSError):
            self._waker.send(b"w")

    def cancel_all(self) -> None:
        """Forget all calls. What was sent stays sent."""
        for handle in list(self._running):
            self._multi.remove_handle(handle)
        self._running.clear()
        self._resolving.clear()
        self._finished.clear()

    # --- names ---------------------------------------------------------------------------------------

    def _resolve_at_once(self, transfer: Transfer) -> list[str] | None:
        """Return the addresses of a host if they are known without a resolver."""
        parts, port = transfer.parts, transfer.port
        kept = self._names.get((parts.scheme, str(parts.hostname), port))
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        return resolve_checked(parts, port) if _is_address(str(parts.hostname)) else None

    def _begin_resolved(self) -> None:
        now = time.monotonic()
        for future, (tag, transfer) in list(self._resolving.items()):
            if not future.done() and transfer.deadline > now:
                continue
            del self._resolving[future]
            if transfer.deadline <= now:
                self._finish_unsent(tag, TimeoutError())
            elif (problem := future.exception()) is not None:
                self._finish_unsent(tag, problem)
            else:
                self._keep_name(transfer, future.result())
                self._begin(tag, transfer, future.result())

    def _keep_name(self, transfer: Transfer, resolved: list[str]) -> None:
        if self._keep_names_seconds:
            if len(self._names) >= MAX_KEPT_NAMES:
                self._names.clear()
            key = transfer.parts.scheme, str(transfer.parts.hostname), transfer.port
            self._names[key] = time.monotonic() + self._keep_names_seconds, resolved

    # --- transfers -----------------------------------------------------------------------------------

    def _begin(self, tag: Any, transfer: Transfer, resolved: list[str]) -> None:
        handle = self._idle_handles.pop() if self._idle_handles else _new_handle()
        try:
            transfer.configure(handle, resolved)
        except Exception as problem:  # for example a header with a line break
            self._finish_unsent(tag, problem)
            return
        self._running[handle] = tag, transfer
        self._multi.add_handle(handle)

    def _handle_events(self, ready: list[tuple[selectors.SelectorKey, int]]) -> bool:
        """Let libcurl read and write. Return whether ``wake`` was called."""
        is_woken = False
        for key, events in ready:
            if key.fileobj is self._woken:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
                is_woken = True
            else:
                self._multi.socket_action(key.fd, READY[events])
        if self._timer is not None and self._timer <= time.monotonic():
            self._timer = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for handle in succeeded:
                self._finish(handle, 0)
            for handle, error, _text in failed:
                self._finish(handle, error)
        return is_woken

    def _finish(self, handle: pycurl.Curl, error: int) -> None:
        tag, transfer = self._running.pop(handle)
        try:
            result: Result = transfer.read_result(handle, error)
        except Exception as problem:
            result = problem
        self._multi.remove_handle(handle)
        self._idle_handles.append(handle)
        self._finished.append((tag, result))

    def _finish_unsent(self, tag: Any, problem: BaseException) -> None:
        """End a call that was not begun. Problems of any other kind are a failed connection: nothing was sent."""
        if not isinstance(problem, ForbiddenAddress | ConnectionFailed):
            cause, problem = problem, ConnectionFailed("cannot_connect")
            problem.__cause__ = cause
        self._finished.append((tag, problem))

    def _watch_socket(self, event: int, descriptor: int, _multi: Any, _data: Any) -> None:
        if event == pycurl.POLL_REMOVE:
            with suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
            return
        try:
            self._selector.modify(descriptor, WATCHED[event])
        except KeyError:
            self._selector.register(descriptor, WATCHED[event])

    def _set_timer(self, milliseconds: int) -> None:
        self._timer = time.monotonic() + milliseconds / 1000 if milliseconds >= 0 else None


def get_thread_calls(purpose: str, *, keep_names_seconds: float = 0.0) -> ConcurrentCalls:
    """Return this thread's calls for a purpose. They keep their connections. A forked process makes its own."""
    if not hasattr(_per_thread, "calls"):
        _per_thread.calls = {}
    kept: dict[tuple[str, int], ConcurrentCalls] = _per_thread.calls
    if (key := (purpose, os.getpid())) not in kept:
        kept[key] = ConcurrentCalls(keep_names_seconds=keep_names_seconds)
    return kept[key]


def _new_handle() -> pycurl.Curl:
    handle = pycurl.Curl()
    for option, value in FIXED_OPTIONS:
        handle.setopt(option, value)
    return handle


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
