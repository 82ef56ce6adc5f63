"""A flood of wrong tokens gets a 429 with Retry-After; valid tokens from the same address are accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from bridge import call_limits
from config.accounts import wrong_tokens
from config.monitoring import health
from config.web.attempt_limits import AttemptLimit
from tests.factories import ApiChannelFactory, boris, token_of, vera
from tests.uapi_calls import post

pytestmark = pytest.mark.django_db

ELSEWHERE = {"REMOTE_ADDR": "203.0.113.7"}


@pytest.fixture(autouse=True)
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_tokens, "WRONG_TOKENS", AttemptLimit(max_attempts=3, seconds=60))
    monkeypatch.setattr(call_limits, "call_counter", call_limits.CallCounter())


def wrong_form(client: Client, **more: Any) -> Any:
    return client.post("/uapi/chat/sendMessage", {"api_token": "wrong"}, **more)


def wrong_json(client: Client, **more: Any) -> Any:
    return client.post("/uapi/users", json.dumps({"api_token": "x"}), content_type="application/json", **more)


def wrong_query(client: Client, **more: Any) -> Any:
    return client.get("/uapi/channels?api_token=wrong", **more)


def no_token(client: Client, **more: Any) -> Any:
    return client.post("/uapi/users", **more)


def wrong_api(client: Client, **more: Any) -> Any:
    return client.get("/api/v1/conversations/", headers={"authorization": "Token wrong"}, **more)


def wrong_api_write(client: Client, **more: Any) -> Any:
    return client.post("/api/v1/messages/", headers={"authorization": "Token wrong"}, **more)


def wrong_metrics(client: Client, **more: Any) -> Any:
    return client.get("/metrics", headers={"authorization": "Token wrong"}, **{**ELSEWHERE, **more})


def wrong_health(client: Client, **more: Any) -> Any:
    return client.get("/health/ready", headers={"authorization": "Token wrong"}, **{**ELSEWHERE, **more})


CALLS = (
    wrong_form,
    wrong_json,
    wrong_query,
    no_token,
    wrong_api,
    wrong_api_write,
    wrong_metrics,
    wrong_health,
)


@pytest.mark.parametrize("call", CALLS)
def test_a_flood_gets_a_retry_after(client: Client, call: Any) -> None:
    answers = [call(client) for _ in range(5)]

    assert [answer.status_code == 429 for answer in answers] == [False, False, False, True, True]
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert answers[-1].json()["code"] == 429 and answers[-1].json()["reason"] == "too_many_wrong_tokens"
    assert call(client, REMOTE_ADDR="198.51.100.1").status_code != 429  # the first call of another address


def test_without_the_database_no_token_counts_as_wrong(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitoring must continue to see that the check fails."""
    monkeypatch.setattr(health, "check_components", lambda: {"database": {"state": "red"}})

    assert [wrong_health(client).status_code for _ in range(6)] == [503] * 6


def test_a_flood_is_one_line_in_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        wrong_form(client)

    assert [record.getMessage() for record in caplog.records] == [
        "too many wrong tokens from 127.0.0.1: further ones get 429"
    ]


def test_one_ipv6_network_counts_as_one_caller(client: Client) -> None:
    statuses = [wrong_api(client, REMOTE_ADDR=f"2001:db8::{number}:1").status_code for number in range(1, 6)]

    assert statuses == [401, 401, 401, 429, 429]
    assert wrong_api(client, REMOTE_ADDR="2001:db8:0:1::1").status_code == 401


def test_valid_keys_from_the_same_address_are_accepted(client: Client) -> None:
    key = ApiChannelFactory(secret=True).current_secret().reveal()
    for call in (wrong_api, wrong_form) * 5:
        call(client)

    assert client.get("/api/v1/conversations/", headers=token_of(boris())).status_code == 200
    assert client.get("/metrics", headers=token_of(vera())).status_code == 200
    assert isinstance(post(client, "channels", {"api_token": key}).json(), list)
    assert client.get("/login/").status_code == 200


def test_a_programs_key_has_a_limit_of_calls_per_minute(client: Client, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = 2
    key, other = (ApiChannelFactory(secret=True).current_secret().reveal() for _ in range(2))

    answers = [post(client, "channels", {"api_token": key}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == 429 and 0 < int(answers[2]["Retry-After"]) <= 60
    assert post(client, "channels", {"api_token": other}).status_code == 200


def test_a_channels_key_has_a_limit_of_calls_per_minute(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.API_CALLS_PER_MINUTE = 2
    token, other = token_of(boris()), token_of(vera())

    statuses = [client.get("/api/v1/conversations/", headers=token).status_code for _ in range(3)]
    last = client.get("/api/v1/conversations/", headers=token)

    assert statuses == [200, 200, 429] and last.json()["reason"] == "throttled" and int(last["Retry-After"]) > 0
    assert client.get("/api/v1/conversations/", headers=other).status_code == 200

    monkeypatch.setattr(call_limits.call_counter, "ends", 0.0)  # the minute is over

    assert client.get("/api/v1/conversations/", headers=token).status_code == 200
