"""Benchmark of the periodic tasks with many rows: expiring windows, and deliveries that are not due yet.

    python -m tests.load.bench_waiting [--windows 1000000] [--deliveries 200000]

Beat and the workers look every few seconds for due rows, and usually few of very many rows are due. The database
generates the rows. The benchmark measures the functions that the tasks call.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.load.results import print_row

DUE = 100_000
TURNS = 21

CHATS = """
INSERT INTO bridge_contact (api_channel_id, external_id, phone, user_id, name, email, tags, created_at)
SELECT %(api)s, 'c' || n, '', '', '', '', '{}', now() FROM generate_series(1, %(count)s) n;
INSERT INTO bridge_conversation (api_channel_id, chat_channel_id, contact_id, created_at, last_message_at, last_text,
                                 last_direction, unread, request_status)
SELECT %(api)s, %(chat)s, c.id, now(), now(), '', 'inbound', 0, 1 FROM bridge_contact c;
"""
WINDOWS = """
INSERT INTO bridge_servicewindow (conversation_id, opened_at, expires_at, state)
SELECT c.id, now() - interval '2 hours', now() + interval '22 hours' - c.id * interval '1 microsecond', 'open'
FROM bridge_conversation c;
"""
RUN_OUT = """
UPDATE bridge_servicewindow SET opened_at = now() - interval '25 hours', expires_at = now() - interval '1 hour'
WHERE id IN (SELECT id FROM bridge_servicewindow ORDER BY id LIMIT %(due)s);
"""
DELIVERIES = """
INSERT INTO bridge_delivery (kind, conversation_id, api_channel_id, track, key, payload, free_text, state, attempts,
                             attempts_before, next_attempt_at, reason, created_at)
SELECT 'event', c.id, %(api)s, 'message', 'waiting-' || c.id, '{}', false, 'pending', 1, 0,
       now() + interval '5 hours', '', now()
FROM (SELECT id FROM bridge_conversation ORDER BY id LIMIT %(deliveries)s) c;
"""


def median_ms(work: Callable[[], object]) -> float:
    took = []
    for _turn in range(TURNS):
        started = time.perf_counter()
        work()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


def measure(*, windows: int, deliveries: int) -> None:
    from django.db import connection

    from bridge import service_window
    from bridge.maintenance import housekeeping
    from bridge.outbox import claims
    from bridge.outbox.destinations import POLICIES
    from channels_setup.models import ApiChannel, ChannelState, ChatChannel
    from channels_setup.provisioning import add_api_channel

    shop = ChatChannel.objects.create(name="Shop")
    channel = add_api_channel(chat_channel=shop, kind="sandbox", name="WhatsApp", redirect_url="")
    ApiChannel.objects.update(state=ChannelState.LIVE)

    policies = [policy() for policy in POLICIES]

    def run(sql: str) -> None:
        values = {"api": channel.pk, "chat": shop.pk, "count": windows, "due": DUE, "deliveries": deliveries}
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            cursor.execute("ANALYZE")

    def claim() -> None:
        for policy in policies:
            claims.claim_deliveries(policy, uuid.uuid4(), limit=100)

    def look_at_limits() -> None:
        claims.get_seconds_until_free(policies)

    baseline = median_ms(service_window.expire_batch), median_ms(claim), median_ms(look_at_limits)
    run(CHATS)
    run(WINDOWS)
    idle = median_ms(service_window.expire_batch)
    print_row(
        f"an idle tick of expiry, {windows:,} windows open",
        f"{idle:.2f} ms (with none: {baseline[0]:.2f} ms)",
        "≤ 1 ms",
    )
    run(DELIVERIES)
    name = f"a claim that finds nothing, {deliveries:,} waiting for later"
    print_row(name, f"{median_ms(claim):.2f} ms (with none: {baseline[1]:.2f} ms)", "≤ 1.2 × that with none")
    print_row(
        "the same for limits",
        f"{median_ms(look_at_limits):.2f} ms (with none: {baseline[2]:.2f} ms)",
        "≤ 1.2 ×",
    )
    run(RUN_OUT)
    longest, started, closed = 0.0, time.perf_counter(), 0
    while True:
        before = time.perf_counter()
        some = len(service_window.expire_batch())
        longest = max(longest, time.perf_counter() - before)
        if not some:
            break
        closed += some
    took = time.perf_counter() - started
    assert closed == DUE and housekeeping.expire_windows() == 0
    result = f"{took:.1f} s in batches of {service_window.EXPIRE_BATCH}, the longest {longest * 1000:.0f} ms"
    print_row(f"{DUE:,} windows due of {windows:,}", result, "≤ 1.5 s, no lock over 50 ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--deliveries", type=int, default=200_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="okno-waiting-"))
    os.environ |= {"DATA_DIR": str(folder), "DEMO": "0", "DJANGO_SETTINGS_MODULE": "config.settings"}
    from config.devstack import environment_setup

    environment_setup.prepare_environment(["manage.py", "migrate"])
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    print("| measurement | target | result |\n|---|---|---|")
    try:
        measure(windows=given.windows, deliveries=given.deliveries)
    finally:
        if environment_setup.servers:
            environment_setup.servers.release()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
