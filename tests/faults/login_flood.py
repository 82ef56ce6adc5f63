"""Flood of sign-in attempts from one address or many, in a separate process at nice 10.

    python -m tests.faults.login_flood PORT THREADS ADDRESSES

Runs until its standard input is closed, then prints the responses as JSON: status -> count.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import sys
from collections import Counter
from contextlib import suppress
from threading import Event, Lock, Thread
from urllib.parse import urlencode

CSRF = "x" * 32


def sign_in(port: int, name: str, password: str, address: str, cookies: str = "") -> tuple[int, list[str]]:
    """Send the sign-in form from an address. Return the status and the cookies."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
    body = urlencode({"username": name, "password": password, "csrfmiddlewaretoken": CSRF})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"csrftoken={CSRF}; {cookies}"}
    try:
        line.request("POST", "/login/", body, headers)
        answer = line.getresponse()
        answer.read()
        return answer.status, [value for key, value in answer.getheaders() if key.lower() == "set-cookie"]
    finally:
        line.close()


def address_of(number: int) -> str:
    return f"127.1.{number // 250 % 250}.{number % 250 + 1}"


def main(port: int, threads: int, addresses: int) -> None:
    os.nice(10)
    over, lock, answers = Event(), Lock(), Counter[str]()

    def flood(first: int) -> None:
        number = first
        while not over.is_set():
            number += threads
            status = "0"
            with suppress(OSError, http.client.HTTPException):
                status = str(sign_in(port, f"name{number}", "wrong", address_of(number % addresses))[0])
            with lock:
                answers[status] += 1

    started = [Thread(target=flood, args=(number,), daemon=True) for number in range(threads)]
    for thread in started:
        thread.start()
    select.select([sys.stdin], [], [])
    over.set()
    for thread in started:
        thread.join(15)
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
