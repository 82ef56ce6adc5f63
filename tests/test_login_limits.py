"""A flood of logins is refused early, leaves slots for other requests, and locks out nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from django.conf import settings
from django.core import signing
from django.http import HttpResponse
from django.test import Client

from config.accounts import known_device, login
from config.serving.body_buffer import BodyBuffer
from config.serving.concurrency_limit import ConcurrencyLimit, QueueFull
from config.web import attempt_limits
from config.web.attempt_limits import AttemptLimit
from tests.factories import PASSWORD, UserFactory


@pytest.fixture(autouse=True)
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "ADDRESS_FAILURES", AttemptLimit(max_attempts=3, seconds=300))


def sign_in(name: str, password: str, address: str) -> Any:
    return Client().post("/login/", {"username": name, "password": password}, REMOTE_ADDR=address)


@pytest.mark.django_db
def test_many_names_from_one_address_are_stopped_and_others_are_not() -> None:
    UserFactory(username="sam")

    flood = [sign_in(f"name{number}", "wrong", "203.0.113.7") for number in range(5)]
    sam = sign_in("sam", PASSWORD, "198.51.100.9")

    assert [answer.status_code for answer in flood] == [200, 200, 200, 429, 429]
    assert int(flood[-1]["Retry-After"]) > 200
    assert sam.status_code == 302


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_concurrent_logins_are_limited(path: str) -> None:
    held = [login.CHECK_SLOTS.acquire(blocking=False) for _ in range(2)]
    try:
        answer = Client().post(path, {"username": "sam", "password": "x"}, REMOTE_ADDR="198.51.100.9")
    finally:
        for _ in held:
            login.CHECK_SLOTS.release()

    assert held == [True, True]
    assert (answer.status_code, answer["Retry-After"]) == (429, "2")


@pytest.mark.django_db
def test_a_failing_login_releases_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.accounts.login.LoginView.post", lambda *_args, **_more: 1 / 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            sign_in("sam", "x", "198.51.100.9")


@pytest.fixture
def clock() -> Iterator[list[float]]:
    yield [1_000.0]


def test_a_window_expires_and_its_addresses_are_forgotten(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_limits, "MAX_ADDRESSES", 2)
    limit = AttemptLimit(max_attempts=2, seconds=60, clock=lambda: clock[0])

    for _ in range(2):
        limit.record_failure("a")
    waits = [limit.wait_seconds("a"), limit.wait_seconds("b")]
    clock[0] += 61
    later = limit.wait_seconds("a")
    for address in "abcd":
        limit.record_failure(address)

    assert (waits, later, list(limit.windows)) == ([61, 0], 0, ["c", "d"])


def test_failures_in_parallel_threads_are_all_counted() -> None:
    limit = AttemptLimit(max_attempts=1_000, seconds=60)
    threads = [threading.Thread(target=lambda: [limit.record_failure("a") for _ in range(125)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert limit.wait_seconds("a")


# --- a device on which the user has signed in before ---


NAT = "203.0.113.7"


@pytest.fixture
def sams_browser(db: None, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return Sam's browser after one login; then a stranger at the same address locks Sam's name and address."""
    monkeypatch.setattr(login, "DEVICE_FAILURES", AttemptLimit(max_attempts=5, seconds=900))
    UserFactory(username="sam")
    browser = Client(REMOTE_ADDR=NAT)
    assert browser.post("/login/", {"username": "sam", "password": PASSWORD}).status_code == 302
    browser.post("/logout/")
    monkeypatch.setattr(login, "ADDRESS_FAILURES", AttemptLimit(max_attempts=6, seconds=300))
    assert [sign_in("sam", "wrong", NAT).status_code for _ in range(6)][-1] == 429
    assert sign_in("sam", PASSWORD, NAT).status_code == 429
    return browser


@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_a_stranger_at_the_same_address_locks_no_known_device(sams_browser: Client, path: str) -> None:
    """The admin refuses an operator, but it must check the password first."""
    answer = sams_browser.post(path, {"username": "sam", "password": PASSWORD})

    assert answer.status_code == (302 if path == "/login/" else 200)


def test_a_known_device_has_five_failures_of_its_own(sams_browser: Client) -> None:
    wrong = [sams_browser.post("/login/", {"username": "sam", "password": "wrong"}).status_code for _ in range(6)]
    right = sams_browser.post("/login/", {"username": "sam", "password": PASSWORD})

    assert wrong == [200] * 5 + [429]
    assert right.status_code == 429


