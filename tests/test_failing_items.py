"""One failing row, file, channel or event never stops the others, in any loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.files.base import ContentFile
from django.db import OperationalError, connection, transaction
from django.test import TestCase
from django.utils import timezone

from bridge import tasks
from bridge.channel_health import alerts, webhook_inactivity
from bridge.conversations import assignments, closing_reminders
from bridge.files import file_deletions, provider_uploads, uploads
from bridge.inbox import pending_corrections
from bridge.maintenance import housekeeping, pruning, reconciliation
from bridge.models import (
    BulkAction,
    CircuitBreaker,
    Conversation,
    Delivery,
    FileDeletion,
    HeldReply,
    Message,
    PendingCorrection,
    Upload,
)
from bridge.outbox import bulk_resend, dispatcher, recipient_addresses, settling
from bridge.relay import held_replies
from channels_setup import failing_items
from channels_setup.failing_items import BACKOFF_SECONDS, FailingItems
from channels_setup.models import ApiChannel, UnknownPolicy
from channels_setup.providers.whatsapp_cloud import graph_webhooks
from templates_registry.provider import provider_sync
from tests.factories import (
    ApiChannelFactory,
    ConversationFactory,
    DeliveryFactory,
    ServiceWindowFactory,
    UserFactory,
)

EARLIER = timedelta(minutes=5)


class Loop(NamedTuple):
    make: Callable[[], object]  # creates two due items
    run: Callable[[], object]
    step: tuple[Any, str]  # the module and the function that handles one item
    item: Callable[..., object] | None = None  # the item among the step's arguments; None: each call is one
    limit: tuple[Any, str] | None = None  # the module and the constant of the loop's batch size, set to 1
    backs_off: bool = True  # else each run tries all items


def at(module: Any, name: str) -> tuple[Any, str]:
    """Refer to a name in a module, in a form that rename tools find."""
    return module, name


def two_corrections() -> None:
    channel = ApiChannelFactory()
    for name in ("one", "two"):
        row = {"target_id": name, "kind": "revoke", "by_us": False, "contact": {"external_id": name}}
        PendingCorrection.objects.create(api_channel=channel, received_at=timezone.now() - EARLIER, **row)


def two_held_replies() -> None:
    for text in ("one", "two"):
        HeldReply.objects.create(conversation=ConversationFactory(), text=text, drop_at=timezone.now() - EARLIER)


def two_lost_chats() -> None:
    for conversation in ConversationFactory.create_batch(2):
        Conversation.objects.filter(pk=conversation.pk).update(assignee=UserFactory(is_active=False))


def two_uploads() -> None:
    conversation = ConversationFactory()
    for name in ("one", "two"):
        upload = Upload(conversation=conversation, name=name, mime="text/plain", size=1, expires_at=timezone.now())
        upload.file.save("file.txt", ContentFile(b"x"), save=True)


def two_bulk_resends() -> None:
    for delivery in DeliveryFactory.create_batch(2, state="dead", reason="retries_exhausted"):
        bulk_resend.start_bulk_action(
            bulk_resend.DeadLetterFilter(ids=(delivery.pk,)), action=BulkAction.Action.DISCARD, by=None
        )


def two_channels() -> None:
    ApiChannelFactory.create_batch(2, kind="acebot", first_inbound_at=timezone.now())


def two_listing_channels() -> None:
    ApiChannelFactory.create_batch(2)


def two_failing_channels() -> None:
    for channel in ApiChannelFactory.create_batch(2):
        CircuitBreaker.objects.create(api_channel=channel, failing_since=timezone.now() - timedelta(days=3))


def two_expired_windows() -> None:
    for delivery in DeliveryFactory.create_batch(2, next_attempt_at=timezone.now()):
        ServiceWindowFactory(conversation=delivery.conversation, left=-EARLIER)


LOOPS = {
    "waiting corrections": Loop(
        two_corrections,
        pending_corrections.process_pending_corrections,
        at(pending_corrections, "_process_pending_correction"),
        lambda row, _now: row.pk,
        at(pending_corrections, "PENDING_BATCH"),
    ),
    "held replies": Loop(
        two_held_replies,
        held_replies.drop_expired_replies,
        at(held_replies, "_drop_with_notice"),
        lambda row: row.pk,
        at(held_replies, "BATCH"),
    ),
    "chats of people who left": Loop(
        two_lost_chats, assignments.release_lost_assignments, at(assignments, "release_chat"), lambda pk: pk
    ),
    "expired uploads": Loop(
        two_uploads,
        lambda: list(uploads.prune_uploads()),
        at(uploads, "delete_upload"),
        lambda row: row.pk,
        at(uploads, "PRUNE_BATCH"),
    ),
    "bulk resends": Loop(two_bulk_resends, bulk_resend.run_bulk_actions, at(bulk_resend, "_run_batch"), lambda pk: pk),
    "expired windows": Loop(
        two_expired_windows, housekeeping.expire_windows, at(settling, "cancel_delivery"), lambda pk, **_: pk
    ),
    "retention": Loop(
        lambda: None,
        housekeeping.prune_expired_rows,
        at(pruning, "prune_by_age"),
        lambda table, *_, **__: table,
        None,
        False,
    ),
    "watches": Loop(lambda: None, tasks.check_health, at(alerts, "review_alerts"), None, None, False),
    "webhook inactivity": Loop(
        two_channels,
        webhook_inactivity.check_webhook_inactivity,
        at(webhook_inactivity, "_update_rhythm"),
        lambda row, **_: row.pk,
        None,
        False,
    ),
    "channels that fail for days": Loop(
        two_failing_channels, alerts.review_alerts, at(alerts, "_raise_failing_alert"), lambda pk, **_: pk, None, False
    ),
    "closing reminders": Loop(
        two_channels, closing_reminders.send_reminders, at(closing_reminders, "get_reminder_horizon"), None, None, False
    ),
    "reconciliation": Loop(
        lambda: None,
        reconciliation.reconcile_messages,
        at(reconciliation, "_record_mismatched_messages"),
        lambda kind, _rows: kind,
        None,
        False,
    ),
    "template lists": Loop(
        two_listing_channels,
        provider_sync.sync_due_channels,
        at(provider_sync, "sync_channel"),
        lambda row: row.pk,
        None,
        False,
    ),
}


@pytest.mark.django_db
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("breaks", ["in Python", "in the database"])
def test_a_failing_item_stops_no_other_and_is_not_retried_first(
    loop: Loop, breaks: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop.make()
    owner, name = loop.step
    step, calls, items, done = getattr(owner, name), count(), [], []

    def breaks_at_the_first(*args: Any, **kwargs: Any) -> Any:
        item = loop.item(*args, **kwargs) if loop.item else next(calls)
        items.append(item)
        if item != items[0]:
            done.append(item)
            return step(*args, **kwargs)
        if breaks == "in Python":
            raise KeyError("field")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(owner, name, breaks_at_the_first)
    if loop.limit:
        monkeypatch.setattr(*loop.limit, 1)
    with caplog.at_level(logging.ERROR):
        loop.run()
        loop.run()

    if name != "watch":  # only one item of this kind
        assert set(done) - {items[0]}
    assert [record.message for record in caplog.records].count("item failed") >= 1
    if loop.backs_off:
        assert items.count(items[0]) == 1


@pytest.mark.django_db
def test_other_checks_run_when_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[str] = []

    def fails() -> int:
        raise KeyError("field")

    monkeypatch.setattr(alerts, "review_alerts", fails)
    monkeypatch.setattr(webhook_inactivity, "check_webhook_inactivity", lambda: watched.append("silence"))

    assert tasks.check_health() == 0
    assert watched == ["silence"]


@pytest.mark.django_db
def test_an_undeletable_file_stops_no_other_and_is_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stuck, deleted = ["one"], []

    def delete(path: str) -> None:
        if path in stuck:
            raise PermissionError
        deleted.append(path)

    monkeypatch.setattr(file_deletions.default_storage, "delete", delete)
    monkeypatch.setattr(file_deletions, "FAILING", FailingItems("at first"))
    with TestCase.captureOnCommitCallbacks(execute=True):
        file_deletions.schedule_file_deletions(["one", "two"])
    list(file_deletions.delete_scheduled_files())
    assert deleted == ["two"] and FileDeletion.objects.get().path == "one"

    stuck.clear()
    monkeypatch.setattr(file_deletions, "FAILING", FailingItems("after the back-off"))
    list(file_deletions.delete_scheduled_files())

    assert deleted == ["two", "one"] and not FileDeletion.objects.exists()


def test_a_webhook_change_that_breaks_our_code_affects_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(field: str, value: Any) -> Any:
        raise KeyError(field)

    monkeypatch.setattr(graph_webhooks, "FIELD_READERS", {**graph_webhooks.FIELD_READERS, "calls": breaks})
    message = {"from": "79210000000", "id": "wamid.1", "type": "text", "text": {"body": "Ау?"}}
    changes = [{"field": "calls", "value": {}}, {"field": "messages", "value": {"messages": [message]}}]

    found = graph_webhooks.read_facts({"entry": [{"id": "2", "changes": changes}]}, graph_webhooks.RoutingTarget())

    assert [type(fact).__name__ for fact in found] == ["ItemUnreadable", "MessageReceived"]


# --- deliveries ------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize(
    "step",
    [(recipient_addresses, "refresh_addresses"), (provider_uploads, "find_cached_uploads")],
    ids=["addresses", "files"],
)
def test_a_delivery_that_cannot_be_prepared_is_a_failed_attempt(
    step: tuple[Any, str], interrupted: bool, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ApiChannel.objects.update(on_unknown=UnknownPolicy.ASK)
    made = []
    for _number in range(3):
        chat = ConversationFactory(api_channel=channel)
        ServiceWindowFactory(conversation=chat)
        made.append(DeliveryFactory(message__conversation=chat, next_attempt_at=timezone.now() - EARLIER))
    broken = made[0].pk
    if interrupted:
        Delivery.objects.filter(pk=broken).update(state="sending", attempts=1)
    prepare = getattr(*step)

    def breaks(items: Any) -> Any:
        rows = [getattr(item, "delivery", item) for item in items]
        if any(row.pk == broken for row in rows):
            raise KeyError("field")
        return prepare(rows)

    monkeypatch.setattr(*step, breaks)
    dispatcher.send_due_deliveries()

    row = Delivery.objects.get(pk=broken)
    good = Delivery.objects.exclude(pk=broken)
    assert {one.state for one in good} == {"delivered"} and {one.attempts for one in good} == {1}
    if interrupted:  # the previous attempt may have sent it
        assert (row.state, row.reason) == ("unknown", "outcome_unknown")
        assert Message.objects.get(pk=row.message_id).status == "unknown"
    else:
        assert (row.state, row.reason, row.attempts) == ("pending", "internal_error", 1)
        assert row.next_attempt_at is not None and row.next_attempt_at > timezone.now()


# --- the backoff itself -----------------------------------------------------------------------------------


def test_each_failure_waits_longer_and_a_success_clears_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(failing_items.time, "monotonic", lambda: now)
    failing = FailingItems("test")

    def fail() -> None:
        with failing.isolate(7):
            raise KeyError

    for wait in (*BACKOFF_SECONDS, BACKOFF_SECONDS[-1]):
        fail()
        now += wait - 1
        assert failing.items_in_backoff() == [7] and failing.is_in_backoff(7)
        now += 1
        assert failing.items_in_backoff() == [] and not failing.is_in_backoff(7)
    with failing.isolate(7):
        pass
    fail()
    now += BACKOFF_SECONDS[0]

    assert failing.items_in_backoff() == []


def test_the_number_of_remembered_failures_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failing_items, "MAX_REMEMBERED", 3)
    failing = FailingItems("test")
    for item in range(5):
        with failing.isolate(item):
            raise KeyError

    assert failing.items_in_backoff() == [2, 3, 4]


@pytest.mark.django_db
@pytest.mark.parametrize("problem", [MemoryError(), SoftTimeLimitExceeded(), OperationalError("gone")])
def test_an_error_that_concerns_all_items_ends_the_loop(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "is_usable", lambda: False)

    with pytest.raises(type(problem)), FailingItems("test").isolate(7):
        raise problem
