"""Simulated provider: sends a seeded list at a steady rate, and repeats requests without a 2xx response."""

from __future__ import annotations

import hashlib
import http.client
import json
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.faults.stack import CANARY, PHONE, Shop, Stack

PATIENCE = 15.0  # seconds for one answer
AGAIN_AFTER = 0.3


@dataclass(frozen=True, kw_only=True)
class Post:
    """One request to send. ``id``: its ID in the portal. Requests with the same ``line`` are sent in order."""

    id: str
    path: str
    body: bytes
    line: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int  # 0: none came
    seconds: float
    body: bytes = b""


def call(
    port: int, path: str, body: bytes, headers: Iterable[tuple[str, str]] = (), *, patience: float = PATIENCE
) -> Answer:
    """Send one POST over a new connection."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # the response arrived before the whole request was sent
            connection.request("POST", path, body, {"Content-Type": "application/json", **dict(headers)})
        answer = connection.getresponse()
        return Answer(status=answer.status, body=answer.read(), seconds=time.monotonic() - started)
    except (OSError, http.client.HTTPException):
        return Answer(status=0, seconds=time.monotonic() - started)
    finally:
        connection.close()


class FakeProvider:
    def __init__(self, stack: Stack, shop: Shop, *, seed: int, senders: int = 8) -> None:
        self.stack, self.shop, self.seed = stack, shop, seed
        self.random = random.Random(seed)
        self.accepted: dict[str, Post] = {}
        self.refused: list[bytes] = []
        self.unsent: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.cut_off = 0  # calls that ended without a response before the timeout
        self.chats: dict[str, int] = {}  # line -> chat id
        self.lock = threading.Lock()
        self.queues: list[queue.Queue[Post | None]] = [queue.Queue() for _ in range(senders)]
        self.give_up_at = float("inf")
        self.replies = 0
        self.patience = PATIENCE
        print(f"seed {seed}")

    # --- requests ---

    def message(self, number: int, *, clients: int, text: str = "") -> Post:
        """Build a client's message: even clients use the webhook, odd ones addMessage."""
        who = number % clients
        text = text or f"{CANARY} {self.seed}/{number}"
        name = f"{self.seed}-{number}"
        if who % 2 == 0:
            body: dict[str, Any] = {"type": "message", "id": name, "text": text}
            body["from"] = {"id": f"{self.seed}-{who}", "name": "Анна", "phone": PHONE}
            return Post(id=name, path=self.shop.phone_path, body=json.dumps(body).encode(), line=str(who))
        sender = {"client_id": f"{self.seed}-{who}", "name": "Анна", "phone": PHONE}
        body = {"api_token": self.shop.secret, "channel_id": self.shop.chat_channel}
        body["message"] = {"id": name, "text": text, "from": sender}
        return Post(id=name, path="/uapi/chat/addMessage", body=json.dumps(body).encode(), line=str(who))

    def reply(self, line: str, *, text: str = "") -> Post:
        """Build the operator's reply in a chat that addMessage opened."""
        with self.lock:
            self.replies += 1
            name = f"reply-{self.seed}-{self.replies}"
        body = {"api_token": self.shop.secret, "chat_id": self.chats[line], "user_id": self.stack.operator}
        body["text"] = text or f"{CANARY} {name}"
        key = (("Idempotency-Key", name),)
        return Post(id=name, path="/uapi/chat/sendMessage", body=json.dumps(body).encode(), line=line, headers=key)

    # --- sending ---

    def once(self, post: Post) -> Answer:
        answer = call(self.stack.port, post.path, post.body, post.headers, patience=self.patience)
        with self.lock:
            self.statuses[answer.status] += 1
            self.seconds.append(answer.seconds)
            self.cut_off += answer.status == 0 and answer.seconds < self.patience - 0.5
        return answer

    def deliver(self, post: Post) -> bool:
        """Send until the response is 2xx. An error in a 200 of the API is a refusal, and none is expected."""
        while time.monotonic() < self.give_up_at:
            answer = self.once(post)
            if 200 <= answer.status < 300:
                answer_body = json.loads(answer.body)
                with self.lock:
                    if answer_body.get("error"):
                        self.refused.append(answer.body)
                        return False
                    self.accepted[post.id] = post
                    if post.path.endswith("addMessage"):
                        self.chats[post.line] = answer_body["chat_id"]
                return True
            time.sleep(AGAIN_AFTER * self.random.uniform(0.5, 1.5))
        with self.lock:
            self.unsent.append(post.id)
        return False

    def drive(
        self, *, count: int, rate: float, clients: int = 20, reply_every: int = 10, patience: float = 120
    ) -> None:
        """Send ``count`` messages at ``rate`` per second, in order per client, with a reply at regular intervals."""
        self.give_up_at = time.monotonic() + count / rate + patience
        threads = [threading.Thread(target=self._work, args=(each, reply_every), daemon=True) for each in self.queues]
        for thread in threads:
            thread.start()
        started = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            post = self.message(number, clients=clients)
            self.queues[int(post.line) % len(self.queues)].put(post)
        for each in self.queues:
            each.put(None)
        for thread in threads:
            thread.join(max(1.0, self.give_up_at - time.monotonic() + 20))

    def _work(self, mine: queue.Queue[Post | None], reply_every: int) -> None:
        sent = 0
        while (post := mine.get()) is not None:
            self.deliver(post)
            sent += 1
            if reply_every and sent % reply_every == 0 and post.line in self.chats:
                self.deliver(self.reply(post.line))

    def send(self, *posts: Post) -> None:
        self.give_up_at = time.monotonic() + 60
        for post in posts:
            self.deliver(post)

    @property
    def share_accepted(self) -> float:
        return sum(self.statuses[code] for code in self.statuses if 200 <= code < 300) / max(
            sum(self.statuses.values()), 1
        )

    def percentile(self, share: float) -> float:
        ranked = sorted(self.seconds)
        return ranked[min(int(len(ranked) * share), len(ranked) - 1)] if ranked else 0.0


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def in_parallel(*work: Any) -> None:
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
