"""The broker patch: how the worker acknowledges messages and reconnects."""

import signal

import kombu
import pytest
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from celery import current_app

from config import celery


def test_a_prefetch_slot_is_released_when_the_ack_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the patch, each failed ack cost one slot, until the worker took no messages."""
    with current_app.connection_for_read() as connection:
        channel = connection.default_channel
        channel.basic_qos(0, 2, False)
        queue = connection.SimpleQueue("hanging", channel=channel)
        for number in range(2):
            queue.put(number)
        held = [queue.get(timeout=10) for _ in range(2)]
        assert not channel.qos.can_consume()

        def hangs(*_arguments: object, **_options: object) -> None:
            raise redis.exceptions.TimeoutError("Timeout reading from socket")

        with monkeypatch.context() as broken:
            broken.setattr(redis.client.Pipeline, "execute", hangs)
            for message, give_back in zip(held, (held[0].ack, held[1].reject), strict=True):
                with pytest.raises(redis.exceptions.TimeoutError):
                    give_back()
                assert not message.acknowledged

        assert channel.qos.can_consume()
        channel.qos._flush()
        queue.clear()
        channel.client.delete(channel.unacked_key, channel.unacked_index_key)


@pytest.mark.parametrize("name", ["connection_for_read", "connection_for_write"])  # the worker's, and beat's
def test_a_lost_broker_is_tried_every_few_seconds(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Kombu's own waits grow to 30 s, and the work of an outage waited as long after it."""

    def refuses() -> None:
        raise redis.exceptions.ConnectionError("refused")

    waits: list[float] = []
    connection = getattr(current_app, name)()
    monkeypatch.setattr(connection, "_connection_factory", refuses)
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda _seconds: None)

    with pytest.raises(kombu.exceptions.OperationalError):
        connection.ensure_connection(lambda _error, wait: waits.append(wait), 8)

    assert len(waits) == 8
    assert 0 < max(waits) <= 5


@pytest.mark.parametrize("is_closed", [False, True])
def test_closing_a_lost_connection_raises_nothing(is_closed: bool) -> None:
    """Celery forgets the broker's address, then closes the channels. Kombu's error ended the worker, and its calls."""
    connection = current_app.connection_for_read()
    channel = connection.default_channel
    channel.basic_qos(0, 2, False)
    queue = connection.SimpleQueue("lost", channel=channel)
    queue.put("unacknowledged")
    message = queue.get(timeout=10)

    if is_closed:
        transport, channel.connection = channel.connection, None
        message.ack()
        channel.qos.restore_unacked()
        channel.connection = transport
    else:
        connection.transport.client = None
    connection.close()

    with current_app.connection_for_read() as other:
        channel = other.default_channel
        assert channel.client.zcard(channel.unacked_index_key) == 1  # the broker delivers the message again
        channel.client.delete(channel.unacked_key, channel.unacked_index_key)
        other.SimpleQueue("lost", channel=channel).clear()


def test_the_signal_of_a_time_limit_is_obeyed_only_by_tasks() -> None:
    """The worker sends it late if it waited for the broker, and ended processes without a task."""
    before = signal.getsignal(signal.SIGUSR1)
    try:
        celery._obey_time_limit()
        with pytest.raises(SoftTimeLimitExceeded):
            signal.raise_signal(signal.SIGUSR1)
        celery._ignore_time_limit()
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
