"""Pruning: old rows go in batches, jobs take turns, what is needed stays, and no batch reads a whole table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from bridge.maintenance import housekeeping, pruning, retention_rules
from bridge.models import (
    Alert,
    Attempt,
    Delivery,
    DeliveryDecision,
    RetentionKind,
    RetentionRule,
    StorageSnapshot,
    TemplateLink,
    WebhookEvent,
)
from channels_setup.advisory_locks import LockSpace
from channels_setup.models import AlertRoute, ApiChannel
from config.audit.models import AuditRecord
from tests.factories import ConversationFactory, DeliveryFactory, copies, vera

pytestmark = pytest.mark.django_db
OLD = timedelta(days=200)


@pytest.fixture
def other(transactional_db: None) -> Iterator[Any]:
    """The cursor of another session, in a transaction of its own."""
    with closing(psycopg2.connect(**connection.get_connection_params())) as session, session.cursor() as cursor:
        yield cursor


def make_delivery(*, age: timedelta = OLD, **values: Any) -> Delivery:
    delivery: Delivery = DeliveryFactory(**values)
    at = timezone.now() - age
    Delivery.objects.filter(pk=delivery.pk).update(created_at=at, finished_at=at)
    Attempt.objects.create(delivery=delivery, number=1, started_at=at, duration_ms=5, verdict="accepted")
    return delivery


def test_old_deliveries_go_and_unresolved_ones_stay() -> None:
    states = ("dead", "unknown", "pending", "sending", "delivered", "cancelled")
    old = {state: make_delivery(state=state) for state in states}
    recent = make_delivery(state="delivered", age=timedelta(days=100))
    finished = old["delivered"]
    DeliveryDecision.objects.create(delivery=old["cancelled"], action="discard", previous_state="dead", attempts=1)
    Alert.objects.create(kind="stuck", api_channel=finished.api_channel, delivery=finished, settled_at=timezone.now())
    link = TemplateLink.objects.create(conversation=finished.conversation, note=finished, expires_at=timezone.now())

    assert sum(pruning.prune_deliveries(days=180)) == 2

    left = {delivery.pk for delivery in (*old.values(), recent)} - {finished.pk, old["cancelled"].pk}
    assert set(Delivery.objects.values_list("pk", flat=True)) == left
    assert set(Attempt.objects.values_list("delivery", flat=True)) == left
    assert not DeliveryDecision.objects.exists() and not Alert.objects.exists()
    link.refresh_from_db()
    assert link.note_id is None


def test_alert_messages_that_were_given_up_go_too() -> None:
    route = AlertRoute.objects.create(name="Duty", kind="email", target="duty@okno.example")
    at = timezone.now() - OLD
    for state in ("dead", "unknown", "pending"):
        row = Delivery.objects.create(kind="alert_mail", alert_route=route, payload={"text": "x"}, state=state)
        Delivery.objects.filter(pk=row.pk).update(created_at=at)

    assert sum(pruning.prune_deliveries(days=180)) == 2
    assert Delivery.objects.get().state == "pending"


def test_a_delivery_in_use_is_left_for_the_next_run(other: Any) -> None:
    delivery = make_delivery(state="cancelled")
    other.execute("SELECT FROM bridge_delivery WHERE id = %s FOR UPDATE", [delivery.pk])

    assert sum(pruning.prune_deliveries(days=180)) == 0
    other.connection.rollback()
    assert sum(pruning.prune_deliveries(days=180)) == 1


def test_kept_rows_at_the_front_do_not_stop_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    dead = make_delivery(state="dead")
    copies(dead, 4, key="'k' || n")
    make_delivery(state="delivered")
    make_delivery(state="delivered", age=timedelta())

    assert sum(pruning.prune_deliveries(days=180)) == 1
    assert sum(pruning.prune_attempts(days=180)) == 1
    assert Delivery.objects.filter(state="dead").count() == 5


def test_audit_records_are_pruned_a_month_at_a_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_record DISABLE TRIGGER audit_fill")  # it sets the time
        for age in (500, 480, 450, 380, 10):
            cursor.execute(  # the oldest has the lowest number
                "INSERT INTO audit_record (id, at, action)"
                " VALUES (-%(age)s, clock_timestamp() - make_interval(days => %(age)s), 'viewed')",
                {"age": age},
            )
        cursor.execute("ALTER TABLE audit_record ENABLE TRIGGER audit_fill")

    assert list(pruning.prune_audit_records(days=400)) == [2, 1]
    assert list(pruning.prune_audit_records(days=400)) == []
    assert AuditRecord.objects.filter(action="viewed").count() == 2


def test_a_session_list_entry_goes_after_its_session() -> None:
    user = vera()
    Session.objects.create(session_key="alive", session_data="", expire_date=timezone.now() + timedelta(hours=1))
    for key, age in (("alive", 3), ("ended", 3), ("begun", 0)):
        row = UserSession.objects.create(user=user, session_key=key, ip="127.0.0.1", user_agent="", data={})
        UserSession.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(days=age))

    assert sum(pruning.prune_ended_sessions()) == 1
    assert set(UserSession.objects.values_list("session_key", flat=True)) == {"alive", "begun"}


def test_zero_means_no_limit_for_every_kind(channel: ApiChannel) -> None:
    RetentionRule.objects.bulk_create(RetentionRule(kind=kind, days=0) for kind in RetentionKind)
    delivery = make_delivery(state="delivered", age=timedelta(days=4000))
    event = WebhookEvent.objects.create(state="processed", body=b"{}")
    WebhookEvent.objects.filter(pk=event.pk).update(received_at=timezone.now() - timedelta(days=4000))

    housekeeping.prune_expired_rows()

    assert Delivery.objects.filter(pk=delivery.pk).exists() and Attempt.objects.exists()
    assert WebhookEvent.objects.filter(pk=event.pk).exists()


def test_the_environment_comes_before_the_rule_and_the_default(settings: Any) -> None:
    assert retention_rules.get_days(RetentionKind.EVENTS) == 30
    RetentionRule.objects.create(kind=RetentionKind.EVENTS, days=60)
    assert retention_rules.get_days(RetentionKind.EVENTS) == 60
    settings.EVENT_RETENTION_DAYS = 7

    rules = retention_rules.list_rules()

    assert (rules[RetentionKind.EVENTS].days, rules[RetentionKind.EVENTS].is_fixed) == (7, True)
    assert (rules[RetentionKind.ATTEMPTS].days, rules[RetentionKind.ATTEMPTS].is_fixed) == (7, True)
    assert rules[RetentionKind.AUDIT].is_default


def test_jobs_take_turns_and_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def endless(name: str) -> Iterator[int]:
        for _number in itertools.count():
            done.append(name)
            yield 0

    def broken() -> Iterator[int]:
        raise ValueError
        yield 1

    jobs = {"endless": endless("endless"), "broken": broken(), "other": endless("other"), "once": iter([3])}
    monkeypatch.setattr(housekeeping, "build_prune_jobs", lambda: jobs)

    assert housekeeping.prune_expired_rows(seconds=0.05) == 3
    assert done.count("other") > 1 and abs(done.count("endless") - done.count("other")) <= 1


def test_a_long_retention_of_messages_does_not_delay_raw_requests() -> None:
    jobs = list(housekeeping.build_prune_jobs())

    assert [name for name in jobs if "of channels" in name] == [
        "files of channels", "messages of channels", "events of channels",
    ]  # fmt: skip
    assert jobs[-1] == "storage"  # once a day it sums up all files


def test_only_one_run_prunes_at_a_time(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "build_prune_jobs", lambda: {"once": iter([3])})
    other.execute("SELECT pg_advisory_xact_lock(%s, 0)", [int(LockSpace.PRUNING)])

    assert housekeeping.prune_expired_rows() == 0
    other.connection.rollback()
    assert housekeeping.prune_expired_rows() == 3


def test_a_snapshot_is_taken_once_a_day_and_kept_for_a_year() -> None:
    old = StorageSnapshot.objects.create(day=timezone.now().date() - timedelta(days=500))

    housekeeping.prune_expired_rows()
    housekeeping.prune_expired_rows()

    assert not StorageSnapshot.objects.filter(pk=old.pk).exists()
    assert StorageSnapshot.objects.get().bytes_by_group["messages"] > 0


def test_pruning_reads_no_whole_table() -> None:
    values = {"before": timezone.now(), "last": 0, "limit": 1000}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement in (pruning.FIND_OLD_ATTEMPTS, pruning.FIND_OLD_DELIVERIES):
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", values)
            plan = json.dumps(cursor.fetchone()[0])
            assert "_pkey" in plan and '"Sort"' not in plan, statement


def test_deliveries_of_a_chat_leave_its_messages() -> None:
    chat = ConversationFactory()
    delivery = make_delivery(state="delivered", conversation=chat)
    message = delivery.message

    list(pruning.prune_deliveries(days=180))

    assert message is not None
    message.refresh_from_db()
    assert message.text
