"""Sender of webhooks: combines updates, signs them, posts them, and repeats each POST until it is answered with 200."""

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

TIMEOUT_SECONDS = 10.0
GIVE_UP_SECONDS = 7 * 86_400

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Update:
    """One update. ``part`` is the list in the value that holds ``item``; without it ``item`` is the whole value."""

    field: str
    item: Json
    part: str = ""
    card: Json | None = None
    time: int | None = None
    posted: threading.Event = dataclasses.field(default_factory=threading.Event)


@dataclass(kw_only=True)
class WebhookPost:
    """One POST with the same bytes on every try."""

    body: bytes
    updates: list[Update]
    tries: int = 0
    since: float = dataclasses.field(default_factory=time.monotonic)


@dataclass(frozen=True, kw_only=True)
class Posted:
    body: bytes
    status: int  # 0: no response
    seconds: float
    tries: int
    at: float = dataclasses.field(default_factory=time.monotonic)


class WebhookSender:
    def __init__(
        self, behavior: Switchboard, *, compose: Callable[[list[Update]], Json], seed: int, senders: int = 1
    ) -> None:
        self.behavior, self.compose = behavior, compose
        self.random = random.Random(seed)
        self.url = ""
        self.app_secret = ""
        self.signature_header = "X-Hub-Signature-256"
        self.posted: list[Posted] = []
        self.waiting: list[tuple[float, int, Update | WebhookPost]] = []
        self.number = 0
        self.in_flight = 0
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
            thread.join(TIMEOUT_SECONDS + 1)

    def post(self, item: Update | WebhookPost, *, after: float = 0.0) -> None:
        with self.changed:
            self.number += 1
            heapq.heappush(self.waiting, (time.monotonic() + after, self.number, item))
            self.changed.notify_all()

    def quiet(self, *, seconds: float = 60) -> None:
        """Wait until all webhooks are posted and answered with 200."""
        with self.changed:
            done = self.changed.wait_for(lambda: not self.waiting and not self.in_flight, seconds)
            assert done, f"{len(self.waiting)} webhooks wait, {self.in_flight} under way; last {self.posted[-1:]}"

    # --- the threads ---

    def _run(self) -> None:
        while (items := self._next()) is not None:
            try:
                for post in self._build_posts(items):
                    self._deliver(post)
            finally:
                with self.changed:
                    self.in_flight -= len(items)
                    self.changed.notify_all()

    def _next(self) -> list[Update | WebhookPost] | None:
        """Return due updates, combined with those of the next ``gather_seconds``, or one POST to repeat."""
        with self.changed:
            while not self.stopped:
                if first := self._due():
                    found = [first]
                    self.in_flight += 1
                    break
                due = self.waiting[0][0] - time.monotonic() if self.waiting else None
                self.changed.wait(due)
            else:
                return None
            most = max(self.behavior.see("batch"), self.behavior.see("reorder"))
            until = time.monotonic() + self.behavior.see("gather_seconds")
            while isinstance(first, Update) and len(found) < most and not self.stopped:
                if more := self._due(updates_only=True):
                    found.append(more)
                    self.in_flight += 1
                elif not self.changed.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    break
            return found

    def _due(self, *, updates_only: bool = False) -> Update | WebhookPost | None:
        if not self.waiting or self.waiting[0][0] > time.monotonic():
            return None
        if updates_only and isinstance(self.waiting[0][2], WebhookPost):
            return None
        return heapq.heappop(self.waiting)[2]

    def _build_posts(self, items: list[Update | WebhookPost]) -> list[WebhookPost]:
        if isinstance(items[0], WebhookPost):
            return [items[0]]
        updates = [item for item in items if isinstance(item, Update)]
        if self.behavior.take("reorder"):
            self.random.shuffle(updates)
        size = max(1, self.behavior.take("batch"))
        found = []
        for start in range(0, len(updates), size):
            some = updates[start : start + size]
            post = WebhookPost(body=as_sent(self.compose(some)), updates=some)
            if self.random.random() >= self.behavior.take("drop"):
                found += [post] * (2 if self.random.random() < self.behavior.take("double") else 1)
            else:
                self._mark_posted(post)
        return found

    def _deliver(self, post: WebhookPost) -> None:
        post.tries += 1
        started = time.monotonic()
        status = self.call(post.body) if self.url else 0
        done = Posted(body=post.body, status=status, seconds=time.monotonic() - started, tries=post.tries)
        with self.changed:
            self.posted.append(done)
        if status == 200 or time.monotonic() - post.since > GIVE_UP_SECONDS:
            self._mark_posted(post)
            return
        first, most = self.behavior.see("retry_seconds"), self.behavior.see("retry_most_seconds")
        self.post(post, after=min(first * 2 ** min(post.tries - 1, 20), most))

    def _mark_posted(self, post: WebhookPost) -> None:
        for update in post.updates:
            update.posted.set()

    def call(self, body: bytes) -> int:
        """Make one POST. Return the HTTP status, 0 without a response."""
        where = urlsplit(self.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_SECONDS)
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
        """Make Meta's verification GET. Return whether the portal returns the challenge."""
        challenge = str(secrets.randbelow(10**10))
        query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", f"{where.path}?{urlencode(query)}")
            answer = connection.getresponse()
            return answer.read() == challenge.encode() and answer.status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def signed(self, body: bytes) -> dict[str, str]:
        match self.behavior.take("sign"):
            case "none":
                return {}
            case "wrong":
                return {self.signature_header: signature(body, self.app_secret + "?")}
            case "sha1":
                return {"X-Hub-Signature": old_signature(body, self.app_secret)}
        return {self.signature_header: signature(body, self.app_secret)}