def test_a_correct_password_clears_the_failures_of_its_device(sams_browser: Client) -> None:
    """Three typing errors, a login, a logout and three more errors within 15 minutes are no attack."""
    for _ in range(2):
        wrong = [sams_browser.post("/login/", {"username": "sam", "password": "wrong"}).status_code for _ in range(3)]
        right = sams_browser.post("/login/", {"username": "sam", "password": PASSWORD})
        sams_browser.post("/logout/")
        assert (wrong, right.status_code) == ([200] * 3, 302)


@pytest.mark.parametrize("before", ["", 'a={"x": 1}; ', "a b=c d; ", "=; "])
def test_foreign_cookies_do_not_hide_a_known_device(before: str) -> None:
    proof = signing.dumps(["d", "f"], salt=known_device.SALT)

    assert known_device.has_device_cookie(f"{before}{settings.KNOWN_DEVICE_COOKIE_NAME}={proof}; b=c")


@pytest.mark.parametrize("change", ["another user", "forged", "nonsense", "not a pair"])
def test_the_cookie_of_another_device_opens_no_lock(sams_browser: Client, change: str) -> None:
    name = "sam"
    if change == "another user":
        UserFactory(username="eve")
        name = "eve"
        for _ in range(5):
            sign_in("eve", "wrong", NAT)
    else:
        value = sams_browser.cookies[settings.KNOWN_DEVICE_COOKIE_NAME].value
        forged = {"forged": value[:-1] + ("A" if value[-1] != "A" else "B"), "nonsense": "é;\0"}
        sams_browser.cookies[settings.KNOWN_DEVICE_COOKIE_NAME] = forged.get(
            change, signing.dumps(5, salt=known_device.SALT)
        )

    assert sams_browser.post("/login/", {"username": name, "password": PASSWORD}).status_code == 429


def test_the_device_cookie_is_readable_only_by_the_server(sams_browser: Client) -> None:
    cookie = sams_browser.cookies[settings.KNOWN_DEVICE_COOKIE_NAME]

    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert "sam" not in cookie.value


# --- the login queue ---


def test_the_login_queue_has_an_order_and_a_limit() -> None:
    lane = ConcurrencyLimit(max_active=1, max_waiting=1)
    with lane.slot():
        waiting = threading.Thread(target=lambda: lane.slot().__enter__())
        waiting.start()
        while lane.admitted._value:
            waiting.join(0.001)
        with pytest.raises(QueueFull), lane.slot():
            pass
        assert waiting.is_alive()
    waiting.join(20)
    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("method", "path", "has_cookie", "lane"),
    [
        ("POST", "/login/", False, "logins"),
        ("POST", "/login/", True, "known_device_logins"),
        ("POST", "/admin/login/", False, "logins"),
        ("GET", "/login/", False, None),
        ("POST", "/webhooks/acebot/x/", False, None),
    ],
)
def test_logins_queue_before_they_take_a_worker_slot(
    method: str, path: str, has_cookie: bool, lane: str | None
) -> None:
    def application(_environ: Any, start: Any) -> Any:
        waiting.append([name for name in ("logins", "known_device_logins") if not getattr(gate, name).active._value])
        response = HttpResponse()
        start("200 OK", [])
        return response

    waiting: list[list[str]] = []
    gate = BodyBuffer(application, slots=1, is_refused=lambda _path: False)
    cookie = (
        f"{settings.KNOWN_DEVICE_COOKIE_NAME}={signing.dumps(['d', 'f'], salt=known_device.SALT)}"
        if has_cookie
        else "a=b"
    )
    scope = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_COOKIE": cookie, "wsgi.input": BytesIO()}

    with ThreadPoolExecutor(1) as thread:  # the buffer changes the thread's database connection
        thread.submit(lambda: gate(scope, lambda *_: None)).result(20)
    for name in ("logins", "known_device_logins"):
        monopolized = getattr(gate, name)
        monopolized.admitted = threading.BoundedSemaphore(1)
        monopolized.admitted.acquire()
    statuses: list[str] = []
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: gate(scope, lambda status, _headers: statuses.append(status))).result(20)
    gate.slots.free.get().close()

    assert waiting[0] == ([lane] if lane else [])
    assert statuses[0][:3] == ("503" if lane else "200")
