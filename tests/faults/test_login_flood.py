"""S8, S9: a flood of sign-ins through the shipped proxy delays no webhook and locks no user out. Needs Caddy."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tests import proxy
from tests.faults.conftest import FULL
from tests.faults.login_flood import sign_in
from tests.faults.provider import call
from tests.faults.stack import Shop, Stack
from tests.faults.test_framing import add_superuser
from tests.processes import free_port

Say = Callable[[str], None]
THREADS, RATE = 24, 20  # of the flood; of the webhooks, a second

pytestmark = [
    pytest.mark.skipif(not FULL, reason="a figure of `make faults`; what it rests on is in test_login_limits.py"),
    pytest.mark.skipif(not proxy.CADDY, reason="Caddy is not installed"),
]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, int]]:
    """Start a portal behind Caddy. Return Caddy's port."""
    stack, port = Stack(BEHIND_PROXY="yes"), free_port()
    caddy = proxy.start(tmp_path_factory.mktemp("caddy"), port=port, web=stack.port)
    yield stack, port
    caddy.kill()
    caddy.wait()
    stack.stop()


def webhooks(port: int, shop: Shop, *, seconds: float, mark: str) -> tuple[float, Counter[int]]:
    """Send webhooks at RATE. Returns the p95 in ms, and the statuses."""
    took, statuses, began = [], Counter[int](), time.monotonic()
    for number in range(round(seconds * RATE)):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        body = b'{"type": "message", "id": "%s-%d", "text": "a", "from": {"id": "p"}}' % (mark.encode(), number)
        answer = call(port, shop.phone_path, body)
        took.append(answer.seconds * 1000)
        statuses[answer.status] += 1
    return sorted(took)[int(len(took) * 0.95)], statuses


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(1, marks=pytest.mark.fault("S8", "log-in flood from one address: webhooks' p95 < 100 ms")),
        pytest.param(
            5_000, marks=pytest.mark.fault("S9", "log-in flood from 5,000 addresses: p95 < 100 ms, known people get in")
        ),
    ],
)
def test_a_flood_of_log_ins_slows_no_webhook(front: tuple[Stack, int], measured: Say, addresses: int) -> None:
    stack, port = front
    shop, name = stack.shop(), f"sam{addresses}"
    add_superuser(stack, name)
    _status, cookies = sign_in(port, name, "right and long", "127.0.0.9")
    known = "; ".join(cookie.partition(";")[0] for cookie in cookies if cookie.startswith("okno_device"))
    quiet, _ = webhooks(port, shop, seconds=10, mark="quiet")
    flood = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.login_flood", str(port), str(THREADS), str(addresses)],
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    time.sleep(3)
    began = time.monotonic()
    p95, statuses = webhooks(port, shop, seconds=20, mark="flood")
    people = Counter(sign_in(port, name, "right and long", f"127.0.0.{10 + n}", known)[0] for n in range(10))
    strangers = Counter(sign_in(port, name, "right and long", f"127.0.0.{30 + n}")[0] for n in range(10))
    answers, _nothing = flood.communicate(timeout=60)
    tries = json.loads(answers)
    rate = sum(tries.values()) / (time.monotonic() - began + 3)
    stack.quiesce(shop, seconds=120)

    load = Path("/proc/loadavg").read_text().split()[0]
    measured(
        f"{rate:.0f} tries/s from {addresses} addresses ({THREADS} threads, nice 10), answered {tries}: webhooks' p95"
        f" {p95:.0f} ms (before {quiet:.0f} ms), answered {dict(statuses)}; the right password from a known device"
        f" {dict(people)}, from a new one {dict(strangers)}; load {load}"
    )
    assert set(statuses) == {200}
    assert set(people) == {302}
    assert p95 < 100
