"""Sending of planned push messages: many calls at once through the guarded HTTP client, with few short retries."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.utils import translation

from bridge import phone_visibility, service_window
from bridge.desk import notification_settings, presentation
from bridge.desk.live import notifications, presence
from bridge.message_text import render_preview
from bridge.metrics import catalog
from bridge.models import ClosingReminder, NotificationKind, PushKey, PushMessage, PushSubscription
from channels_setup import advisory_locks
from channels_setup.advisory_locks import LockSpace
from channels_setup.failing_items import FailingItems
from channels_setup.http_client import ConcurrentCalls, ForbiddenAddress
from channels_setup.providers.base import ApiRequest, ApiResponse

from . import keys, planning, subscriptions
from .message_encryption import MAX_PLAINTEXT, decode_base64, encrypt_message

BATCH = 100
CALL_SECONDS = 10.0
TTL = timedelta(minutes=5)  # how long the push service, and the portal, try
KEPT = timedelta(minutes=10)  # longer than planning looks back
RETRY_DELAYS = (5, 20, 60)  # seconds
TEST_SECONDS = 10
GONE = (404, 410)
REFUSED = (401, 403)  # made for other keys, for example those of a database that was replaced
TOO_MANY = 429
MESSAGES = FailingItems("push messages")
URGENT = {NotificationKind.CLOSING, NotificationKind.MENTIONED, NotificationKind.ASSIGNED}


def send_pushes() -> int:
    """Plan and send what is due. One worker at a time. Return how many messages were accepted."""
    with advisory_locks.exclusive(LockSpace.PUSH, 0) as is_free:
        if not is_free or not PushSubscription.objects.exists():
            return 0
        subscriptions.delete_ended()
        planning.plan_pushes()
        now = service_window.database_now()
        PushMessage.objects.filter(created_at__lt=now - KEPT).delete()
        return _send_due(now=now)


def _send_due(*, now: datetime) -> int:
    rows = PushMessage.objects.filter(next_attempt_at__lte=now).order_by("next_attempt_at", "pk")
    due = rows.select_related(
        "subscription__user", "conversation__contact", "notification__conversation__contact", "notification__actor"
    )[:BATCH]
    calls, started, key = ConcurrentCalls(), 0, keys.get_key()
    for message in due:
        with MESSAGES.isolate(message.pk):
            if now - message.created_at > TTL:
                _finish(message, catalog.GIVEN_UP)
            elif _is_being_read(message):
                _finish(message, catalog.SKIPPED)
            else:
                calls.start(message, build_request(message, key), seconds=CALL_SECONDS)
                started += 1
    accepted = 0
    while len(calls):
        for message, result in calls.wait(CALL_SECONDS + 5):
            with MESSAGES.isolate(message.pk):
                accepted += _save_result(message, result, now=now)
    return accepted


def _is_being_read(message: PushMessage) -> bool:
    """Return whether the user has the chat open now: they see the message there."""
    if message.kind != NotificationKind.MESSAGE or message.conversation_id is None:
        return False
    return message.subscription.user_id in presence.find_viewers(message.conversation_id)


def build_request(message: PushMessage, key: PushKey) -> ApiRequest:
    """Build the call that hands the message to the browser's push service."""
    receiver = subscriptions.read_receiver(message.subscription)
    body = json.dumps(render_message(message), ensure_ascii=False).encode()[:MAX_PLAINTEXT]
    return ApiRequest(
        method="POST",
        url=receiver.endpoint,
        headers={
            "Authorization": keys.build_authorization(receiver.endpoint, key),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(int(TTL.total_seconds())),
            "Urgency": "high" if message.kind in URGENT else "normal",
        },
        body=encrypt_message(body, public_key=decode_base64(receiver.public_key), auth=decode_base64(receiver.auth)),
    )


def render_message(message: PushMessage) -> dict[str, Any]:
    """Return what the service worker shows, in the browser's language and with the phones that its user may see."""
    subscription = message.subscription
    with translation.override(subscription.language), phone_visibility.view_as(subscription.user):
        if message.conversation is None:
            return notifications.build_test_item()
        item = _describe(message)
        if not notification_settings.get_settings(subscription.user).shows_text:
            item = notifications.without_text(item)
    return item


def _describe(message: PushMessage) -> dict[str, Any]:
    if message.notification is not None:
        return notifications.describe(message.notification)
    chat = message.conversation
    assert chat is not None
    name, text = presentation.contact_name(chat.contact), render_preview(chat.last_text)
    title = name
    if message.kind == NotificationKind.CLOSING:
        reminder = ClosingReminder.objects.filter(pk=message.key.removeprefix("c")).first()
        left = (reminder.expires_at if reminder else message.created_at) - service_window.database_now()
        title = notifications.closing_title(name, max(left, timedelta()))
    return notifications.build_item(message.kind, chat.pk, key=message.key, title=title, text=text)


def _save_result(message: PushMessage, result: ApiResponse | Exception, *, now: datetime) -> bool:
    status = 0 if isinstance(result, Exception) else result.status
    if 200 <= status < 300:
        PushSubscription.objects.filter(pk=message.subscription_id).update(sent_at=now)
        _finish(message, catalog.SENT)
        return True
    if status in GONE or status in REFUSED or isinstance(result, ForbiddenAddress):
        catalog.PUSHES.count(catalog.UNSUBSCRIBED)
        PushSubscription.objects.filter(pk=message.subscription_id).delete()
    elif 0 < status < 500 and status != TOO_MANY:
        _finish(message, catalog.REJECTED)
    elif message.attempts >= len(RETRY_DELAYS):
        _finish(message, catalog.GIVEN_UP)
    else:
        delay = timedelta(seconds=RETRY_DELAYS[message.attempts])
        catalog.PUSHES.count(catalog.RETRIED)
        PushMessage.objects.filter(pk=message.pk).update(attempts=message.attempts + 1, next_attempt_at=now + delay)
    return False


def _finish(message: PushMessage, outcome: str) -> None:
    """Count a message and keep its key, so that the event is not planned again."""
    catalog.PUSHES.count(outcome)
    PushMessage.objects.filter(pk=message.pk).update(next_attempt_at=None)


def create_test(devices: Iterable[PushSubscription]) -> int:
    """Queue a test message for devices, at most one in TEST_SECONDS. The task sends it within seconds."""
    key = f"t{int(service_window.database_now().timestamp()) // TEST_SECONDS}"
    rows = [PushMessage(subscription=device, key=key, kind="test") for device in devices]
    return len(PushMessage.objects.bulk_create(rows, ignore_conflicts=True))
