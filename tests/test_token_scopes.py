"""Scopes of API tokens: reading, writing, metrics, and single chat channels."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.test import Client

from channels_setup.models import ApiChannel
from channels_setup.roles import Role, assign_role
from config.accounts.models import ApiToken, Scope
from config.accounts.token_rights import describe_rights
from tests.factories import ApiChannelFactory, ChatChannelFactory, ConversationFactory, UserFactory, boris, vera

pytestmark = pytest.mark.django_db
OPENED_BY_ADMINS = [
    f"/api/v1/{name}/"
    for name in (
        *("conversations", "contacts", "messages", "deliveries", "webhook-events"),
        *("channels", "chat-channels", "templates", "held-replies"),
    )
]
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


def test_a_token_opens_nothing_after_its_channels_are_deleted(channels):
    kept = ConversationFactory(api_channel=channels[0])
    gone = ChatChannelFactory()
    user = vera()
    client = call(user, chat_channels=[gone])
    gone.delete()
    for path in OPENED_BY_ADMINS:
        answer = client.get(path)
        assert answer.status_code == 403 or answer.json()["results"] == [], path
    assert client.get(f"/api/v1/conversations/{kept.pk}/").status_code == 404
    assert client.get("/metrics").status_code == 403
    assert "ничего" in describe_rights(ApiToken.objects.get(user=user))


def test_the_database_limits_a_token_for_good(channels):
    """A channel that any program adds limits the token, and the limit outlives the channel."""
    token, text = ApiToken.issue(vera(), name="CRM")
    ConversationFactory(api_channel=channels[0])
    token.chat_channels.add(ChatChannelFactory())
    token.chat_channels.clear()
    token.refresh_from_db()
    assert token.is_limited_to_channels
    client = Client(headers={"Authorization": f"Token {text}"}, **REMOTE)
    assert client.get("/api/v1/conversations/").json()["results"] == []


def test_a_token_limited_to_nothing_opens_nothing(channels):
    ConversationFactory(api_channel=channels[0])
    assert call(vera(), chat_channels=[]).get("/api/v1/conversations/").json()["results"] == []


def test_a_metrics_token_cannot_have_chat_channels(channels):
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiToken.issue(vera(), name="x", scope=Scope.METRICS, chat_channels=[ChatChannelFactory()])


def test_a_token_follows_its_user_down(channels):
    """A token of a former admin has what its user has now."""
    chat = ConversationFactory(api_channel=channels[0])
    other = ConversationFactory(api_channel=channels[1])
    user = UserFactory()
    assign_role(user, role=Role.ADMIN)
    metrics, write = call(user, scope=Scope.METRICS), call(user)
    assert write.get("/api/v1/webhook-events/").status_code == 200 and metrics.get("/metrics").status_code == 200

    assign_role(user, role=Role.OPERATOR, chat_channels=[chat.chat_channel])

    assert [row["id"] for row in write.get("/api/v1/conversations/").json()["results"]] == [chat.pk]
    assert write.get(f"/api/v1/conversations/{other.pk}/").status_code == 404
    assert write.get("/api/v1/webhook-events/").status_code == 403
    assert [client.get("/metrics").status_code for client in (metrics, write)] == [403, 403]


def test_deactivating_by_any_way_revokes_tokens_for_good():
    user = UserFactory()
    client = call(user)
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    get_user_model().objects.filter(pk=user.pk).update(is_active=True)
    assert client.get("/api/v1/conversations/").status_code == 401


def test_a_session_of_the_same_user_is_not_narrowed(channels):
    user = vera()
    call(user, chat_channels=[ConversationFactory(api_channel=channels[0]).chat_channel])
    browser = Client()
    browser.force_login(user)
    assert len(browser.get("/api/v1/chat-channels/").json()["results"]) >= 2
