"""Add the counts of this process to those of all processes, in a hash in Redis, every few seconds.

Redis keeps no messages, and its loss costs no more than the counts: they start again from zero, which Prometheus
recognizes. While Redis is down, a process keeps its counts. A process that is killed loses those of its last
FLUSH_SECONDS.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from multiprocessing.util import Finalize
from typing import Any

import redis

from bridge.optional_redis import OptionalRedis

from .counters import Key, pending

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
HASH = "okno:metrics"
FLUSHES = "okno:metrics:flush:"  # + ID of the process: number of its last flush
FLUSH_MEMORY = 86_400  # seconds; a flush whose response was lost is not added twice within this time
SEPARATOR = "\x1f"

# A connection that breaks does not tell whether the flush was applied. It is repeated under the same number.
FLUSH_SCRIPT = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
for i = 3, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""


class Flusher:
    """Flushes of this process. A forked child has its own connection, identity and numbers."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self.redis = OptionalRedis(timeout=0.5)
        self.lock = threading.Lock()
        self.process, self.number = uuid.uuid4().hex, 0
        self.unsent: dict[Key, int] = {}

    def flush(self) -> None:
        """Add the counts. Raises RedisError; then the next flush repeats this one."""
        with self.lock:
            for _ in range(2):  # what an earlier flush could not add, then what was counted since
                if not self.unsent:
                    self.unsent = pending.take()
                    self.number += 1
                if not self.unsent:
                    return
                self._send(self.unsent, self.number)
                self.unsent = {}

    def _send(self, counts: Mapping[Key, int], number: int) -> None:
        fields = [part for key, count in counts.items() for part in (_write_field(key), count)]
        keys = [HASH, FLUSHES + self.process]
        self.redis.client.eval(FLUSH_SCRIPT, len(keys), *keys, number, FLUSH_MEMORY, *fields)


def _write_field(key: Key) -> str:
    name, labels, part = key
    return SEPARATOR.join((name, *labels, part))


flusher = Flusher()


def read_counts() -> dict[Key, int]:
    """Return the counts of all processes. Raises RedisError."""
    flusher.flush()
    counts = {}
    found: Any = flusher.redis.client.hgetall(HASH)  # the stubs allow text
    for field, value in found.items():
        name, *labels, part = field.decode().split(SEPARATOR)
        counts[name, tuple(labels), part] = int(value)
    return counts


def forget_counts(keys: Iterable[Key]) -> None:
    """Delete the counts of series that no longer exist, such as those of deleted channels."""
    if fields := [_write_field(key) for key in keys]:
        flusher.redis.client.hdel(HASH, *fields)


def start_flushing() -> None:
    """Start the thread that flushes, and flush when the process ends. Runs at the first count of each process."""
    threading.Thread(target=_flush_regularly, name="metrics", daemon=True).start()
    Finalize(None, flush_safely, exitpriority=1)  # also in the children of multiprocessing, which skip atexit


def flush_safely() -> None:
    """Flush, and ignore a Redis that is down."""
    with suppress(redis.RedisError):
        flusher.flush()


def _flush_regularly() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they belong to the main thread
    while True:
        time.sleep(FLUSH_SECONDS)
        try:
            flusher.flush()
        except redis.RedisError as error:
            logger.debug("metrics not flushed", extra={"error": type(error).__name__})
        except Exception:
            logger.exception("metrics not flushed")
