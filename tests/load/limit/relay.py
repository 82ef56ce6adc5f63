"""Relay process of the limit design: claim under a lease, call many at once, write the results. One loop, one thread.

DATABASE_URL=… python -m tests.load.limit.relay
"""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

import psycopg2
import pycurl

APPLICATION = "bench-limit"  # name of its session, by which the benchmark sees that it is ready
IN_FLIGHT = 128
IDLE_SECONDS = 0.002  # between two looks for work
WAIT_SECONDS = 0.02

# The lease is the time of the next attempt: a delivery whose relay died becomes due again.
CLAIM_SQL = """
UPDATE limit_outgoing o SET state = 'sending', attempts = attempts + 1, lease_token = %s,
    next_attempt_at = clock_timestamp() + interval '60 seconds'
FROM limit_stored s WHERE s.id = o.stored_id AND o.id IN (
    SELECT id FROM limit_outgoing WHERE state IN ('pending', 'sending') AND next_attempt_at <= clock_timestamp()
    ORDER BY next_attempt_at, id LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING o.id, o.url, s.body
"""
RESULT_SQL = """
UPDATE limit_outgoing o SET state = CASE WHEN v.accepted THEN 'done' ELSE 'pending' END, lease_token = NULL,
    next_attempt_at = clock_timestamp() + interval '10 seconds'
FROM unnest(%s::bigint[], %s::boolean[]) v(id, accepted) WHERE o.id = v.id AND o.lease_token = %s
"""


def main() -> None:
    connection = psycopg2.connect(os.environ["DATABASE_URL"], application_name=APPLICATION)
    connection.autocommit = True
    cursor, token = connection.cursor(), str(uuid.uuid4())
    multi, running, idle = pycurl.CurlMulti(), {}, []
    running: dict[Any, int]
    while True:
        if len(running) < IN_FLIGHT:
            cursor.execute(CLAIM_SQL, [token, IN_FLIGHT - len(running)])
            for pk, url, body in cursor.fetchall():
                call = idle.pop() if idle else _make_call()
                call.setopt(pycurl.URL, url)
                call.setopt(pycurl.POSTFIELDS, body.encode())
                running[call] = pk
                multi.add_handle(call)
        if not running:
            time.sleep(IDLE_SECONDS)
            continue
        multi.perform()
        if results := _collect(multi, running, idle):
            cursor.execute(RESULT_SQL, [[pk for pk, _ in results], [accepted for _, accepted in results], token])
        else:
            multi.select(WAIT_SECONDS)


def _make_call() -> Any:
    call = pycurl.Curl()
    call.setopt(pycurl.HTTPHEADER, ["Content-Type: application/json", "Expect:"])
    call.setopt(pycurl.WRITEFUNCTION, lambda _data: None)
    call.setopt(pycurl.TIMEOUT, 20)
    return call


def _collect(multi: Any, running: dict[Any, int], idle: list[Any]) -> list[tuple[int, bool]]:
    results = []
    while True:
        left, done, failed = multi.info_read()
        ended = [(call, call.getinfo(pycurl.RESPONSE_CODE) // 100 == 2) for call in done]
        for call, accepted in [*ended, *((call, False) for call, _number, _text in failed)]:
            multi.remove_handle(call)
            results.append((running.pop(call), accepted))
            idle.append(call)
        if not left:
            return results


if __name__ == "__main__":
    main()
