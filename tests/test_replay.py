"""Sending again: said before it is done, nothing doubled without a yes."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone, translation

from bridge import outbox, relay, replay
from bridge.models import Attempt, Breaker, Delivery, ServiceWindow
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory
from tests.receiver import Receiver
from tests.test_outbox import anna_writes, boris_answers

pytestmark = pytest.mark.django_db


@pytest.fixture
def api_channel(receiver: Receiver) -> ApiChannel:
    channel = ApiChannelFactory(kind="acebot", redirect_url=receiver.url("/hook"), secret=True)
    ApiChannel.objects.update(track_message=False, track_new_chat=False, track_resumed=False)
    channel.refresh_from_db()
    return channel


@pytest.fixture
def dead(api_channel: ApiChannel, receiver: Receiver) -> Delivery:
    receiver.answer("/hook", status=422, times=1)
    boris_answers(anna_writes(api_channel))
    outbox.drain()
    return Delivery.objects.select_related("message", "api_channel").get()


def foretold(delivery: Delivery) -> str:
    delivery.refresh_from_db()
    return replay.forecast([delivery])[0].code


def test_the_forecast_is_what_then_happens(dead: Delivery, receiver: Receiver) -> None:
    assert foretold(dead) == ""

    relay.send_again(dead.pk)
    outbox.drain()

    dead.refresh_from_db()
    assert dead.state == "delivered"
    assert [attempt.number for attempt in Attempt.objects.all()] == [1, 2]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_a_window_that_shut_since_is_foretold_and_keeps_it_back(dead: Delivery, receiver: Receiver) -> None:
    ServiceWindow.objects.update(
        opened_at=F("opened_at") - timedelta(days=2), expires_at=F("expires_at") - timedelta(days=2)
    )
    assert foretold(dead) == "window_shut_since"

    relay.send_again(dead.pk)
    outbox.drain()

    dead.refresh_from_db()
    assert dead.state == "cancelled"
    assert len(receiver.requests) == 1


def test_an_unknown_outcome_and_a_paused_channel_are_foretold(dead: Delivery, api_channel: ApiChannel) -> None:
    Delivery.objects.update(state="unknown")
    assert foretold(dead) == "may_be_second"

    Delivery.objects.update(state="dead")
    api_channel.pause()
    assert foretold(Delivery.objects.select_related("message", "api_channel").get()) == "channel_paused"


def test_a_destination_that_is_down_is_foretold_as_waiting(dead: Delivery, api_channel: ApiChannel) -> None:
    Breaker.objects.create(api_channel=api_channel, is_open=True)

    assert foretold(dead) == "breaker_open"
    assert replay.forecast([dead])[0].goes_out


def test_a_dry_run_changes_nothing_and_all_leaves_the_unknown_alone(dead: Delivery) -> None:
    said = StringIO()
    with translation.override("en"):
        call_command("dead", "retry", "--all", "--dry-run", stdout=said)
    assert "It would go out now." in said.getvalue()
    assert Delivery.objects.get().state == "dead"

    Delivery.objects.update(state="unknown")
    call_command("dead", "retry", "--all", stdout=StringIO())
    assert Delivery.objects.get().state == "unknown"
    call_command("dead", "retry", "--all", "--unknown-too", stdout=StringIO())
    assert Delivery.objects.get().state == "pending"


def test_since_bounds_what_is_sent_again(dead: Delivery) -> None:
    later = (timezone.now() + timedelta(minutes=1)).isoformat()

    call_command("dead", "retry", "--all", "--since", later, stdout=StringIO())

    assert Delivery.objects.get().state == "dead"
    with pytest.raises(CommandError):
        call_command("dead", "retry", "--all", "--since", "yesterday")


def test_the_timetable_starts_anew(dead: Delivery, receiver: Receiver) -> None:
    Delivery.objects.update(attempts=9)
    receiver.answer("/hook", status=500)
    relay.send_again(dead.pk)

    outbox.drain()

    dead.refresh_from_db()
    assert (dead.state, dead.attempts) == ("pending", 10)
