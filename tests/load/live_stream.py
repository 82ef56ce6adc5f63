"""Server-sent events for the desk, as the benchmark compares them with the poll: the best case on WSGI.

One thread per web process waits for changes and wakes all streams of the process. A stream says only that something has
changed, and its page then asks as the poll does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import redis
from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse

TOPIC = "okno:bench:changes"
HEARTBEAT_SECONDS = 15.0  # a comment, so that proxies keep the connection

changed = threading.Condition()
number = 0
listener: threading.Thread | None = None


def listen() -> None:
    global number
    channel = redis.Redis.from_url(settings.REDIS_URL).pubsub()
    channel.subscribe(TOPIC)
    for message in channel.listen():
        if message["type"] == "message":
            with changed:
                number += 1
                changed.notify_all()


def stream(request: HttpRequest) -> StreamingHttpResponse:
    global listener
    with changed:
        if listener is None:
            listener = threading.Thread(target=listen, daemon=True)
            listener.start()
    response = StreamingHttpResponse(write_events(), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    return response


def write_events() -> Iterator[bytes]:
    yield b": open\n\n"
    seen = number
    while True:
        with changed:
            is_changed = changed.wait_for(lambda last=seen: number != last, timeout=HEARTBEAT_SECONDS)
            seen = number
        yield b"data: changed\n\n" if is_changed else b": still here\n\n"
