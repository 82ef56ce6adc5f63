"""Scopes of API tokens: reading, writing, metrics, and single chat channels."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from channels_setup.models import ApiChannel
from config.accounts.models import ApiToken, Scope
from tests.factories import ApiChannelFactory, ConversationFactory, boris, vera

pytestmark = pytest.mark.django_db
REMOTE = {"REMOTE_ADDR": "203.0.113.9"}  # /metrics asks programs on this machine for no token


def call(user: Any, **options: Any) -> Client:
    _token, text = ApiToken.issue(user, name="CRM", **options)
    return Client(headers={"Authorization": f"Token {text}"}, **REMOTE)


@pytest.fixture
def channels() -> list[ApiChannel]:
    return ApiChannelFactory.create_batch(2)


def test_a_token_to_read_reads_and_does_not_write(channels):
    chat = ConversationFactory(api_channel=channels[0])
    client = call(vera(), scope=Scope.READ)
    assert client.get("/api/v1/conversations/").status_code == 200
    refused = client.post(f"/api/v1/conversations/{chat.pk}/messages/", {"text": "Hello"}, "application/json")
    assert refused.status_code == 403 and "чтение" in refused.json()["error"]
    assert client.get("/metrics").status_code == 200


def test_a_token_for_metrics_opens_nothing_else():
    client = call(vera(), scope=Scope.METRICS)
    assert client.get("/metrics").status_code == 200
    assert client.get("/api/v1/conversations/").status_code == 403


def test_a_token_of_one_channel_sees_only_its_chats(channels):
    mine, foreign = (ConversationFactory(api_channel=channel) for channel in channels)
    client = call(vera(), chat_channels=[mine.chat_channel])
    shown = [row["id"] for row in client.get("/api/v1/conversations/").json()["results"]]
    assert shown == [mine.pk]
    assert client.get(f"/api/v1/conversations/{foreign.pk}/").status_code == 404
    assert [row["id"] for row in client.get("/api/v1/channels/").json()["results"]] == [channels[0].pk]
    assert client.get("/api/v1/webhook-events/").status_code == 403
    assert client.get("/metrics").status_code == 403


def test_a_channel_on_a_token_gives_an_operator_no_more_than_before(channels):
    mine, foreign = (ConversationFactory(api_channel=channel) for channel in channels)
    client = call(boris(mine.chat_channel), chat_channels=[foreign.chat_channel])
    assert client.get("/api/v1/conversations/").json()["results"] == []


def test_a_session_of_the_same_user_is_not_narrowed(channels):
    user = vera()
    call(user, chat_channels=[ConversationFactory(api_channel=channels[0]).chat_channel])
    browser = Client()
    browser.force_login(user)
    assert len(browser.get("/api/v1/chat-channels/").json()["results"]) >= 2
