"""Behind the shipped proxy: login lockout, and the effect of one bad request on others. Skipped without Caddy.

What Caddy sends is recorded in tests/test_client_address.py, so the lockout itself is tested everywhere.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.db import connection

from config.devstack.processes import LISTEN_ON, kill_process_group, open_listening_sockets, spawn_process
from tests import proxy
from tests.factories import PASSWORD, UserFactory
from tests.faults import truncation
from tests.processes import free_port

pytestmark = [
    pytest.mark.skipif(not proxy.CADDY, reason="Caddy is not installed"),
    pytest.mark.django_db(transaction=True),
]
CSRF = "x" * 32
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def port(tmp_path: Path, db: None) -> Iterator[int]:
    """Yield the port of a Caddy in front of a web process on the test database."""
    web = open_listening_sockets(host="127.0.0.1", port=free_port(), count=1)[0]
    number = web.getsockname()[1]
    database = f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": database, "BEHIND_PROXY": "yes"}
    server = spawn_process(
        [
            sys.executable,
            "-m",
            "config.serving.server",
            "--host",
            "127.0.0.1",
            "--port",
            str(number),
            "--processes",
            "1",
        ],
        on_parent_death=signal.SIGKILL,
        cwd=settings.BASE_DIR,
        env=os.environ | environment | {LISTEN_ON: str(web.fileno())},
        pass_fds=[web.fileno()],
    )
    caddy_port = free_port()
    caddy = proxy.start(tmp_path, port=caddy_port, web=number)
    yield caddy_port
    for process in (caddy, server):
        kill_process_group(process)
        process.wait()
    web.close()


def sign_in(port: int, name: str, password: str, address: str, **headers: str) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
    body = urlencode({"username": name, "password": password, "csrfmiddlewaretoken": CSRF})
    sent = {"Content-Type": FORM, "Cookie": f"csrftoken={CSRF}"} | headers
    line.request("POST", "/login/", body, sent)
    status = line.getresponse().status
    line.close()
    return status


def test_a_stranger_locks_out_only_their_own_address(port: int) -> None:
    UserFactory(username="sam")

    spoofed = [
        sign_in(port, "sam", "wrong", "127.0.0.7", **{name: f"198.18.0.{number}, 10.0.0.1"})
        for number, name in enumerate(["X-Forwarded-For", "X_Forwarded_For", "x_forwarded-for"] * 2)
    ]
    stranger = sign_in(port, "sam", PASSWORD, "127.0.0.7", X_Forwarded_For="198.18.0.9", Forwarded="for=198.18.0.9")
    sam = sign_in(port, "sam", PASSWORD, "127.0.0.9")

    assert spoofed == [200, 200, 200, 200, 429, 429]
    assert (stranger, sam) == (429, 302)


def test_a_truncated_request_affects_no_other(port: int) -> None:
    cut_off, others = {}, {}
    for form in truncation.FORMS:
        request = truncation.Request(path="/uapi/chat/addMessage", content_type=FORM, body=b"text=words")
        cut_off[form] = truncation.send(port, request, form)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
            line.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = http.client.HTTPResponse(line)
            answer.begin()
            others[form] = answer.status

    print(cut_off)
    assert others == dict.fromkeys(truncation.FORMS, 200)


def test_pages_are_compressed_on_the_way_to_the_browser(port: int) -> None:
    sizes = {}
    for coding in ("identity", "gzip", "zstd"):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        line.request("GET", "/login/", headers={"Accept-Encoding": coding})
        response = line.getresponse()
        sizes[coding] = len(response.read())
        assert response.getheader("Content-Encoding", "identity") == coding
        line.close()

    assert max(sizes["gzip"], sizes["zstd"]) < sizes["identity"] / 2
