"""Webhooks on their way to the portal: gathered, signed, posted, and posted again until they are answered 200."""

from __future__ import annotations

import dataclasses
import heapq
import http.client
import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.simulators.behavior import Switchboard
from tests.simulators.wire import as_sent, old_signature, signature

PATIENCE_SECONDS = 10.0
GIVEN_UP_AFTER_SECONDS = 7 * 86_400

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Update:
    """One thing to tell. ``part`` is the list in the value that it goes into; none: ``item`` is the whole value."""

    field: str
    item: Json
    part: str = ""
    card: Json | None = None
    time: int | None = None
    told: threading.Event = dataclasses.field(default_factory=threading.Event)


@dataclass(kw_only=True)
class Parcel:
    """One POST, byte for byte the same at every try."""

    body: bytes
    updates: list[Update]
    tries: int = 0
    since: float = dataclasses.field(default_factory=time.monotonic)


@dataclass(frozen=True, kw_only=True)
class Posted:
    body: bytes
    status: int  # 0: no answer
    seconds: float
    tries: int
    at: float = dataclasses.field(default_factory=time.monotonic)


class Postman:
    def __init__(
        self, behaviour: Switchboard, *, compose: Callable[[list[Update]], Json], seed: int, senders: int = 1
    ) -> None:
        self.behaviour, self.compose = behaviour, compose
        self.random = random.Random(seed)
        self.url = ""
        self.app_secret = ""
        self.signature_header = "X-Hub-Signature-256"
        self.posted: list[Posted] = []
        self.waiting: list[tuple[float, int, Update | Parcel]] = []
        self.number = 0
        self.under_way = 0
        self.stopped = False
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=self._run, daemon=True, name="postman") for _ in range(senders)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS + 1)

    def post(self, item: Update | Parcel, *, after: float = 0.0) -> None:
        with self.changed:
            self.number += 1
            heapq.heappush(self.waiting, (time.monotonic() + after, self.number, item))
            self.changed.notify_all()

    def quiet(self, *, seconds: float = 60) -> None:
        """Wait until everything was told and answered 200."""
        with self.changed:
            done = self.changed.wait_for(lambda: not self.waiting and not self.under_way, seconds)
            assert done, f"{len(self.waiting)} webhooks wait, {self.under_way} under way; last {self.posted[-1:]}"

    # --- the threads ---

    def _run(self) -> None:
        while (items := self._next()) is not None:
            try:
                for parcel in self._parcels(items):
                    self._deliver(parcel)
            finally:
                with self.changed:
                    self.under_way -= len(items)
                    self.changed.notify_all()

    def _next(self) -> list[Update | Parcel] | None:
        """What is due, together with what else becomes due while it gathers; a parcel goes alone."""
        with self.changed:
            while not self.stopped:
                if first := self._due():
                    found = [first]
                    self.under_way += 1
                    break
                due = self.waiting[0][0] - time.monotonic() if self.waiting else None
                self.changed.wait(due)
            else:
                return None
            most = max(self.behaviour.see("batch"), self.behaviour.see("reorder"))
            until = time.monotonic() + self.behaviour.see("gather_seconds")
            while isinstance(first, Update) and len(found) < most and not self.stopped:
                if more := self._due(updates_only=True):
                    found.append(more)
                    self.under_way += 1
                elif not self.changed.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    break
            return found

    def _due(self, *, updates_only: bool = False) -> Update | Parcel | None:
        if not self.waiting or self.waiting[0][0] > time.monotonic():
            return None
        if updates_only and isinstance(self.waiting[0][2], Parcel):
            return None
        return heapq.heappop(self.waiting)[2]

    def _parcels(self, items: list[Update | Parcel]) -> list[Parcel]:
        if isinstance(items[0], Parcel):
            return [items[0]]
        updates = [item for item in items if isinstance(item, Update)]
        if self.behaviour.take("reorder"):
            self.random.shuffle(updates)
        size = max(1, self.behaviour.take("batch"))
        found = []
        for start in range(0, len(updates), size):
            some = updates[start : start + size]
            parcel = Parcel(body=as_sent(self.compose(some)), updates=some)
            if self.random.random() >= self.behaviour.take("drop"):
                found += [parcel] * (2 if self.random.random() < self.behaviour.take("double") else 1)
            else:
                self._settled(parcel)
        return found

    def _deliver(self, parcel: Parcel) -> None:
        parcel.tries += 1
        started = time.monotonic()
        status = self.call(parcel.body) if self.url else 0
        done = Posted(body=parcel.body, status=status, seconds=time.monotonic() - started, tries=parcel.tries)
        with self.changed:
            self.posted.append(done)
        if status == 200 or time.monotonic() - parcel.since > GIVEN_UP_AFTER_SECONDS:
            self._settled(parcel)
            return
        first, most = self.behaviour.see("retry_seconds"), self.behaviour.see("retry_most_seconds")
        self.post(parcel, after=min(first * 2 ** min(parcel.tries - 1, 20), most))

    def _settled(self, parcel: Parcel) -> None:
        for update in parcel.updates:
            update.told.set()

    def call(self, body: bytes) -> int:
        """One POST; its status, 0 where none came."""
        where = urlsplit(self.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE_SECONDS)
        try:
            headers = {"Content-Type": "application/json", "User-Agent": "facebookexternalua"} | self.signed(body)
            connection.request("POST", where.path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def handshake(self, url: str, verify_token: str) -> bool:
        """The GET with which Meta asks whether the address is ours."""
        challenge = str(secrets.randbelow(10**10))
        asked = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", f"{where.path}?{urlencode(asked)}")
            answer = connection.getresponse()
            return answer.read() == challenge.encode() and answer.status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def signed(self, body: bytes) -> dict[str, str]:
        match self.behaviour.take("sign"):
            case "none":
                return {}
            case "wrong":
                return {self.signature_header: signature(body, self.app_secret + "?")}
            case "sha1":
                return {"X-Hub-Signature": old_signature(body, self.app_secret)}
        return {self.signature_header: signature(body, self.app_secret)}
