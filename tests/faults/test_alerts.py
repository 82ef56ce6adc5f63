"""R: alert routes under a storm, while workers die: each alert and its end are sent once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from channels_setup import encryption
from channels_setup.models import AlertRoute
from tests.faults.conftest import LEASE
from tests.faults.stack import Shop, Stack
from tests.processes import eventually

Size = Callable[..., int]
Say = Callable[[str], None]

RAISE = """
INSERT INTO bridge_alert (kind, api_channel_id, subject, details, raised_at)
SELECT 'events_failed', %s, 'storm ' || number, '{"count": 1}', now() FROM generate_series(%s, %s) AS number
"""
COUNT_TOLD = """
SELECT count(*) FROM bridge_alertnotice n JOIN bridge_alert a ON a.id = n.alert_id
JOIN bridge_delivery d ON d.id = n.delivery_id AND d.state = 'delivered' WHERE a.api_channel_id = %s
"""


def create_route(stack: Stack, shop: Shop, name: str) -> str:
    """Create a route for the shop's alerts only. Return its path at the receiver."""
    path = f"{shop.path}-{name}"
    secret = encryption.encrypt(encryption.new_secret_key())
    pk = stack.insert(AlertRoute(name=path, kind="webhook", target=stack.receiver.url(path), secret=secret))
    statement = "INSERT INTO channels_setup_alertroute_api_channels (alertroute_id, apichannel_id) VALUES (%s, %s)"
    stack.rows(statement, [pk, shop.poster])
    return path


def wait_for_next_request(stack: Stack, path: str, *, told: int) -> None:
    eventually(lambda: len(stack.receiver.on(path)) > told, seconds=60 + LEASE)


def wait_until_told(stack: Stack, shop: Shop, count: int) -> None:
    eventually(lambda: stack.one(COUNT_TOLD, [shop.poster]) == count, seconds=180 + 2 * LEASE)


@pytest.mark.fault(
    "R1",
    "2 alert routes, 1,000 alerts, a worker dies after the HTTP 200 of a message ×10: each alert and its end reported"
    " once, ≤ 4 messages of a route for each death, repeats ≤ deaths × 2 under the same key",
)
def test_each_alert_and_its_end_is_told_once(stack: Stack, size: Size, measured: Say) -> None:
    shop, deaths, batch = stack.shop(), size(1, 10), 100
    paths = [create_route(stack, shop, name) for name in ("one", "two")]
    counts_before = dict.fromkeys(paths, 0)
    try:
        for number in range(deaths):
            stack.arm("after_200", 1)
            stack.rows(RAISE, [shop.poster, number * batch + 1, (number + 1) * batch])
            for path in paths:
                wait_for_next_request(stack, path, told=counts_before[path])
            stack.rows("UPDATE bridge_alert SET settled_at = now() WHERE api_channel_id = %s", [shop.poster])
            wait_until_told(stack, shop, (number + 1) * batch * len(paths) * 2)
            counts_before = {path: len(stack.receiver.on(path)) for path in paths}
    finally:
        stack.rows("UPDATE channels_setup_alertroute SET is_enabled = FALSE")

    requests = [stack.receiver.on(path) for path in paths]
    messages = [{got.key: got.event["data"] for got in those} for those in requests]
    counts = [sum(len(data["alerts"]) + data["others"] for data in those.values()) for those in messages]
    repeats = sum(map(len, requests)) - sum(map(len, messages))
    measured(
        f"{deaths * batch} alerts, {deaths} deaths: {', '.join(str(len(those)) for those in messages)} messages report "
        f"{', '.join(map(str, counts))} events; {repeats} repeats"
    )
    assert not stack.armed("after_200")
    assert counts == [deaths * batch * 2] * len(paths)
    assert max(map(len, messages)) <= 4 * deaths and repeats <= deaths * len(paths)
