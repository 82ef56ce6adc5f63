"""Every method of the public API with every kind of key: only a channel's own secret key opens its rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from bridge.uapi.methods import METHODS
from channels_setup.providers import helpdesks
from tests.channel_worlds import CANARY, PHONE, TEXT, WORD, Snapshot, World, make_world
from tests.factories import token_of
from tests.uapi_calls import post

pytestmark = [pytest.mark.django_db, pytest.mark.exhaustive]
BAD_TOKEN = 401
HELPDESK_KEY = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"


@pytest.fixture
def world(settings: Any) -> World:
    settings.API_CALLS_PER_MINUTE = 0
    return make_world("a", text=TEXT, phone=PHONE)


def keys_that_open_nothing(world: World) -> dict[str, str]:
    return {
        "none": "",
        "wrong": "0" * 40,
        "path token": world.secrets["path_token"],
        "helpdesk's path token": world.secrets["desk_path_token"],
        "another helpdesk's key": HELPDESK_KEY,
        "app id": world.secrets["app_id"],
        "API token": token_of(world.operator)["authorization"].removeprefix("Token "),
        "beginning of the key": world.secrets["api_key"][:-1],
        "key and more": world.secrets["api_key"] + "0",
    }


def is_refused(response: Any) -> bool:
    answer = response.json()
    return isinstance(answer, dict) and answer.get("code") == BAD_TOKEN


def parameters_naming_rows(world: World) -> list[dict[str, Any]]:
    """Return parameters that name the channel's rows, in every form that some method reads."""
    conversation, contact, ticket = world["conversation"].pk, world["contact"].pk, world["ticket"].pk
    return [
        {"chat_id": conversation, "user_id": world.operator.pk, "text": WORD},
        {"chat_id": conversation, "message[text]": WORD, "message[from][client_id]": contact},
        {"message[text]": WORD, "message[from][okno_client_id]": contact},
        {"ticket_id": ticket},
        {"ticket_id": ticket, "message": WORD, "from": "client"},
        {"ticket_id": ticket, "message": WORD, "from": "user", "user_id": world.operator.pk},
        {"ticket_id": ticket, "status": "3", "subject": WORD, "assignee_id": world.operator.pk},
        {"client_id": contact},
        {"client_id": contact, "name": WORD, "message": WORD},
        {"client_id": contact, "message": WORD, "channel_id": world.chat_channel.pk},
        {"client_phone": PHONE, "message": WORD, "assignee_id": world.operator.pk},
        {"channel_id": world.chat_channel.pk, "message": WORD, "client_id": "new_client"},
        {"phone": PHONE},
        {"query": WORD},
        {"tag": f"{WORD}"},
        {"group_id": world.chat_channel.pk},
        {"user_id": world.operator.pk},
        {},
    ]


def test_only_a_channels_key_opens_a_method(client: Client, world: World) -> None:
    world.chat_channel.set_secret(HELPDESK_KEY)
    world.chat_channel.save()
    keys = keys_that_open_nothing(world)
    before, problems = Snapshot(), []
    for name, key in keys.items():
        for method in METHODS:
            response = post(client, method, parameters_naming_rows(world)[0] | ({"api_token": key} if key else {}))
            if response.status_code != 405 and not is_refused(response):
                problems.append(f"{name}: {method} → {response.content[:200]!r}")

    assert not problems, "\n".join(problems)
    assert before.changes() == []


@pytest.mark.parametrize("is_outside_helpdesks", [False, True])
def test_another_channels_key_reads_and_changes_nothing(
    client: Client, world: World, is_outside_helpdesks: bool
) -> None:
    before, b, problems = Snapshot(), make_world("b"), []
    if is_outside_helpdesks:
        b.chat_channel.kind = next(kind for kind in helpdesks() if kind != world.chat_channel.kind)
        b.chat_channel.save()
    for method in METHODS:
        for parameters in parameters_naming_rows(world):
            response = post(client, method, parameters | {"api_token": b.secrets["api_key"]})
            content = response.content.decode()
            if response.status_code >= 500:
                problems.append(f"{method} {parameters} → {response.status_code}")
            if CANARY in content:  # The phone number is the caller's own value, so the response may repeat it.
                problems.append(f"{method} {parameters} holds words of another channel: {content[:300]}")

    assert not problems, "\n".join(problems)
    assert before.changes() == []


def test_a_channels_own_key_opens_every_method(client: Client, world: World) -> None:
    refused = [
        method
        for method in METHODS
        if is_refused(post(client, method, parameters_naming_rows(world)[0] | {"api_token": world.secrets["api_key"]}))
    ]

    assert refused == []
