"""Flood of webhooks to unknown addresses, in a separate process.

The process runs at a low priority (nice), because it represents machines with processors of their own.

    python -m tests.faults.flood PORT RATE CONNECTIONS

Runs until its standard input is closed, then prints the responses as JSON: status -> count.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import Counter
from threading import Event, Lock, Thread

REQUEST = b"POST /webhooks/sandbox/nobody-%d-%d/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}"


def main(port: int, rate: float, connections: int) -> None:
    os.nice(10)
    over, lock, answers = Event(), Lock(), Counter[str]()

    def flood(number: int) -> None:
        line: socket.socket | None = None
        due, sent = time.monotonic(), 0
        while not over.is_set():
            due += connections / rate
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                line = line or socket.create_connection(("127.0.0.1", port), timeout=10)
                line.sendall(REQUEST % (number, sent))  # a new token each time, so that no cache helps
                sent += 1
                status = line.recv(4_096)[9:12].decode() or "0"
            except OSError:
                status = "0"
            if status == "0":
                line = None
            with lock:
                answers[status] += 1

    threads = [Thread(target=flood, args=(number,), daemon=True) for number in range(connections)]
    for thread in threads:
        thread.start()
    select.select([sys.stdin], [], [])
    over.set()
    for thread in threads:
        thread.join(15)
    print(json.dumps(answers))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
