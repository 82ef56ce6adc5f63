"""Circuit breaker per destination: messages wait, probes test the destination, one alert informs admins."""

import uuid
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone, translation

from bridge.channel_health import alerts, circuit_breaker
from bridge.models import Alert, CircuitBreaker, Delivery
from bridge.outbox import bulk_resend, dispatcher
from channels_setup.models import ApiChannel, ChannelState
from tests.claiming import claim_deliveries
from tests.factories import ApiChannelFactory
from tests.receiver import Receiver
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to, make_deliveries_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def api_channel(receiver: Receiver) -> ApiChannel:
    return create_channel_to(receiver, "/hook")


def fail_in_a_row(api_channel: ApiChannel, receiver: Receiver, count: int = 10) -> None:
    receiver.answer("/hook", status=500)
    for number in range(count):
        boris_answers(anna_writes(api_channel, who=f"client-{number}"))
    dispatcher.send_due_deliveries()


def probe_is_due() -> None:
    CircuitBreaker.objects.update(probe_at=timezone.now() - timedelta(seconds=1))


def test_ten_failures_in_a_row_open_the_breaker_without_using_attempts(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    fail_in_a_row(api_channel, receiver)
    assert CircuitBreaker.objects.get().is_open
    assert Alert.objects.get().kind == "breaker"

    boris_answers(anna_writes(api_channel, who="later"))
    make_deliveries_due()
    dispatcher.send_due_deliveries()

    assert len(receiver.requests) == 10
    assert Delivery.objects.latest("pk").attempts == 0


def test_an_open_breaker_makes_the_channel_failing(api_channel: ApiChannel, receiver: Receiver) -> None:
    ApiChannel.objects.update(state=ChannelState.LIVE)

    fail_in_a_row(api_channel, receiver)

    api_channel.refresh_from_db()
    assert (api_channel.state, api_channel.last_error) == (ChannelState.FAILING, "destination_error")

    receiver.answer("/hook", status=200)
    probe_is_due()
    make_deliveries_due()
    dispatcher.send_due_deliveries()

    api_channel.refresh_from_db()
    assert (api_channel.state, api_channel.last_error) == (ChannelState.LIVE, "")


def test_nine_failures_do_not(api_channel: ApiChannel, receiver: Receiver) -> None:
    fail_in_a_row(api_channel, receiver, 9)

    assert not CircuitBreaker.objects.get().is_open


def test_one_probe_goes_out_and_its_failure_doubles_the_pause(api_channel: ApiChannel, receiver: Receiver) -> None:
    fail_in_a_row(api_channel, receiver)
    pauses = []
    for _ in range(6):
        probe_is_due()
        make_deliveries_due()
        before = len(receiver.requests)
        dispatcher.send_due_deliveries()
        assert len(receiver.requests) == before + 1
        pauses.append(CircuitBreaker.objects.get().backoff_seconds)

    assert pauses == [60, 120, 240, 480, 600, 600]


def test_a_successful_probe_closes_the_breaker_and_all_is_sent(api_channel: ApiChannel, receiver: Receiver) -> None:
    fail_in_a_row(api_channel, receiver)
    receiver.answer("/hook", status=200)
    probe_is_due()
    make_deliveries_due()

    dispatcher.send_due_deliveries()

    assert not CircuitBreaker.objects.get().is_open
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert not Alert.objects.filter(settled_at=None, kind="breaker").exists()


def test_seventy_per_cent_of_ten_open_it_too(api_channel: ApiChannel) -> None:
    for worked in [False, False, True, False, False, False, True, False, True, False]:
        circuit_breaker.record_outcomes(
            "api_channel", [(api_channel.pk, worked)], figures=circuit_breaker.API_CHANNEL_FIGURES
        )

    assert CircuitBreaker.objects.get().is_open


def test_refusals_of_single_messages_do_not_open_it(api_channel: ApiChannel, receiver: Receiver) -> None:
    receiver.answer("/hook", status=422)
    for number in range(15):
        boris_answers(anna_writes(api_channel, who=f"client-{number}"))
    dispatcher.send_due_deliveries()

    assert len(receiver.requests) == 15
    assert not CircuitBreaker.objects.filter(is_open=True).exists()


def test_another_destination_is_not_touched(api_channel: ApiChannel, receiver: Receiver) -> None:
    fail_in_a_row(api_channel, receiver)
    other = ApiChannelFactory(kind="acebot", redirect_url=receiver.url("/other"), secret=True)
    boris_answers(anna_writes(other))

    dispatcher.send_due_deliveries()

    assert any(request.path == "/other" for request in receiver.requests)


def test_an_admin_retries_waiting_deliveries_of_an_open_breaker(api_channel: ApiChannel, receiver: Receiver) -> None:
    fail_in_a_row(api_channel, receiver)
    receiver.answer("/hook", status=200)

    counts = [circuit_breaker.retry_waiting_now(api_channel.pk)]
    dispatcher.send_due_deliveries()
    counts.append(circuit_breaker.retry_waiting_now(api_channel.pk))

    assert counts == [10, 0]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_what_waits_for_its_contact_or_its_number_is_not_hurried(api_channel: ApiChannel, receiver: Receiver) -> None:
    fail_in_a_row(api_channel, receiver)
    Delivery.objects.update(reason="wa_throughput", next_attempt_at=timezone.now() + timedelta(minutes=5))
    CircuitBreaker.objects.update(is_open=False)

    assert circuit_breaker.retry_waiting_now(api_channel.pk) == 0
    assert not Delivery.objects.filter(next_attempt_at__lte=timezone.now()).exists()


def test_the_fourth_failure_raises_an_alert_until_the_message_is_sent(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    receiver.answer("/hook", status=500, times=4)
    boris_answers(anna_writes(api_channel))
    for attempt in range(1, 6):
        dispatcher.send_due_deliveries()
        make_deliveries_due()
        open_alerts = Alert.objects.filter(kind="stuck", settled_at=None).count()
        assert open_alerts == (1 if attempt == 4 else 0)

    assert "(" not in alerts.describe_alert(Alert.objects.get(kind="stuck"))


def failing_for(**span: float) -> None:
    """Time passes: the destination has failed for so long when housekeeping looks."""
    CircuitBreaker.objects.update(failing_since=timezone.now() - timedelta(**span))
    for _ in range(2):
        alerts.review_alerts()


def test_alerts_are_raised_at_50_70_and_90_percent_of_five_days(api_channel: ApiChannel, receiver: Receiver) -> None:
    fail_in_a_row(api_channel, receiver)
    told = []
    for hours in (59, 60, 70, 84, 100, 108, 119):
        failing_for(hours=hours)
        told.append([alert.details["percent"] for alert in Alert.objects.filter(kind="failing_long").order_by("pk")])
        assert Alert.objects.filter(kind="failing_long", settled_at=None).count() == (1 if hours > 59 else 0)

    assert told == [[], [50], [50], [50, 70], [50, 70], [50, 70, 90], [50, 70, 90]]
    with translation.override("en"):
        assert "(90 % of five)" in alerts.describe_alert(Alert.objects.get(kind="failing_long", settled_at=None))
    with translation.override("ru"):
        assert "5,0 дн" in alerts.describe_alert(Alert.objects.get(kind="failing_long", details__percent=90))
    api_channel.refresh_from_db()
    assert api_channel.state != ChannelState.PAUSED


def test_five_days_of_failure_pause_the_channel_once_and_keep_everything(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    fail_in_a_row(api_channel, receiver)
    failing_for(days=5)

    api_channel.refresh_from_db()
    assert api_channel.state == ChannelState.PAUSED
    assert Alert.objects.get(kind="switched_off").settled_at is None
    assert Delivery.objects.filter(state="pending").count() == 10

    # Resumed while the destination is still down: the five days begin anew.
    api_channel.resume()
    alerts.review_alerts()
    api_channel.refresh_from_db()
    assert api_channel.state != ChannelState.PAUSED
    assert Alert.objects.get(kind="switched_off").settled_at is not None


def test_a_resumed_channel_and_a_replay_since_the_outage_deliver_all(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    began = timezone.now().isoformat()
    fail_in_a_row(api_channel, receiver)
    retries_exhausted = list(Delivery.objects.values_list("pk", flat=True)[:4])
    Delivery.objects.filter(pk__in=retries_exhausted).update(state="dead", reason="retries_exhausted")
    failing_for(days=5)

    receiver.answer("/hook", status=200)
    api_channel.resume()
    bulk_resend.start_bulk_action(bulk_resend.DeadLetterFilter(since=began), action="resend", by=None)
    bulk_resend.run_bulk_actions()
    probe_is_due()
    make_deliveries_due()
    dispatcher.send_due_deliveries()

    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    alerts.review_alerts()
    assert not Alert.objects.filter(settled_at=None).exists()


def test_a_channel_that_was_paused_by_hand_does_not_count_as_failing(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    fail_in_a_row(api_channel, receiver)
    api_channel.pause()
    failing_for(days=6)
    api_channel.resume()
    alerts.review_alerts()

    api_channel.refresh_from_db()
    assert api_channel.state != ChannelState.PAUSED
    assert not Alert.objects.filter(kind__in=["failing_long", "switched_off"]).exists()


def test_two_workers_get_one_probe_between_them(api_channel: ApiChannel) -> None:
    boris_answers(anna_writes(api_channel))
    CircuitBreaker.objects.create(
        api_channel=api_channel, is_open=True, backoff_seconds=30, probe_at=timezone.now() - timedelta(1)
    )

    boris_answers(anna_writes(api_channel, who="ivan"))

    assert len(claim_deliveries(uuid.uuid4(), limit=5)) == 1
    assert claim_deliveries(uuid.uuid4(), limit=5) == []
    CircuitBreaker.objects.update(probe_at=F("probe_at") - timedelta(seconds=circuit_breaker.PROBE_SECONDS + 1))
    assert len(claim_deliveries(uuid.uuid4(), limit=5)) == 1


def test_news_of_a_chat_that_got_through_are_no_first_answer(api_channel: ApiChannel, receiver: Receiver) -> None:
    ApiChannel.objects.update(track_message=True, last_error="destination_error")
    watching = ApiChannelFactory(kind="acebot", redirect_url=receiver.url("/watching"), secret=True)
    watching.watched.set(api_channel.watched.all())
    ApiChannel.objects.filter(pk=watching.pk).update(last_error="destination_error")

    anna_writes(api_channel)
    dispatcher.send_due_deliveries()

    watching.refresh_from_db()
    assert sorted(request.path for request in receiver.requests) == ["/hook", "/watching"]
    assert (watching.last_error, watching.first_outbound_at) == ("", None)


def test_a_success_ends_the_counting_when_no_failure_is_recent(api_channel: ApiChannel) -> None:
    long_ago = timezone.now().timestamp() - 600
    CircuitBreaker.objects.create(api_channel=api_channel, recent=[[long_ago, False]])

    figures = circuit_breaker.API_CHANNEL_FIGURES
    circuit_breaker.record_outcomes("api_channel", [(api_channel.pk, True)], figures=figures)

    assert not CircuitBreaker.objects.get().is_troubled
