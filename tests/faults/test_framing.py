"""S: no request, finished or not, blocks or confuses the web; a hanging process is replaced."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from tests import routes
from tests.faults import h2c, truncation
from tests.faults.conftest import FULL, SEED
from tests.faults.login_flood import sign_in
from tests.faults.provider import FakeProvider, call
from tests.faults.stack import Shop, Stack, children, eventually

Size = Callable[..., int]
Say = Callable[[str], None]

PROBED = "bridge_writeprobe"  # the portal writes there by itself
JSON, FORM, PARTS = "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=XX"


@pytest.fixture
def shop(stack: Stack) -> Shop:
    eventually(lambda: call(stack.port, "/uapi/channels", b"{}", patience=2).status == 200)
    return stack.shop()


def counts(stack: Stack) -> dict[str, int]:
    """Return the number of rows of each table."""
    tables = stack.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> %s", [PROBED])
    query = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM \"{name}\"" for (name,) in tables)
    return dict(stack.rows(query))  # type: ignore[arg-type]  # rows of two


def add_superuser(stack: Stack, name: str) -> None:
    stack.rows(
        "INSERT INTO accounts_user (password, is_superuser, username, first_name, last_name, email, is_staff,"
        " is_active, date_joined) VALUES (%s, TRUE, %s, '', '', '', TRUE, TRUE, now())",
        [PBKDF2PasswordHasher().encode("right and long", "salt"), name],
    )


def signed_in(stack: Stack, name: str) -> dict[str, str]:
    """Return the cookies of a superuser who has signed in."""
    add_superuser(stack, name)
    status, cookies = sign_in(stack.port, name, "right and long", "127.0.0.1")
    assert status == 302
    return dict(cookie.partition(";")[0].split("=", 1) for cookie in cookies)


def bodies(shop: Shop, csrf: str, number: int) -> dict[str, bytes]:
    """Return a body for each encoding with everything that some endpoint takes."""
    sender = {"client_id": f"cut-{number}", "name": "Anna"}
    plain = {"api_token": shop.secret, "channel_id": shop.chat_channel, "csrfmiddlewaretoken": csrf, "text": "cut off"}
    plain |= {"username": "sam", "password": "cut off", "subject": "cut off", "message": "cut off"}
    form = plain | {f"message[{key}]": text for key, text in {"id": f"cut-{number}", "text": "cut off"}.items()}
    form |= {f"message[from][{key}]": text for key, text in sender.items()}
    parts = "".join(
        f'--XX\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n' for key, text in form.items()
    )
    message = {"id": f"cut-{number}", "text": "cut off", "from": sender}
    event = {"type": "message", "id": f"event-{number}", "from": {"id": f"client-{number}"}}
    return {
        JSON: json.dumps(plain | event | {"message": message}).encode(),
        FORM: urlencode(form).encode(),
        PARTS: f"{parts}--XX--\r\n".encode(),
    }


@pytest.mark.fault("S1", "18 forms of cut-off bodies × all routes × 3 encodings: 400, 411 or closed, 0 rows")
def test_nothing_of_a_body_that_is_cut_off_is_stored(stack: Stack, shop: Shop, measured: Say) -> None:
    provider, chance = FakeProvider(stack, shop, seed=SEED + 61), random.Random(SEED)
    provider.send(provider.message(1, clients=10))
    stack.rows(  # the hourly synchronization stores the training phone's templates
        "INSERT INTO templates_registry_registry (api_channel_id, version, sync_error, next_sync_at)"
        " VALUES (%s, 1, '', now() + interval '1 day') ON CONFLICT (api_channel_id)"
        " DO UPDATE SET next_sync_at = EXCLUDED.next_sync_at",
        [shop.phone],
    )
    stack.quiesce(shop, seconds=60)
    cookies = signed_in(stack, f"root-{shop.phone}")
    csrf = cookies["csrftoken"]
    headers = (("Cookie", "; ".join(f"{key}={text}" for key, text in cookies.items())), ("X-CSRFToken", csrf))
    token = shop.phone_path.split("/")[3]
    paths = routes.paths({"token": token, "pk": str(provider.chats["1"])})
    chosen = {shop.phone_path, "/uapi/chat/addMessage/", f"/chats/{provider.chats['1']}/send/", "/login/"}
    assert chosen < set(paths)
    before, statuses, taken = counts(stack), Counter[int](), []
    for number, path in enumerate(paths if FULL else [*chosen, *chance.sample(paths, 60)]):
        methods = ["POST", "PUT", "PATCH", "DELETE"] if path.startswith("/api/v1/") else ["POST"]
        cases = [
            (method, form, kind) for method in methods for form in truncation.FORMS for kind in (JSON, FORM, PARTS)
        ]
        for method, form, kind in cases if FULL else chance.sample(cases, 18 if path in chosen else 1):
            body = bodies(shop, csrf, number)[kind]
            request = truncation.Request(method=method, path=path, content_type=kind, body=body, headers=headers)
            status = truncation.send(stack.port, request, form)
            statuses[status] += 1
            taken += [] if status in truncation.REFUSED else [(method, path, form, kind, status)]
    after = counts(stack)
    grown = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    whole = {
        (path, kind): truncation.send(
            stack.port, truncation.Request(path=path, content_type=kind, body=bodies(shop, csrf, 10_000 + n)[kind])
        )
        for n, (path, kind) in enumerate(
            [(shop.phone_path, JSON), *(("/uapi/chat/addMessage/", kind) for kind in (JSON, FORM, PARTS))]
        )
    }
    stored = sum(counts(stack).values()) - sum(after.values())

    measured(
        f"{sum(statuses.values())} cut-off requests to {number + 1} routes: {dict(statuses)}, rows: {grown or 0};"
        f" the same requests whole: {sorted(set(whole.values()))}, {stored} rows"
    )
    assert taken == []
    assert grown == {}
    assert set(whole.values()) == {200}
    assert stored >= len(whole)


# --- unfinished requests ---


@contextmanager
def half_open(stack: Stack, *, count: int, sent: Sequence[bytes], addresses: int = 16) -> Iterator[list[socket.socket]]:
    """Open connections from several addresses, each with the beginning of a request."""
    lines = []
    try:
        for number in range(count):
            line = socket.socket()
            line.settimeout(20)
            line.bind((f"127.0.0.{2 + number % addresses}", 0))
            line.connect(("127.0.0.1", stack.port))
            lines.append(line)
            line.sendall(sent[number % len(sent)])
        yield lines
    finally:
        for line in lines:
            line.close()


def probe(stack: Stack, shop: Shop, *, rounds: int, seed: int) -> tuple[Counter[int], float]:
    """Ask for health and the log-in page and send webhooks. Returns the statuses, and the longest time."""
    statuses, longest = Counter[int](), 0.0
    for number in range(rounds):
        for path in ("/health/live", "/health/ready", "/login/", shop.phone_path):
            began = time.monotonic()
            if path == shop.phone_path:
                body = b'{"type": "message", "id": "probe-%d-%d", "text": "a", "from": {"id": "p"}}' % (seed, number)
                statuses[call(stack.port, path, body).status] += 1
            else:
                statuses[get(stack.port, path)] += 1
            longest = max(longest, time.monotonic() - began)
    return statuses, longest


def get(port: int, path: str, *, patience: float = 20) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        line.request("GET", path)
        return line.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        line.close()


BODY = b"Host: 127.0.0.1\r\nContent-Length: 1000\r\n"
HALF_BODIES = [
    b"POST /login/ HTTP/1.1\r\n" + BODY + b"\r\n{",
    b"POST /uapi/chat/addMessage HTTP/1.1\r\n" + BODY + b"\r\n",
    b"POST /chats/1/send/ HTTP/1.1\r\nCookie: sessionid=x\r\n" + BODY + b"\r\n" + b"x" * 500,
    b"POST /api/v1/contacts/ HTTP/1.1\r\nExpect: 100-continue\r\n" + BODY + b"\r\n",
]
HALF_HEADS = [b"", b"GET", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b"POST /login/ HTTP/1.1\r\n" + BODY]


@pytest.mark.parametrize(
    ("kind", "full"),
    [
        pytest.param(
            "bodies",
            2_000,
            marks=pytest.mark.fault("S2", "2,000 half-open bodies from 16 addresses: the others are answered, all end"),
        ),
        pytest.param(
            "heads",
            1_000,
            marks=pytest.mark.fault("S4", "1,000 half-open heads: the others are answered, all end"),
        ),
    ],
)
def test_what_does_not_finish_keeps_nobody_out(
    stack: Stack, shop: Shop, size: Size, measured: Say, kind: str, full: int
) -> None:
    count = size(160, full, fixed=True)
    sent = HALF_BODIES if kind == "bodies" else HALF_HEADS
    with half_open(stack, count=count, sent=sent) as lines:
        opened = time.monotonic()
        statuses, longest = probe(stack, shop, rounds=size(2, 10, fixed=True), seed=full)
        ended = ""
        if FULL:
            for line in lines:
                line.settimeout(max(1.0, opened + 90 - time.monotonic()))
                with suppress(ConnectionError):
                    while line.recv(4096):
                        pass
            ended = f"; all ended after {time.monotonic() - opened:.0f} s"
    stack.quiesce(shop, seconds=60)

    measured(f"{count} half-open {kind}: the others were answered {dict(statuses)}, longest {longest:.2f} s{ended}")
    assert set(statuses) == {200}


# --- cleartext HTTP/2 ---


def cpu_seconds(pids: Sequence[int]) -> float:
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.fault("S3", "1,000 h2c streams (preface, Upgrade): not accepted, no web process spins afterwards")
def test_http2_in_clear_is_not_spoken(stack: Stack, shop: Shop, size: Size, measured: Say) -> None:
    streams = size(200, 1_000, fixed=True)
    responses = [
        h2c.connect(stack.port, streams=streams // 10, upgrade=upgrade)[:12]
        for upgrade in (False, True)
        for _ in range(5)
    ]
    workers = children(stack.pids()["web"])
    seconds = size(1, 10, fixed=True)
    before = cpu_seconds(workers)
    time.sleep(seconds)
    busy = cpu_seconds(workers) - before

    measured(
        f"{streams} streams: answered {dict(Counter(responses))}; the web used {busy:.2f} s of CPU in the next"
        f" {seconds}"
    )
    assert not any(b" 101 " in words or words.startswith(b"\0") for words in responses)
    assert busy < 0.1 * seconds
    assert get(stack.port, "/health/live") == 200


# --- processes that hang (in a hurry in tests/test_web.py and tests/test_supervisor.py) ---


def stopped(pid: int) -> Callable[[], Any]:
    return lambda: os.kill(pid, signal.SIGSTOP)


@pytest.mark.skipif(not FULL, reason="takes minutes; the hurried form is in test_web.py and test_supervisor.py")
@pytest.mark.parametrize(
    "what",
    [
        pytest.param("worker stopped", marks=pytest.mark.fault("S5", "a web worker is stopped: replaced ≤ 60 s")),
        pytest.param("parent stopped", marks=pytest.mark.fault("S6", "the web's parent is stopped: replaced ≤ 60 s")),
        pytest.param("worker spins", marks=pytest.mark.fault("S7", "a web worker spins: replaced ≤ 60 s")),
    ],
)
def test_a_web_process_that_hangs_is_replaced(stack: Stack, shop: Shop, measured: Say, what: str) -> None:
    parent = stack.pids()["web"]
    before = set(children(parent))
    assert len(before) == 2
    began = time.monotonic()
    if what == "parent stopped":
        os.kill(parent, signal.SIGSTOP)
        eventually(lambda: stack.pids().get("web") not in (parent, None), seconds=90)
        eventually(lambda: len(children(stack.pids()["web"])) == 2, seconds=90)
    else:
        if what == "worker stopped":
            os.kill(min(before), signal.SIGSTOP)
        else:
            stack.arm("web_spins", 1)
            get(stack.port, "/health/live", patience=1)
        eventually(lambda: len(before & set(children(parent))) == 1, seconds=90)
    replaced = time.monotonic() - began
    eventually(lambda: [get(stack.port, "/health/live", patience=3) for _ in range(12)] == [200] * 12, seconds=90)
    measured(f"replaced after {replaced:.0f} s, every call answered after {time.monotonic() - began:.0f} s")
    assert replaced <= 60
