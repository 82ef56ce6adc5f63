"""Patch of Kombu's Redis transport: release the prefetch slot even if the ack fails.

A worker reserves as many messages as it has processes (``worker_prefetch_multiplier`` 1). Kombu frees a slot only after
a successful ack. A failed ack, for example after a ``socket_timeout``, is logged and never repeated, so the worker
loses the slot for good. After a few of these it receives no more messages although its connection works. With the patch
Redis delivers the message again after the visibility timeout, which only causes a second wake-up.
"""

from __future__ import annotations

from kombu.transport import redis, virtual


class SlotReleasingQoS(redis.QoS):
    """QoS that frees the slot of a message whose ack or reject fails."""

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
