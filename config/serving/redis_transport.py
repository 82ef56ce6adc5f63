"""Patches of Kombu: release the prefetch slot even if the ack fails, survive a lost connection, and reconnect soon.

A worker reserves as many messages as it has processes (``worker_prefetch_multiplier`` 1). Kombu frees a slot only after
a successful ack. A failed ack, for example after a ``socket_timeout``, is logged and never repeated, so the worker
loses the slot for good. After a few of these it receives no more messages although its connection works. With the patch
Redis delivers the message again after the visibility timeout, which only causes a second wake-up.

Worker and beat wait longer after each failed connection, up to 30 s in Kombu, and Celery has no setting for that. The
messages of an outage would wait as long after its end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import kombu
from celery.app.amqp import AMQP
from kombu.transport import redis, virtual

LONGEST_RECONNECT_SECONDS = 4  # between two tries to connect: 2, 4, 4, …


class SlotReleasingQoS(redis.QoS):
    """QoS that frees the slot of a message whose ack or reject fails, and that knows when the connection is lost."""

    def ack(self, delivery_tag: str) -> None:
        self._settle(delivery_tag, super().ack)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        self._settle(delivery_tag, partial(super().reject, requeue=requeue))

    def restore_unacked(self, client: Any = None) -> None:
        """Return unacknowledged messages to the queue. Without the connection, the visibility timeout does that."""
        if self._is_lost():
            self._delivered.clear()
        else:
            super().restore_unacked(client)

    def _settle(self, delivery_tag: str, settle: Callable[[str], None]) -> None:
        if self._is_lost():
            virtual.QoS.ack(self, delivery_tag)
            return
        try:
            settle(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def _is_lost(self) -> bool:
        """Return whether the channel's connection is closed.

        After a lost connection Celery 5.7 collects the transport and closes its channels; tasks that end later are
        acknowledged there. Kombu 5.7 looked for the broker's address in vain: the AttributeError ended the worker and
        the calls under way.
        """
        transport = self.channel.connection
        return transport is None or transport.client is None


redis.Channel.QoS = SlotReleasingQoS


class SoonReconnecting(kombu.Connection):
    """Connection that waits no longer than LONGEST_RECONNECT_SECONDS between two tries."""

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        return super().ensure_connection(*args, **{"interval_max": LONGEST_RECONNECT_SECONDS, **options})


AMQP.Connection = AMQP.BrokerConnection = SoonReconnecting
