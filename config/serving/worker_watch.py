"""Replacement of web workers that no longer respond: busy loop, stopped process, or no free thread."""

import http.client
import logging
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

PROBE_INTERVAL = 5.0
ANSWER_TIMEOUT = 3.0
HUNG_SECONDS = 30.0  # without a request that reached the worker, although probes were sent
GRACE_SECONDS = 60.0  # extra time until the first request of a new worker
PROBES_PER_WORKER = 4  # per round; the kernel distributes them, so every worker gets some
STAMP = struct.Struct("d")

logger = logging.getLogger(__name__)


class LastRequestTimes:
    """Time of the last request of each worker, in memory that the parent shares with its workers."""

    def __init__(self, workers: int) -> None:
        self.memory = mmap.mmap(-1, STAMP.size * workers)

    def record(self, worker: int) -> None:
        STAMP.pack_into(self.memory, worker * STAMP.size, time.monotonic())

    def last_at(self, worker: int) -> float:
        """Return the time of the last request in `time.monotonic` seconds; 0 before the first request."""
        return float(STAMP.unpack_from(self.memory, worker * STAMP.size)[0])


def start_worker_watch(
    *, workers: Callable[[], Sequence[Any]], last_requests: LastRequestTimes, host: str, port: int
) -> None:
    """Watch granian's workers from a thread of their parent process."""
    threading.Thread(target=_watch_workers, args=(workers, last_requests, host, port), daemon=True).start()


def _watch_workers(workers: Callable[[], Sequence[Any]], last_requests: LastRequestTimes, host: str, port: int) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    while True:
        started = time.monotonic()
        current = list(workers())
        with ThreadPoolExecutor(max(1, len(current) * PROBES_PER_WORKER)) as pool:
            for _ in range(len(current) * PROBES_PER_WORKER):
                pool.submit(probe_worker, host, port)
        if time.monotonic() - started > 2 * ANSWER_TIMEOUT + PROBE_INTERVAL:
            continue  # the whole machine was suspended or overloaded, so the workers are not to blame
        for number, worker in enumerate(current):
            if is_hung(last=last_requests.last_at(number), birth=worker.birth, now=time.monotonic()):
                kill_worker(number, worker.inner.pid)
        time.sleep(PROBE_INTERVAL)


def is_hung(*, last: float, birth: float, now: float) -> bool:
    return now - (last if last > birth else birth + GRACE_SECONDS) > HUNG_SECONDS


def kill_worker(number: int, pid: int) -> None:
    """Kill the worker. Granian starts another one on the same socket."""
    logger.error("web worker %s (pid %s) does not answer; replacing it", number + 1, pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def probe_worker(host: str, port: int) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health/live")
        connection.getresponse().read()
    connection.close()
