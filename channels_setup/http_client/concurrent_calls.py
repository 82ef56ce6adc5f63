"""Many calls at once in one thread, by libcurl's socket interface."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import IO, Any, Protocol

import pycurl

from channels_setup.providers.base import ApiRequest, ApiResponse

from .callbacks import keep_problem
from .errors import ConnectionFailed, ForbiddenAddress, NoResponse
from .kept_connections import KeptConnections
from .resolving import NameLookups
from .transfer import FIXED_OPTIONS, MAX_RESPONSE_BYTES, Transfer

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 20.0  # for the whole exchange
KEPT_CONNECTIONS = 256
READING_SECONDS = 1.0  # after a pause of the thread, to read responses that arrived meanwhile
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

# RuntimeError: no thread for the lookup of a name.
UNSENT_PROBLEMS = (ForbiddenAddress, ConnectionFailed, OSError, ValueError, RuntimeError, pycurl.error)
WATCHED_BY_CALLER = object()

Result = ApiResponse | Exception


class HasFileno(Protocol):
    def fileno(self) -> int: ...


_per_thread = threading.local()


class ConcurrentCalls:
    """Calls that run at once, for one thread. Each has a tag, by which the caller knows its result.

    ``keep_names_seconds``: how long a resolved and checked name is used again. A call connects to the checked address,
    so a name that changes meanwhile gains nothing. ``wait`` raises what a signal has raised inside of a callback.
    """

    def __init__(self, *, keep_names_seconds: float = 0.0) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, KEPT_CONNECTIONS)
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_NOTHING)
        self._selector = selectors.DefaultSelector()
        self._timer: float | None = None  # time.monotonic() at which libcurl wants to be called
        self._last_look = 0.0  # time.monotonic() of the last look at the sockets
        self._running: dict[pycurl.Curl, tuple[Any, Transfer]] = {}
        self._idle_handles: list[pycurl.Curl] = []
        self._kept = KeptConnections()
        self._names = NameLookups(keep_seconds=keep_names_seconds, wake=self._wake)
        self._finished: list[tuple[Any, Result]] = []
        self.problem: BaseException | None = None  # of a callback
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def __len__(self) -> int:
        """Return how many calls have no collected result yet."""
        return len(self._running) + len(self._names) + len(self._finished)

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
            resolved = self._names.get_known(transfer.target)
            if resolved is None:
                self._names.start(transfer.target, (tag, transfer), deadline=transfer.deadline)
                return
        except UNSENT_PROBLEMS as problem:
            self._finish_unsent(tag, problem)
            return
        self._begin(tag, transfer, resolved)

    def wait(self, seconds: float, *, watch: HasFileno | None = None) -> list[tuple[Any, Result]]:
        """Return the results of calls that have ended; wait up to ``seconds`` for the first one.

        The wait ends without a result when ``watch`` becomes readable.
        """
        if watch is None:
            return self._wait(time.monotonic() + seconds)
        self._selector.register(watch, selectors.EVENT_READ, data=WATCHED_BY_CALLER)
        try:
            return self._wait(time.monotonic() + seconds)
        finally:
            self._selector.unregister(watch)

    def _wait(self, until: float) -> list[tuple[Any, Result]]:
        while True:
            self._begin_resolved()
            if self._finished:
                finished, self._finished = self._finished, []
                return finished
            self._extend_after_pause()
            pause = min(until, self._timer or until, self._names.get_next_deadline(until))
            ready = self._selector.select(max(pause - time.monotonic(), 0))
            self._last_look = time.monotonic()
            is_watch_ready = self._handle_events(ready)
            if not self._finished and (is_watch_ready or time.monotonic() >= until):
                return []

    def cancel_all(self) -> None:
        """Forget all calls. What was sent stays sent."""
        for handle in list(self._running):
            with suppress(pycurl.error):  # an interruption may have left it out
                self._multi.remove_handle(handle)
        self._running.clear()
        self._names.forget_calls()
        self._finished.clear()
        self.problem = None

    def _wake(self) -> None:
        """Let this object's thread look at the names that were found. Called by other threads."""
        with suppress(OSError):  # full: the thread wakes up anyway
            self._waker.send(b"x")

    # --- transfers -----------------------------------------------------------------------------------

    def _begin_resolved(self) -> None:
        for (tag, transfer), result in self._names.collect():
            if isinstance(result, BaseException):
                self._finish_unsent(tag, result)
            else:
                self._begin(tag, transfer, result)

    def _begin(self, tag: Any, transfer: Transfer, resolved: list[str]) -> None:
        handle = self._idle_handles.pop() if self._idle_handles else _new_handle()
        try:
            transfer.configure(handle, resolved, self._kept)
        except UNSENT_PROBLEMS as problem:  # for example a header with a line break
            self._finish_unsent(tag, problem)
            return
        self._running[handle] = tag, transfer
        self._multi.add_handle(handle)

    def _extend_after_pause(self) -> None:
        """Leave time to read what has arrived while the thread did other work, for example waited for the database.

        libcurl looks at the deadline before it reads: an accepted request would have an unknown outcome, and a call
        that began right before the pause would have failed to connect.
        """
        now = time.monotonic()
        if now - self._last_look > READING_SECONDS:
            for handle, (_tag, transfer) in self._running.items():
                transfer.extend_connecting(handle, until=now + READING_SECONDS)
                if transfer.began < self._last_look:
                    transfer.extend(handle, until=now + READING_SECONDS)

    def _handle_events(self, ready: list[tuple[selectors.SelectorKey, int]]) -> bool:
        """Let libcurl read and write. Return whether the caller's ``watch`` is readable, which ends the wait."""
        is_watch_ready = False
        for key, events in ready:
            if key.data is WATCHED_BY_CALLER:
                is_watch_ready = True
            elif key.fileobj is self._woken:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
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
        if self.problem is not None:
            raise self.problem
        return is_watch_ready

    def _finish(self, handle: pycurl.Curl, error: int) -> None:
        tag, transfer = self._running.pop(handle)
        self._kept.remember(handle)
        self._multi.remove_handle(handle)
        if transfer.problem is not None and not isinstance(transfer.problem, OSError):
            raise transfer.problem
        if transfer.needs_new_connection:
            transfer.use_new_connection(handle)
            self._running[handle] = tag, transfer
            self._multi.add_handle(handle)
            return
        self._finished.append((tag, _read_result(transfer, handle, error)))
        transfer.release()
        self._idle_handles.append(handle)

    def _finish_unsent(self, tag: Any, problem: BaseException) -> None:
        """End a call that was not begun. Problems of any other kind are a failed connection: nothing was sent."""
        if not isinstance(problem, ForbiddenAddress | ConnectionFailed):
            cause, problem = problem, ConnectionFailed("cannot_connect")
            problem.__cause__ = cause
        self._finished.append((tag, problem))

    @keep_problem(None)
    def _watch_socket(self, event: int, descriptor: int, _multi: Any, _data: Any) -> None:
        if event == pycurl.POLL_REMOVE:
            with suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
            return
        try:
            self._selector.modify(descriptor, WATCHED[event])
        except (KeyError, FileNotFoundError):  # the latter: a number that was closed and is used again
            self._selector.register(descriptor, WATCHED[event])

    @keep_problem(None)
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


def _read_result(transfer: Transfer, handle: pycurl.Curl, error: int) -> Result:
    try:
        return transfer.read_result(handle, error)
    except (ForbiddenAddress, ConnectionFailed, NoResponse, OSError) as problem:
        return problem
    except Exception:  # the request may have been sent, so the outcome is unknown
        logger.exception("response not read")
        return NoResponse()
