"""
The one package that knows aio-pika, aiormq and pamqp.

Plain connections, never ``connect_robust``: that one retries a permanent error for ever without
telling anybody. Every call that waits for the broker is bounded, and everything the library can
raise, a foreign ``CancelledError`` included, leaves here as one of our errors.

The library greets, opens, declares, subscribes, keeps the heartbeat and says goodbye. The hot path
goes past it: publishes and acknowledgements are written in the frames of AMQP and share a write
(``outbox``), and confirmations, returns and deliveries are taken out of what arrives before the
library sees them (``tap``). It would lock, write and drain for each of the first, and take three
reads, several objects and a task for each of the second.

* ``frames``: the frames of the hot path, from and to bytes.
* ``tap``: takes them out of what arrives.
* ``wire``: opens the socket, and keeps a hand on it.
* ``link``, ``channel``: a connection, and a channel of it.
* ``waiting``: waiting for the library without being let down by it.
"""

from __future__ import annotations

import logging

from effectmq.broker.transports.rabbitmq.driver.channel import Channel, Fate, Publish, RawDelivery
from effectmq.broker.transports.rabbitmq.driver.link import Link

__all__ = ["Channel", "Fate", "Link", "Publish", "RawDelivery"]

logging.getLogger("aiormq").setLevel(logging.CRITICAL)
logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
