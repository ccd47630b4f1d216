"""
The one package that knows aio-pika, aiormq and pamqp.

Plain connections, never ``connect_robust``: that one silently retries a permanent error for ever.
Every call that waits for the broker is limited in time, and every exception of the library, also a
foreign ``CancelledError``, becomes an error of effectmq.

The library opens connections and channels, declares, subscribes, keeps the heartbeat and closes.
The hot path does not use it: publishes and acknowledgements are written as AMQP frames and share a
write (``outbox``), and confirmations, returns and deliveries are taken out of the incoming bytes
before the library sees them (``tap``). The library would lock, write and drain for each of the
first, and need three reads, several objects and a task for each of the second.

* ``frames``: the frames of the hot path, from and to bytes.
* ``tap``: takes them out of the incoming bytes.
* ``wire``: opens the socket, and keeps access to it.
* ``link``, ``channels``: a connection, and a channel of it with all that is asked of one.
* ``waiting``: waits for the library, and does not depend on it.
"""

from __future__ import annotations

import logging

from effectmq.broker.transports.rabbitmq.driver.channels.channel import Channel, RawDelivery
from effectmq.broker.transports.rabbitmq.driver.channels.fates import Fate, Publish, publish_error
from effectmq.broker.transports.rabbitmq.driver.link import Link

__all__ = ["Channel", "Fate", "Link", "Publish", "RawDelivery", "publish_error"]

logging.getLogger("aiormq").setLevel(logging.CRITICAL)
logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
