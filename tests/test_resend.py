"""Resend: previewed first, duplicates only after confirmation, and every resend of a delivery recorded separately."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone, translation

from bridge.channel_health import circuit_breaker
from bridge.models import Attempt, BulkAction, CircuitBreaker, Delivery, DeliveryDecision, Message
from bridge.outbox import bulk_resend, dispatcher, resend
from bridge.outbox.bulk_resend import DeadLetterFilter
from channels_setup.models import ApiChannel
from tests.factories import DeliveryFactory, ServiceWindowFactory, boris, vera
from tests.receiver import Receiver
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to, move_windows_back

pytestmark = pytest.mark.django_db


@pytest.fixture
def api_channel(receiver: Receiver) -> ApiChannel:
    return create_channel_to(receiver, "/hook")


@pytest.fixture
def dead(api_channel: ApiChannel, receiver: Receiver) -> Delivery:
    receiver.answer("/hook", status=422, times=1)
    boris_answers(anna_writes(api_channel))
    dispatcher.send_due_deliveries()
    return Delivery.objects.select_related("message", "api_channel").get()


def resend_problem(delivery: Delivery) -> str:
    delivery.refresh_from_db()
    return resend.preview_resend([delivery])[0].code


def test_the_forecast_is_what_then_happens(dead: Delivery, receiver: Receiver) -> None:
    assert resend_problem(dead) == ""

    resend.resend_deliveries(dead.pk)
    dispatcher.send_due_deliveries()

    dead.refresh_from_db()
    assert dead.state == "delivered"
    assert [attempt.number for attempt in Attempt.objects.all()] == [1, 2]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_a_window_closed_since_is_predicted_and_prevents_the_resend(dead: Delivery, receiver: Receiver) -> None:
    move_windows_back(timedelta(days=2))
    assert resend_problem(dead) == "window_closed_since"

    resend.resend_deliveries(dead.pk)
    dispatcher.send_due_deliveries()

    dead.refresh_from_db()
    assert dead.state == "cancelled"
    assert len(receiver.requests) == 1


def test_an_unknown_outcome_and_a_paused_channel_are_predicted(dead: Delivery, api_channel: ApiChannel) -> None:
    Delivery.objects.update(state="unknown")
    assert resend_problem(dead) == "possible_duplicate"

    Delivery.objects.update(state="dead")
    api_channel.pause()
    assert resend_problem(Delivery.objects.select_related("message", "api_channel").get()) == "channel_paused"


def test_a_failing_destination_is_predicted_as_waiting(dead: Delivery, api_channel: ApiChannel) -> None:
    CircuitBreaker.objects.create(api_channel=api_channel, is_open=True)

    assert resend_problem(dead) == "breaker_open"
    assert resend.preview_resend([dead])[0].will_send


def test_the_preview_shows_a_rate_limited_destination_as_waiting(dead: Delivery, api_channel: ApiChannel) -> None:
    circuit_breaker.start_backoff("api_channel", api_channel.pk, seconds=60)
    assert resend_problem(dead) == "destination_backoff"
    assert resend.preview_resend([dead])[0].will_send

    circuit_breaker.start_backoff("api_channel", api_channel.pk, seconds=-1)
    assert resend_problem(dead) == ""


def test_a_dry_run_changes_nothing_and_all_leaves_the_unknown_alone(dead: Delivery) -> None:
    said = StringIO()
    with translation.override("en"):
        call_command("dead_letters", "resend", "--all", "--dry-run", stdout=said)
    assert "It would be sent now." in said.getvalue()
    assert Delivery.objects.get().state == "dead"

    Delivery.objects.update(state="unknown")
    call_command("dead_letters", "resend", "--all", stdout=StringIO())
    assert Delivery.objects.get().state == "unknown"
    call_command("dead_letters", "resend", "--all", "--include-unknown", stdout=StringIO())
    assert Delivery.objects.get().state == "pending"


def test_since_bounds_what_is_sent_again(dead: Delivery) -> None:
    later = (timezone.now() + timedelta(minutes=1)).isoformat()

    call_command("dead_letters", "resend", "--all", "--since", later, stdout=StringIO())

    assert Delivery.objects.get().state == "dead"
    with pytest.raises(CommandError):
        call_command("dead_letters", "resend", "--all", "--since", "yesterday")


def test_a_resend_restarts_the_retry_schedule(dead: Delivery, receiver: Receiver) -> None:
    Delivery.objects.update(attempts=9)
    receiver.answer("/hook", status=500)
    resend.resend_deliveries(dead.pk)

    dispatcher.send_due_deliveries()

    dead.refresh_from_db()
    assert (dead.state, dead.attempts) == ("pending", 10)


# --- lineage ---------------------------------------------------------------------------------------------


def test_each_decision_is_written_down_with_who_took_it_and_how_it_stood(dead: Delivery, receiver: Receiver) -> None:
    receiver.answer("/hook", status=422)
    Vera = vera()

    resend.resend_deliveries(dead.pk, by=Vera)
    dispatcher.send_due_deliveries()
    resend.discard_deliveries(dead.pk, by=Vera)

    decisions = list(DeliveryDecision.objects.order_by("pk"))
    assert [(r.action, r.by, r.previous_state, r.previous_reason, r.attempts) for r in decisions] == [
        ("resend", Vera, "dead", "rejected", 1),
        ("discard", Vera, "dead", "rejected", 2),
    ]
    assert Message.objects.get(direction="outbound").reason == "discarded"


def test_pending_and_finished_deliveries_cannot_be_decided() -> None:
    on_its_way, done = DeliveryFactory(state="sending"), DeliveryFactory(state="delivered")

    assert resend.resend_deliveries(on_its_way.pk, done.pk) == 0
    assert resend.discard_deliveries(on_its_way.pk, done.pk) == 0
    assert resend.accept_unknown_deliveries(on_its_way.pk, done.pk, by=None) == 0
    assert not DeliveryDecision.objects.exists()


def test_what_was_left_as_it_is_still_may_have_been_sent() -> None:
    unknown = DeliveryFactory(state="unknown", reason="outcome_unknown", message__status="unknown")
    ServiceWindowFactory(conversation=unknown.conversation)

    assert resend.accept_unknown_deliveries(unknown.pk, by=boris()) == 1

    message = Message.objects.get(pk=unknown.message_id)
    assert (message.status, message.reason) == ("unknown", "left_as_is")
    assert resend_problem(unknown) == "possible_duplicate"


# --- many at once ----------------------------------------------------------------------------------------


def made_dead(count: int, *, is_open: bool = True, **more: object) -> list[Delivery]:
    found = DeliveryFactory.create_batch(count, **{"state": "dead", "reason": "retries_exhausted"} | more)
    for delivery in found if is_open else []:
        ServiceWindowFactory(conversation=delivery.conversation)
    return found


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for state in Delivery.objects.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def test_a_bulk_resend_shows_counts_and_skips_unsendable_deliveries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk_resend, "BATCH", 2)
    made_dead(5)
    made_dead(3, is_open=False)
    made_dead(1, state="unknown", message__status="unknown")

    seen = bulk_resend.preview_bulk_action(DeadLetterFilter())
    assert seen.counts == {"": 5, "window_closed_since": 3, "possible_duplicate": 1}
    assert (seen.count_resent(include_unknown=False), seen.count_resent(include_unknown=True), seen.is_all) == (
        5,
        6,
        True,
    )

    job = bulk_resend.start_bulk_action(DeadLetterFilter(), action=BulkAction.Action.RESEND, by=vera())
    assert bulk_resend.run_bulk_actions() == 9

    job.refresh_from_db()
    assert (job.total, job.done, job.skipped) == (9, 5, {"window_closed_since": 3, "possible_duplicate": 1})
    assert job.finished_at is not None
    assert states() == {"pending": 5, "dead": 3, "unknown": 1}
    assert DeliveryDecision.objects.filter(bulk_action=job, by=job.by).count() == 5


def test_what_may_have_been_sent_goes_only_where_that_was_ticked() -> None:
    made_dead(1, state="unknown", message__status="unknown")

    bulk_resend.start_bulk_action(DeadLetterFilter(include_unknown=True), action=BulkAction.Action.RESEND, by=None)
    bulk_resend.run_bulk_actions()

    assert states() == {"pending": 1}


def test_a_bulk_action_covers_its_filter_and_nothing_that_fails_later() -> None:
    old, meant, other_reason = made_dead(3)
    elsewhere = made_dead(1)[0]
    Delivery.objects.filter(pk__in=[meant.pk, old.pk, other_reason.pk]).update(api_channel=meant.api_channel)
    Delivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    Delivery.objects.filter(pk=other_reason.pk).update(reason="rejected")
    since = (timezone.now() - timedelta(days=1)).isoformat()

    chosen = DeadLetterFilter(api_channel=meant.api_channel_id, reason="retries_exhausted", since=since)
    job = bulk_resend.start_bulk_action(chosen, action=BulkAction.Action.DISCARD, by=None)
    later = made_dead(1)[0]
    Delivery.objects.filter(pk=later.pk).update(api_channel=meant.api_channel)
    bulk_resend.run_bulk_actions()

    assert job.total == 1
    assert list(Delivery.objects.filter(state="cancelled")) == [meant]
    assert Delivery.objects.get(pk=elsewhere.pk).state == "dead"


def test_a_worker_that_dies_in_a_batch_leaves_it_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_resend, "BATCH", 2)
    made_dead(5)
    job = bulk_resend.start_bulk_action(DeadLetterFilter(), action=BulkAction.Action.RESEND, by=None)
    bulk_resend.run_bulk_actions(seconds=0.0)
    send_again = resend.resend_deliveries
    calls: list[int] = []

    def dies_at_the_second(*pks: int, **more: object) -> int:
        calls.append(len(pks))
        if len(calls) == 2:
            raise MemoryError
        return send_again(*pks, **more)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(resend, "resend_deliveries", dies_at_the_second)
    with pytest.raises(MemoryError):
        bulk_resend.run_bulk_actions()
    job.refresh_from_db()
    assert (job.done, states()) == (2, {"pending": 2, "dead": 3})

    bulk_resend.run_bulk_actions()

    job.refresh_from_db()
    assert (job.done, states()) == (5, {"pending": 5})
    assert DeliveryDecision.objects.count() == 5
