"""Stored rows contain no secret in clear text, whatever its source, and can still be processed."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from bridge.conversations import message_statuses
from bridge.inbox import account_updates, processing
from bridge.models import Alert, Attempt, Delivery, Message, WebhookEvent
from bridge.raw_requests import mark_event_failed
from channels_setup import http_client
from channels_setup.models import ApiChannel, known_secrets
from channels_setup.providers.base import (
    AccountUpdate,
    ApiRequest,
    ApiResponse,
    Outcome,
    StatusChanged,
    TemplateChanged,
)
from templates_registry.models import Registry, Status, Template
from templates_registry.provider import provider_sync
from tests.cloud_accounts import ACCESS_TOKEN, APP_SECRET, VERIFY_TOKEN, cloud_channel, proof
from tests.factories import ApiChannelFactory, ChatChannelFactory, DeliveryFactory, TemplateFactory
from tests.receiver import Receiver
from tests.scenarios.database_dump import dump_every_table
from tests.scenarios.secret_traces import SPELLINGS, current_key, post_raw

pytestmark = pytest.mark.django_db

STRANGE = "Bearer zq81-unknown-to-us-4417"  # another party's secret: recognizable only by its name


@pytest.fixture
def acebot() -> ApiChannel:
    return ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/hook", secret=True)


# --- raw events ------------------------------------------------------------------------------------------


def test_addmessage_stores_no_key_in_any_format(acebot: ApiChannel) -> None:
    key, other = current_key(acebot), current_key(ApiChannelFactory(secret=True))
    chat_channel = acebot.watched.get()
    escaped = "".join(f"\\u{ord(character):04x}" for character in key)
    message = json.dumps({"text": "My password: qwerty and api_token=…"})
    rest = f'"channel_id": {chat_channel.pk}, "message": {message}'
    calls = [
        (f'{{"api_token": "{escaped}", {rest}}}'.encode(), "application/json", ""),
        (f'{{"api_token": "{key}", {rest}}}'.encode(), "application/json", f"?api_token={other}&x={other}"),
        (f'{{"api_token": "{key}", "note": "{other}", {rest}}}'.encode(), "application/json", ""),
        (
            f"api_token={''.join(f'%{byte:02x}' for byte in key.encode())}&channel_id={chat_channel.pk}"
            "&message[text]=My+password%3A+qwerty+and+api_token%3D%E2%80%A6".encode(),
            "application/x-www-form-urlencoded",
            "",
        ),
    ]
    for body, content_type, query in calls:
        assert post_raw("/uapi/chat/addMessage", body, content_type, query, x_request_id=f"id-{other}") == 200

    assert Message.objects.filter(text="My password: qwerty and api_token=…").count() == len(calls)
    assert WebhookEvent.objects.count() == len(calls)
    stored = dump_every_table().lower()
    for secret in (key, escaped, other):
        assert secret not in stored
    assert [each for each in SPELLINGS if SPELLINGS[each](key).lower() in stored] == []


def test_a_repeat_with_an_idempotency_key_is_recognized_after_a_rotation(acebot: ApiChannel) -> None:
    old = current_key(acebot)
    body = {"api_token": old, "channel_id": acebot.watched.get().pk, "message": {"text": "Hi"}}
    assert post_raw("/uapi/chat/addMessage", body, idempotency_key="k1") == 200
    new = acebot.issue_secret(overlap=timedelta(hours=1)).reveal()

    assert post_raw("/uapi/chat/addMessage", body | {"api_token": new}, idempotency_key="k1") == 200

    assert Message.objects.count() == 1


def test_a_call_to_the_wrong_url_is_stored_without_its_key(acebot: ApiChannel) -> None:
    key, address = current_key(ApiChannelFactory(secret=True)), acebot.webhook_url
    body = {
        "seen_at": address,
        "api_token": key,
        "app_secret": "not-known-77",
        "channel_id": 1,
        "message": {"text": "Hi"},
    }

    assert post_raw(acebot.webhook_path, body, query="?password=hunter2") == 200

    stored = dump_every_table()
    assert WebhookEvent.objects.count() == 1
    for secret in (key, "not-known-77", "hunter2", acebot.path_token):
        assert secret not in stored


def test_a_provider_that_repeats_our_secrets_leaves_none_in_the_rows(acebot: ApiChannel) -> None:
    cloud_channel()
    body = {"chat_id": 5, "text": f"see {ACCESS_TOKEN}", "client": {"note": json.dumps({"x": APP_SECRET})}}

    assert post_raw(acebot.webhook_path, body) == 200

    assert ACCESS_TOKEN not in dump_every_table()
    assert APP_SECRET not in dump_every_table()


def test_a_signed_webhook_with_secrets_in_it_is_processed() -> None:
    channel = cloud_channel()
    text = f"authorization: {STRANGE}; token {ACCESS_TOKEN}"
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"phone_number_id": channel.options["phone_number_id"]},
        "contacts": [{"wa_id": "447700900101", "profile": {"name": "Anna"}}],
        "messages": [
            {
                "from": "447700900101",
                "id": "wamid.1",
                "timestamp": str(int(timezone.now().timestamp())),
                "type": "text",
                "text": {"body": "My password is qwerty; secret: none"},
            }
        ],
        "access_token": "sent-along-1",
    }
    status = {"id": "wamid.9", "status": "failed", "recipient_id": "1", "timestamp": "1780000000"} | {
        "errors": [{"code": 131000, "title": "Error", "error_data": {"details": text}}]
    }
    changes = [{"field": "messages", "value": value | {"statuses": [status]}}]
    entry = {"id": channel.options["waba_id"], "changes": changes}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()

    assert post_raw(channel.webhook_path, body, **proof(body)) == 200
    processing.process_inbox()

    assert WebhookEvent.objects.get().state == WebhookEvent.State.PROCESSED
    assert Message.objects.get().text == "My password is qwerty; secret: none"
    stored = dump_every_table()
    for secret in (ACCESS_TOKEN, "sent-along-1"):
        assert secret not in stored


@pytest.mark.parametrize("verify_token", ["whatsapp_business", "447700900101447", "messaging_product"])
def test_a_verify_token_that_is_part_of_the_body_garbles_nothing(verify_token: str) -> None:
    channel = cloud_channel()
    channel.save_credential("verify_token", verify_token)
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"phone_number_id": channel.options["phone_number_id"]},
        "contacts": [{"wa_id": "447700900101447", "profile": {"name": "Anna"}}],
        "messages": [{"from": "447700900101447", "id": "wamid.1", "timestamp": "1780000000"}],
    }
    value["messages"][0] |= {"type": "text", "text": {"body": '{"password": "qwerty"}'}}
    entry = {"id": channel.options["waba_id"], "changes": [{"field": "messages", "value": value}]}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()

    assert post_raw(channel.webhook_path, body, **proof(body)) == 200
    processing.process_inbox()

    message = Message.objects.get()
    assert message.text == '{"password": "qwerty"}'
    assert message.conversation.contact.external_id == "447700900101447"


# --- texts of other parties ---------------------------------------------------------------------------------


def test_every_stored_text_of_another_party_is_masked(acebot: ApiChannel) -> None:
    key = current_key(acebot)
    channel = cloud_channel()
    words = f"Bad request: authorization: {STRANGE} and {key} and https://x/?access_token=short-1"
    event = WebhookEvent.objects.create(api_channel=acebot, endpoint="webhook", body=b"{}")
    delivery: Delivery = DeliveryFactory(api_channel=acebot)

    account_updates.record_account_update(channel, AccountUpdate(event="ACCOUNT_RESTRICTION", details=words))
    channel.update_provider_status(name=words, authorization="short-1")
    provider_sync._save_sync_state(channel, error=words)
    template: Template = TemplateFactory(api_channel=channel, external_id="t1")
    provider_sync.apply_provider_change(channel, TemplateChanged(status="REJECTED", external_id="t1", reason=words))
    Template.objects.filter(pk=template.pk).update(reject_reason=words)
    mark_event_failed(event, words)
    WebhookEvent.objects.filter(pk=event.pk).update(traceback=f"Traceback\n{words}")
    Attempt.objects.bulk_create(
        [Attempt(delivery=delivery, number=1, started_at=timezone.now(), duration_ms=1, verdict="retry", answer=words)]
    )
    Alert.objects.create(kind=Alert.Kind.BREAKER, api_channel=acebot, details={"why": words, "api_token": "short-1"})
    Message.objects.filter(pk=delivery.message_id).update(details={"why": f"{key} was refused"})
    fact = StatusChanged(status="failed", external_id="wamid.77", code="1", title=words[:300], details=words)
    message_statuses.apply_statuses(channel, [fact])

    stored = dump_every_table()
    for secret in (STRANGE.split()[1], key, "short-1"):
        assert secret not in stored
    assert "Bad request" in stored


def test_a_refusal_that_quotes_a_secret_is_recorded_once() -> None:
    channel = cloud_channel()
    template: Template = TemplateFactory(api_channel=channel, external_id="t1")
    fact = TemplateChanged(status="REJECTED", external_id="t1", reason=f"We do not like {VERIFY_TOKEN}")

    provider_sync.apply_provider_change(channel, fact)
    provider_sync.apply_provider_change(channel, fact)

    assert template.events.filter(kind="status", to_status=Status.REJECTED).count() == 1


def test_outcomes_are_redacted_when_created() -> None:
    outcome = Outcome(verdict="retry", title=f"authorization: {STRANGE}", details="access_token=short-1")

    assert STRANGE.split()[1] not in repr(outcome)
    assert "short-1" not in repr(outcome)


def test_a_response_that_repeats_the_request_is_read_without_its_key(receiver: Receiver) -> None:
    receiver.answer("/hook", status=400, body=b'{"error": "authorization: Bearer hidden\\u002d1"}')
    headers = {"authorization": "Bearer hidden-1"}

    answer = http_client.send(ApiRequest(method="POST", url=receiver.url("/hook"), headers=headers, body=b"{}"))

    assert b"hidden" not in answer.body
    assert b'"error": "authorization' in answer.body


def test_an_api_that_repeats_the_request_leaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = cloud_channel()
    echo = json.dumps({"error": {"code": 100, "message": f"Bad request: authorization: Bearer {ACCESS_TOKEN}"}})
    monkeypatch.setattr(
        http_client, "send", lambda request, **more: ApiResponse(status=400, headers={}, body=echo.encode())
    )

    provider_sync.sync_channel(channel)

    error = Registry.objects.get(api_channel=channel).sync_error
    assert "Bad request" in error
    assert ACCESS_TOKEN not in error


def test_known_secrets_follow_changes() -> None:
    channel = ApiChannelFactory(secret=True)
    old = current_key(channel)
    assert old.encode() in known_secrets.current().tokens
    new = channel.issue_secret().reveal()
    helpdesk = ChatChannelFactory()
    helpdesk.save_secret("secret_key", "Desk.key/2026")

    known = known_secrets.current()

    assert {old.encode(), new.encode()} <= known.tokens
    assert "Desk.key/2026" in known.other_values
    channel.secrets.all().delete()
    assert new.encode() not in known_secrets.current().tokens


def test_a_new_key_is_known_after_its_commit(
    django_capture_on_commit_callbacks: Any,
) -> None:
    channel = ApiChannelFactory(secret=True)
    with django_capture_on_commit_callbacks(execute=True):
        new = channel.issue_secret().reveal()
        known_secrets._cache.known, known_secrets._cache.read_at = known_secrets.KnownSecrets(), time.monotonic()

    assert new.encode() in known_secrets.current().tokens
