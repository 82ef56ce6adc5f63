"""Two sides that disagree are found, shown with one alert a channel, and settled by themselves when they agree."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from bridge.maintenance import reconciliation
from bridge.models import Alert, Delivery, Message, Mismatch, StrayStatus
from channels_setup.models import ApiChannel
from tests.factories import ConversationFactory, DeliveryFactory, MessageFactory

pytestmark = pytest.mark.django_db

LONG = timedelta(hours=7)  # longer than MISMATCH_AFTER_HOURS


def ours(channel: ApiChannel, *, ago: timedelta = LONG, **more: Any) -> Message:
    """A message of ours, handed in and last heard of so long ago."""
    at = timezone.now() - ago
    message = MessageFactory(conversation=ConversationFactory(api_channel=channel), outbound=True, **more)
    Message.objects.filter(pk=message.pk).update(created_at=at, status_at=at)
    return message


def found() -> set[tuple[str, int | None]]:
    reconciliation.reconcile_messages()
    return set(Mismatch.objects.filter(settled_at=None).values_list("kind", "message"))


def test_what_is_in_order_is_no_mismatch(channel: ApiChannel) -> None:
    DeliveryFactory(message=ours(channel, ago=timedelta(minutes=30), status="pending"))
    DeliveryFactory(message=ours(channel, status="delivered"), state="delivered")
    DeliveryFactory(message=ours(channel, ago=timedelta(hours=1), status="sent"), state="delivered")
    DeliveryFactory(message=ours(channel, status="failed", reason="retries_exhausted"), state="dead")
    MessageFactory(conversation=ConversationFactory(api_channel=channel))

    assert found() == set()
    assert not Alert.objects.exists()


def test_accepted_and_not_gone_out_is_shown_until_it_goes_out(channel: ApiChannel) -> None:
    delivery = DeliveryFactory(message=ours(channel, status="pending"))

    assert found() == found() == {("not_sent", delivery.message_id)}
    assert Alert.objects.get(settled_at=None).details["count"] == 1

    Message.objects.update(status="delivered")
    Delivery.objects.update(state="delivered")
    assert found() == set()
    assert Mismatch.objects.get().settled_at and Alert.objects.get().settled_at


def test_a_paused_channel_holds_its_messages_rightly(channel: ApiChannel) -> None:
    DeliveryFactory(message=ours(channel, status="pending"))
    channel.pause()

    assert found() == set()


def test_a_message_without_a_delivery_is_shown(channel: ApiChannel) -> None:
    lost = ours(channel, ago=timedelta(minutes=11), status="pending")
    ours(channel, ago=timedelta(minutes=1), status="pending")

    assert found() == {("no_delivery", lost.pk)}


def test_a_message_counted_as_sent_whose_delivery_died_is_shown(channel: ApiChannel) -> None:
    delivery = DeliveryFactory(message=ours(channel, ago=timedelta(hours=1), status="sent"), state="dead")

    assert found() == {("marked_sent", delivery.message_id)}


@pytest.mark.parametrize("state", ["dead", "unknown"])
@pytest.mark.parametrize("status", ["delivered", "read"])
def test_the_providers_proof_of_arrival_ends_our_doubt(channel: ApiChannel, state: str, status: str) -> None:
    DeliveryFactory(message=ours(channel, status=status), state=state, reason="retries_exhausted")

    assert found() == set()
    assert Delivery.objects.get().state == "delivered"


def test_silence_is_shown_where_statuses_do_come(channel: ApiChannel) -> None:
    silent = [ours(channel, status="sent") for _ in range(3)]
    assert found() == set()

    ours(channel, status="read")
    assert found() == {("unconfirmed", message.pk) for message in silent}
    alert = Alert.objects.get()
    assert (alert.kind, alert.details["count"]) == ("unconfirmed", 3)

    Message.objects.filter(pk=silent[0].pk).update(status="delivered")
    assert len(found()) == 2
    alert.refresh_from_db()
    assert (alert.settled_at, alert.details["count"]) == (None, 2)
    Message.objects.update(status="delivered")
    found()
    alert.refresh_from_db()
    assert alert.settled_at


def test_a_week_old_orphaned_status_is_shown_until_it_is_joined(channel: ApiChannel) -> None:
    stray = StrayStatus.objects.create(api_channel=channel, external_id="wamid.alone", status="read")
    assert found() == set()

    StrayStatus.objects.update(received_at=timezone.now() - timedelta(days=7, minutes=1))
    assert found() == {("stray", None)}
    assert Mismatch.objects.get().external_id == "wamid.alone"

    stray.delete()
    assert found() == set()


def test_a_run_notes_no_more_than_its_measure_and_the_next_goes_on(
    channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "MAX_NEW_MISMATCHES", 2)
    for _ in range(3):
        DeliveryFactory(message=ours(channel, status="pending"))

    assert [len(found()), len(found())] == [2, 3]


def test_a_mismatch_is_not_reported_after_a_month(channel: ApiChannel) -> None:
    lost = ours(channel, ago=timedelta(days=7), status="pending")
    assert found() == {("no_delivery", lost.pk)}

    Message.objects.update(created_at=timezone.now() - timedelta(days=29))
    assert found() == {("no_delivery", lost.pk)}

    Message.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert found() == set()
