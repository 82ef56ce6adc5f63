"""Kombu's Redis transport, with one thing put right: a place in line is given back even if the broker cannot be told.

The worker takes as many messages as it has processes (``worker_prefetch_multiplier`` 1), and kombu counts one as held
until its ack has gone through. An ack that fails, because the broker hangs longer than ``socket_timeout`` just then, is
logged and never made again: the worker has one place fewer for good, and after a few it takes nothing any more while
its connection is well. Redis gives the message out again after the visibility timeout, which is a doorbell rung twice.
"""

from __future__ import annotations

from kombu.transport import redis, virtual


class SlotReleasingQoS(redis.QoS):
    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue=requeue)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


redis.Channel.QoS = SlotReleasingQoS
