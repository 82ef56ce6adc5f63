"""Order per conversation: messages of one chat go out one after another, also across retries and pauses."""

import pytest

from bridge.models import Alert, Delivery
from bridge.outbox import dispatcher
from channels_setup.models import ApiChannel, ChannelState
from tests.receiver import Receiver
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to, make_deliveries_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def api_channel(receiver: Receiver) -> ApiChannel:
    return create_channel_to(receiver, "/hook")


def test_only_the_oldest_message_of_a_chat_is_due(api_channel: ApiChannel, receiver: Receiver) -> None:
    receiver.answer("/hook", status=503, times=1)
    chat = anna_writes(api_channel)
    for text in ("один", "два", "три"):
        boris_answers(chat, text)

    dispatcher.send_due_deliveries()
    assert [request.json["text"] for request in receiver.requests] == ["один"]

    make_deliveries_due()
    dispatcher.send_due_deliveries()
    assert [request.json["text"] for request in receiver.requests] == ["один", "один", "два", "три"]


def test_a_failing_message_delays_no_other_chat(api_channel: ApiChannel, receiver: Receiver) -> None:
    receiver.answer("/hook", status=503, times=1)
    boris_answers(anna_writes(api_channel, who="anna"), "Анне")
    dispatcher.send_due_deliveries()

    boris_answers(anna_writes(api_channel, who="olga"), "Ольге")
    dispatcher.send_due_deliveries()

    assert [request.json["text"] for request in receiver.requests] == ["Анне", "Ольге"]


def test_a_message_given_up_releases_the_next(api_channel: ApiChannel, receiver: Receiver) -> None:
    receiver.answer("/hook", status=400, times=1)
    chat = anna_writes(api_channel)
    boris_answers(chat, "плохое")
    boris_answers(chat, "хорошее")

    dispatcher.send_due_deliveries()

    assert [request.json["text"] for request in receiver.requests] == ["плохое", "хорошее"]


def test_a_paused_channel_keeps_messages_and_sends_them_in_order(api_channel: ApiChannel, receiver: Receiver) -> None:
    chat = anna_writes(api_channel)
    api_channel.pause()
    for text in ("один", "два"):
        boris_answers(chat, text)
    dispatcher.send_due_deliveries()
    assert receiver.requests == []

    api_channel.resume()
    dispatcher.send_due_deliveries()

    assert [request.json["text"] for request in receiver.requests] == ["один", "два"]
    assert api_channel.state == ChannelState.LIVE


def test_a_failing_destination_shows_on_the_channel_until_it_works_again(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    receiver.answer("/hook", status=500, times=2)
    boris_answers(anna_writes(api_channel))
    for _ in range(2):
        dispatcher.send_due_deliveries()
        make_deliveries_due()
    api_channel.refresh_from_db()
    assert (api_channel.state, api_channel.last_error) == (ChannelState.FAILING, "destination_error")

    dispatcher.send_due_deliveries()
    api_channel.refresh_from_db()
    assert (api_channel.state, api_channel.last_error) == (ChannelState.LIVE, "")


def test_a_channel_with_rejected_credentials_is_paused_and_keeps_messages(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    receiver.answer("/hook", status=401, times=1)
    chat = anna_writes(api_channel)
    for text in ("один", "два"):
        boris_answers(chat, text)

    dispatcher.send_due_deliveries()

    api_channel.refresh_from_db()
    assert (api_channel.state, api_channel.last_error) == (ChannelState.PAUSED, "unauthorized")
    assert Alert.objects.get().kind == "switched_off"
    assert set(Delivery.objects.values_list("state", "attempts")) == {("pending", 0)}

    api_channel.resume()
    dispatcher.send_due_deliveries()
    assert [request.json["text"] for request in receiver.requests] == ["один", "один", "два"]
