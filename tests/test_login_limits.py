"""A flood of log-ins ends early, keeps the other places free, and locks nobody else out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from config import attempt_limits, login
from config.attempt_limits import AttemptLimit
from tests.factories import PASSWORD, UserFactory


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "FAILURES", AttemptLimit(most=3, seconds=300))


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
def test_the_lane_holds_two_and_refuses_the_third_at_once(path: str) -> None:
    held = [login.LANE.acquire(blocking=False) for _ in range(2)]
    try:
        answer = Client().post(path, {"username": "sam", "password": "x"}, REMOTE_ADDR="198.51.100.9")
    finally:
        for _ in held:
            login.LANE.release()

    assert held == [True, True]
    assert (answer.status_code, answer["Retry-After"]) == (429, "2")


@pytest.mark.django_db
def test_a_login_that_breaks_leaves_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.login.LoginView.post", lambda *_args, **_more: 1 / 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            sign_in("sam", "x", "198.51.100.9")


@pytest.fixture
def clock() -> Iterator[list[float]]:
    yield [1_000.0]


def test_a_window_ends_and_addresses_are_forgotten(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_limits, "MOST_ADDRESSES", 2)
    limit = AttemptLimit(most=2, seconds=60, clock=lambda: clock[0])

    for _ in range(2):
        limit.note_failure("a")
    waits = [limit.wait_seconds("a"), limit.wait_seconds("b")]
    clock[0] += 61
    later = limit.wait_seconds("a")
    for address in "abcd":
        limit.note_failure(address)

    assert (waits, later, list(limit.windows)) == ([61, 0], 0, ["c", "d"])


def test_failures_of_threads_are_all_counted() -> None:
    limit = AttemptLimit(most=1_000, seconds=60)
    threads = [threading.Thread(target=lambda: [limit.note_failure("a") for _ in range(125)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert limit.wait_seconds("a")
