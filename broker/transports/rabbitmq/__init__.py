"""The RabbitMQ transport."""

from __future__ import annotations

from effectmq.broker.transports.rabbitmq.transport import RabbitTransport

__all__ = ["RabbitTransport"]
